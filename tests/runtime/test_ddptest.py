"""What the public ddptest suite expects of any DDP server (ddp-wire, appendix A), over each kind of transport.

Each of its tests waits for one message before it begins, then looks at the answer to one of its own.
"""

from __future__ import annotations

import contextlib
import json
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
import websocket

from tests.runtime.conftest import Project
from tests.runtime.raw import TIME_LIMIT
from tests.runtime.test_sockjs import Polling

SUPPORT = ["1", "pre2", "pre1"]


class WebSocket:
    """A raw WebSocket: one message in each frame."""

    def __init__(self, project: Project, path: str = "/websocket") -> None:
        self.socket = websocket.create_connection(
            project.server.http.replace("http", "ws") + path, timeout=TIME_LIMIT
        )

    def frame(self) -> str:
        text = self.socket.recv()
        assert isinstance(text, str)
        return text

    def receive_some(self) -> list[Any]:
        """The messages of the next frame."""
        return [json.loads(self.frame())]

    def send(self, *messages: Any) -> None:
        for message in messages:
            self.socket.send(json.dumps(message))

    def close(self) -> None:
        self.socket.close()


class SockJSWebSocket(WebSocket):
    """A WebSocket as SockJS frames it."""

    def __init__(self, project: Project) -> None:
        super().__init__(project, "/sockjs/000/ddptest/websocket")
        assert self.frame() == "o"

    def receive_some(self) -> list[Any]:
        frame = self.frame()
        assert frame.startswith("a")
        return [json.loads(message) for message in json.loads(frame[1:])]

    def send(self, *messages: Any) -> None:
        self.socket.send(json.dumps([json.dumps(message) for message in messages]))


class XHR(Polling):
    """SockJS by requests."""

    def receive_some(self) -> list[Any]:
        return next(self.frames())

    def close(self) -> None:
        self.http.close()


class Client:
    """Any of them, message by message."""

    def __init__(self, transport: Any) -> None:
        self.transport = transport
        self.received: deque[Any] = deque()

    def receive(self) -> Any:
        while not self.received:
            self.received.extend(self.transport.receive_some())
        return self.received.popleft()


@pytest.fixture(params=[WebSocket, SockJSWebSocket, XHR])
def client(request: pytest.FixtureRequest, project: Project) -> Iterator[Client]:
    """A client that has got its first message."""
    with contextlib.closing(request.param(project)) as transport:
        client = Client(transport)
        client.receive()
        yield client


def answer(client: Client, message: dict[str, Any], *, connect: bool = True) -> dict[str, Any]:
    """The first answer to a message, those of automatic publications left out."""
    if connect:
        client.transport.send({"msg": "connect", "version": "1", "support": SUPPORT})
        for _ in range(3):
            client.receive()
    client.transport.send(message)
    received: dict[str, Any] = client.receive()
    return received


def test_message_without_msg(client: Client) -> None:
    assert answer(client, {"a": 1}, connect=False)["reason"] == "Bad request"


@pytest.mark.parametrize("message", [{"support": SUPPORT}, {"version": "1"}])
def test_connect_without_version_or_support(client: Client, message: dict[str, Any]) -> None:
    assert answer(client, {"msg": "connect", **message}, connect=False) == {"msg": "failed", "version": "1"}


@pytest.mark.parametrize("session", [{}, {"session": "unknown"}])
def test_connect_gives_a_session_id_of_17_characters(client: Client, session: dict[str, Any]) -> None:
    message = {"msg": "connect", "version": "1", "support": SUPPORT, **session}
    connected = answer(client, message, connect=False)

    assert (connected["msg"], len(connected["session"])) == ("connected", 17)


@pytest.mark.parametrize("session", [{}, {"session": "unknown"}])
def test_connect_with_an_unknown_version_fails(client: Client, session: dict[str, Any]) -> None:
    failed = answer(client, {"msg": "connect", "version": "_", "support": ["_"], **session}, connect=False)

    assert failed["msg"] == "failed" and isinstance(failed["version"], str)


@pytest.mark.parametrize(
    "message",
    [
        {"msg": "ping"},
        {"msg": "method", "id": "1", "method": "echo"},
        {"msg": "sub", "id": "1", "name": "Books"},
        {"msg": "unsub", "id": "1"},
    ],
)
def test_anything_before_connect(client: Client, message: dict[str, Any]) -> None:
    assert answer(client, message, connect=False)["reason"] == "Must connect first"


@pytest.mark.parametrize("id", [{}, {"id": "17"}])
def test_ping(client: Client, id: dict[str, Any]) -> None:
    assert answer(client, {"msg": "ping", **id}) == {"msg": "pong", **id}


@pytest.mark.parametrize("message", [{"id": "1"}, {"method": "echo"}])
def test_method_without_id_or_name(client: Client, message: dict[str, Any]) -> None:
    assert answer(client, {"msg": "method", **message})["reason"] == "Malformed method invocation"


@pytest.mark.parametrize("message", [{"id": "1"}, {"name": "Books"}])
def test_sub_without_id_or_name(client: Client, message: dict[str, Any]) -> None:
    assert answer(client, {"msg": "sub", **message})["reason"] == "Malformed subscription"


def test_unsub_without_id(client: Client) -> None:
    assert answer(client, {"msg": "unsub"})["msg"] == "nosub"
