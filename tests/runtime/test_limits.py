"""What a client may cost is what the settings say: each of them reaches the place where it counts."""

from __future__ import annotations

import contextlib
import json
import secrets
import socket
from typing import Any

import pytest
import websocket

from dddp.transport.deflate import inflate
from tests.runtime.conftest import Project
from tests.runtime.raw import TIME_LIMIT, RawClient
from tests.transport.peers import UPGRADE, close, text

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate"


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {
        "MESSAGE_SIZE_LIMIT": 2000,
        "NESTING_LIMIT": 10,
        "SUBSCRIPTIONS_LIMIT": 2,
        "SESSIONS_PER_ADDRESS": 2,
        "FORWARDED_COUNT": 1,
        "HANDSHAKE_TIME_LIMIT": 0.2,
        "COMPRESSION_THRESHOLD": 10,
        "CONNECTIONS_LIMIT": 5,
        "CONTAINERS_LIMIT": 100,
        "CLIENT_MEMORY_LIMIT": 3000,
    }


def connect(project: Project, *headers: str) -> websocket.WebSocket:
    return websocket.create_connection(project.server.url, timeout=TIME_LIMIT, header=list(headers))


def test_sessions_are_counted_for_each_address_the_proxy_names(project: Project) -> None:
    first, second, other = ([f"X-Forwarded-For: 192.0.2.{number}"] for number in (1, 1, 2))
    clients = [connect(project, *each) for each in (first, second, other)]
    try:
        with pytest.raises(websocket.WebSocketBadStatusException, match="429 Too Many Requests"):
            connect(project, "X-Forwarded-For: 192.0.2.1")
    finally:
        for client in clients:
            client.shutdown()


def test_message_that_nests_more_than_it_may_is_refused(project: Project) -> None:
    with RawClient(project.server.url) as client:
        client.connect()
        answers = [
            json.loads(client.ask('{"msg":"ping","a":%s}' % ("[" * depth + "]" * depth)))["msg"]
            for depth in (9, 10)
        ]

    assert answers == ["pong", "error"]


def test_message_larger_than_it_may_be_closes_1009(project: Project) -> None:
    with RawClient(project.server.url) as client:
        client.connect()
        client.send(" " * 2001)

        assert client.receive_close()[0] == 1009


def test_request_that_takes_longer_than_it_may_ends(project: Project) -> None:
    with socket.create_connection(("127.0.0.1", project.server.port), timeout=TIME_LIMIT) as client:
        client.sendall(b"GET /websocket HTTP/1.1\r\nHost: ")

        assert client.recv(4096)[:12] in (b"", b"HTTP/1.1 400")


def test_messages_from_the_threshold_on_are_compressed(project: Project) -> None:
    """The greeting would not become shorter; the message that is echoed does."""
    head = "\r\n".join(["GET /websocket HTTP/1.1", "Host: localhost", *UPGRADE, DEFLATE, "", ""])
    with socket.create_connection(("127.0.0.1", project.server.port), timeout=TIME_LIMIT) as client:
        client.sendall(head.encode() + text(json.dumps(["a" * 500])) + close(1000))
        answer = b"".join(iter(lambda: client.recv(4096), b""))

    behind = answer.partition(b"\r\n\r\n")[2].removeprefix(b'\x81\x11{"server_id":"0"}')
    assert behind[:1] == b"\xc1"
    assert b"a" * 500 in inflate(behind[2 : 2 + behind[1]], 1000)


def test_connections_beyond_the_limit_end_those_that_wait(project: Project) -> None:
    with contextlib.ExitStack() as connections:
        address = ("127.0.0.1", project.server.port)
        idle = [
            connections.enter_context(socket.create_connection(address, timeout=TIME_LIMIT)) for _ in range(6)
        ]

        assert idle[0].recv(1) == b""


def test_message_with_more_containers_than_it_may_have_is_refused(project: Project) -> None:
    with project.connected() as client:
        answers = [
            json.loads(client.ask(json.dumps({"msg": "ping", "a": [[]] * count})))["msg"]
            for count in (98, 99)
        ]

    assert answers == ["pong", "error"]


def test_messages_that_wait_are_bounded_by_their_size_together(project: Project) -> None:
    gate = secrets.token_hex(4)
    with project.connected() as client:
        client.send_messages({"msg": "method", "id": "1", "method": "wait", "params": [gate]})
        for number in range(3):
            client.send_messages(
                {"msg": "method", "id": str(number), "method": "add", "params": ["x" * 1200]}
            )

        assert client.receive_close()[0] == 4008
    open_gate(project, gate)


def test_subscriptions_are_bounded_by_their_size_together(project: Project) -> None:
    """One that has ended counts no more."""
    with project.connected() as client:
        answers = [subscribe(client, id, size) for id, size in (("a", 1500), ("b", 1600), ("c", 1200))]
        client.send_messages({"msg": "unsub", "id": "a"})
        client.receive()
        answers.append(subscribe(client, "again", 1500))

    assert answers == ["ready", "too-many-subscriptions", "ready", "ready"]


def subscribe(client: RawClient, id: str, size: int) -> str:
    """Subscribe with so long a parameter; "ready", or the error."""
    client.send_messages({"msg": "sub", "id": id, "name": "BooksBy", "params": ["x" * size]})
    answer = json.loads(client.receive())
    return str(answer["error"]["error"] if "error" in answer else answer["msg"])


def open_gate(project: Project, gate: str) -> None:
    with project.connected() as client:
        client.send_messages({"msg": "method", "id": "1", "method": "open", "params": [gate]})
        client.receive_some(2)
