"""A response that carries frames, as WSGI wants it: an iterator that a greenlet of the HTTP server goes through.

It asks for the next piece when the system has taken the one before, so a client that does not read stops here, and
what is sent to it meanwhile stays with its session.
"""

from __future__ import annotations

import socket as _names
from collections.abc import Callable, Iterator
from contextlib import suppress

from gevent.event import Event

from dddp.transport.sockjs.connection import Connection, Receipt
from dddp.transport.sockjs.frames import HEARTBEAT, Framing
from dddp.transport.sockjs.hangup import HangUp
from dddp.transport.sockjs.headers import Headers
from dddp.transport.sockjs.session import ANOTHER_RESPONSE, Session

__all__ = ["Response"]

Start = Callable[[Headers], object]
"""Sends status and headers, with these besides."""


class Response:
    """One response of a session.

    Args:
        start: called before the first piece.
        limit: bytes of frames after which a response that streams ends: a browser keeps them all until then.
        connection: the response ends when the client closes it.
    """

    def __init__(
        self, session: Session, framing: Framing, start: Start, limit: int, connection: Connection
    ) -> None:
        self._session = session
        self._framing = framing
        self._start = start
        self._limit = limit
        self._connection = connection
        self._carried = False  # messages, or the first frame
        self._awake = Event()
        self._beat = False
        self._gone = False

    def wake(self) -> None:
        """There is a frame to take."""
        self._awake.set()

    def beat(self) -> None:
        """Send a heartbeat."""
        self._beat = True
        self._awake.set()

    def hang_up(self) -> None:
        """The client has gone."""
        self._gone = True
        self._session.detach(self, whole=False)
        self._awake.set()

    def cut(self) -> None:
        """The client does not take what is sent: have the connection ended, whatever waits for it."""
        with suppress(OSError):  # it is gone
            self._connection.socket.shutdown(_names.SHUT_RDWR)

    def receipt(self) -> Receipt | None:
        """Return what tells whether the client has received this response; None if that does not matter."""
        return self._connection.receipt() if self._carried else None

    def pieces(self) -> Iterator[bytes]:
        """Return what the response is made of. It may have to wait for each."""
        if not self._session.attach(self):
            yield from self._refused()
            return
        socket = self._connection.socket
        watcher = HangUp(socket.fileno(), socket.family, self.hang_up)
        whole = False
        try:
            self._session.confirm()
            yield from self._streamed() if self._framing.streams else self._polled()
            whole = not self._gone
        finally:
            watcher.close()
            self._session.detach(self, whole)

    def _polled(self) -> Iterator[bytes]:
        """One frame. Its size is known, so that the connection can be used again."""
        found = self._next()
        if found is not None:
            piece = self._framing.wrap(found[0])
            self._start([("Content-Length", str(len(piece)))])
            yield piece
            self._session.sent(found[1])

    def _streamed(self) -> Iterator[bytes]:
        self._start([])
        yield self._framing.prelude
        left = self._limit
        while left > 0 and (found := self._next()) is not None:
            piece = self._framing.wrap(found[0])
            left -= len(piece)
            yield piece
            self._session.sent(found[1])
            if found[0].startswith(b"c"):
                return

    def _next(self) -> tuple[bytes, int] | None:
        """Wait for the next frame; None once the client has gone."""
        while not self._gone:
            found = self._session.next_frame()
            if found is not None:
                self._carried = True
                return found
            if self._beat:
                self._beat = False
                return HEARTBEAT, 0
            self._awake.clear()
            self._awake.wait()
        return None

    def _refused(self) -> Iterator[bytes]:
        """What a second response of a session carries while the first one is there."""
        piece = self._framing.wrap(ANOTHER_RESPONSE)
        if self._framing.streams:
            self._start([])
            yield self._framing.prelude
        else:
            self._start([("Content-Length", str(len(piece)))])
        yield piece
