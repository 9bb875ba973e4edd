"""Connections between the processes of one address: what is asked next on one that was handed over, and what fails."""

from __future__ import annotations

import os
import socket as _names
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from gevent import socket

from dddp.transport import Server
from dddp.transport.handover import Siblings
from dddp.transport.server import listen
from tests.transport.peers import TEXT, Client, RecordingApplication, hello, text, until


class Pair:
    """Two servers on one address, as two processes would be; only the first accepts."""

    def __init__(self, folder: Path) -> None:
        self.paths = [str(folder / str(number)) for number in range(2)]
        self.applications = [RecordingApplication(), RecordingApplication()]
        self.servers: list[Server] = []
        shared = listen(("127.0.0.1", 0))
        for number, sockets in enumerate((shared, listen(("127.0.0.1", 0)))):
            taker = socket.socket(_names.AF_UNIX)
            taker.bind(self.paths[number])
            taker.listen(16)
            siblings = Siblings(number, self.paths)
            server = Server(sockets, self.applications[number], hello, siblings=siblings, handed=taker)
            server.start()
            self.servers.append(server)

    def session_of(self, number: int) -> str:
        """The path of a session that belongs to a server."""
        names = (f"s{suffix}" for suffix in range(100))
        siblings = Siblings(1 - number, self.paths)
        return next(f"/sockjs/000/{name}" for name in names if siblings.path_of(name) is not None)

    def client(self) -> Client:
        return Client(self.servers[0])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    pair = Pair(tmp_path)
    yield pair
    for server in pair.servers:
        server.stop(timeout=0.2)


def body(client: Client, headers: dict[str, str]) -> bytes:
    return client.file.read(int(headers["content-length"]))


def ask(client: Client, line: str, *headers: str, behind: bytes = b"") -> tuple[str, bytes]:
    status, found = client.request(line, *headers, behind=behind)
    return status.partition(" ")[2], body(client, found) if "content-length" in found else b""


def test_session_lives_in_its_process(pair: Pair) -> None:
    session = pair.session_of(1)
    with pair.client() as client:
        assert ask(client, f"POST {session}/xhr HTTP/1.1", "Content-Length: 0") == ("200 OK", b"o\n")
        sent = ask(client, f"POST {session}/xhr_send HTTP/1.1", "Content-Length: 5", behind=b'["a"]')
        assert sent[0] == "204 No Content"
        assert ask(client, f"POST {session}/xhr HTTP/1.1", "Content-Length: 0") == ("200 OK", b'a["a"]\n')

    assert pair.applications[1].last.texts == ["a"]
    assert pair.applications[0].receivers == []


@pytest.mark.parametrize(
    ("headers", "sent"),
    [
        (("Transfer-Encoding: chunked",), b'5\r\n["a"]\r\n0\r\n\r\n'),
        (("Content-Length: 5", "X-A: 1", "X-A: 2", "X-B: \xe9"), b'["a"]'),
        (("Transfer-Encoding: chunked", "Content-Length: 1"), b'5\r\n["a"]\r\n0\r\n\r\n'),
    ],
    ids=["chunks", "other-headers", "both"],
)
def test_first_request_arrives_as_it_was_sent(pair: Pair, headers: tuple[str, ...], sent: bytes) -> None:
    session = pair.session_of(1)
    with pair.client() as first:
        ask(first, f"POST {session}/xhr HTTP/1.1", "Content-Length: 0")
    with pair.client() as client:
        assert ask(client, f"POST {session}/xhr_send HTTP/1.1", *headers, behind=sent)[0] == "204 No Content"

    until(lambda: pair.applications[1].last.texts == ["a"])


def test_body_that_waits_to_be_asked_for_is_asked_for(pair: Pair) -> None:
    session = pair.session_of(1)
    with pair.client() as client:
        ask(client, f"POST {session}/xhr HTTP/1.1", "Content-Length: 0")
    with pair.client() as client:
        status, _ = client.request(
            f"POST {session}/xhr_send HTTP/1.1", "Content-Length: 5", "Expect: 100-continue"
        )
        assert status == "HTTP/1.1 100 Continue"
        client.send(b'["a"]')
        assert client.file.readline() == b"HTTP/1.1 204 No Content\r\n"


def test_requests_behind_the_first_are_answered_in_order(pair: Pair) -> None:
    with pair.client() as client:
        poll = f"POST {pair.session_of(1)}/xhr HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        client.send(poll.encode() + b"GET /page HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = client.file.read()

    assert answer.index(b"o\n") < answer.index(b"hello from /page")


def test_connection_goes_back_for_a_request_that_belongs_there(pair: Pair) -> None:
    """As where two tabs share a connection, or a proxy keeps its own."""
    first, second = pair.session_of(0), pair.session_of(1)
    client, other = pair.client(), pair.client()
    assert ask(other, f"POST {first}/xhr HTTP/1.1", "Content-Length: 0") == ("200 OK", b"o\n")
    assert ask(client, f"POST {second}/xhr HTTP/1.1", "Content-Length: 0") == ("200 OK", b"o\n")
    sent = b'["back"]'

    status, _ = ask(client, f"POST {first}/xhr_send HTTP/1.1", f"Content-Length: {len(sent)}", behind=sent)
    assert status == "204 No Content"
    status, _ = ask(client, f"POST {second}/xhr_send HTTP/1.1", f"Content-Length: {len(sent)}", behind=sent)
    assert status == "204 No Content"


def test_websocket_on_a_connection_that_was_handed_over(pair: Pair) -> None:
    """As from a proxy that keeps its connections."""
    with pair.client() as client:
        ask(client, f"POST {pair.session_of(1)}/xhr HTTP/1.1", "Content-Length: 0")
        client.upgrade().send(text("hello"))

        assert client.read() == (TEXT, b"hello")


def test_websocket_messages_behind_the_handshake_on_such_a_connection(pair: Pair) -> None:
    with pair.client() as client:
        ask(client, f"POST {pair.session_of(1)}/xhr HTTP/1.1", "Content-Length: 0")
        client.upgrade(behind=text("at once"))

        assert client.read() == (TEXT, b"at once")


def test_process_that_does_not_take_connections_is_told_at_once(pair: Pair) -> None:
    """Its queue is full: whoever waits for it would wait with all others of this process."""
    deaf = socket.socket(_names.AF_UNIX)
    pair.servers[1].close()
    os.unlink(pair.paths[1])
    deaf.bind(pair.paths[1])
    deaf.listen(0)
    waiting = []
    for _ in range(4):
        filler = _names.socket(_names.AF_UNIX)
        filler.setblocking(False)
        waiting.append(filler)
        filler.connect_ex(pair.paths[1])
    with deaf, pair.client() as client, gevent.Timeout(2):
        status, _ = ask(client, f"POST {pair.session_of(1)}/xhr HTTP/1.1", "Content-Length: 0")

    assert status == "503 Service Unavailable"
    for filler in waiting:
        filler.close()


def test_nothing_is_left_open(pair: Pair) -> None:
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def exchange(session: str) -> None:
        with pair.client() as client:
            client.request(f"POST {session}/xhr_send HTTP/1.1", "Content-Length: 2", behind=b"[]")

    exchange(pair.session_of(1))
    until(lambda: not any(server.requests for server in pair.servers))
    before = descriptors()
    for _ in range(20):
        exchange(pair.session_of(1))
    for garbage in (b"", b"\0\0\0\x05", b"\0\0\0\x02[]", b"\xff\xff\xff\xff"):
        give_garbage(pair.paths[1], garbage)
    until(lambda: not any(server.requests for server in pair.servers))

    until(lambda: descriptors() <= before)


def give_garbage(path: str, data: bytes) -> None:
    """What a process that dies in between leaves."""
    with _names.socket(_names.AF_UNIX) as way, _names.socket() as other:
        way.connect(path)
        if data:
            sent: Any = _names.send_fds(way, [data[:4]], [other.fileno()])
            assert sent
            way.sendall(data[4:])
