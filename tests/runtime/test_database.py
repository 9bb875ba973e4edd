"""Methods and publications whose database is slow, away, or fails them again and again."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project, error_of
from tests.strict import RemoteError

FAILURES = int(os.environ.get("DDDP_FAILURES", "400"))


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"STATEMENT_TIME_LIMIT": 0.5, "HANDLER_POOL_SIZE": 4, "READ_POOL_SIZE": 2}


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    with project.client() as client:
        yield client


@contextlib.contextmanager
def locked(project: Project, number: int) -> Iterator[None]:
    """Somebody else has this advisory lock."""
    with contextlib.closing(psycopg2.connect(project.database)) as pgconn:
        pgconn.cursor().execute("SELECT pg_advisory_lock(%s)", [number])
        yield


def connections(project: Project) -> int:
    """Connections to the database, that of this question not counted."""
    of_server = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return int(project.execute(of_server)[0][0])


def test_statement_past_its_time_limit_is_a_stated_error(project: Project, client: StrictClient) -> None:
    """It gives the connection back: the next call has it."""
    client.subscribed("Books")
    with locked(project, 7):
        error = error_of(client, "lock_then_add", 7, "Emma")
    assert (error.error, str(error.reason).startswith("The database took too long")) == (503, True)

    assert str(client.call("lock_then_add", 7, "Persuasion")) in client.documents("shop.book")


def test_all_handlers_that_hang_are_free_again(project: Project) -> None:
    clients = [project.client() for _ in range(8)]
    with locked(project, 7):
        calls = [client.invoke("lock_then_add", 7, "Emma") for client in clients]
        for client, call in zip(clients, calls, strict=True):
            with pytest.raises(RemoteError):
                client.wait_done(call)
    assert clients[0].call("echo", 1) == 1
    for client in clients:
        client.close()


def test_failing_calls_leave_no_connection_behind(project: Project, client: StrictClient) -> None:
    """``DDDP_FAILURES`` sets how many."""
    for number in range(FAILURES):
        kind = ("zero", "meteor", "missing", "timeout", "exit")[number % 5]
        error_of(client, "raising", kind)
        if number % 5 == 0:
            with pytest.raises(RemoteError):
                client.wait_ready(client.subscribe("DividedBooks", "no such parameter"))

    assert client.call("echo", 1) == 1
    assert connections(project) <= 4 + 2 + 1  # handlers, readers, listener
    assert project.execute("SELECT count(*) FROM shop_book") == [(0,)]
