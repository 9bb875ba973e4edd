"""Heartbeats (ddp-wire 3), with an interval short enough to wait for."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import pytest

from tests.runtime.conftest import Project
from tests.runtime.raw import CONNECT, GREETING, RawClient

INTERVAL = 0.4


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"HEARTBEAT_INTERVAL": INTERVAL}


def test_idle_client_is_pinged_without_an_id(project: Project) -> None:
    with project.connected() as client:
        assert client.receive() == '{"msg":"ping"}'


def test_client_that_answers_stays(project: Project) -> None:
    with project.connected() as client:
        for _ in range(4):
            assert client.receive() == '{"msg":"ping"}'
            client.send('{"msg":"pong"}')
        assert client.ask('{"msg":"ping","id":"alive"}') == '{"msg":"pong","id":"alive"}'


def test_any_message_counts_as_life(project: Project) -> None:
    with project.connected() as client:
        for number in range(4):
            assert client.receive() == '{"msg":"ping"}'
            client.send(f'{{"msg":"unsub","id":"{number}"}}')
            assert client.receive() == f'{{"msg":"nosub","id":"{number}"}}'


def test_silent_client_is_dropped_with_1000(project: Project) -> None:
    with project.connected() as client:
        assert client.receive() == '{"msg":"ping"}'
        assert client.receive_close() == (1000, "Normal closure")


def test_frozen_client_is_gone_soon_also_when_its_socket_takes_no_more(project: Project) -> None:
    """It does not even take the ping; nothing of it is left."""
    large = json.dumps({"msg": "ping", "id": "x" * 1_000_000})
    with project.connected() as other:
        before = held(other)
        with contextlib.closing(frozen(project)) as client:
            client.send(*[large] * 12)
            end = time.monotonic() + 3 * INTERVAL + SLACK
            assert held(other) != before
            while held(other) != before:
                assert time.monotonic() < end


SLACK = 3.0
"""Seconds for a busy machine."""


def frozen(project: Project) -> RawClient:
    """A client that reads nothing from now on."""
    client = project.raw()
    client.send(CONNECT)
    return client


def held(client: RawClient) -> Any:
    """What the server's process holds for its clients."""
    client.send_messages({"msg": "method", "id": "1", "method": "counts"})
    while "result" not in (message := json.loads(client.receive())):
        pass
    return message["result"]


def test_client_that_talks_is_not_pinged(project: Project) -> None:
    with project.connected() as client:
        end = time.monotonic() + 4 * INTERVAL
        while time.monotonic() < end:
            assert client.ask('{"msg":"ping"}') == '{"msg":"pong"}'


def test_client_that_never_connects_is_dropped_with_1000(project: Project) -> None:
    with project.raw() as client:
        assert client.receive() == GREETING
        assert client.receive_close() == (1000, "Normal closure")


def test_pre1_is_never_pinged(project: Project) -> None:
    with project.raw() as client, project.connected() as other:
        client.receive()
        client.send('{"msg":"connect","version":"pre1","support":["pre1"]}')
        client.receive_some(3)
        for _ in range(4):
            assert other.receive() == '{"msg":"ping"}'
            other.send('{"msg":"pong"}')
        client.send('{"msg":"unsub","id":"x"}')
        assert client.receive() == '{"msg":"nosub","id":"x"}'
