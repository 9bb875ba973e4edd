"""A real nginx, with the distribution's own configuration and a file of ours beside it."""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.server import free_port

__all__ = ["running"]

DISTRIBUTION = Path("/etc/nginx/nginx.conf")

MOVED = {
    r"^pid .*;": "pid {folder}/pid;",
    r"^error_log .*;": "error_log {folder}/error.log;",
    r"access_log .*;": "access_log {folder}/access.log;",
    r"include /etc/nginx/conf\.d/.*;": "include {folder}/conf.d/*.conf;",
    r"include /etc/nginx/sites-enabled/.*;": "",
}
"""What of the distribution's file leads to other places in a test."""

TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
START_LIMIT = 10.0


@contextlib.contextmanager
def running(folder: Path, config: str, replaced: Mapping[str, str]) -> Iterator[str]:
    """Run nginx on a free port of 127.0.0.1; yields ``host:port``.

    Args:
        folder: where its files are put.
        config: what would be a file of ``/etc/nginx/conf.d``; it listens on port 80.
        replaced: what to put in place of which text of it.
    """
    port = free_port()
    for old, new in {"listen 80;": f"listen 127.0.0.1:{port};", **replaced}.items():
        assert old in config, f"the configuration has no {old!r}"
        config = config.replace(old, new)
    _write(folder, config)
    log = folder / "error.log"
    command = ["nginx", "-e", str(log), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_until_it_serves(port, process, log)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()


def _write(folder: Path, config: str) -> None:
    (folder / "conf.d").mkdir(parents=True)
    (folder / "conf.d" / "dddp.conf").write_text(config)
    temporary = [f"{kind}_temp_path {folder}/{kind};\n" for kind in TEMPORARY]
    (folder / "conf.d" / "temporary.conf").write_text("".join(temporary))
    text = DISTRIBUTION.read_text()
    for found, place in MOVED.items():
        text = re.sub(found, place.format(folder=folder), text, flags=re.MULTILINE)
    (folder / "nginx.conf").write_text(text)


def _wait_until_it_serves(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_LIMIT
    while process.poll() is None and time.monotonic() < end:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            return
    raise AssertionError(f"nginx did not start:\n{log.read_text() if log.exists() else ''}")
