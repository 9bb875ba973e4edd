"""What becomes of sessions over time: heartbeats, absence, slow and hostile clients, the server's end."""

from __future__ import annotations

import gc
import json
import logging
from itertools import pairwise
from typing import Any

import gevent
import pytest

from dddp.transport import Batch, Channel, Limits, Request
from dddp.transport.sockjs.delivery import PER_TURN, Delivery
from dddp.transport.sockjs.exchange import Exchange
from dddp.transport.sockjs.hangup import HangUp
from dddp.transport.sockjs.response import Response
from dddp.transport.sockjs.session import Session
from tests.transport.peers import CLOSE, TEXT, Client, RecordingApplication, RecordingReceiver, text, until
from tests.transport.sockjs.browser import Browser
from tests.transport.sockjs.services import Services, services


@pytest.fixture
def silent(served: Services) -> Browser:
    return Browser(served, "/silent")


def opened(browser: Browser) -> tuple[str, RecordingReceiver]:
    """A new session and what the application made of it."""
    session = browser.session()
    assert browser.post(session + "/xhr").body == b"o\n"
    application: RecordingApplication = {"/echo": browser.services.echo, "/silent": browser.services.silent}[
        browser.base
    ]
    until(
        lambda: (
            application.receivers
            and application.receivers[-1].request.path.startswith(browser.base + session)
        )
    )
    return session, application.receivers[-1]


# What goes out


def test_messages_that_wait_go_out_in_one_frame(silent: Browser) -> None:
    session, receiver = opened(silent)
    receiver.channel.send(b"a")
    receiver.channel.send_batch(Batch((b"b", b"c")))
    receiver.channel.send_batch(Batch(()))
    receiver.channel.send(b"d")

    assert silent.post(session + "/xhr").body == b'a["a","b","c","d"]\n'


def test_a_batch_is_one_frame_over_a_websocket(silent: Browser) -> None:
    with Client(silent.services.server) as client:
        client.upgrade(path="/silent/0/0/websocket")
        assert client.read() == (TEXT, b"o")
        until(lambda: silent.services.silent.receivers[-1].request.path == "/silent/0/0/websocket")
        silent.services.silent.receivers[-1].channel.send_batch(Batch((b"a", b"b")))

        assert client.read() == (TEXT, b'a["a","b"]')


def test_a_poll_waits_for_a_message(silent: Browser) -> None:
    session, receiver = opened(silent)
    with silent.waiting("POST", session + "/xhr") as client:
        silent.services.until_asked(session)
        receiver.channel.send(b"now")

        assert client.file.readline() == b"HTTP/1.1 200 OK\r\n"


def test_buffered_are_the_bytes_that_no_response_has_taken(silent: Browser) -> None:
    session, receiver = opened(silent)
    receiver.channel.send(b"abc")
    before = receiver.channel.buffered
    silent.post(session + "/xhr")
    until(lambda: receiver.drains)

    assert (before, receiver.channel.buffered, receiver.drains) == (5, 0, 1)


def test_the_request_is_that_which_opened_the_session(silent: Browser) -> None:
    session = silent.session()
    silent.post(
        session + "/xhr?t=1", b"", "X-Forwarded-For: 1.2.3.4", "Cookie: a=b", "Origin: http://page.example"
    )
    receiver = silent.services.silent.last

    assert receiver.request == Request(
        path=f"/silent{session}/xhr",
        query="t=1",
        headers={"host": "localhost", "x-forwarded-for": "1.2.3.4"},
        remote_address="127.0.0.1",
        origin="http://page.example",
    )
    assert receiver.channel.remote_address == "127.0.0.1"


def test_the_open_frame_goes_before_any_work() -> None:
    """The application's start may take long; clients take a late answer for a transport that does not work."""
    asked: list[Client] = []
    seen: list[bytes] = []

    class Slow(RecordingApplication):
        def connect(self, channel: Channel, request: Request) -> RecordingReceiver:
            asked[0].socket.settimeout(1)
            seen.append(read_at_once(asked[0]))
            return super().connect(channel, request)

    with services() as running:
        running.server.mount("/slow", Slow())
        browser = Browser(running, "/slow")
        with browser.waiting("POST", browser.session() + "/xhr") as client:
            asked.append(client)
            until(lambda: seen)
    assert seen[0].endswith(b"o\n")


def read_at_once(client: Client) -> bytes:
    """What has come, without giving way to anything else."""
    received: bytes = client.socket._sock.recv(65536)
    return received


# Heartbeats and absence


def test_heartbeats_go_to_every_transport() -> None:
    with services({"heartbeat": 0.03}) as running:
        browser = Browser(running, "/silent")
        session, _ = opened(browser)
        with (
            Client(running.server) as client,
            browser.stream("GET", browser.session() + "/eventsource") as stream,
        ):
            client.upgrade(path="/silent/0/0/websocket")

            assert [client.read() for _ in range(3)] == [(TEXT, b"o"), (TEXT, b"h"), (TEXT, b"h")]
            assert [stream.read() for _ in range(4)][2:] == [b"data: h\r\n\r\n"] * 2
        assert browser.post(session + "/xhr").body == b"h\n"


def test_heartbeats_end_with_what_they_are_for(served: Services) -> None:
    with services({"heartbeat": 60}) as running:
        browser = Browser(running, "/silent")
        session, _ = opened(browser)
        (service,) = [service for service in running.server._services if service.serves("/silent")]
        with Client(running.server) as client, browser.waiting("POST", session + "/xhr"):
            client.upgrade(path="/silent/0/0/websocket")
            client.read()
            running.until_asked(session)
            assert len(service.sessions.heartbeats._times) == 2
        until(lambda: not service.sessions.heartbeats._times)


def test_a_client_that_stays_away_is_given_up() -> None:
    with services({"disconnect_delay": 0.03}) as running:
        browser = Browser(running)
        session, receiver = opened(browser)
        until(lambda: receiver.ends)

        assert receiver.ends == [(1006, "connection lost")]
        assert not running.server.channels
        assert browser.post(session + "/xhr_send", b"[]").status == 404
        assert browser.post(session + "/xhr").body == b"o\n"


def test_a_client_that_asks_is_not_given_up() -> None:
    with services({"disconnect_delay": 0.03, "heartbeat": 0.1}) as running:
        browser = Browser(running)
        session, receiver = opened(browser)

        assert [browser.post(session + "/xhr").body for _ in range(2)] == [b"h\n"] * 2
        assert receiver.ends == []


def test_a_closed_session_is_kept_until_its_client_has_been_away() -> None:
    with services({"disconnect_delay": 0.05}) as running:
        browser = Browser(running)
        session, receiver = opened(browser)
        receiver.channel.send(b"last")
        receiver.channel.close(4000, "bye")
        receiver.channel.send(b"too late")
        until(lambda: receiver.ends)

        bodies = [browser.post(session + "/xhr").body for _ in range(3)]
        assert bodies == [b'a["last"]\n', *[b'c[4000,"bye"]\n'] * 2]
        assert receiver.ends == [(4000, "bye")]
        assert browser.post(session + "/xhr_send", b'["a"]').status == 404
        until(lambda: not running.server.channels)


def test_a_session_closed_while_a_poll_waits_says_so(silent: Browser) -> None:
    session, receiver = opened(silent)
    with silent.waiting("POST", session + "/xhr") as client:
        silent.services.until_asked(session)
        receiver.channel.close(4000, "bye")

        assert client.file.read(1) == b"H"
        client.disconnect()
    assert silent.post(session + "/xhr").body == b'c[4000,"bye"]\n'


def test_nothing_of_a_session_outlives_it() -> None:
    with services({"disconnect_delay": 0.03}) as running:
        gc.collect()
        before = leftovers()
        browser = Browser(running)
        session = opened(browser)[0]
        with browser.stream("POST", session + "/xhr_streaming") as stream:
            stream.read()
        until(lambda: not running.server.channels and running.echo.receivers[-1].ends)
        running.echo.receivers.clear()
        gc.collect()

        until(lambda: leftovers() <= before)


def leftovers() -> int:
    kinds = (Session, Response, Delivery, HangUp, Exchange)
    return sum(issubclass(type(found), kinds) for found in gc.get_objects())


# Clients that read slowly


def test_a_client_that_does_not_ask_is_closed_past_its_limit(caplog: pytest.LogCaptureFixture) -> None:
    with services(limits=Limits(waiting=100)) as running:
        browser = Browser(running, "/silent")
        session, receiver = opened(browser)
        receiver.channel.send(b"x" * 50)
        receiver.channel.send(b"x" * 50)

        assert receiver.channel.buffered == 0
        assert browser.post(session + "/xhr").body == b'c[1013,"reading too slowly"]\n'
        until(lambda: receiver.ends == [(1013, "reading too slowly")])
    assert "reads too slowly" in caplog.text


def test_a_stream_that_is_not_read_is_bounded_and_holds_nobody() -> None:
    with services({"response_limit": 1 << 30}, limits=Limits(waiting=1 << 20)) as running:
        browser = Browser(running, "/silent")
        other, _ = opened(Browser(running))
        with Client(running.server, receive_buffer=4096) as client:
            session = browser.session()
            client.request(f"POST /silent{session}/xhr_streaming HTTP/1.1", "Content-Length: 0")
            channel: Any = running.until_asked(session)
            until(lambda: running.silent.receivers)
            while not channel.ended:
                channel.send(b"x" * 10_000)
                assert channel.buffered <= 1 << 20
                gevent.sleep(0)

            assert Browser(running).post(other + "/xhr_send", b'["a"]').status == 204
            assert Browser(running).post(other + "/xhr").body == b'a["a"]\n'
        until(lambda: not browser.services.session(session) or channel._carrier is None)


def test_drained_comes_when_a_slow_stream_has_been_read() -> None:
    with services({"response_limit": 1 << 30}) as running:
        browser = Browser(running, "/silent")
        with Client(running.server, receive_buffer=4096) as client:
            session = browser.session()
            client.request(f"POST /silent{session}/xhr_streaming HTTP/1.1", "Content-Length: 0")
            channel: Any = running.until_asked(session)
            receiver = running.silent.last
            channel.send(b"x" * 4_000_000)
            until(lambda: not channel._pieces)
            assert (channel.buffered, receiver.drains) == (4_000_002, 0)

            reading = gevent.spawn(lambda: [None for _ in iter(lambda: client.file.read(65536), b"")])
            until(lambda: receiver.drains)
            reading.kill()
            assert channel.buffered == 0


# What comes in


def until_an_upload_waits(receiver: RecordingReceiver) -> None:
    channel: Any = receiver.channel
    until(lambda: channel._taken is not None)


@pytest.mark.parametrize("transport", ["xhr_send", "websocket"])
def test_paused_messages_wait(silent: Browser, transport: str) -> None:
    """And an upload behind them, so that the client notices."""
    with Client(silent.services.server) as client:
        if transport == "websocket":
            client.upgrade(path="/silent/0/0/websocket")
            client.read()
            until(lambda: silent.services.silent.receivers[-1].request.path == "/silent/0/0/websocket")
            receiver = silent.services.silent.receivers[-1]
            receiver.channel.pause()
            client.send(text('["a"]'), text('["b"]'))
        else:
            session, receiver = opened(silent)
            receiver.channel.pause()
            assert silent.post(session + "/xhr_send", b'["a"]').status == 204
            silent.send(client, "POST", session + "/xhr_send", body=b'["b"]')
            until_an_upload_waits(receiver)
        assert receiver.texts == []

        receiver.channel.resume()
        until(lambda: receiver.texts == ["a", "b"])
        if transport == "xhr_send":
            assert client.file.readline() == b"HTTP/1.1 204 No Content\r\n"


def test_an_upload_that_waits_hears_of_the_end(silent: Browser) -> None:
    session, receiver = opened(silent)
    receiver.channel.pause()
    silent.post(session + "/xhr_send", b'["a"]')
    with silent.waiting("POST", session + "/xhr_send", body=b'["b"]') as client:
        until_an_upload_waits(receiver)
        receiver.channel.close(4000)

        assert client.file.readline() == b"HTTP/1.1 404 Not Found\r\n"
    assert receiver.texts == []


@pytest.mark.parametrize("transport", ["xhr_send", "websocket"])
def test_many_messages_leave_others_their_turn(silent: Browser, transport: str) -> None:
    count = PER_TURN * 20
    payload = json.dumps([str(number) for number in range(count)])
    with Client(silent.services.server) as client:
        if transport == "websocket":
            client.upgrade(path="/silent/0/0/websocket")
            client.read()
            until(lambda: silent.services.silent.receivers[-1].request.path == "/silent/0/0/websocket")
            receiver = silent.services.silent.receivers[-1]
            client.send(text(payload), text('["after"]'))
        else:
            session, receiver = opened(silent)
            silent.send(client, "POST", session + "/xhr_send", body=payload.encode())
            silent.send(client, "POST", session + "/xhr_send", body=b'["after"]')
        seen = []
        while len(receiver.texts) <= count:
            seen.append(len(receiver.texts))
            gevent.sleep(0)

    assert receiver.texts == [*(str(number) for number in range(count)), "after"]
    assert max(after - before for before, after in pairwise(seen)) <= PER_TURN * 2


def test_messages_before_a_websockets_close_are_received(silent: Browser) -> None:
    count = PER_TURN * 5
    with Client(silent.services.server) as client:
        client.upgrade(path="/silent/0/0/websocket")
        client.read()
        until(lambda: silent.services.silent.receivers[-1].request.path == "/silent/0/0/websocket")
        receiver = silent.services.silent.receivers[-1]
        client.send(text(json.dumps(["a"] * count)))
    until(lambda: receiver.ends)

    assert len(receiver.texts) == count


def test_a_payload_too_large_ends_the_session() -> None:
    with services(limits=Limits(message=100)) as running:
        browser = Browser(running)
        session, receiver = opened(browser)
        fits = browser.post(session + "/xhr_send", b'["' + b"x" * 96 + b'"]')
        large = browser.post(session + "/xhr_send", b'["' + b"x" * 97 + b'"]')

        assert (fits.status, large.status) == (204, 413)
        assert receiver.texts == ["x" * 96]
        assert browser.post(session + "/xhr").body.startswith(b"a")
        assert browser.post(session + "/xhr").body == b'c[1009,"message too big"]\n'


def test_a_body_of_any_size_is_not_read_to_its_end() -> None:
    with services(limits=Limits(message=100)) as running:
        browser = Browser(running)
        session, _ = opened(browser)
        with Client(running.server) as client:
            line = f"POST /echo{session}/xhr_send HTTP/1.1"
            status, headers = client.request(line, "Content-Length: 1000000000", behind=b"x" * 200)

            assert (status, headers["connection"]) == ("HTTP/1.1 413 Content Too Large", "close")
            assert client.file.read() == b"The payload is too large"


@pytest.mark.parametrize("body", ["Content-Length: 10", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_come_is_given_up(body: str) -> None:
    with services(limits=Limits(request=0.05)) as running:
        browser = Browser(running)
        session, _ = opened(browser)
        with Client(running.server) as client:
            status, _ = client.request(f"POST /echo{session}/xhr_send HTTP/1.1", body, behind=b"5\r\n[")

            assert status == "HTTP/1.1 408 Request Timeout"
            assert client.file.read() == b"The body did not come"


def test_a_body_in_bad_chunks_is_given_up(echo: Browser, caplog: pytest.LogCaptureFixture) -> None:
    session, _ = opened(echo)
    with Client(echo.services.server) as client:
        line = f"POST /echo{session}/xhr_send HTTP/1.1"
        status, _ = client.request(line, "Transfer-Encoding: chunked", behind=b"nonsense\r\n")

        assert status == "HTTP/1.1 408 Request Timeout"
    assert caplog.text == ""


def test_a_client_that_hangs_up_within_a_body_is_no_error(
    echo: Browser, caplog: pytest.LogCaptureFixture
) -> None:
    session, _ = opened(echo)
    with Client(echo.services.server) as client:
        client.send(f"POST /echo{session}/xhr_send HTTP/1.1\r\nContent-Length: 9\r\n\r\n[".encode())
    until(lambda: not echo.services.server.requests)

    assert caplog.text == ""


def test_chunks_are_a_body(echo: Browser) -> None:
    session, receiver = opened(echo)
    with Client(echo.services.server) as client:
        line = f"POST /echo{session}/xhr_send HTTP/1.1"
        status, _ = client.request(line, "Transfer-Encoding: chunked", behind=b'5\r\n["a"]\r\n0\r\n\r\n')

        assert status == "HTTP/1.1 204 No Content"
    until(lambda: receiver.texts == ["a"])


def test_a_proxy_may_ask_for_an_upgrade_with_each_request(echo: Browser) -> None:
    """Many an nginx is told to."""
    session, receiver = opened(echo)

    assert echo.post(session + "/xhr_send", b'["a"]', "Connection: upgrade").status == 204
    until(lambda: receiver.texts == ["a"])


# Applications that fail


@pytest.mark.parametrize("transport", ["xhr", "websocket"])
def test_an_application_that_fails_ends_one_session(transport: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(receiver: RecordingReceiver, text: str) -> None:
        raise RuntimeError("a mistake in a method")

    with services() as running:
        failing = RecordingApplication(fail)
        running.server.mount("/failing", failing)
        browser, session = Browser(running, "/failing"), "/0/0"
        with Client(running.server) as client:
            if transport == "websocket":
                client.upgrade(path="/failing/0/0/websocket")
                client.send(text('["a", "b"]'))
                assert [client.read(), client.read()] == [(TEXT, b"o"), (TEXT, b'c[1011,"internal error"]')]
                assert client.read()[0] == CLOSE
            else:
                browser.post(session + "/xhr")
                assert browser.post(session + "/xhr_send", b'["a", "b"]').status == 204
                assert browser.post(session + "/xhr").body == b'c[1011,"internal error"]\n'
        until(lambda: failing.last.ends)
    assert failing.last.texts == ["a"]
    assert failing.last.ends == [(1011, "internal error")]
    assert "a mistake in a method" in caplog.text


def test_an_application_that_refuses_ends_one_session(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(RecordingApplication):
        def connect(self, channel: Channel, request: Request) -> RecordingReceiver:
            raise RuntimeError("not today")

    with services() as running:
        running.server.mount("/refusing", Refusing())
        browser = Browser(running, "/refusing")
        session = browser.session()

        assert browser.post(session + "/xhr").body == b"o\n"
        assert browser.post(session + "/xhr").body == b'c[1011,"internal error"]\n'
    assert "not today" in caplog.text


# Admission


def test_an_address_has_a_number_of_sessions() -> None:
    """Whatever their transports; one that is there already is no new one."""
    with services({"disconnect_delay": 0.05}, limits=Limits(sessions=2)) as running:
        browser = Browser(running)
        with Client(running.server) as client:
            client.upgrade()
            session, _ = opened(browser)
            refused = browser.post(browser.session() + "/xhr")
            again = browser.post(session + "/xhr_send", b"[]")

            assert (refused.status, again.status) == (429, 204)
        until(lambda: not running.server.channels)
        assert browser.post(browser.session() + "/xhr").body == b"o\n"


# The server's end


def test_stopping_closes_every_session(caplog: pytest.LogCaptureFixture) -> None:
    running = Services(options={"disconnect_delay": 60})
    browser = Browser(running, "/silent")
    polled, receiver = opened(browser)
    streamed = browser.session()
    goodbye = b'c[1001,"the server stops"]'
    with (
        Client(running.server) as polling,
        Client(running.server) as websocket,
        browser.stream("POST", streamed + "/xhr_streaming") as stream,
    ):
        browser.send(polling, "POST", polled + "/xhr")
        websocket.upgrade(path="/silent/0/0/websocket")
        assert (websocket.read(), [stream.read(), stream.read()][1]) == ((TEXT, b"o"), b"o\n")
        running.until_asked(polled)
        stopping = gevent.spawn(running.server.stop)

        assert websocket.read() == (TEXT, goodbye)
        assert websocket.read()[0] == CLOSE
        websocket.disconnect()
        assert (stream.read(), stream.read()) == (goodbye + b"\n", b"")
        assert polling.file.read().endswith(goodbye + b"\n")
        stopping.get(timeout=1)
    assert receiver.ends == [(1001, "the server stops")]
    assert not running.server.channels
    assert caplog.text == ""


def test_a_client_between_two_polls_hears_of_the_stop() -> None:
    """On the connection that it kept; other requests find it closed, and browsers ask again elsewhere."""
    running = Services(options={"disconnect_delay": 60})
    browser = Browser(running, "/silent")
    session = browser.session()
    with Client(running.server) as client, Client(running.server) as page:
        for each in (client, page):
            browser.ask_on(each, "POST", session + "/xhr")
            running.silent.last.channel.send(b"for the other")
        stopping = gevent.spawn(running.server.stop)
        until(lambda: running.server.closed)
        page.send(b"GET /books/ HTTP/1.1\r\nHost: localhost\r\n\r\n")

        assert page.at_end()
        assert browser.ask_on(client, "POST", session + "/xhr").body.startswith(b"a")
        assert browser.ask_on(client, "POST", session + "/xhr").body == b'c[1001,"the server stops"]\n'
        stopping.get(timeout=1)


def test_a_closed_server_still_serves_its_sessions() -> None:
    """What is in flight is to be finished; nothing new is begun."""
    running = Services()
    browser = Browser(running)
    with Client(running.server) as client:
        session = browser.session()
        browser.ask_on(client, "POST", session + "/xhr")
        running.server.close()

        assert browser.ask_on(client, "POST", session + "/xhr_send", body=b'["a"]').status == 204
        assert browser.ask_on(client, "POST", session + "/xhr").body == b'a["a"]\n'
        assert browser.ask_on(client, "POST", browser.session() + "/xhr").status == 503
        running.server.stop(timeout=0.2)


def test_stopping_waits_a_second_for_clients_that_poll() -> None:
    running = Services(options={"disconnect_delay": 60})
    browser = Browser(running, "/silent")
    opened(browser)
    with gevent.Timeout(2):
        running.server.stop(timeout=10)

    assert not running.server.channels


def test_stopping_does_not_wait_for_ever_for_clients_that_poll() -> None:
    running = Services(options={"disconnect_delay": 60})
    browser = Browser(running, "/silent")
    _, receiver = opened(browser)
    with gevent.Timeout(1):
        running.server.stop(timeout=0.05)

    assert not running.server.channels
    assert receiver.ends == [(1001, "the server stops")]


def test_sessions_are_channels_of_the_server(echo: Browser) -> None:
    opened(echo)

    assert any(isinstance(channel, Session) for channel in echo.services.server.channels)


def test_requests_are_not_errors(echo: Browser, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    session, _ = opened(echo)
    with echo.stream("POST", session + "/xhr_streaming") as stream:
        stream.read()
    until(lambda: not echo.services.server.requests)

    assert caplog.text == ""
