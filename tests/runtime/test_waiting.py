"""Clients whose turn does not come in time, since all handlers are busy: they are told so, and may try again."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from tests.runtime.conftest import Project
from tests.runtime.raw import TIME_LIMIT

LOCKS = (4711, 4712)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"HANDLER_POOL_SIZE": len(LOCKS), "HANDLERS_PER_CLIENT": 1, "HANDLER_WAIT_LIMIT": 0.3}


@contextlib.contextmanager
def busy(project: Project) -> Iterator[None]:
    """All handlers wait for locks of ours."""
    with contextlib.closing(psycopg2.connect(project.database)) as pgconn, contextlib.ExitStack() as clients:
        for lock in LOCKS:
            pgconn.cursor().execute("SELECT pg_advisory_lock(%s)", [lock])
            client = clients.enter_context(project.connected())
            call = {"msg": "method", "id": "1", "method": "lock_then_add", "params": [lock, "late"]}
            client.send_messages(call)
        wait_for_waiters(project, len(LOCKS))
        yield
        pgconn.close()
        wait_for_waiters(project, 0)


def wait_for_waiters(project: Project, count: int) -> None:
    give_up = time.monotonic() + TIME_LIMIT
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    while project.execute(waiting)[0][0] != count:
        assert time.monotonic() < give_up
        time.sleep(0.01)


def error_of(message: Any) -> tuple[Any, Any]:
    return message["error"]["error"], message["error"]["reason"]


def test_method_that_no_handler_is_free_for_is_told_so(project: Project) -> None:
    with project.connected() as client:
        with busy(project):
            client.send_messages({"msg": "method", "id": "2", "method": "add", "params": [1, 2]})
            updated, result = map(json.loads, client.receive_some(2))
        client.send_messages({"msg": "method", "id": "3", "method": "add", "params": [1, 2]})
        later = [json.loads(text)["msg"] for text in client.receive_some(2)]

    assert updated == {"msg": "updated", "methods": ["2"]}
    assert error_of(result) == (503, "The server is too busy; try again later")
    assert later == ["updated", "result"]


def test_subscription_that_no_handler_is_free_for_is_told_so(project: Project) -> None:
    with project.connected() as client:
        with busy(project):
            client.send_messages({"msg": "sub", "id": "s", "name": "Gated", "params": ["never"]})
            nosub = json.loads(client.receive())
        client.send_messages({"msg": "sub", "id": "s", "name": "BooksByPrice", "params": [1]})
        answer = json.loads(client.drain()[-1])

    assert nosub["msg"] == "nosub"
    assert error_of(nosub) == (503, "The server is too busy; try again later")
    assert answer.get("id") == "s" or answer.get("subs") == ["s"]


def test_client_that_is_told_so_has_its_next_message_handled(project: Project) -> None:
    with project.connected() as client, busy(project):
        for id in ("1", "2"):
            client.send_messages({"msg": "method", "id": id, "method": "add", "params": [1, 2]})
        answers = [json.loads(text) for text in client.receive_some(4)]

    assert [answer["id"] for answer in answers if answer["msg"] == "result"] == ["1", "2"]
