"""Where faults are made: a PostgreSQL, a server behind proxies, tellers who write, customers who watch.

A ``Trial`` is one scenario: tellers move money all the time, the test does harm, and at the end nothing may be lost:

* what the ledger calls committed is in the database, what it calls undone or failed is not;
* each customer comes to have exactly what its queries give now, run by SQL;
* nothing that was shown meanwhile was untrue: no state that never was, no undone transfer, no step backwards, no
  message that a strict client refuses, no ``updated`` before its data.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import psutil

from tests import polling
from tests.faults.cluster import Cluster
from tests.faults.customers import (
    Customer,
    Want,
    check_history,
    check_nothing_vanishes,
    check_own_writes,
)
from tests.faults.proxy import Proxy
from tests.faults.tellers import ONLINE, Ledger, OnlineTeller, Teller
from tests.properties.judge import Broken, View
from tests.server import DDDPServer, run_django

__all__ = ["ACCOUNTS", "REPORTS", "SETTINGS", "TOTALS", "Arena", "Trial"]

SETTINGS = "tests.faults.settings"
DATABASE = "bank"
ACCOUNTS = 24
OPENING_BALANCE = 1000
CONVERGENCE_LIMIT = 30.0  # seconds; waits between attempts to connect are a part of it
PROGRESS_LIMIT = 30.0  # seconds for some transfers
WORKERS_DDDP = (
    '{"WORKER_TIME_LIMIT": 4, "SHUTDOWN_TIME_LIMIT": 3, "HANDLER_POOL_SIZE": 3, "READ_POOL_SIZE": 2}'
)
"""More of the bank's settings where several workers serve it: one that hangs is replaced after four seconds."""

UNDONE = ("undone", "failed")
REPORTS: list[str] = []
"""What each trial has to say, for the end of the run."""

TOTALS: Counter[str] = Counter()
"""Of all trials."""

DEFECTS = re.compile(
    "an event of the change feed was not handled|a read failed unexpectedly|the heartbeat of .* failed|"
    "the gap in the change feed was not handled|a job of the .* pool failed|a late job of the .* pool failed|"
    "a callback of .* failed|an on_stop callback|the end of session .* failed|the application (failed|refused)|"
    r"<Greenlet.*> failed with (?!GreenletExit)"
)
"""What the server logs only if something in it is wrong, whatever the database does."""

Query = tuple[str, str]
"""A collection, and SQL that gives the keys of its documents; the parameters are those of the publication."""

BANK: list[Query] = [
    ("bank.account", "SELECT id FROM bank_account WHERE %s IS NOT NULL"),
    ("bank.transfer", "SELECT id FROM bank_transfer WHERE trial = %s"),
]
QUERIES: dict[str, list[Query]] = {
    "Bank": BANK,
    "Country": [
        (
            "bank.account",
            "SELECT a.id FROM bank_account a JOIN bank_branch b ON b.id = a.branch_id WHERE b.country = %s",
        )
    ],
    "Rich": [("bank.account", "SELECT id FROM bank_account WHERE balance >= %s")],
    "Poorest": [("bank.account", "SELECT id FROM bank_account ORDER BY balance, id LIMIT %s")],
    "Recent": [("bank.account", "SELECT id FROM bank_account WHERE last ~* (%s || '$')")],
    "Statement": [
        ("bank.transfer", "SELECT id FROM bank_transfer WHERE trial = %s AND %s IN (source_id, target_id)")
    ],
    "Memos": [("memo", "SELECT id FROM bank_account")],
}
DOCUMENTS = {
    "bank.account": """
        SELECT id::text, jsonb_build_object('branch_id', branch_id::text, 'owner', owner, 'balance', balance,
            'version', version, 'last', last) FROM bank_account WHERE %s IS NOT NULL""",
    "bank.transfer": """
        SELECT id::text, to_jsonb(t) - 'id' || jsonb_build_object('source_id', source_id::text,
            'target_id', target_id::text) FROM bank_transfer t WHERE trial = %s""",
    "memo": """
        SELECT id::text, jsonb_build_object('owner', owner, 'memo', to_jsonb(a)->'memo') FROM bank_account a
        WHERE %s IS NOT NULL""",
}
"""SQL that gives the id and the document of each row that a client may have; the parameter is the trial's number."""


class Arena:
    """One database with one way of capturing, and the server that watches it.

    ``feed`` is the proxy between the server and PostgreSQL, ``web`` the one between some customers and the server. With
    several ``workers`` the server is a supervisor and these.
    """

    def __init__(self, cluster: Cluster, capture: str, workers: int = 1) -> None:
        self.cluster = cluster
        self.capture = capture
        self.workers = workers
        self.database = f"{DATABASE}_{capture}_{workers}"
        self.ways = ["orm", "update", "sql"] if capture == "triggers" else ["orm"]
        self._trials = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Arena:
        with contextlib.ExitStack() as stack:
            self._prepare_database()
            self.feed = stack.enter_context(Proxy(("127.0.0.1", self.cluster.port)))
            self.server = stack.enter_context(self.new_server(self.feed.port))
            self.web = stack.enter_context(Proxy(("127.0.0.1", self.server.port)))
            self.tellers = [Teller(name, self.environment(self.cluster.port)) for name in ("ann", "ben")]
            for teller in self.tellers:
                stack.callback(teller.stop)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def environment(self, port: int) -> dict[str, str]:
        """Of a process that comes to the database by this port."""
        url = self.cluster.url_of(self.database, port)
        return {"DATABASE_URL": url, "BANK_CAPTURE": self.capture, "DJANGO_SETTINGS_MODULE": SETTINGS}

    def new_server(self, port: int, **env: str) -> DDDPServer:
        """A server of the bank, not started yet, that comes to the database by this port."""
        several = ["--workers", str(self.workers)] if self.workers > 1 else []
        env = {**self.environment(port), **({"BANK_DDDP": WORKERS_DDDP} if several else {}), **env}
        return DDDPServer(SETTINGS, env, options=["-v2", *several])

    @property
    def name(self) -> str:
        """How it captures, and with how many workers."""
        return self.capture + (f", {self.workers} workers" if self.workers > 1 else "")

    def worker_pids(self) -> set[int]:
        """The worker processes that there are now; one that loads new code on trial is none, nor is what has ended."""
        commands = {child.pid: command_of(child) for child in children(self.server.pid)}
        return {pid for pid, command in commands.items() if command and "--check" not in command}

    def _prepare_database(self) -> None:
        self.cluster.execute("postgres", f"CREATE DATABASE {self.database}")
        env = self.environment(self.cluster.port)
        run_django("migrate", "--run-syncdb", "--verbosity=0", settings_module=SETTINGS, env=env)
        self.execute("INSERT INTO bank_branch VALUES (1, 'north', 'A'), (2, 'south', 'A'), (3, 'west', 'B')")
        self.execute(
            "INSERT INTO bank_account (id, branch_id, owner, balance, version, last)"
            " SELECT n, 1 + n %% 3, 'owner ' || n, %s, 0, '' FROM generate_series(1, %s) n",
            OPENING_BALANCE,
            ACCOUNTS,
        )

    def execute(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self.cluster.execute(self.database, statement, *parameters)

    def backends(self, application: str) -> list[int]:
        """Process ids of PostgreSQL's sessions by the application's name; the feed's begin with "dddp "."""
        return [
            pid
            for (pid,) in self.execute(
                "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE %s"
                " AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
                self.database,
                application,
            )
        ]

    def _mend(self) -> None:
        """Undo what a trial that failed has left: the others are not to fail for it."""
        if not self.cluster.running:
            self.cluster.start()
        if not self.server.running:
            self.server.start()
        for link in (self.feed, self.web):
            link.delay = 0.0
            link.accept()
            link.resume()

    def next_trial(self) -> int:
        return next(self._trials)

    @contextlib.contextmanager
    def trial(self, name: str, **options: Any) -> Iterator[Trial]:
        """Everybody at work; all is judged at the end."""
        self._mend()
        trial = Trial(self, name, **options)
        try:
            trial.begin()
            yield trial
            trial.finish()
        except BaseException as error:
            error.add_note(f"The server's log:\n{self.server.text()}")
            raise
        finally:
            trial.leave()


def children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children()


def command_of(process: psutil.Process) -> list[str]:
    """Its arguments; none when it has ended, though its parent may not have taken notice yet."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.cmdline()
    return []


class Trial:
    """One scenario.

    Args:
        wants: what customers want beside the usual.
        customers: how many come directly, and as many through the proxy ``web``.
        work: more for the tellers, see ``bank.teller.Work``.
        accounts: how many the transfers are between.
        servers: those that customers come to directly, in turn.
        tolerant: subscriptions may be refused for other reasons than that the database is away.
    """

    def __init__(
        self,
        arena: Arena,
        name: str,
        *,
        wants: Sequence[Want] = (),
        customers: int = 3,
        work: dict[str, Any] | None = None,
        tolerant: bool = False,
        accounts: int = ACCOUNTS,
        servers: Sequence[DDDPServer] = (),
    ) -> None:
        self.arena = arena
        self.name = name
        self.number = arena.next_trial()
        self.ledger = Ledger()
        self.faults = 0
        self.customers: list[Customer] = []
        self.accounts = accounts
        self._wants = list(wants)
        self._count = customers
        self._work = work or {}
        self._tolerant = tolerant
        self._servers = list(servers) or [arena.server]
        self._online: OnlineTeller | None = None
        self._logged = {server: len(server.log) for server in {*self._servers, arena.server}}

    # --- the test's part

    def fault(self, count: int = 1) -> None:
        """One more fault has been made."""
        self.faults += count

    def progress(self, count: int = 10, *, prefix: str = "") -> None:
        """Wait until so many more transfers have been committed."""
        aim = self.ledger.count(prefix=prefix) + count
        online = self._online
        self.ledger.wait(
            lambda: self.ledger.count(prefix=prefix) >= aim or (online is not None and online.failed),
            PROGRESS_LIMIT,
            f"{count} transfers {prefix}; what went wrong: {self.ledger.errors}",
        )
        if online is not None:
            online.check()

    def let_pass(self, seconds: float) -> None:
        """Let a fault last: its length is the point."""
        time.sleep(seconds)

    def until(self, condition: Callable[[], Any], hope: str, limit: float = 20.0) -> None:
        polling.until(condition, limit, hope)

    # --- beginning and end

    def begin(self) -> None:
        self._opening = self._states()
        web = f"ws://127.0.0.1:{self.arena.web.port}/websocket"
        for number in range(self._count):
            url = self._servers[number % len(self._servers)].url
            self.customers.append(Customer(f"direct {number}", url, self._choice(number)))
            self.customers.append(
                Customer(f"web {number}", web, self._choice(number + 1), resumes=number != 1)
            )
        for teller in self.arena.tellers:
            teller.work(
                self.ledger,
                **{
                    "trial": self.number,
                    "accounts": self.accounts,
                    "ways": self.arena.ways,
                    "seed": self.number,
                    **self._work,
                },
            )
        pause = self._work.get("pause", 0.02)
        self._online = OnlineTeller(
            self._servers[0].url, self.ledger, self.number, self.accounts, self.arena.ways[-1], pause
        )
        self.progress()
        self.progress(1, prefix=ONLINE)

    def _choice(self, number: int) -> list[Want]:
        """What the customer of this number wants, so that there are all classes of queries, alone and overlapping."""
        choices: list[list[Want]] = [
            [("Bank", (self.number,))],
            [("Country", ("A",)), ("Rich", (OPENING_BALANCE,)), ("Statement", (self.number, 1))],
            [("Poorest", (5,)), ("Recent", ("[1-5]",)), ("Statement", (self.number, 2))],
            [("Bank", (self.number,)), ("Poorest", (3,)), ("Recent", ("7",))],
        ]
        return choices[number % len(choices)] + self._wants

    def finish(self) -> None:
        """The moment of truth."""
        if "count" not in self._work:
            self.progress(5)
            self.progress(1, prefix=ONLINE)  # methods are served again, too
        self.rest(finish="count" in self._work)
        self._check_ledger()
        now = self._documents()
        for customer in self.customers:
            customer.converge(self._expected(customer, now), CONVERGENCE_LIMIT)
        messages = self._check_histories()
        self._check_log()
        self._report(messages)

    def rest(self, *, finish: bool = False) -> None:
        """Have all tellers end what they are doing, or with ``finish`` all they were to do."""
        for teller in self.arena.tellers:
            teller.rest(finish=finish)
        if self._online is not None:
            self._online.rest()

    def leave(self) -> None:
        """Go, also after a failure."""
        with contextlib.suppress(AssertionError):
            for teller in self.arena.tellers:
                teller.rest()
        with contextlib.suppress(Exception):
            if self._online is not None:
                self._online.rest()
        for customer in self.customers:
            customer._stopping.set()
            customer.client._hang_up()

    # --- the judge

    def _states(self) -> dict[tuple[str, int], int]:
        rows = self.arena.execute("SELECT id::text, version, balance FROM bank_account")
        return {(key, version): balance for key, version, balance in rows}

    def _made(self) -> set[str]:
        rows = self.arena.execute("SELECT number FROM bank_transfer WHERE trial = %s", self.number)
        return {number for (number,) in rows}

    def _check_ledger(self) -> None:
        """The database keeps its own promises, and the server's answers to methods were true."""
        made, outcomes = self._made(), self.ledger.outcomes
        missing = {number for number, outcome in outcomes.items() if outcome == "committed"} - made
        risen = {number for number, outcome in outcomes.items() if outcome in UNDONE} & made
        strange = made - outcomes.keys()
        if missing or risen or strange:
            raise Broken(
                f"committed and not there: {missing}; undone and there: {risen}; not known: {strange}"
            )

    def _documents(self) -> dict[str, dict[str, Any]]:
        with self.arena.cluster.session(self.arena.database) as cursor:
            documents = {}
            for collection, statement in DOCUMENTS.items():
                cursor.execute(statement, [self.number])
                documents[collection] = dict(cursor.fetchall())
        return documents

    def _expected(self, customer: Customer, now: dict[str, dict[str, Any]]) -> View:
        """A fresh run of the customer's queries."""
        view: View = {}
        for name, params in customer.wants.values():
            for collection, statement in QUERIES[name]:
                keys = self.arena.execute(statement, *params)
                view |= {(collection, str(key)): now[collection][str(key)] for (key,) in keys}
        return view

    def _check_histories(self) -> int:
        states = dict(self._opening)
        for side in ("source", "target"):
            rows = self.arena.execute(
                f"SELECT {side}_id::text, {side}_version, {side}_balance FROM bank_transfer WHERE trial = %s",
                self.number,
            )
            states |= {(key, version): balance for key, version, balance in rows}
        made = self._made()
        clients = [client for customer in self.customers for client in customer.clients]
        online = self._online.clients if self._online is not None else []
        for client in online:
            check_own_writes(client.log)
            check_nothing_vanishes(client.log)
        for customer in self.customers:
            customer.leave()
            if not self._tolerant:
                customer.check_refusals()
            if any(name == "Bank" for name, _ in customer.wants.values()):
                for client in customer.clients:
                    check_nothing_vanishes(client.log)
        return sum(check_history(client.log, states, made) for client in (*clients, *online))

    def _check_log(self) -> None:
        for server, logged in self._logged.items():
            log = server.log[logged:]
            defects = [number for number, line in enumerate(log) if DEFECTS.search(line)]
            if defects:
                raise Broken("a server logged a defect:\n" + "".join(log[defects[0] : defects[0] + 40]))

    def _report(self, messages: int) -> None:
        outcomes = list(self.ledger.outcomes.values())
        changes = 3 * len(self._made())
        TOTALS.update(trials=1, changes=changes, faults=self.faults, clients=len(self.customers))
        returns = sum(customer.returns for customer in self.customers)
        REPORTS.append(
            f"{self.name} ({self.arena.name}): {changes} changes written"
            f" ({outcomes.count('undone')} transfers undone, {outcomes.count('failed')} failed,"
            f" {outcomes.count('unknown')} unknown),"
            f" {self.faults} faults injected, {len(self.customers)} clients checked"
            f" ({messages} messages, {returns} returns), lost = 0"
        )
