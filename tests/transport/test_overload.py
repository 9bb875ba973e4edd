"""Too many connections, and those that neither send nor take: none of them holds anything for ever."""

from __future__ import annotations

import logging
import socket as _names
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import gevent
import pytest
from gevent.event import Event

from dddp.transport import Limits
from tests.transport.peers import Client, RecordingApplication, hello, serving, silence, until
from tests.transport.sockjs.browser import Browser
from tests.transport.sockjs.services import services

LARGE = 50_000_000
"""Bytes that no socket's buffers take."""

StartResponse = Callable[..., Any]


def large(environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [("Content-Length", str(LARGE))])
    return [b"x" * LARGE]


def clients(server: Any, count: int, stack: ExitStack) -> list[Client]:
    """Connected ones, in the order in which the server has accepted them."""
    made = [stack.enter_context(Client(server)) for _ in range(count)]
    until(lambda: len(server.reading) == count)
    return made


# How many there may be


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: loc"])
def test_one_connection_too_many_ends_the_one_that_waits_longest(sent: bytes) -> None:
    with serving(RecordingApplication(), limits=Limits(connections=2)) as server, ExitStack() as stack:
        first, second = clients(server, 2, stack)
        first.send(sent)
        gevent.sleep(0.01)
        third = stack.enter_context(Client(server))

        assert first.file.read() == b""
        assert third.request("GET / HTTP/1.1")[0] == "HTTP/1.1 200 OK"
        assert second.request("GET / HTTP/1.1")[0] == "HTTP/1.1 200 OK"


def test_connections_that_come_at_once_end_the_first_of_them() -> None:
    with serving(RecordingApplication(), limits=Limits(connections=2)) as server, ExitStack() as stack:
        made = [stack.enter_context(Client(server)) for _ in range(5)]

        assert [client.file.read() for client in made[:3]] == [b"", b"", b""]
        assert made[4].request("GET / HTTP/1.1")[0] == "HTTP/1.1 200 OK"


def test_connection_that_has_just_been_used_waits_from_then_on() -> None:
    with serving(RecordingApplication(), limits=Limits(connections=2)) as server, ExitStack() as stack:
        first, second = clients(server, 2, stack)
        assert first.file.read(0) == b""
        _, headers = first.request("GET / HTTP/1.1")
        first.file.read(int(headers["content-length"]))
        stack.enter_context(Client(server)).request("GET / HTTP/1.1")

        assert second.file.read() == b""
        assert first.request("GET / HTTP/1.1")[0] == "HTTP/1.1 200 OK"


def test_connection_is_refused_while_all_others_are_busy() -> None:
    go_on = Event()

    def slow(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        go_on.wait()
        return hello(environ, start_response)

    with serving(RecordingApplication(), slow, limits=Limits(connections=2)) as server, ExitStack() as stack:
        websocket, busy = clients(server, 2, stack)
        websocket.upgrade()
        busy.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: not server.reading)
        refused = stack.enter_context(Client(server)).file.read()
        go_on.set()

        assert refused.startswith(b"HTTP/1.1 503 ")
        assert busy.file.readline() == b"HTTP/1.1 200 OK\r\n"


def test_connections_that_have_ended_make_room() -> None:
    with serving(RecordingApplication(), limits=Limits(connections=1)) as server:
        for _ in range(3):
            with Client(server) as client:
                client.upgrade()
            until(lambda: not server.channels)


# Those that do not go on


def test_client_that_takes_nothing_of_a_response_is_cut_off(caplog: pytest.LogCaptureFixture) -> None:
    with (
        caplog.at_level(logging.WARNING),
        serving(RecordingApplication(), large, limits=Limits(request=0.2)) as server,
        Client(server, receive_buffer=4096) as client,
    ):
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: server.requests)
        until(lambda: not server.requests, seconds=3)
    assert caplog.records == []


def test_client_that_takes_a_response_slowly_gets_all_of_it() -> None:
    with (
        serving(RecordingApplication(), large, limits=Limits(request=0.4)) as server,
        Client(server) as client,
    ):
        _, headers = client.request("GET / HTTP/1.1")
        size = int(headers["content-length"])
        for _ in range(10):
            gevent.sleep(0.08)
            assert len(client.file.read(size // 10)) == size // 10


@pytest.mark.parametrize("header", [b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"])
def test_body_that_nobody_reads_is_not_waited_for(header: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The view has answered; what it left of the body comes byte by byte."""
    with (
        caplog.at_level(logging.WARNING),
        serving(RecordingApplication(), limits=Limits(request=0.3)) as server,
        Client(server) as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + header + b"\r\n\r\n")
        dribbling = gevent.spawn(dribble, client)
        until(lambda: server.requests)
        until(lambda: not server.requests, seconds=3)
        dribbling.kill()

        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"
    assert caplog.records == []


def dribble(client: Client) -> None:
    with suppress(OSError):  # at the end
        client.send(b"ffffff\r\n")
        while True:
            client.send(b"x")
            gevent.sleep(0.02)


def test_body_that_stops_ends_the_wait_of_a_view() -> None:
    heard: list[OSError] = []

    def reading(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        try:
            environ["wsgi.input"].read()
        except OSError as error:
            heard.append(error)
        return hello(environ, start_response)

    with (
        serving(RecordingApplication(), reading, limits=Limits(request=0.2)) as server,
        Client(server) as client,
    ):
        client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf")
        until(lambda: heard)
        until(lambda: not server.requests)


@pytest.fixture
def frozen() -> Iterator[tuple[Any, Any]]:
    """A SockJS stream whose client takes nothing; the server and the session's channel."""
    limits = Limits(closing=0.2, waiting=2 * LARGE)
    options = {"response_limit": 1 << 30, "disconnect_delay": 0.2}
    with services(options, limits=limits) as running, Client(running.server, receive_buffer=4096) as client:
        session = Browser(running, "/silent").session()
        client.request(f"POST /silent{session}/xhr_streaming HTTP/1.1", "Content-Length: 0")
        channel = running.until_asked(session)
        until(lambda: running.silent.receivers)
        yield running.server, channel


def test_stream_that_is_not_read_ends_soon_after_its_session(frozen: tuple[Any, Any]) -> None:
    server, channel = frozen
    for _ in range(3):
        channel.send(b"x" * 1_000_000)
        gevent.sleep(0.01)
    channel.send(b"x" * 20_000_000)
    gevent.sleep(0.01)
    channel.close(1000, "Normal closure")

    until(lambda: not server.channels and not server.requests, seconds=3)


def test_websocket_that_is_not_read_ends_soon_after_it_was_closed() -> None:
    application = RecordingApplication(silence)
    with (
        serving(application, limits=Limits(closing=0.2, waiting=2 * LARGE)) as server,
        Client(server, receive_buffer=4096) as client,
    ):
        client.upgrade()
        application.last.channel.send(b"x" * LARGE)
        application.last.channel.close(1000, "Normal closure")

        until(lambda: not server.channels, seconds=3)


def test_dead_peers_are_noticed_by_the_system() -> None:
    application = RecordingApplication()
    with serving(application) as server, Client(server) as client:
        client.upgrade()
        channel: Any = application.last.channel

        assert channel._socket.getsockopt(_names.SOL_SOCKET, _names.SO_KEEPALIVE)
        assert channel._socket.getsockopt(_names.IPPROTO_TCP, _names.TCP_KEEPIDLE) <= 60
