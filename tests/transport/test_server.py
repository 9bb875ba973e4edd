"""One port for WebSockets and HTTP: routing, the handshake and its refusals, starting and stopping."""

from __future__ import annotations

import gc
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent import socket
from gevent.event import Event
from gevent.pywsgi import WSGIHandler

from dddp.transport import CannotListen, Limits, Request, Server, listen, serve
from dddp.transport.websocket import WebSocketChannel
from tests.transport.peers import (
    ACCEPT,
    CLOSE,
    KEY,
    TEXT,
    UPGRADE,
    Client,
    RecordingApplication,
    close,
    hello,
    serving,
    text,
    until,
)


@pytest.fixture
def application() -> RecordingApplication:
    return RecordingApplication()


@pytest.fixture
def server(application: RecordingApplication) -> Iterator[Server]:
    with serving(application) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with Client(server) as client:
        yield client


def body(client: Client, headers: dict[str, str]) -> bytes:
    return client.file.read(int(headers["content-length"]))


# Routing


def test_http_goes_to_the_wsgi_application(client: Client) -> None:
    status, headers = client.request("GET /books/ HTTP/1.1")

    assert status == "HTTP/1.1 200 OK"
    assert body(client, headers) == b"hello from /books/"


@pytest.mark.parametrize("path", ["/websocket", "/websocket/", "/websocket?a=b"])
def test_websocket_goes_to_the_application(
    client: Client, application: RecordingApplication, path: str
) -> None:
    client.upgrade(path=path).send(text("hello"))

    assert client.read() == (TEXT, b"hello")
    assert (application.last.request.path + "?" + application.last.request.query).startswith(path)


def test_websocket_after_http_on_one_connection(client: Client) -> None:
    _, headers = client.request("GET / HTTP/1.1")
    body(client, headers)
    client.upgrade().send(text("hello"))

    assert client.read() == (TEXT, b"hello")


def test_upgrade_elsewhere_is_left_to_the_wsgi_application(client: Client) -> None:
    status, _ = client.request("GET /elsewhere HTTP/1.1", *UPGRADE)

    assert status == "HTTP/1.1 200 OK"


@pytest.mark.parametrize("path", ["/app/websocket", "/app/websocket/"])
def test_prefix_moves_the_websocket(path: str) -> None:
    with serving(RecordingApplication(), prefix="/app") as server:
        with Client(server) as client:
            client.upgrade(path=path).send(text("hello"))
            assert client.read() == (TEXT, b"hello")
        with Client(server) as client:
            status, _ = client.request("GET /websocket HTTP/1.1", *UPGRADE)
            assert status == "HTTP/1.1 200 OK"


# The handshake


def test_handshake_is_answered(client: Client) -> None:
    """No subprotocol is selected (ddp-wire 1.9)."""
    status, headers = client.request(
        "GET /websocket HTTP/1.1",
        *UPGRADE,
        "Sec-WebSocket-Extensions: x-webkit-deflate-frame",
        "Sec-WebSocket-Protocol: ddp",
    )

    assert status == "HTTP/1.1 101 Switching Protocols"
    assert headers == {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT}


def test_handshake_in_other_letters_is_accepted(client: Client) -> None:
    """Firefox sends more than one connection option; tokens are not case-sensitive."""
    status, _ = client.request(
        "GET /websocket HTTP/1.1",
        "upgrade: WebSocket",
        "connection: keep-alive, Upgrade",
        f"sec-websocket-key: {KEY}",
        "sec-websocket-version: 13",
    )

    assert status == "HTTP/1.1 101 Switching Protocols"


def without(name: str, *instead: str) -> tuple[str, ...]:
    return tuple(header for header in UPGRADE if not header.startswith(name + ":")) + instead


@pytest.mark.parametrize("path", ["/websocket", "/websocket/"])
def test_plain_get_is_refused(client: Client, path: str) -> None:
    """The words are Meteor's (ddp-wire 1.1)."""
    status, headers = client.request(f"GET {path} HTTP/1.1")

    assert status == "HTTP/1.1 400 Bad Request"
    assert body(client, headers) == b"Not a valid websocket request"


def test_head_is_refused_without_a_body(client: Client) -> None:
    status, headers = client.request("HEAD /websocket HTTP/1.1")

    assert (status, headers["content-length"]) == ("HTTP/1.1 400 Bad Request", "29")
    assert client.at_end()


def test_post_is_refused(client: Client) -> None:
    status, headers = client.request("POST /websocket HTTP/1.1", "Content-Length: 2", behind=b"hi")

    assert (status, headers["allow"]) == ("HTTP/1.1 405 Method Not Allowed", "GET")


@pytest.mark.parametrize(
    ("line", "headers", "expected"),
    [
        pytest.param("HTTP/1.0", UPGRADE, "400 Bad Request", id="http-1.0"),
        pytest.param("HTTP/1.1", without("Connection"), "400 Bad Request", id="no-connection"),
        pytest.param(
            "HTTP/1.1", without("Connection", "Connection: close"), "400 Bad Request", id="connection-close"
        ),
        pytest.param(
            "HTTP/1.1",
            without("Connection", "Connection: no-upgrade"),
            "400 Bad Request",
            id="connection-like-upgrade",
        ),
        pytest.param("HTTP/1.1", without("Upgrade"), "400 Bad Request", id="no-upgrade"),
        pytest.param("HTTP/1.1", without("Upgrade", "Upgrade: h2c"), "400 Bad Request", id="upgrade-h2c"),
        pytest.param("HTTP/1.1", without("Sec-WebSocket-Key"), "400 Bad Request", id="no-key"),
        pytest.param(
            "HTTP/1.1",
            without("Sec-WebSocket-Key", "Sec-WebSocket-Key: c2hvcnQ="),
            "400 Bad Request",
            id="short-key",
        ),
        pytest.param(
            "HTTP/1.1",
            without("Sec-WebSocket-Key", "Sec-WebSocket-Key: not base64"),
            "400 Bad Request",
            id="bad-key",
        ),
        pytest.param(
            "HTTP/1.1",
            without("Sec-WebSocket-Key", "Sec-WebSocket-Key: \xe9\xe9\xe9"),
            "400 Bad Request",
            id="non-ascii-key",
        ),
        pytest.param("HTTP/1.1", without("Sec-WebSocket-Version"), "426 Upgrade Required", id="no-version"),
        pytest.param(
            "HTTP/1.1",
            without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 99"),
            "426 Upgrade Required",
            id="version-99",
        ),
        pytest.param("HTTP/1.1", (*UPGRADE, "Content-Length: 5"), "400 Bad Request", id="with-a-body"),
        pytest.param(
            "HTTP/1.1", (*UPGRADE, "Transfer-Encoding: chunked"), "400 Bad Request", id="with-chunks"
        ),
    ],
)
def test_bad_handshake_is_refused(
    client: Client,
    application: RecordingApplication,
    line: str,
    headers: tuple[str, ...],
    expected: str,
) -> None:
    status, _ = client.request(f"GET /websocket {line}", *headers, behind=b"0\r\n\r\n")

    assert status == f"HTTP/1.1 {expected}"
    assert application.receivers == []


def test_handshake_without_a_host_is_refused(client: Client) -> None:
    """RFC 6455 section 4.2.1, point 2."""
    client.send("\r\n".join(["GET /websocket HTTP/1.1", *UPGRADE, "", ""]).encode())

    assert client.file.readline() == b"HTTP/1.1 400 Bad Request\r\n"


def test_unsupported_version_names_the_supported_one(client: Client) -> None:
    _, headers = client.request(
        "GET /websocket HTTP/1.1", *without("Sec-WebSocket-Version", "Sec-WebSocket-Version: 99")
    )

    assert headers["sec-websocket-version"] == "13"


def test_refused_client_gets_403() -> None:
    application = RecordingApplication()
    seen: list[Request] = []

    def accept(request: Request) -> bool:
        seen.append(request)
        return request.origin != "http://evil.example"

    with serving(application, accept=accept) as server:
        with Client(server) as client:
            status, _ = client.request("GET /websocket HTTP/1.1", *UPGRADE, "Origin: http://evil.example")
            assert status == "HTTP/1.1 403 Forbidden"
        with Client(server) as client:
            client.upgrade("Origin: http://good.example")
    assert [request.origin for request in seen] == ["http://evil.example", "http://good.example"]
    assert len(application.receivers) == 1


def test_request_keeps_the_whitelisted_headers_only(
    client: Client, application: RecordingApplication
) -> None:
    client.upgrade(
        "Cookie: sessionid=secret", "Authorization: secret", "X-Forwarded-For: 1.2.3.4", "X-Own: 1"
    )

    assert application.last.request == Request(
        path="/websocket",
        headers={"host": "localhost", "x-forwarded-for": "1.2.3.4"},
        remote_address="127.0.0.1",
    )
    assert application.last.channel.remote_address == "127.0.0.1"


# What is let go


def test_nothing_of_the_request_outlives_the_upgrade(
    client: Client, application: RecordingApplication
) -> None:
    """Neither handler, environ, greenlet nor gevent's socket, and without the help of the cycle collector."""
    gc.collect()
    gc.disable()
    try:
        before = leftovers()
        client.upgrade("X-Mark: the one").send(text("hello"))
        client.read()

        until(lambda: leftovers() == before)
        assert not any(is_environ(found) for found in gc.get_objects())
    finally:
        gc.enable()


def leftovers() -> int:
    kinds = (WSGIHandler, gevent.Greenlet, socket.socket)
    # By type: isinstance would ask an object's __class__, which wakes lazy objects of other tests.
    return sum(issubclass(type(found), kinds) for found in gc.get_objects())


def is_environ(found: object) -> bool:
    return type(found) is dict and found.get("HTTP_X_MARK") == "the one"


def test_nothing_of_a_client_outlives_it(server: Server, application: RecordingApplication) -> None:
    before = living_channels()
    with Client(server) as client:
        client.upgrade().send(close(1000))
        client.read_close()
    until(lambda: not server.channels and application.last.ends)
    application.receivers.clear()

    assert living_channels() <= before


def living_channels() -> set[int]:
    gc.collect()
    return {id(found) for found in gc.get_objects() if type(found) is WebSocketChannel}


def test_nagle_is_off(client: Client, server: Server) -> None:
    client.upgrade()
    until(lambda: server.channels)
    (channel,) = server.channels

    assert channel._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# Logging and errors


def test_requests_are_logged_where_asked_for(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "dddp.access")
    client.request("GET /books/ HTTP/1.1")

    until(lambda: "GET /books/ HTTP/1.1" in caplog.text)


def test_requests_are_not_logged_by_default(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.request("GET /books/ HTTP/1.1")
    client.request("GET /websocket HTTP/1.1")

    assert capfd.readouterr() == ("", "")


def test_error_of_the_wsgi_application_is_500_and_logged(
    application: RecordingApplication, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    def broken(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        raise RuntimeError("a mistake in a view")

    with serving(application, broken) as server, Client(server) as client:
        status, _ = client.request("GET / HTTP/1.1")
    assert status == "HTTP/1.1 500 Internal Server Error"
    assert "a mistake in a view" in caplog.text
    assert capfd.readouterr() == ("", "")


def test_garbage_is_answered_400(client: Client, capfd: pytest.CaptureFixture[str]) -> None:
    client.send(b"\x16\x03\x01 this is no HTTP\r\n\r\n")

    assert client.file.readline() == b"HTTP/1.1 400 Bad Request\r\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: loc"])
def test_request_that_takes_too_long_is_given_up(sent: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    with (
        serving(RecordingApplication(), limits=Limits(request=0.05)) as server,
        Client(server) as client,
    ):
        client.send(sent)

        assert client.file.read()[:12] in (b"", b"HTTP/1.1 400")
    assert capfd.readouterr() == ("", "")


# Starting and stopping


def test_address_in_use_is_named() -> None:
    with serving(RecordingApplication()) as server, pytest.raises(CannotListen) as caught:
        serve(server.addresses, RecordingApplication(), hello)

    assert str(caught.value).startswith(f"Cannot listen on 127.0.0.1:{server.addresses[0][1]}: ")
    assert "Address already in use" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_unknown_host_is_named() -> None:
    with pytest.raises(CannotListen, match=r"Cannot listen on no-such-host\.invalid:8000"):
        listen(("no-such-host.invalid", 8000))


def test_several_addresses_are_served() -> None:
    server = serve([("127.0.0.1", 0), ("127.0.0.2", 0)], RecordingApplication(), hello)
    try:
        for address in server.addresses:
            with socket.create_connection(address) as opened:
                opened.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert opened.makefile("rb").read().endswith(b"hello from /")
    finally:
        server.stop()
    assert {host for host, _ in server.addresses} == {"127.0.0.1", "127.0.0.2"}


def test_localhost_is_every_address_it_has_on_one_port() -> None:
    """Node 18 takes the first address that localhost resolves to, often ::1."""
    sockets = listen(("localhost", 0))
    try:
        assert len({opened.getsockname()[1] for opened in sockets}) == 1
        assert "127.0.0.1" in {opened.getsockname()[0] for opened in sockets}
    finally:
        for opened in sockets:
            opened.close()


def test_stop_closes_every_client(application: RecordingApplication) -> None:
    server = serve([("127.0.0.1", 0)], application, hello)
    clients = [Client(server).upgrade() for _ in range(3)]
    stopping = gevent.spawn(server.stop)

    for client in clients:
        assert client.read() == (CLOSE, b"\x03\xe9the server stops")
        client.send(close(1001))
        client.disconnect()
    stopping.get(timeout=1)
    assert [receiver.ends for receiver in application.receivers] == [[(1001, "the server stops")]] * 3
    assert not server.channels
    with pytest.raises(ConnectionRefusedError):
        Client(server)


def test_stop_does_not_wait_for_ever() -> None:
    """Neither for a client that ignores the close frame nor for a view that hangs; idle HTTP clients go at once."""

    def hanging(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        Event().wait()
        return []

    server = serve([("127.0.0.1", 0)], RecordingApplication(), hanging)
    with Client(server) as silent, Client(server) as hung, Client(server) as idle:
        silent.upgrade()
        hung.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: len(server.channels) == 1 and len(server.requests) == 2)
        with gevent.Timeout(1):
            server.stop(timeout=0.05)

        assert idle.at_end()
        assert not server.channels
        until(lambda: not server.requests)


def test_stop_lets_a_running_request_finish() -> None:
    go_on = Event()

    def slow(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        go_on.wait()
        return hello(environ, start_response)

    server = serve([("127.0.0.1", 0)], RecordingApplication(), slow)
    with Client(server) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: server.requests and not server.waiting)
        stopping = gevent.spawn(server.stop)
        gevent.sleep(0)
        go_on.set()

        assert client.file.read().endswith(b"hello from /")
        stopping.get(timeout=1)


def test_first_request_of_a_client_that_was_accepted_is_answered() -> None:
    """It may still be on its way when the server closes."""
    server = serve([("127.0.0.1", 0)], RecordingApplication(), hello)
    with Client(server) as started, Client(server) as waiting:
        until(lambda: len(server.expected) == 2)
        with Client(server) as accepted:
            until(lambda: len(server.requests) == 3)
            server.close()
            for client in (accepted, started):
                client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.file.read().endswith(b"hello from /")
        assert waiting.at_end()
    server.stop(timeout=1)


def test_next_request_that_has_come_is_answered() -> None:
    server = serve([("127.0.0.1", 0)], RecordingApplication(), hello)
    with Client(server) as client, Client(server) as idle:
        for each in (client, idle):
            _, headers = each.request("GET / HTTP/1.1")
            body(each, headers)
        until(lambda: len(server.waiting) == 2)
        raw: Any = client.socket
        raw._sock.send(b"GET /next HTTP/1.1\r\nHost: localhost\r\n\r\n")  # without giving way
        server.close()

        assert client.file.read().endswith(b"hello from /next")
        assert idle.at_end()
    server.stop(timeout=1)


def test_serve_forever_ends_with_stop() -> None:
    server = serve([("127.0.0.1", 0)], RecordingApplication(), hello)
    waiting = gevent.spawn(server.serve_forever)
    server.stop()

    waiting.get(timeout=1)


# With another client, in other processes


SCRIPT = """
    import sys
    import gevent.monkey
    if "patched" in sys.argv:
        gevent.monkey.patch_all()
    import gevent
    from dddp.transport import serve
    from tests.transport.peers import RecordingApplication, hello

    server = serve([("127.0.0.1", 0)], RecordingApplication(), hello)
    print(server.addresses[0][1], flush=True)
    server.serve_forever()
"""


@pytest.mark.parametrize("patched", ["patched", "unpatched"])
def test_library_client_is_served_by_a_process(patched: str) -> None:
    """The server does not care whether gevent has patched the standard library."""
    client = pytest.importorskip("websocket")
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), patched], stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(process.stdout.readline())  # type: ignore[union-attr]
        connection = client.create_connection(f"ws://127.0.0.1:{port}/websocket", timeout=5)
        for message in ("hello", "", "x" * 100_000):
            connection.send(message)
            assert connection.recv() == message
        connection.ping("here?")
        assert connection.recv_data(control_frame=True) == (0xA, b"here?")
        connection.send_close(4000, b"bye")
        assert connection.recv_data(control_frame=True) == (0x8, b"\x0f\xa0bye")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()  # type: ignore[union-attr]
