"""The real ``dddp`` process in tests, and databases for it to work on."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import psycopg2

from tests.client import StrictClient
from tests.postgres import url as postgres_url

__all__ = ["DDDPServer", "free_port", "fresh_database", "run_django"]

ROOT = Path(__file__).resolve().parent.parent
START_LIMIT = 60.0
STOP_LIMIT = 30.0
READY = "Stop with Ctrl-C."
"""The last line that the server prints before it serves."""


class DDDPServer:
    """A ``dddp`` process on a free port: started on entry, stopped in order on exit.

    Its exit code must be 0 then. Where a test fails, its log is printed, for pytest to show.

    Args:
        settings_module: the Django settings.
        env: what its environment has besides ours, ``DATABASE_URL`` as a rule.
        path: folders to import from, besides the checkout and the bookstore.
        cwd: the current folder.
        options: command line options, such as ``["-v2"]``.
        command: how to run it; the address is added at the end.
    """

    def __init__(
        self,
        settings_module: str,
        env: Mapping[str, str] | None = None,
        *,
        path: Sequence[Path] = (ROOT, ROOT / "bookstore_example"),
        cwd: Path | None = None,
        options: Sequence[str] = ("-v2",),
        command: Sequence[str] = (sys.executable, "-m", "dddp"),
    ) -> None:
        self.port = free_port()
        self.log: list[str] = []
        self._command = [*command, *options, f"127.0.0.1:{self.port}"]
        self._cwd = cwd
        self._env = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, path)),
            "DJANGO_SETTINGS_MODULE": settings_module,
            **(env or {}),
        }
        self._process: subprocess.Popen[str] | None = None
        self._changed = threading.Condition()
        self._ended = True  # and all it printed is in the log
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        """Where DDP clients connect."""
        return f"ws://127.0.0.1:{self.port}/websocket"

    @property
    def http(self) -> str:
        """Where browsers go, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database(self) -> str:
        """The ``DATABASE_URL`` it was given."""
        return self._env["DATABASE_URL"]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started, and neither stopped nor killed since."""
        return self._process is not None

    def client(self, *, connect: bool = True) -> StrictClient:
        """A new strict client of this server."""
        return StrictClient(self.url, connect=connect)

    def __enter__(self) -> DDDPServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: BaseException | TracebackType | None) -> None:
        try:
            self.stop()
        except AssertionError:
            if kind is None:
                raise
        finally:
            if kind is not None:
                sys.stdout.write(self.text())

    def start(self) -> None:
        """Start it and wait until it serves.

        Raises:
            AssertionError: it ended or did not come up; its log is in the text.
        """
        self._process = subprocess.Popen(
            self._command,
            cwd=self._cwd,
            env=self._env,
            text=True,
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        seen, self._ended = len(self.log), False
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()
        try:
            self.wait_for_log(re.escape(READY), since=seen, time_limit=START_LIMIT)
        except AssertionError:
            self.kill()
            raise

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it with a signal, as a supervisor does; a stopped one stays stopped.

        Raises:
            AssertionError: it took too long, or its exit code is not 0.
        """
        if self._process is None:
            return
        self._process.send_signal(number)
        code = self._end()
        assert code == 0, f"dddp ended with {code}:\n{self.text()}"

    def kill(self) -> None:
        """End it with SIGKILL, as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._end()

    def restart(self) -> None:
        """Stop it in order and start it again on the same port."""
        self.stop()
        self.start()

    def _end(self) -> int:
        assert self._process is not None and self._reader is not None
        try:
            code = self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"dddp did not stop within {STOP_LIMIT} s:\n{self.text()}") from None
        self._reader.join()
        self._process = None
        return code

    def text(self) -> str:
        """What it has printed and logged, the last 200 lines."""
        with self._changed:
            return "".join(self.log[-200:])

    def wait_for_log(self, pattern: str, *, since: int = 0, time_limit: float = 15.0) -> str:
        """Wait for a line of the log that matches; that line.

        Args:
            pattern: a regular expression, searched for.
            since: the number of lines to leave out, ``len(server.log)`` at some earlier time.
        """
        found: list[str] = []

        def settled() -> bool:
            found[:] = [line for line in self.log[since:] if re.search(pattern, line)]
            return bool(found) or self._ended

        with self._changed:
            self._changed.wait_for(settled, time_limit)
            assert found, f"no {pattern!r} in the log of dddp:\n{''.join(self.log[-200:])}"
            return found[0]

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                with self._changed:
                    self.log.append(line)
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


def free_port() -> int:
    """A TCP port that nobody listened on a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def fresh_database(prefix: str = "dddp") -> Iterator[str]:
    """An empty database on the tests' PostgreSQL; yields its URL, drops it at the end."""
    name = f"{prefix}_{secrets.token_hex(4)}"
    _execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(urlsplit(postgres_url())._replace(path=f"/{name}"))
    finally:
        _execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(sql: str) -> None:
    with contextlib.closing(psycopg2.connect(postgres_url())) as pgconn:
        pgconn.autocommit = True
        pgconn.cursor().execute(sql)


def run_django(
    *arguments: str, settings_module: str, env: Mapping[str, str] | None = None, stdin: str | None = None
) -> str:
    """Run a management command in a plain process of its own; its output.

    Raises:
        AssertionError: it failed; the output is in the text.
    """
    path = os.pathsep.join([str(ROOT), str(ROOT / "bookstore_example")])
    command = [sys.executable, "-m", "django", *arguments]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": settings_module, **(env or {})},
        input=stdin,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, f"{arguments} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout
