"""A TCP proxy whose links can be frozen, cut, slowed down and refused, to stand between any two programs.

It runs in a thread of its own and uses no gevent, so a test may block, or run an event loop, as it likes::

    with Proxy(("127.0.0.1", 5432)) as proxy:
        pgconn = psycopg2.connect(host=proxy.host, port=proxy.port, ...)
        proxy.freeze()      # the network goes silent: no byte passes, no end is told
        proxy.resume()      # what was held goes on, in order
        proxy.cut()         # every link ends with a reset; new ones are accepted
        proxy.strand()      # what passes now is silent for ever; new connections work
        proxy.refuse()      # as cut, and who connects is refused, as by a server that is down
        proxy.accept()      # new connections are welcome again
        proxy.delay = 0.2   # seconds that every byte is under way, in each direction

A frozen proxy still takes what its kernel's buffers hold, and acknowledges it, as a far network would not: a sender
notices the silence by the missing answers only, never by TCP itself. Connections that begin meanwhile are
accepted by the kernel and wait.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections import deque
from types import TracebackType
from typing import Any

from psycopg2.extensions import make_dsn, parse_dsn

__all__ = ["Proxy", "proxy_to_postgres", "through"]

CHUNK = 65_536  # bytes of one read
HELD_LIMIT = 1_048_576  # bytes held for one direction before it is no longer read from
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset

Target = tuple[str, int] | str
"""Host and port, or the path of a Unix socket."""


class Direction:
    """One half of a link: what ``source`` sent and ``sink`` has not been given yet."""

    def __init__(self, source: socket.socket, sink: socket.socket) -> None:
        self.source = source
        self.sink = sink
        self.held: deque[tuple[float, bytes]] = deque()  #: when it is due, and the bytes
        self.ended = False  #: the source has sent its last
        self.finished = False  #: and the sink has been told so

    @property
    def readable(self) -> bool:
        """Whether to read from the source."""
        return not self.ended and sum(len(data) for _, data in self.held) < HELD_LIMIT

    def read(self, delay: float) -> None:
        try:
            data = self.source.recv(CHUNK)
        except BlockingIOError:  # a cut has closed a socket of the same number, and that one was ready
            return
        self.ended = not data
        if data:
            self.held.append((time.monotonic() + delay, data))

    def write(self) -> None:
        """Give the sink what is due, and the end after the last byte."""
        while self.held and self.held[0][0] <= time.monotonic():
            due, data = self.held[0]
            try:
                sent = self.sink.send(data)
            except BlockingIOError:
                return
            if sent < len(data):
                self.held[0] = (due, data[sent:])
                return
            self.held.popleft()
        if self.ended and not self.held and not self.finished:
            self.finished = True
            self.sink.shutdown(socket.SHUT_WR)


class Link:
    """A client's connection and the one to the target that was made for it."""

    def __init__(self, client: socket.socket, target: socket.socket) -> None:
        self.sockets = (client, target)
        self.directions = (Direction(client, target), Direction(target, client))
        for end in self.sockets:
            end.setblocking(False)

    @property
    def over(self) -> bool:
        return all(direction.finished for direction in self.directions)

    def close(self, reset: bool = False) -> None:
        for end in self.sockets:
            if reset and end.family != socket.AF_UNIX:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            end.close()


class Proxy:
    """Listens on a port of its own and passes everything on to the target.

    All methods may be called from any thread, and have taken effect when they return.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.delay = 0.0
        self._frozen = False
        self._links: list[Link] = []
        self._stranded: list[Link] = []  # of which neither end is told anything any more
        self._lock = threading.RLock()
        self._wake_in, self._wake_out = socket.socketpair()
        self._listening: socket.socket | None = None
        self._address = ("127.0.0.1", 0)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def __enter__(self) -> Proxy:
        self.accept()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        self._wake()
        self._thread.join()
        self.refuse()
        for link in self._stranded:
            link.close(reset=True)
        self._wake_in.close()
        self._wake_out.close()

    # --- what tests do

    @property
    def host(self) -> str:
        return self._address[0]

    @property
    def port(self) -> int:
        return self._address[1]

    @property
    def links(self) -> int:
        """Connections that pass through now."""
        with self._lock:
            return len(self._links)

    def freeze(self) -> None:
        """Let nothing pass any more, in neither direction, and no new connection."""
        with self._lock:
            self._frozen = True

    def resume(self) -> None:
        """Undo ``freeze``."""
        with self._lock:
            self._frozen = False
        self._wake()

    def cut(self) -> None:
        """End every link by a reset on both sides; what was held is lost."""
        with self._lock:
            for link in self._links:
                link.close(reset=True)
            self._links = []
        self._wake()

    def strand(self) -> None:
        """Forget every link, as a firewall does: no byte passes and no end is told, until the proxy goes."""
        with self._lock:
            self._stranded += self._links
            self._links = []
        self._wake()

    def refuse(self) -> None:
        """As ``cut``, and refuse new connections."""
        with self._lock:
            if self._listening is not None:
                # While the proxy's thread waits for it, a socket that is closed goes on listening.
                self._listening.shutdown(socket.SHUT_RDWR)
                self._listening.close()
                self._listening = None
            self.cut()

    def accept(self) -> None:
        """Accept connections, on the same port as before."""
        with self._lock:
            if self._listening is None:
                self._listening = socket.create_server(self._address, backlog=1024)
                self._listening.setblocking(False)
                self._address = self._listening.getsockname()[:2]
        self._wake()

    # --- the proxy's own thread

    def _wake(self) -> None:
        self._wake_in.send(b".")

    def _run(self) -> None:
        while not self._stopping:
            poller, patience = self._poller()
            ready = {fd for fd, _ in poller.poll(patience)}
            if self._wake_out.fileno() in ready:
                self._wake_out.recv(CHUNK)
            with self._lock:
                if not self._frozen:
                    self._accept_from(ready)
                    self._pass_on(ready)

    def _poller(self) -> tuple[Any, float | None]:
        """What to wait for, and for how many milliseconds."""
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        with self._lock:
            if self._frozen:
                return poller, None
            if self._listening is not None:
                poller.register(self._listening, select.POLLIN)
            interest: dict[int, int] = {}
            due = [
                self._register(direction, interest) for link in self._links for direction in link.directions
            ]
            for fd, events in interest.items():
                poller.register(fd, events)
        waits = [wait for wait in due if wait is not None]
        return poller, max(1.0, min(waits) * 1000) if waits else None

    def _register(self, direction: Direction, interest: dict[int, int]) -> float | None:
        """Note what the direction waits for; returns the seconds until its next bytes are due."""
        if direction.readable:
            fd = direction.source.fileno()
            interest[fd] = interest.get(fd, 0) | select.POLLIN
        if not direction.held:
            return None
        wait = direction.held[0][0] - time.monotonic()
        if wait > 0:
            return wait
        fd = direction.sink.fileno()
        interest[fd] = interest.get(fd, 0) | select.POLLOUT
        return None

    def _accept_from(self, ready: set[int]) -> None:
        if self._listening is None or self._listening.fileno() not in ready:
            return
        try:
            client, _ = self._listening.accept()
        except BlockingIOError:  # one of the same number was ready, which has been closed
            return
        try:
            self._links.append(Link(client, self._connect()))
        except OSError:
            client.close()

    def _connect(self) -> socket.socket:
        if isinstance(self.target, str):
            target = socket.socket(socket.AF_UNIX)
            target.connect(self.target)
            return target
        return socket.create_connection(self.target)

    def _pass_on(self, ready: set[int]) -> None:
        for link in list(self._links):
            try:
                for direction in link.directions:
                    if direction.readable and direction.source.fileno() in ready:
                        direction.read(self.delay)
                    direction.write()
            except OSError:
                link.close(reset=True)
                self._links.remove(link)
                continue
            if link.over:
                link.close()
                self._links.remove(link)


def proxy_to_postgres(dsn: str) -> Proxy:
    """A proxy before the PostgreSQL of a dsn, be it on a host or behind a Unix socket."""
    parts = parse_dsn(dsn)
    host, port = parts.get("host", "localhost"), int(parts.get("port", 5432))
    return Proxy(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port))


def through(proxy: Proxy, dsn: str) -> str:
    """The same dsn, by way of the proxy."""
    return make_dsn(dsn, host=proxy.host, port=proxy.port)
