"""Where scripts are played: one database, the real server, writers in two other processes, strict clients.

A ``Stage`` lasts for many examples. ``quiet`` is the moment of truth: all writes are committed, each client's view
must come to equal what its subscriptions give now, and what it was sent since the last such moment is judged.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any

import psycopg2

from tests.properties import judge
from tests.properties.expected import Position, State
from tests.properties.judge import Broken, View, Wish
from tests.properties.writers import Refused, Worker
from tests.server import ROOT, DDDPServer, fresh_database, run_django
from tests.strict import Invocation, Subscription

__all__ = ["Reader", "Stage", "stage"]

SETTINGS = "tests.properties.settings"
CONVERGENCE_LIMIT = 8.0  # seconds
PATIENCE = 0.2  # seconds for an answer in the middle of a script
ROW_BY_ROW = {"All", "AllTeams"}
"""Publications of queries without a filter: they follow each transaction, whole, without a read."""

BARRIER_TEAM = 3
"""No other operation touches it."""

USERS = ("ann", "ben", "cem")


class Reader:
    """A client and what it wants. Outlives its connections: after ``drop`` it comes back and wants the same."""

    def __init__(self, server: DDDPServer) -> None:
        self._server = server
        self.user: str | None = None
        self.subscriptions: list[tuple[str, tuple[Any, ...], Subscription]] = []
        self._calls: list[tuple[Invocation, list[Wish]]] = []
        self._connect()

    def _connect(self) -> None:
        self.client = self._server.client()
        self._newest: dict[tuple[str, str], int] = {}
        self._ever: set[str] = {"AllTeams"}
        self._logged_in = False
        self._start: View = {}
        self._judged = 0
        self._wished: dict[tuple[str, tuple[Any, ...]], None] = {("AllTeams", ()): None}
        self._users: dict[str | None, None] = {None: None}
        self._calls.clear()

    # What a client does.

    def subscribe(self, name: str, *params: Any, wait: bool = True) -> None:
        subscription = self.client.subscribe(name, *params)
        self.subscriptions.append((name, params, subscription))
        self._wished[name, params] = None
        self._ever.add(name)
        if wait:
            self._wait(lambda: subscription.ready or subscription.ended)

    def unsubscribe(self, number: int) -> None:
        if self.subscriptions:
            _, _, subscription = self.subscriptions.pop(number % len(self.subscriptions))
            self._forget_wishes()
            self._ever.add("nothing after unsubscribing")
            self.client.send({"msg": "unsub", "id": subscription.id})
            self._wait(lambda: subscription.ended)

    def login(self, user: str | None, *, wait: bool = True) -> None:
        self.user = user
        self._users[user] = None
        self._forget_wishes()
        self._logged_in = True
        invocation = self.client.invoke("login", user)
        self._calls.append((invocation, []))
        if wait:
            self._wait(lambda: invocation.done)

    def call(self, method: str, writes: Sequence[Any], *, wait: bool = True) -> None:
        wishes = [] if self._unsettled() else self.wishes()
        invocation = self.client.invoke(method, *writes)
        self._calls.append((invocation, wishes))
        if wait:
            self._wait(lambda: invocation.done)

    def _forget_wishes(self) -> None:
        """What it had at a call it may not have any more at the call's ``updated``."""
        self._calls[:] = [
            (invocation, wishes if invocation.done else []) for invocation, wishes in self._calls
        ]

    def _wait(self, condition: Callable[[], Any]) -> None:
        """Wait a little: an open transaction may hold what the answer needs."""
        with contextlib.suppress(TimeoutError):
            self.client.wait(lambda view: condition(), PATIENCE)

    def drop(self) -> None:
        """Lose the connection and come back. What was called before has been received, and may still be running."""
        self.client.ping()
        self.client.drop()
        wanted, self.subscriptions = self.subscriptions, []
        self._connect()
        if self.user is not None:
            self.login(self.user, wait=False)
        for name, params, _ in wanted:
            self.subscribe(name, *params, wait=False)

    def leave(self) -> None:
        self.client.close()

    def wishes(self) -> list[Wish]:
        """What it is subscribed to now."""
        live = [(name, params) for name, params, subscription in self.subscriptions if not subscription.ended]
        return [(name, params, self.user) for name, params in [("AllTeams", ()), *live]]

    def _unsettled(self) -> bool:
        waiting = any(not each.ready and not each.ended for _, _, each in self.subscriptions)
        return waiting or any(not invocation.done for invocation, _ in self._calls)

    # The moment of truth.

    def settle(self) -> None:
        """Wait until everything it asked for has been answered."""
        self.client.wait(lambda view: not self._unsettled())
        for invocation, _ in self._calls:
            if invocation.error is not None and invocation.error.error != 500:
                raise invocation.error

    def converge(self, state: State) -> None:
        """Promise 1: it comes to have exactly what its subscriptions give now."""
        expected = judge.view_of(self.wishes(), state)
        try:
            self.client.wait(lambda view: judge.same_view(view.collections, expected), CONVERGENCE_LIMIT)
        except TimeoutError:
            had = judge.copied(self.client.collections())
            raise Broken(
                f"promise 1: of {self.wishes()}\n"
                + "\n".join(judge.describe_difference(had, expected))
                + f"\nthe last messages were\n{self.client.tail(30)}"
            ) from None

    def judge(self, positions: Sequence[Position], *, strict: bool, whole: bool) -> None:
        """Judge what has come since the last quiet moment.

        Args:
            strict: False where some write was captured in another transaction than its own.
            whole: False where the feed was interrupted.
        """
        with self.client._changed:
            entries = self.client.log[self._judged :]
            self._judged = len(self.client.log)
            end = judge.copied(self.client.view.collections)
        messages = [entry.message for entry in entries if entry.direction == "<"]
        judge.check_forwards(messages, self._newest)
        if strict:
            wished = [(name, params, user) for name, params in self._wished for user in self._users]
            judge.check_leaks(messages, wished, positions)
            self._check_own_writes(positions)
            if whole:
                self._check_timeline(messages, positions)
        self._begin_interval(end)

    def _check_own_writes(self, positions: Sequence[Position]) -> None:
        log = [entry.message for entry in self.client.log if entry.direction == "<"]
        for invocation, wishes in self._calls:
            if not wishes or invocation.name != "write" or invocation.error is not None:
                continue
            view: View = {}
            for message in log:
                if message.get("msg") == "updated" and invocation.id in message["methods"]:
                    break
                judge.apply(view, message)
            judge.check_own_writes(view, wishes, invocation.result, positions)

    def _check_timeline(self, messages: Sequence[Any], positions: Sequence[Position]) -> None:
        if not self._ever <= ROW_BY_ROW or self._logged_in or len(self.subscriptions) != 1:
            return
        subscription = self.subscriptions[0][2].id
        if any(subscription in message.get("subs", ()) for message in messages):
            judge.check_start(self._start, messages, subscription, self.wishes(), positions)
        else:
            judge.check_timeline(self._start, messages, self.wishes(), positions)

    def _begin_interval(self, view: View) -> None:
        self._start = view
        self._calls.clear()
        self._users = {self.user: None}
        self._wished = {(name, params): None for name, params, _ in self.wishes()}


class Stage:
    """One server with one way of capturing, and all who write to its database."""

    def __init__(self, capture: str, url: str, server: DDDPServer) -> None:
        self.capture = capture
        self.server = server
        self.pgconn = psycopg2.connect(url, application_name="library test")
        self.pgconn.autocommit = True
        writers = {"PGAPPNAME": "library writer", "PGOPTIONS": "-c lock_timeout=100ms"}
        env = {**environment(capture, url), **writers}
        self._processes = [Worker(env), Worker(env)]
        self.control = server.client()
        self.readers: list[Reader] = []
        self.positions: list[Position] = []
        self._closed: set[int] = set()
        # Since the last quiet moment:
        self.loose = False  #: some write was captured apart from its transaction
        self.interrupted = False  #: the feed was; clients catch up over several transactions at once

    def stop(self) -> None:
        self.control.close()
        for process in self._processes:
            process.stop()
        self.pgconn.close()

    # An example's beginning and end.

    def reset(self) -> None:
        self.watcher = self.reader()
        self.watcher.subscribe("All")
        self.write(0, "reset")
        self.positions = self._history(0)[-1:]
        self._execute("DELETE FROM library_history WHERE position < %s", self.positions[0].number)
        self.watcher.settle()
        self.watcher.converge(self.positions[-1].state)
        self.watcher._begin_interval(judge.copied(self.watcher.client.collections()))
        self.watcher._judged = len(self.watcher.client.log)

    def clear(self) -> None:
        """End what an example has left open, however it ended."""
        for gate in list(self._closed):
            self.open(gate)
        for number in range(3):
            with contextlib.suppress(Refused):
                self.write(number, "rollback")
        for reader in self.readers:
            with contextlib.suppress(Exception):
                reader.client._hang_up()
        self.readers = []
        self.loose = self.interrupted = False

    def reader(self) -> Reader:
        """One more client."""
        self.readers.append(Reader(self.server))
        return self.readers[-1]

    # Gates: a read of a publication with a closed one has its snapshot, and waits.

    def close(self, gate: int) -> None:
        if gate not in self._closed:
            self._closed.add(gate)
            self._execute("SELECT pg_advisory_lock(%s)", gate)

    def open(self, gate: int) -> None:
        if gate in self._closed:
            self._closed.remove(gate)
            self._execute("SELECT pg_advisory_unlock(%s)", gate)

    def _execute(self, statement: str, *parameters: Any) -> None:
        with self.pgconn.cursor() as cursor:
            cursor.execute(statement, parameters)

    # Writers: 0 and 1 share a process, 2 is in another.

    def submit(self, number: int, do: str, *arguments: Any) -> Future[Any]:
        return self._processes[number // 2].submit(f"writer {number}", do, *arguments)

    def write(self, number: int, do: str, *arguments: Any) -> Any:
        return self.submit(number, do, *arguments).result(20)

    def _history(self, after: int) -> list[Position]:
        with self.pgconn.cursor() as cursor:
            cursor.execute(
                "SELECT position, txn, truncated, state::text FROM library_history WHERE position > %s"
                " ORDER BY position",
                [after],
            )
            return [Position(*columns, State(state)) for *columns, state in cursor.fetchall()]

    # The moment of truth.

    def quiet(self) -> None:
        for gate in list(self._closed):
            self.open(gate)
        for number in range(3):
            with contextlib.suppress(Refused):
                self.write(number, "commit")
        for reader in self.readers:
            reader.settle()
        self._wait_for_methods()
        # A view may equal the end before what led there has come, as when a row was put and removed: this last
        # transaction, which every reader is told by `AllTeams`, comes behind it.
        self.write(0, "transact", ["put_team", BARRIER_TEAM])
        self.positions += self._history(self.positions[-1].number)
        now = self.positions[-1].state
        for reader in self.readers:
            reader.converge(now)
        for reader in self.readers:
            reader.judge(self.positions, strict=not self.loose, whole=not self.interrupted)
        for wish in dict.fromkeys(wish for reader in self.readers for wish in reader.wishes()):
            self._check_oracle(wish, now)
        del self.positions[:-1]
        self.loose = self.interrupted = False

    def _wait_for_methods(self) -> None:
        """Wait until nothing runs on behalf of clients that are gone."""
        deadline = time.monotonic() + 10
        while self.control.call("running") or self._transactions():
            assert time.monotonic() < deadline, "a method does not end"

    def _transactions(self) -> int:
        with self.pgconn.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_xid IS NOT NULL"
            )
            return int(cursor.fetchone()[0])

    def _check_oracle(self, wish: Wish, state: State) -> None:
        """The oracle and a fresh run of the querysets must agree."""
        name, params, user = wish
        if name == "ByHand":
            return
        found = {
            (collection, str(key)): number
            for collection, rows in self.submit(0, "evaluate", name, params, user).result(20)
            for key, number in rows
        }
        expected = {key: document["n"] for key, document in judge.view_of([wish], state).items()}
        assert found == expected, (
            f"the oracle is wrong about {wish}: {found} in the database, {expected} said"
        )


def environment(capture: str, url: str) -> dict[str, str]:
    return {"DATABASE_URL": url, "LIBRARY_CAPTURE": capture, "DJANGO_SETTINGS_MODULE": SETTINGS}


@contextlib.contextmanager
def stage(capture: str) -> Iterator[Stage]:
    """A stage with a server and a database of its own."""
    with fresh_database(f"library_{capture}") as url:
        env = environment(capture, url)
        run_django("migrate", "--run-syncdb", "--verbosity=0", settings_module=SETTINGS, env=env)
        prepare(url)
        with DDDPServer(SETTINGS, env) as server:
            opened = Stage(capture, url, server)
            try:
                yield opened
            finally:
                opened.stop()


def prepare(url: str) -> None:
    """What the tests need in the database besides tables: triggers, users, and commits that do not wait for a disk."""
    with contextlib.closing(psycopg2.connect(url)) as pgconn, pgconn, pgconn.cursor() as cursor:
        cursor.execute((ROOT / "tests/properties/library/triggers.sql").read_text())
        cursor.execute("SELECT format('ALTER DATABASE %I SET synchronous_commit = off', current_database())")
        cursor.execute(cursor.fetchone()[0])
        for key, name in enumerate((*USERS, "root"), 1):
            cursor.execute(
                "INSERT INTO auth_user (id, username, password, first_name, last_name, email, is_superuser,"
                " is_staff, is_active, date_joined) VALUES (%s, %s, '', '', '', '', %s, false, true, now())",
                [key, name, name == "root"],
            )
