"""Many DDP clients in one process without a library: raw sockets, one epoll, frames counted as they arrive.

They subscribe, then only receive. Whoever drives them writes to the database in the same process between two looks
at the sockets, so that one clock times both ends.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from websockets.frames import Frame, Opcode

from benchmarks.peers import HANDSHAKE

__all__ = ["Client", "Clients", "call", "subscribe", "subscribers", "subscriptions"]

Address = tuple[str, int]

READ_SIZE = 256 * 1024
TIME_LIMIT = 120.0  # seconds without a byte until a benchmark gives up


class Client:
    """One socket and the frames that came through it."""

    __slots__ = ("bytes", "frames", "opened", "taken")

    def __init__(self, opened: socket.socket) -> None:
        self.opened = opened
        self.taken: list[bytes] = []  # and not looked at yet
        self.frames = 0
        self.bytes = 0

    def take(self) -> int:
        """Receive without looking at it; the number of bytes."""
        data = self.opened.recv(READ_SIZE)
        if not data:
            raise ConnectionError(f"a client was closed, after {self.frames} frames: {self.taken!r}")
        self.bytes += len(data)
        self.taken.append(data)
        return len(data)

    def read(self) -> list[bytes]:
        """What the messages that have arrived say; the HTTP answer counts as the first of them."""
        self.take()
        return self.messages()

    def messages(self) -> list[bytes]:
        """The same of what was taken before."""
        data = b"".join(self.taken)
        messages, position = [], 0
        for start, end in _frames(data):
            messages.append(data[start:end])
            position = end
        self.taken = [data[position:]]
        self.frames += len(messages)
        return messages


def _frames(data: bytes) -> Iterator[tuple[int, int]]:
    """Where the payloads of the whole frames begin and end (RFC 6455 section 5.2, unmasked)."""
    position, size = 0, len(data)
    if data.startswith(b"HTTP/"):
        position = data.find(b"\r\n\r\n") + 4
        if position < 4:
            return
        yield 0, position
    while position + 2 <= size:
        length, start = data[position + 1], position + 2
        if length > 125:
            start += 2 if length == 126 else 8
            length = int.from_bytes(data[position + 2 : start])
        position = start + length
        if start > size or position > size:
            return
        yield start, position


class Clients:
    """All clients of a benchmark.

    Args:
        address: of the server.
        hello: gives, for each client's number, what it sends first.
        greeted: whether a message is the last one of a client's start.
    """

    def __init__(
        self, address: Address, hello: Callable[[int], bytes], greeted: Callable[[bytes], bool]
    ) -> None:
        self.all: dict[int, Client] = {}
        self._address = address
        self._hello = hello
        self._greeted = greeted
        self._epoll = select.epoll()

    def open(self, count: int, window: int = 64) -> float:
        """Open that many more, a window of starts under way at once; the seconds until all have started."""
        began = time.perf_counter()
        starting: set[Client] = set()
        to_open = iter(range(len(self.all), len(self.all) + count))
        remaining = count
        while remaining or starting:
            while remaining and len(starting) < window:
                starting.add(self._open_one(next(to_open)))
                remaining -= 1
            for client in self._readable(TIME_LIMIT):
                if any(map(self._greeted, client.read())):
                    starting.discard(client)
        return time.perf_counter() - began

    def _open_one(self, number: int) -> Client:
        opened = socket.create_connection(self._address)
        opened.sendall(self._hello(number))
        opened.setblocking(False)
        client = self.all[opened.fileno()] = Client(opened)
        self._epoll.register(opened, select.EPOLLIN)
        return client

    def _readable(self, timeout: float) -> Iterator[Client]:
        ready = self._epoll.poll(timeout)
        if not ready and timeout >= TIME_LIMIT:
            raise TimeoutError("the server says nothing any more")
        for descriptor, _ in ready:
            yield self.all[descriptor]

    def receive(self, timeout: float = TIME_LIMIT) -> Iterator[tuple[Client, int]]:
        """The clients that have just got something, with the number of messages; ends after one look."""
        for client in self._readable(timeout):
            yield client, len(client.read())

    def receive_frames(self, count: int) -> list[float]:
        """Wait for that many messages, of all clients together; when each was read (``time.perf_counter``)."""
        times: list[float] = []
        while len(times) < count:
            for _, arrived in self.receive():
                times += [time.perf_counter()] * arrived
        assert len(times) == count, f"{len(times)} messages where {count} were expected"
        return times

    def receive_bytes(self, count: int) -> None:
        """Wait for that many bytes, of all clients together; what they say is found out by ``messages``, if at all."""
        while count > 0:
            count -= sum(client.take() for client in self._readable(TIME_LIMIT))
        assert not count, f"{-count} bytes more than expected"

    def messages(self) -> int:
        """The number of messages in what was taken."""
        return sum(len(client.messages()) for client in self.all.values())

    @property
    def bytes(self) -> int:
        return sum(client.bytes for client in self.all.values())

    def ignore(self, client: Client) -> None:
        """Stop reading from a client."""
        self._epoll.unregister(client.opened)

    def notice(self, client: Client) -> None:
        """Read from it again."""
        self._epoll.register(client.opened, select.EPOLLIN)

    def close(self) -> None:
        for client in self.all.values():
            client.opened.close()
        self.all.clear()


def subscriptions(address: Address, *asked: Iterable[Any]) -> Clients:
    """Clients of a DDP server that all subscribe to the same: name and parameters, each."""
    return subscribers(address, lambda number: asked)


def subscribers(address: Address, asked: Callable[[int], Iterable[Iterable[Any]]]) -> Clients:
    """Clients of a DDP server; ``asked`` gives the subscriptions of each."""

    def hello(number: int) -> bytes:
        messages = [{"msg": "connect", "version": "1", "support": ["1"]}]
        for index, (name, *params) in enumerate(asked(number), 1):
            messages.append({"msg": "sub", "id": f"s{index}", "name": name, "params": params})
        return HANDSHAKE + b"".join(map(_frame, messages))

    last = len(list(asked(0)))
    end = b'{"msg":"ready","subs":["s%d"]}' % last if last else b'{"msg":"connected"'
    return Clients(address, hello, lambda message: message.startswith(end))


def subscribe(client: Client, name: str, *params: Any, id: str = "s") -> None:
    """Have a connected client subscribe."""
    client.opened.sendall(_frame({"msg": "sub", "id": id, "name": name, "params": params}))


def call(client: Client, name: str, *params: Any) -> None:
    """Have a client call a method."""
    client.opened.sendall(_frame({"msg": "method", "id": "m", "method": name, "params": params}))


def _frame(message: Any) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True)
