"""psycopg2 waits in its greenlet only."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import gevent
import psycopg2
import pytest
from psycopg2 import extensions

from dddp.feed.cooperative import limit_waits, make_psycopg2_cooperative

PATIENCE = 10.0  # seconds


@pytest.fixture(autouse=True)
def cooperative() -> Iterator[None]:
    make_psycopg2_cooperative()
    yield
    extensions.set_wait_callback(None)


def test_others_run_while_a_query_waits(connect):
    """One greenlet waits for a lock that the other, on the same thread, releases."""
    holder, waiter = connect(), connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7)")

    def wait_for_lock() -> str:
        with waiter.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7)")
        return "done"

    greenlet = gevent.spawn(wait_for_lock)
    gevent.sleep(0)
    assert not greenlet.ready()
    holder.rollback()

    assert greenlet.get(timeout=PATIENCE) == "done"


def test_errors_are_raised_as_ever(connect):
    with connect().cursor() as cursor, pytest.raises(psycopg2.errors.DivisionByZero):
        cursor.execute("SELECT 1/0")


def test_connect_timeout_is_honoured():
    """A server that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with gevent.Timeout(PATIENCE), pytest.raises(psycopg2.OperationalError, match="timeout"):
            psycopg2.connect(f"host=127.0.0.1 port={port} dbname=x connect_timeout=1")


def test_wait_past_the_greenlets_limit_ends_the_connection(connect):
    """As over a network that went silent: PostgreSQL's answer never comes."""
    holder, waiter = connect(), connect()
    with holder.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(7)")

    def wait_for_lock() -> None:
        limit_waits(0.2)
        with waiter.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(7)")

    with pytest.raises(psycopg2.OperationalError, match="timeout"):
        gevent.spawn(wait_for_lock).get(timeout=PATIENCE)
    assert waiter.closed


def test_limit_of_one_greenlet_is_not_that_of_another(connect):
    gevent.spawn(limit_waits, 0.001).join()

    with connect().cursor() as cursor:
        cursor.execute("SELECT pg_sleep(0.05)")
