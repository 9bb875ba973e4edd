"""What PostgreSQL runs out of, and transactions that fail each other, while transfers go on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2
import pytest

from tests.faults.arena import Arena, Trial
from tests.faults.faults import OTHERS, end_sessions

pytestmark = pytest.mark.parametrize("arena", ["triggers"], indirect=True, scope="module")

MEGABYTE = 1024 * 1024


@pytest.fixture
def large_ledger(arena: Arena) -> Iterator[None]:
    """More than a megabyte of old transfers."""
    arena.execute(
        "INSERT INTO bank_transfer (number, trial, source_id, target_id, amount, source_version, source_balance,"
        " target_version, target_balance) SELECT 'old-' || n, -1, 1, 2, 0, 0, 0, 0, 0 FROM generate_series(1, 15000) n"
    )
    yield
    arena.execute("DELETE FROM bank_transfer WHERE trial = -1")


def test_disk_full(arena: Arena, large_ledger: None) -> None:
    """Files of PostgreSQL's new sessions cannot grow past a megabyte, as on a disk that is full: writers fail."""
    with arena.trial("the disk is full for a while") as trial:
        with limited_files(arena, MEGABYTE):
            end_sessions(trial, OTHERS)
            failures = trial.ledger.count("failed")
            trial.until(lambda: trial.ledger.count("failed") >= failures + 20, "transfers that fail")
            trial.fault()
        end_sessions(trial, OTHERS)
        trial.progress()


@contextlib.contextmanager
def limited_files(arena: Arena, size: int) -> Iterator[None]:
    arena.cluster.limit_files(str(size))
    yield
    arena.cluster.limit_files("unlimited")


def test_notification_queue_full(arena: Arena) -> None:
    """A session that listens keeps its transaction open until the queue is full: every commit that notifies fails."""
    with arena.trial("the notification queue is full for a while") as trial, listening_hog(arena) as hog:
        fill_the_queue(arena)
        trial.fault()
        failures = trial.ledger.count("unknown")
        trial.until(lambda: trial.ledger.count("unknown") >= failures + 20, "commits that fail")
        hog.rollback()
        trial.progress()


@contextlib.contextmanager
def listening_hog(arena: Arena) -> Iterator[psycopg2.extensions.connection]:
    with contextlib.closing(psycopg2.connect(arena.cluster.url_of(arena.database))) as pgconn:
        cursor = pgconn.cursor()
        cursor.execute("SET idle_in_transaction_session_timeout = 0")
        cursor.execute("LISTEN flood")
        pgconn.commit()
        cursor.execute("SELECT 1")
        yield pgconn


def fill_the_queue(arena: Arena) -> None:
    with (
        arena.cluster.session(arena.database) as cursor,
        contextlib.suppress(psycopg2.errors.ProgramLimitExceeded, psycopg2.OperationalError),
    ):
        for number in range(1000):
            cursor.execute("SELECT pg_notify('flood', repeat('x', 7000) || %s)", [str(number)])


def test_deadlocks(arena: Arena) -> None:
    """Writers lock four accounts in any order; PostgreSQL ends one of each pair in a deadlock."""
    with arena.trial("deadlocks", accounts=4, work={"orderly": False, "pause": 0.0}) as trial:
        before = deadlocks(arena)
        trial.until(lambda: deadlocks(arena) >= before + 5, "deadlocks")
        trial.fault(deadlocks(arena) - before)


def deadlocks(arena: Arena) -> int:
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    return int(arena.execute(query)[0][0])


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_transactions_that_cannot_be_serialized(arena: Arena, level: str) -> None:
    session = f"SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL {level}"
    work = {"session": session, "pause": 0.0}
    with arena.trial(f"writers that are {level}", accounts=6, work=work) as trial:
        trial.progress(50)
        count_failed(trial)


def test_lock_timeouts(arena: Arena) -> None:
    work = {"session": "SET lock_timeout = '5ms'", "pause": 0.0}
    with arena.trial("writers that do not wait for locks", accounts=4, work=work) as trial:
        trial.progress(50)
        count_failed(trial)


def count_failed(trial: Trial) -> None:
    trial.until(lambda: trial.ledger.count("failed") >= 5, "transactions that fail each other")
    trial.fault(trial.ledger.count("failed"))
