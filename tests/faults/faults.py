"""Faults by name, each a function of the trial: for the scenarios, one by one, and for the soak, at random.

A fault ends what it began: when the function returns, nothing stands in the way of life going on.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass
from typing import Any

import psycopg2

from tests.faults.arena import Trial
from tests.faults.tellers import ONLINE

__all__ = ["ANYWHERE", "FAULTS", "FEED", "OF_WORKERS", "OTHERS", "Fault", "end_sessions"]

HEARTBEAT = 1.0  # seconds, as in the bank's settings
FEED = "dddp %"
OTHERS = ""
"""Names of PostgreSQL's sessions: that of the feed, those of readers and handlers (the tellers have it too)."""

LOCK_PATIENCE = "SET lock_timeout = '200ms'"


@dataclass(frozen=True)
class Fault:
    """One kind of fault; its name is the function's, its description the docstring."""

    name: str
    description: str
    make: Callable[[Trial], None]
    kind: str  #: where it happens


FAULTS: dict[str, Fault] = {}


def fault(kind: str) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    def register(make: Callable[[Trial], None]) -> Callable[[Trial], None]:
        assert make.__doc__ is not None
        FAULTS[make.__name__] = Fault(make.__name__, make.__doc__.splitlines()[0].rstrip("."), make, kind)
        return make

    return register


# --- PostgreSQL


@fault("postgres")
def restarted_fast(trial: Trial) -> None:
    """PostgreSQL is restarted in order (``fast``)."""
    trial.arena.cluster.restart("fast")
    trial.fault()


@fault("postgres")
def restarted_immediate(trial: Trial) -> None:
    """PostgreSQL is restarted without order (``immediate``) and recovers."""
    trial.arena.cluster.restart("immediate")
    trial.fault()


@fault("postgres")
def killed(trial: Trial) -> None:
    """All processes of PostgreSQL are killed (``kill -9``), as by a loss of power, and it is started again."""
    trial.arena.cluster.kill()
    trial.arena.cluster.start()
    trial.fault()


@fault("postgres")
def away_for_seconds(trial: Trial) -> None:
    """PostgreSQL is stopped, stays away for 2 s, and is started again."""
    trial.arena.cluster.stop("fast")
    trial.let_pass(2)
    trial.arena.cluster.start()
    trial.fault()


@fault("postgres")
def restarted_twice(trial: Trial) -> None:
    """PostgreSQL is restarted, and again as soon as it is back."""
    for _ in range(2):
        trial.arena.cluster.restart("fast")
        trial.fault()


@fault("postgres")
def backend_killed(trial: Trial) -> None:
    """The listener's backend is killed (``kill -9``): PostgreSQL ends all sessions and recovers."""
    trial.until(lambda: trial.arena.backends(FEED), "a listener")
    with trial.arena.cluster.session("postgres") as cursor:
        for pid in trial.arena.backends(FEED):
            os.kill(pid, signal.SIGKILL)
        trial.fault()
        with contextlib.suppress(psycopg2.OperationalError):
            cursor.execute("SELECT pg_sleep(20)")  # until PostgreSQL has noticed
            raise AssertionError("a killed backend does not end the others")
    trial.arena.cluster.wait_ready()


@fault("postgres")
def backend_stopped(trial: Trial) -> None:
    """The listener's backend hangs (``SIGSTOP``) for three heartbeats, and goes on."""
    pids = trial.arena.backends(FEED)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    trial.fault()
    trial.let_pass(3 * HEARTBEAT)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@fault("postgres")
def listener_terminated(trial: Trial) -> None:
    """The listener's backend is terminated (``pg_terminate_backend``)."""
    end_sessions(trial, FEED)


@fault("postgres")
def listener_terminated_again_and_again(trial: Trial) -> None:
    """The listener's backend is terminated eight times, each time it is there again."""
    for _ in range(8):
        trial.until(lambda: trial.arena.backends(FEED), "a listener")
        end_sessions(trial, FEED)


@fault("postgres")
def readers_and_handlers_terminated(trial: Trial) -> None:
    """All sessions but the listener's are terminated, readers, handlers and other writers."""
    end_sessions(trial, OTHERS)


@fault("postgres")
def all_sessions_terminated(trial: Trial) -> None:
    """All sessions are terminated, three times."""
    for _ in range(3):
        end_sessions(trial, "%")


@fault("postgres")
def statements_cancelled(trial: Trial) -> None:
    """What all sessions are doing is cancelled (``pg_cancel_backend``), ten times and until a transfer fails by it."""
    before = trial.ledger.failures("user request")

    def cancelled() -> bool:
        end_sessions(trial, "%", "pg_cancel_backend")
        return trial.ledger.failures("user request") > before

    for _ in range(10):
        cancelled()
    trial.until(cancelled, "a transfer that was cancelled")


def end_sessions(trial: Trial, application: str, function: str = "pg_terminate_backend") -> None:
    trial.arena.execute(
        f"SELECT {function}(pid) FROM pg_stat_activity WHERE datname = %s AND application_name LIKE %s"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()",
        trial.arena.database,
        application,
    )
    trial.fault()


# --- the link between the server and PostgreSQL


@fault("feed link")
def feed_frozen_shortly(trial: Trial) -> None:
    """The link to PostgreSQL freezes three times, for less than a heartbeat."""
    for _ in range(3):
        frozen(trial, trial.arena.feed, HEARTBEAT / 2)


@fault("feed link")
def feed_frozen(trial: Trial) -> None:
    """The link to PostgreSQL freezes for longer than its death takes to be noticed, then goes on."""
    frozen(trial, trial.arena.feed, float(os.environ.get("DDDP_FREEZE_SECONDS", 3 * HEARTBEAT)))


@fault("feed link")
def feed_stranded(trial: Trial) -> None:
    """The links to PostgreSQL stay silent for ever, as after a firewall has forgotten them; new ones work."""
    trial.arena.feed.strand()
    trial.fault()


@fault("feed link")
def feed_cut(trial: Trial) -> None:
    """The links to PostgreSQL are cut."""
    trial.arena.feed.cut()
    trial.fault()


@fault("feed link")
def feed_cut_again_and_again(trial: Trial) -> None:
    """The links to PostgreSQL are cut ten times within two seconds."""
    for _ in range(10):
        trial.arena.feed.cut()
        trial.fault()
        trial.let_pass(0.2)


@fault("feed link")
def feed_refused(trial: Trial) -> None:
    """The server's connections to PostgreSQL are cut, and refused for 2 s."""
    trial.arena.feed.refuse()
    trial.let_pass(2)
    trial.arena.feed.accept()
    trial.fault()


@fault("feed link")
def feed_delayed(trial: Trial) -> None:
    """Each byte to and from PostgreSQL takes 100 ms for a while."""
    delayed(trial, trial.arena.feed, 0.1)


# --- the link between clients and the server


@fault("client link")
def clients_cut(trial: Trial) -> None:
    """The clients' links are cut, three times."""
    for _ in range(3):
        trial.arena.web.cut()
        trial.fault()
        trial.let_pass(0.3)


@fault("client link")
def clients_frozen(trial: Trial) -> None:
    """The clients' links freeze for seconds, then go on."""
    frozen(trial, trial.arena.web, float(os.environ.get("DDDP_FREEZE_SECONDS", 2)))


@fault("client link")
def clients_refused(trial: Trial) -> None:
    """The clients' links are cut, and refused for 1 s."""
    trial.arena.web.refuse()
    trial.let_pass(1)
    trial.arena.web.accept()
    trial.fault()


@fault("client link")
def clients_delayed(trial: Trial) -> None:
    """Each byte to and from the clients takes 200 ms for a while."""
    delayed(trial, trial.arena.web, 0.2)


@fault("client link")
def both_links_cut(trial: Trial) -> None:
    """The clients' links and those to PostgreSQL are cut at once, twice."""
    for _ in range(2):
        trial.arena.web.cut()
        trial.arena.feed.cut()
        trial.fault(2)
        trial.let_pass(0.5)


def frozen(trial: Trial, link: Any, seconds: float) -> None:
    link.freeze()
    trial.let_pass(seconds)
    link.resume()
    trial.fault()
    trial.let_pass(0.1)


def delayed(trial: Trial, link: Any, seconds: float) -> None:
    link.delay = seconds
    trial.let_pass(2)
    link.delay = 0.0
    trial.fault()


# --- the server


@fault("server")
def server_killed(trial: Trial) -> None:
    """The server is killed (``kill -9``) and started again."""
    trial.arena.server.kill()
    trial.arena.server.start()
    trial.fault()


@fault("server")
def server_restarted(trial: Trial) -> None:
    """The server is stopped in order (``SIGTERM``) and started again."""
    trial.arena.server.restart()
    trial.fault()


@fault("server")
def server_stopped(trial: Trial) -> None:
    """The server hangs (``SIGSTOP``) for three heartbeats, and goes on."""
    os.kill(trial.arena.server.pid, signal.SIGSTOP)
    trial.let_pass(3 * HEARTBEAT)
    os.kill(trial.arena.server.pid, signal.SIGCONT)
    trial.fault()


@fault("server")
def server_killed_while_postgres_is_away(trial: Trial) -> None:
    """PostgreSQL is restarted and the server is killed meanwhile; both come back."""
    trial.arena.cluster.stop("immediate")
    trial.arena.server.kill()
    trial.arena.cluster.start()
    trial.arena.server.start()
    trial.fault(2)


# --- what PostgreSQL runs out of


@fault("resources")
def too_many_connections(trial: Trial) -> None:
    """All connections are taken (53300) while the server's are cut."""
    with contextlib.ExitStack() as hogs, trial.arena.cluster.session(trial.arena.database) as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity")
        trial.arena.feed.cut()
        with contextlib.suppress(psycopg2.OperationalError):
            while True:
                hogs.enter_context(trial.arena.cluster.session("postgres"))
        trial.fault()
        trial.let_pass(1.5)


@fault("resources")
def table_locked(trial: Trial) -> None:
    """A table is locked (``ACCESS EXCLUSIVE``) for a second: writers, reads and methods wait."""
    with exclusively(trial, "bank_account"):
        trial.let_pass(1)


@fault("resources")
def table_locked_for_long(trial: Trial) -> None:
    """A table is locked past the time limits, methods or queries fail with 503, and the listener is terminated."""

    def failures() -> int:
        return trial.ledger.count("failed", ONLINE) + sum(len(each.refusals) for each in trial.customers)

    before = failures()
    with exclusively(trial, "bank_account"):
        end_sessions(trial, FEED)
        trial.let_pass(4)
        trial.until(lambda: failures() > before, "a method or a query that fails")


@fault("resources")
def statements_time_out(trial: Trial) -> None:
    """Statements of new sessions time out after 3 ms for a second, while a table is locked: who needs it fails."""
    alter = f"ALTER DATABASE {trial.arena.database}"
    before = trial.ledger.failures("statement timeout")
    with exclusively(trial, "bank_account"):
        trial.arena.execute(f"{alter} SET statement_timeout = '3ms'")
        try:
            end_sessions(trial, OTHERS)
            trial.let_pass(1)
        finally:
            trial.arena.cluster.execute("postgres", f"{alter} RESET statement_timeout")
        trial.until(lambda: trial.ledger.failures("statement timeout") > before, "statements that time out")
    end_sessions(trial, OTHERS)


@contextlib.contextmanager
def exclusively(trial: Trial, table: str) -> Iterator[None]:
    url = trial.arena.cluster.url_of(trial.arena.database)
    unlimited = "-c idle_in_transaction_session_timeout=0 -c statement_timeout=0"
    with contextlib.closing(psycopg2.connect(url, application_name="lock", options=unlimited)) as pgconn:
        pgconn.cursor().execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        trial.fault()
        yield
        pgconn.rollback()


# --- the schema, under load


@fault("schema")
def column_added_and_dropped(trial: Trial) -> None:
    """A column that the server does not know is added, filled, and dropped."""
    alter_table(trial, "bank_account", "ADD COLUMN more integer NOT NULL DEFAULT 0")
    trial.progress(10)
    alter_table(trial, "bank_account", "DROP COLUMN more")


@fault("schema")
def column_lost_and_back(trial: Trial) -> None:
    """A column that is published but not written is dropped and added again."""
    alter_table(trial, "bank_account", "DROP COLUMN memo")
    trial.let_pass(0.5)
    alter_table(trial, "bank_account", "ADD COLUMN memo text")


@fault("schema")
def table_rewritten(trial: Trial) -> None:
    """Tables are rewritten by VACUUM FULL and their indexes made anew."""
    for statement in ("VACUUM FULL bank_account", "REINDEX TABLE bank_transfer", "VACUUM FULL bank_transfer"):
        attempt(trial, statement)
        trial.fault()


def alter_table(trial: Trial, table: str, change: str) -> None:
    attempt(trial, f"ALTER TABLE {table} {change}")
    trial.fault()


def attempt(trial: Trial, statement: str) -> None:
    """Run a statement that needs a lock, as a careful administrator does: wait briefly, and try again."""

    def done() -> bool:
        try:
            with trial.arena.cluster.session(trial.arena.database) as cursor:
                cursor.execute(LOCK_PATIENCE)
                cursor.execute(statement)
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            return False
        return True

    trial.until(done, statement)


# --- several workers; what needs them cannot be done to a server that is one process


@fault("workers")
def workers_killed(trial: Trial) -> None:
    """Each worker is killed (``kill -9``) while it serves, one after the other."""
    for pid in steady_workers(trial):
        harm(trial, {pid}, signal.SIGKILL)
        trial.progress(5)


@fault("workers")
def all_workers_killed(trial: Trial) -> None:
    """All workers are killed at once."""
    harm(trial, steady_workers(trial), signal.SIGKILL)


@fault("workers")
def starting_worker_killed(trial: Trial) -> None:
    """A worker is killed, and so is its successor before it serves."""
    before = steady_workers(trial)
    send({min(before)}, signal.SIGKILL)
    trial.fault()
    harm(trial, successors(trial, before), signal.SIGKILL)


@fault("workers")
def draining_worker_killed(trial: Trial) -> None:
    """A worker is told to stop (``SIGTERM``), and killed while it drains."""
    harm(trial, {min(steady_workers(trial))}, signal.SIGTERM, signal.SIGKILL)


@fault("workers")
def worker_hangs(trial: Trial) -> None:
    """A worker hangs (``SIGSTOP``); its supervisor replaces it."""
    harm(trial, {min(steady_workers(trial))}, signal.SIGSTOP)


@fault("workers")
def all_hang(trial: Trial) -> None:
    """All workers and their supervisor hang past ``WORKER_TIME_LIMIT``, as in a container that is paused, and go on."""
    workers = steady_workers(trial)
    pids = {trial.arena.server.pid, *workers}
    send(pids, signal.SIGSTOP)
    trial.let_pass(6)
    send(pids, signal.SIGCONT)
    trial.fault()
    trial.progress(5)
    assert trial.arena.worker_pids() == workers, "nobody was silent: the supervisor did not listen"


@fault("workers")
def reloaded(trial: Trial) -> None:
    """New code is brought in (``SIGHUP``), one worker after the other."""
    before = steady_workers(trial)
    with reloading(trial):
        trial.fault()
    steady_workers(trial, before)


@fault("workers")
def old_worker_killed_while_reloading(trial: Trial) -> None:
    """New code is brought in, and a worker of the old code is killed before its successor serves."""
    before = steady_workers(trial)
    with reloading(trial):
        successors(trial, before)
        send({max(before)}, signal.SIGKILL)
        trial.fault(2)
    steady_workers(trial, before)


@fault("workers")
def new_worker_killed_while_reloading(trial: Trial) -> None:
    """New code is brought in, and its first worker is killed before it serves: those of the old code stay."""
    before = steady_workers(trial)
    with reloading(trial):
        harm(trial, successors(trial, before), signal.SIGKILL)


@fault("workers")
def workers_killed_and_reloaded_while_postgres_is_away(trial: Trial) -> None:
    """PostgreSQL is away, all workers are killed, and new code is brought in; none can start before PostgreSQL does."""
    before = steady_workers(trial)
    trial.arena.cluster.stop("fast")
    send(before, signal.SIGKILL)
    trial.let_pass(1)
    send({trial.arena.server.pid}, signal.SIGHUP)
    trial.let_pass(3)
    trial.arena.cluster.start()
    trial.fault(3)
    steady_workers(trial, before)


LOOKS = 20  # at the workers, 10 ms apart, before what is seen counts: one may be about to come or go
REPLACED = 60.0  # seconds: a worker that dies young again and again is replaced after up to 30


@contextlib.contextmanager
def reloading(trial: Trial) -> Iterator[None]:
    """A reload, from its signal to what its supervisor says at its end."""
    server = trial.arena.server
    since = len(server.log)
    send({server.pid}, signal.SIGHUP)
    yield
    over = "all workers run the new code|those of the old code stay|the old one goes on"
    server.wait_for_log(over, since=since, time_limit=REPLACED)


def steady_workers(trial: Trial, gone: Set[int] = frozenset()) -> set[int]:
    """The workers, when each place has one, none of them ``gone``, and none is on its way in or out."""
    looks: deque[frozenset[int]] = deque(maxlen=LOOKS)

    def steady() -> bool:
        looks.append(frozenset(trial.arena.worker_pids()))
        first = looks[0]
        return looks.count(first) == LOOKS and len(first) == trial.arena.workers and not first & gone

    trial.until(steady, f"as many workers as there should be, without {set(gone)}", REPLACED)
    return set(looks[0])


def send(pids: set[int], *signals: signal.Signals) -> None:
    for pid in pids:
        for number in signals:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def harm(trial: Trial, pids: set[int], *signals: signal.Signals) -> None:
    """Send workers signals, and wait until others have taken their places."""
    send(pids, *signals)
    trial.fault(len(pids))
    steady_workers(trial, pids)


def replaced(trial: Trial, gone: set[int]) -> bool:
    """Whether there are as many workers as there should be, none of them among those that had to go."""
    now = trial.arena.worker_pids()
    return len(now) == trial.arena.workers and not now & gone


def successors(trial: Trial, before: set[int]) -> set[int]:
    """The first workers that were not there before.

    Each is seen several times: the process that tries new code looks like a worker until it has become a program.
    """
    looks: deque[set[int]] = deque([set()] * LOOKS, maxlen=LOOKS)

    def found() -> set[int]:
        looks.append(trial.arena.worker_pids() - before)
        return set.intersection(*looks)

    trial.until(found, "a successor", REPLACED)
    return set.intersection(*looks)


OF_WORKERS = [name for name, fault in FAULTS.items() if fault.kind == "workers"]
ANYWHERE = [name for name in FAULTS if name not in OF_WORKERS]
"""What is done to a server whether it is one process or several."""
