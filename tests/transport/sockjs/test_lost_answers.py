"""An answer that may not have reached its client: nothing goes out behind it. Answers that have, in whatever way, cost
no session.
"""

from __future__ import annotations

import os
import socket as _names
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import gevent
import pytest
from gevent import socket

from dddp.transport import Server
from dddp.transport.sockjs.connection import PATIENCE, Connection, Receipt, _unacknowledged
from tests.faults.proxy import Proxy
from tests.transport.peers import Client, RecordingApplication, RecordingReceiver, hello, until
from tests.transport.sockjs.browser import Browser
from tests.transport.sockjs.services import RESPONSE_LIMIT, Services, services
from tests.transport.test_handover import Pair

INTERRUPTED = b'c[1002,"Connection interrupted"]'
LOST = [(1006, "connection lost")]

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset
CLOSE = "Connection: close"

POLLS = [("POST", "/xhr"), ("GET", "/jsonp?c=f")]
STREAMS = [("POST", "/xhr_streaming"), ("GET", "/eventsource"), ("GET", "/htmlfile?c=f")]


class Network:
    """A server that speaks first, and a network in between that can fail."""

    def __init__(self, served: Services, proxy: Proxy) -> None:
        self.proxy = proxy
        self.served = served
        self.browser = Browser(served, "/silent")
        self.session = self.browser.session()

    def client(self) -> Client:
        """A connection by way of the network."""
        return Client(SimpleNamespace(addresses=[(self.proxy.host, self.proxy.port)]))  # type: ignore[arg-type]

    def open(self, client: Client) -> RecordingReceiver:
        assert self.ask(client) == b"o\n"
        application = self.served.silent
        until(lambda: application.receivers and self.session in application.receivers[-1].request.path)
        return application.receivers[-1]

    def ask(self, client: Client, method: str = "POST", path: str = "/xhr", *headers: str) -> bytes:
        return self.browser.ask_on(client, method, self.session + path, *headers).body

    def send(self, client: Client, method: str = "POST", path: str = "/xhr") -> None:
        """Ask, and wait until the request is there; nothing is read."""
        self.browser.send(client, method, self.session + path)
        self.served.until_asked(self.session)

    def until_answered(self) -> None:
        """Wait until the server has nothing more to do with its answer."""
        session = self.served.session(self.session)
        until(lambda: session is not None and session._carrier is None and session.buffered == 0)


@pytest.fixture
def network(served: Services) -> Iterator[Network]:
    with Proxy(served.server.addresses[0]) as proxy:
        yield Network(served, proxy)


def lose_an_answer(network: Network, method: str, path: str, message: bytes = b"lost") -> RecordingReceiver:
    """Have a message answered into a network that is cut then."""
    with network.client() as first:
        receiver = network.open(first)
        network.send(first, method, path)
        network.proxy.freeze()
        receiver.channel.send(message)
        network.until_answered()
        receiver.channel.send(b"behind")
        network.proxy.cut()
        network.proxy.resume()
    return receiver


@pytest.mark.parametrize(("method", "path"), POLLS)
def test_a_poll_behind_an_answer_that_was_cut_off_ends_the_session(
    network: Network, method: str, path: str
) -> None:
    receiver = lose_an_answer(network, method, path)

    with network.client() as second:
        assert network.ask(second) == INTERRUPTED + b"\n"
    until(lambda: receiver.ends)
    assert receiver.ends == LOST


@pytest.mark.parametrize(("method", "path"), STREAMS)
def test_a_stream_behind_one_whose_tail_was_cut_off_ends_the_session(
    network: Network, method: str, path: str
) -> None:
    receiver = lose_an_answer(network, method, path, b"x" * RESPONSE_LIMIT)

    with network.client() as second:
        assert INTERRUPTED in network.ask(second, "POST", "/xhr_streaming")
    until(lambda: receiver.ends)
    assert receiver.ends == LOST


def test_a_poll_behind_a_reset_that_the_server_has_seen_ends_the_session(network: Network) -> None:
    receiver = lose_an_answer(network, "POST", "/xhr")
    until(lambda: not network.served.server.requests)

    with network.client() as second:
        assert network.ask(second) == INTERRUPTED + b"\n"
    assert receiver.ends == LOST


def test_a_reset_of_a_connection_that_the_server_has_closed_ends_the_session(network: Network) -> None:
    with network.client() as first:
        receiver = network.open(first)
        network.browser.send(first, "POST", network.session + "/xhr", CLOSE)
        network.served.until_asked(network.session)
        network.proxy.freeze()
        receiver.channel.send(b"lost")
        network.until_answered()
        until(lambda: not network.served.server.requests)
        network.proxy.cut()
        network.proxy.resume()

    with network.client() as second:
        assert network.ask(second) == INTERRUPTED + b"\n"


def test_a_first_frame_behind_which_a_reset_came_ends_the_session(network: Network) -> None:
    with Client(network.served.server) as first:
        network.open(first)
        first.socket.setsockopt(_names.SOL_SOCKET, _names.SO_LINGER, RESET)

    with network.client() as second:
        assert network.ask(second) == INTERRUPTED + b"\n"


def test_a_heartbeat_may_be_lost() -> None:
    with services({"heartbeat": 0.05}) as running, Proxy(running.server.addresses[0]) as proxy:
        network = Network(running, proxy)
        with network.client() as first:
            receiver = network.open(first)
            network.send(first)
            proxy.freeze()
            network.until_answered()
            proxy.cut()
            proxy.resume()
        receiver.channel.send(b"next")

        with network.client() as second:
            assert network.ask(second) == b'a["next"]\n'


def unread_answer(network: Network, slow: Client) -> RecordingReceiver:
    """Have an answer sent that is larger than what a client takes without reading it."""
    with network.client() as first:
        receiver = network.open(first)
    network.send(slow)
    receiver.channel.send(b"x" * 200_000)
    network.until_answered()
    receiver.channel.send(b"behind")
    return receiver


def test_an_answer_that_is_not_acknowledged_is_lost(network: Network) -> None:
    with Client(network.served.server, receive_buffer=4096) as slow, network.client() as second:
        receiver = unread_answer(network, slow)

        assert network.ask(second) == INTERRUPTED + b"\n"
        assert receiver.ends == LOST


def test_an_acknowledgement_may_come_late(network: Network) -> None:
    with Client(network.served.server, receive_buffer=4096) as slow, network.client() as second:
        unread_answer(network, slow)
        asking = gevent.spawn(network.ask, second)
        network.served.until_asked(network.session)
        while not slow.file.readline().startswith(b"a["):
            pass

        assert asking.get(timeout=PATIENCE) == b'a["behind"]\n'


def test_an_answer_lost_on_a_connection_that_was_handed_over(tmp_path: Path) -> None:
    pair = Pair(tmp_path)
    polled = f"POST {pair.session_of(1)}/xhr HTTP/1.1", "Content-Length: 0"
    with Proxy(pair.servers[0].addresses[0]) as proxy:
        near = SimpleNamespace(addresses=[(proxy.host, proxy.port)])
        with Client(near) as first:  # type: ignore[arg-type]
            assert first.request(*polled)[0] == "HTTP/1.1 200 OK"
            channel = pair.applications[1].last.channel
            first.file.read(2)
            first.send("\r\n".join([polled[0], "Host: localhost", polled[1], "", ""]).encode())
            until(lambda: channel._carrier is not None)  # type: ignore[attr-defined]
            proxy.freeze()
            channel.send(b"lost")
            until(lambda: channel._carrier is None)  # type: ignore[attr-defined]
            proxy.cut()
            proxy.resume()
        with Client(near) as second:  # type: ignore[arg-type]
            second.request(*polled)
            assert second.file.readline() == INTERRUPTED + b"\n"
    for server in pair.servers:
        server.stop(timeout=0.2)


def test_an_answer_lost_on_a_unix_socket(tmp_path: Path) -> None:
    listener = socket.socket(_names.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    application = RecordingApplication()
    server = Server([listener], application, hello)
    server.start()
    polled = b"POST /sockjs/0/a/xhr HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"

    def poll() -> bytes:
        with socket.socket(_names.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
            client.sendall(polled)
            with client.makefile("rb") as file:
                return next(line for line in file if line[:1] in b"oac" and line[1:2] in b"[\n")

    assert poll() == b"o\n"
    channel = application.last.channel
    with socket.socket(_names.AF_UNIX) as unread:
        unread.connect(str(tmp_path / "socket"))
        unread.sendall(polled)
        until(lambda: channel._carrier is not None)  # type: ignore[attr-defined]
        channel.send(b"read")
        until(lambda: channel._carrier is None)  # type: ignore[attr-defined]
    until(lambda: not server.requests)

    assert poll() == INTERRUPTED + b"\n"
    server.stop(timeout=0.2)


@pytest.fixture
def reset() -> Iterator[tuple[Connection, Receipt]]:
    """A connection that was reset when everything was acknowledged, and what tells of its last answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    with near:
        connection = Connection(near)
        receipt = connection.receipt()
        near.sendall(b"answer")
        assert far.recv(6) == b"answer"
        until(lambda: _unacknowledged(near) == 0)
        far.setsockopt(_names.SOL_SOCKET, _names.SO_LINGER, RESET)
        far.close()
        yield connection, receipt


def test_an_acknowledgement_behind_which_a_reset_came_does_not_count(
    reset: tuple[Connection, Receipt],
) -> None:
    assert not reset[1].received()


def test_a_reset_counts_when_its_error_was_taken(reset: tuple[Connection, Receipt]) -> None:
    connection, receipt = reset
    with pytest.raises(ConnectionResetError):
        connection.socket.recv(1)
    connection.end()

    assert not receipt.received()


# No false alarms


NUMBER = 1000


def test_polls_on_connections_of_their_own_lose_nothing(network: Network) -> None:
    """As nginx asks, unless it is told to keep connections."""
    with network.client() as first:
        receiver = network.open(first)
    for number in range(NUMBER):
        receiver.channel.send(b"%d" % number)
        with Client(network.served.server) as client:
            assert network.ask(client) == b'a["%d"]\n' % number

    assert receiver.ends == []


def test_polls_on_connections_that_the_server_closes_lose_nothing(network: Network) -> None:
    with network.client() as first:
        receiver = network.open(first)
    for number in range(NUMBER):
        receiver.channel.send(b"%d" % number)
        with Client(network.served.server) as client:
            assert network.ask(client, "POST", "/xhr", CLOSE) == b'a["%d"]\n' % number
            assert number % 2 or client.at_end()  # or it closes first

    assert receiver.ends == []


def test_polls_on_two_connections_in_turn_lose_nothing(network: Network) -> None:
    with Client(network.served.server) as first, Client(network.served.server) as second:
        receiver = network.open(first)
        for number in range(NUMBER):
            receiver.channel.send(b"%d" % number)
            assert network.ask((first, second)[number % 2]) == b'a["%d"]\n' % number

    assert receiver.ends == []


def test_streams_on_connections_of_their_own_lose_nothing(network: Network) -> None:
    with network.client() as first:
        receiver = network.open(first)
    for number in range(20):
        text = b"%d" % number + b"x" * RESPONSE_LIMIT
        receiver.channel.send(text)
        with network.client() as client:
            assert b'a["%b"]' % text in network.ask(client, "POST", "/xhr_streaming")

    assert receiver.ends == []


def test_a_request_on_the_same_connection_says_that_the_answer_has_come(network: Network) -> None:
    """A proxy's connection serves many clients; when it is reset, what it carried long ago is not lost."""
    client = network.client()
    receiver = network.open(client)
    assert network.browser.ask_on(client, "GET", "/info").status == 200
    network.proxy.cut()
    client.disconnect()
    receiver.channel.send(b"next")

    with network.client() as second:
        assert network.ask(second) == b'a["next"]\n'


# Descriptors


def served_socket(client: Client) -> str:
    """The system's name of the server's end of a client's connection."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError), _names.socket(fileno=os.dup(int(name))) as found:  # some are no sockets
            if found.getpeername() == client.socket.getsockname():
                return os.readlink(f"/proc/self/fd/{name}")
    raise AssertionError("the server has no such connection")


def descriptors(name: str) -> int:
    """How many a socket has."""
    count = 0
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing's own
            count += os.readlink(f"/proc/self/fd/{number}") == name
    return count


def test_descriptors_are_given_back(network: Network) -> None:
    """One more is held while it is not known whether an answer has come, so long as the session is there."""
    with Client(network.served.server) as client:
        network.open(client)
        name = served_socket(client)
        network.until_answered()
        between = descriptors(name)
        network.send(client)
        during = descriptors(name)
        session = network.served.session(network.session)
        assert session is not None
        session.send(b"a")
        network.until_answered()
        after = descriptors(name)
        session.abort()

        assert (between, during, after, descriptors(name)) == (2, 1, 2, 1)


def test_a_connection_that_was_closed_in_order_holds_no_descriptor(network: Network) -> None:
    with Client(network.served.server) as client:
        network.open(client)
        name = served_socket(client)
    until(lambda: not descriptors(name))

    session = network.served.session(network.session)
    assert session is not None


def test_a_connection_whose_descriptor_is_held_ends_for_its_client(network: Network) -> None:
    with Client(network.served.server) as client:
        network.ask(client, "POST", "/xhr", CLOSE)
        session = network.served.session(network.session)

        assert client.at_end()
        assert session is not None


def test_without_a_descriptor_only_the_same_connection_is_believed() -> None:
    connection = Connection(SimpleNamespace(fileno=lambda: -1))
    unknown, known = connection.receipt(), connection.receipt()
    assert not unknown.received()
    connection.asked()

    assert known.received()
