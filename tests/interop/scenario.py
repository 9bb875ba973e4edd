"""What every client goes through, all at the same time, and what was seen of each. Knows no client and no page.

A row is yes if it was attempted and no attempt failed. All waiting is for all clients together, so that the slowest one
costs its time once.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

import psycopg2
from playwright.sync_api import Browser

from tests.faults.proxy import Proxy
from tests.interop.clients import TIME_LIMIT, Client, Failure, Kind
from tests.server import DDDPServer

__all__ = ["PASSWORD", "ROWS", "USER", "Scenario"]

ROWS = {
    "connect": "connects",
    "subscribe": "subscribes, and is told when the first documents are there",
    "nosub": "is told that a subscription is refused, and why",
    "added": "sees a document added",
    "changed": "sees one changed",
    "removed": "sees one removed",
    "method": "calls a method and gets its result",
    "error": "gets a method's error with reason and details",
    "dates": "dates in documents, parameters and results",
    "binary": "binary in documents, parameters and results",
    "login": "logs in with username and password",
    "cut": "reconnects after it was cut off",
    "restart": "reconnects after a restart of the server",
    "resubscribe": "and subscribes again by itself",
    "forget": "and forgets what was removed meanwhile",
    "relogin": "and logs in again by itself",
}
"""Row -> what it says to people, in order."""

USER = "ann"
PASSWORD = "correct horse"
AT = 1_577_934_245_678  # milliseconds, 2020-01-02T03:04:05.678Z
DAY = 86_400_000
RAW = [0, 255, 10, 128]
FIRST = "first"

RECONNECT_LIMIT = 30.0
"""Seconds; Meteor's third attempt comes after about 5, its fourth 11 later."""

KNOWN_LIMIT = 2.0
"""Seconds to wait for what a client is known not to do."""

POLL = 0.02  # seconds


class Scenario:
    """One run.

    Args:
        kinds: the clients.
        known: whether a client is known to fail a row; it is waited for less long then.

    Attributes:
        seen: for each client and row that was attempted, "" or what was wrong.
    """

    def __init__(
        self,
        kinds: Sequence[Kind],
        known: Callable[[Kind, str], bool],
        server: DDDPServer,
        proxy: Proxy,
        browser: Browser,
    ) -> None:
        self.seen: dict[tuple[Kind, str], str] = {}
        self._kinds = kinds
        self._known = known
        self._server = server
        self._proxy = proxy
        self._browser = browser
        self._clients: dict[Kind, Client] = {}

    def run(self) -> None:
        try:
            self._start(self._kinds)
            self._begin()
            self._follow()
            self._call()
            self._lose("cut", self._cut)
            self._replace("cut")
            self._lose("restart", self._restart)
        finally:
            for client in self._clients.values():
                client.close()

    # --- its parts

    def _begin(self) -> None:
        self._add(FIRST, raw=bytes(RAW), at=AT)
        self._try("connect", self._connect)
        self._try("subscribe", self._subscribe)
        self._wait("subscribe", self._is_equal)
        self._try(
            "nosub", self._refused({"error": "closed", "reason": "We are closed"}, "subscribe", "closed")
        )

    def _follow(self) -> None:
        self._add("second")
        self._wait("added", self._is_equal)
        self._write("UPDATE notes_note SET text = 'changed' WHERE text = 'second'")
        self._wait("changed", self._is_equal)
        self._write("DELETE FROM notes_note WHERE text = 'changed'")
        self._wait("removed", self._is_equal)

    def _call(self) -> None:
        self._try("method", self._add_by_method)
        closed = {"error": "closed", "reason": "We are closed", "details": {"until": "Monday"}}
        self._try("error", self._refused(closed, "call", "refuse"))
        self._try("dates", self._same("at", "later", {"date": AT}, {"date": AT + DAY}))
        self._try("binary", self._same("raw", "reversed", {"bytes": RAW}, {"bytes": RAW[::-1]}))
        self._try("login", self._log_in)

    def _lose(self, row: str, away: Callable[[], AbstractContextManager[None]]) -> None:
        """Lose all connections; something is removed and something added while they are away."""
        self._add(f"before {row}")
        self._wait(row, self._has(f"before {row}"))
        before = {kind: self._ask(kind, "connections") for kind in self._connected()}
        with away():
            self._write("DELETE FROM notes_note WHERE text = %s", f"before {row}")
            self._add(f"after {row}")
        self._wait(row, lambda kind: self._ask(kind, "connections") > before[kind])
        back = [kind for kind in self._connected() if not self.seen[kind, row]]
        self._wait("resubscribe", self._has(f"after {row}"), back)
        self._subscribe_again(back)
        self._wait(row, self._has(f"after {row}"), back)
        self._wait("forget", self._is_equal, back)
        self._wait("relogin", lambda kind: self._ask(kind, "call", "who") == USER, back)

    def _replace(self, row: str) -> None:
        """Start those anew that have not come back."""
        lost = [kind for kind in self._connected() if self.seen[kind, row]]
        for kind in lost:
            self._clients[kind].close()
        self._start(lost)
        for kind in lost:
            self._connect(kind)
            self._subscribe(kind)

    @contextlib.contextmanager
    def _cut(self) -> Iterator[None]:
        """They can come back at once; most wait a little."""
        self._proxy.cut()
        yield

    @contextlib.contextmanager
    def _restart(self) -> Iterator[None]:
        """Attempts to connect are refused while the body runs."""
        self._server.stop()
        self._proxy.refuse()
        yield
        self._server.start()
        self._proxy.accept()

    # --- what one client does; each raises Failure

    def _start(self, kinds: Iterable[Kind]) -> None:
        for kind in kinds:
            self._clients[kind] = kind.start(self._browser, self._server.http, self._addresses["http"])

    @property
    def _addresses(self) -> dict[str, str]:
        host = f"{self._proxy.host}:{self._proxy.port}"
        return {"websocket": f"ws://{host}/websocket", "http": f"http://{host}"}

    def _ask(self, kind: Kind, name: str, *args: Any) -> Any:
        limit = KNOWN_LIMIT if name == "subscribe" and self._known(kind, "nosub") else TIME_LIMIT
        return self._clients[kind].ask(name, *args, limit=limit)

    def _connect(self, kind: Kind) -> None:
        self._ask(kind, "connect", {**self._addresses, **kind.options})
        if kind.transport and (used := self._ask(kind, "transport")) != kind.transport:
            raise Failure(f"connected over {used}")

    def _subscribe(self, kind: Kind) -> None:
        self._ask(kind, "subscribe", "notes", kind.title)

    def _subscribe_again(self, kinds: Iterable[Kind]) -> None:
        """Do what an application has to for clients that do not by themselves."""
        for kind in kinds:
            if self.seen.get((kind, "resubscribe"), "not attempted"):
                self._subscribe(kind)

    def _refused(self, expected: dict[str, Any], *command: Any) -> Callable[[Kind], None]:
        def attempt(kind: Kind) -> None:
            try:
                value = self._ask(kind, *command)
            except Failure as failure:
                told = failure.answer
                if not isinstance(told, dict) or told | expected != told:
                    raise
            else:
                raise Failure(f"no error but {value!r}")

        return attempt

    def _add_by_method(self, kind: Kind) -> None:
        added = self._ask(kind, "call", "add", kind.title, "by a method")
        self._wait("method", lambda kind: added in self._texts(kind), [kind])

    def _same(self, field: str, method: str, value: Any, result: Any) -> Callable[[Kind], None]:
        def attempt(kind: Kind) -> None:
            (seen,) = [note[field] for note in self._ask(kind, "documents") if note["text"] == FIRST]
            if seen != value:
                raise Failure(f"in a document: {seen!r}")
            if (seen := self._ask(kind, "call", method, value)) != result:
                raise Failure(f"as a result: {seen!r}")

        return attempt

    def _log_in(self, kind: Kind) -> None:
        if kind.login:
            self._ask(kind, "login", USER, PASSWORD)
        else:
            self._ask(kind, "call", "login", {"user": {"username": USER}, "password": PASSWORD})
        if (name := self._ask(kind, "call", "who")) != USER:
            raise Failure(f"logged in as {name!r}")

    def _texts(self, kind: Kind) -> dict[str, str]:
        return {note["id"]: note["text"] for note in self._ask(kind, "documents")}

    def _has(self, text: str) -> Callable[[Kind], bool]:
        return lambda kind: text in self._texts(kind).values()

    def _is_equal(self, kind: Kind) -> bool:
        """Whether its documents are the database's."""
        rows = self._write("SELECT id, text FROM notes_note WHERE owner = %s", kind.title)
        return self._texts(kind) == {str(key): text for key, text in rows}

    # --- all clients

    def _connected(self) -> list[Kind]:
        return [kind for kind in self._kinds if not self.seen.get((kind, "connect"))]

    def _try(self, row: str, attempt: Callable[[Kind], None]) -> None:
        for kind in self._connected():
            if row not in kind.skips:
                try:
                    attempt(kind)
                except Failure as failure:
                    self._note(kind, row, failure)
                else:
                    self._note(kind, row)

    def _wait(self, row: str, condition: Callable[[Kind], bool], kinds: Iterable[Kind] | None = None) -> None:
        """Wait until it holds for each of them (by default all); where it does not, the row is no."""
        pending = [kind for kind in (self._connected() if kinds is None else kinds) if row not in kind.skips]
        begin = time.monotonic()
        while pending:
            pending = [
                kind for kind in pending if not self._settled(row, condition, kind, time.monotonic() - begin)
            ]
            time.sleep(POLL if pending else 0)

    def _settled(self, row: str, condition: Callable[[Kind], bool], kind: Kind, waited: float) -> bool:
        """Whether there is nothing more to wait for."""
        try:
            failure = None if condition(kind) else Failure("not in time")
        except Failure as raised:
            failure = raised
        late = waited > (KNOWN_LIMIT if self._known(kind, row) else RECONNECT_LIMIT)
        if late or failure is None:
            self._note(kind, row, failure)
            return True
        return False

    def _note(self, kind: Kind, row: str, failure: Failure | None = None) -> None:
        self.seen[kind, row] = self.seen.get((kind, row)) or (str(failure.answer) if failure else "")

    # --- the database, as another program

    def _write(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with (
            contextlib.closing(psycopg2.connect(self._server.database)) as pgconn,
            pgconn,
            pgconn.cursor() as cursor,
        ):
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def _add(self, text: str, *, at: int | None = None, raw: bytes | None = None) -> None:
        """Add a note for each client."""
        owners = [kind.title for kind in self._kinds]
        sql = "INSERT INTO notes_note (owner, text, at, raw) SELECT unnest(%s), %s, to_timestamp(%s / 1000.0), %s"
        self._write(sql, owners, text, at, raw)
