"""The proxy itself: a test of faults is worth what its faults are."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import Proxy

PATIENCE = 10.0  # seconds


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that sends back what it is sent, on every connection."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(pipe: socket.socket) -> None:
        with pipe:
            try:
                while data := pipe.recv(65_536):
                    pipe.sendall(data)
            except OSError:
                return

    def accept() -> None:
        while True:
            try:
                pipe, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(pipe,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listening.getsockname()
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


@pytest.fixture
def proxy(echo) -> Iterator[Proxy]:
    with Proxy(echo) as proxy:
        yield proxy


@pytest.fixture
def client(proxy) -> Iterator[socket.socket]:
    with socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE) as client:
        yield client


def receive(client: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = client.recv(65_536)
        assert more, f"the end after {len(data)} of {size} bytes"
        data += more
    return data


def test_everything_passes_in_order(client):
    data = bytes(number % 251 for number in range(3_000_000))
    threading.Thread(target=client.sendall, args=(data,), daemon=True).start()

    assert receive(client, len(data)) == data


def test_end_of_the_client_reaches_the_server_and_back(proxy, client):
    client.sendall(b"last words")
    client.shutdown(socket.SHUT_WR)

    assert receive(client, 10) == b"last words"
    assert client.recv(1) == b""


def test_frozen_link_is_silent_and_goes_on_where_it_was(proxy, client):
    proxy.freeze()
    client.sendall(b"held")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)

    proxy.resume()

    client.settimeout(PATIENCE)
    assert receive(client, 4) == b"held"


def test_connection_made_while_frozen_is_served_afterwards(proxy):
    proxy.freeze()
    with socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE) as client:
        client.sendall(b"patience")
        proxy.resume()

        assert receive(client, 8) == b"patience"


def test_cut_link_is_reset_and_the_next_one_works(proxy, client):
    client.sendall(b"a")
    receive(client, 1)

    proxy.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE) as another:
        another.sendall(b"b")
        assert receive(another, 1) == b"b"


def test_frozen_link_can_be_cut(proxy, client):
    client.sendall(b"a")
    receive(client, 1)
    proxy.freeze()

    proxy.cut()

    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert proxy.links == 0


def test_stranded_link_is_silent_and_new_ones_work(proxy, client):
    client.sendall(b"a")
    receive(client, 1)

    proxy.strand()

    client.sendall(b"b")
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    with socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE) as another:
        another.sendall(b"c")
        assert receive(another, 1) == b"c"


def test_refused_until_accepted_again(proxy):
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE)

    proxy.accept()

    with socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE) as client:
        client.sendall(b"b")
        assert receive(client, 1) == b"b"


def test_delay_holds_each_direction(proxy, client):
    proxy.delay = 0.1
    started = time.monotonic()
    client.sendall(b"slow")

    receive(client, 4)

    assert time.monotonic() - started >= 0.2


def test_target_that_is_away_ends_the_connection():
    with Proxy(("127.0.0.1", 1)) as proxy:
        client = socket.create_connection((proxy.host, proxy.port), timeout=PATIENCE)

        assert client.recv(1) == b""
