"""One WebSocket peer after its handshake: RFC 6455 frames in and out of one non-blocking socket.

What lives here: the socket, the event loop's watchers, the frames. It knows no HTTP and no DDP.

There is no greenlet per peer. Everything here runs in the event loop's callbacks, or in whichever greenlet
calls a method of `Channel`; none of it waits, so no step is ever interleaved with another. There is one
writer: `_write` hands whole frames (data, pongs and close frames alike) to the operating system or, while
it takes no more, to a queue that only `_writable` empties.

Frames in are read by the sans-I/O `Protocol` of the package ``websockets``, which also answers pings and
closes. Data frames out are ready-made bytes, made once for all recipients, and go past it.
"""

from __future__ import annotations

import logging
import socket as _names
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub, monkey
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import OPEN, SEND_EOF, SERVER, Protocol

from dddp.transport.deflate import DEFLATE, CannotInflate, DeflatedFrame, inflate
from dddp.transport.frames import text_frames

if TYPE_CHECKING:
    from dddp.transport.contract import Application, Batch, Encoding, Receiver, Request

__all__ = ["Limits", "WebSocketChannel"]

logger = logging.getLogger(__name__)
frame_logger = logging.getLogger(f"{__name__}.frames")
frame_logger.setLevel(logging.WARNING)  # "connection closed" at INFO, per connection, is noise

# The C-level socket: gevent's own would wait, and costs a layer of Python on each send.
Socket: type[_names.socket] = monkey.get_original("socket", "socket")

READ, WRITE = 1, 2  # libev's numbers, as gevent's loop.io takes them

DATA: Final = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)

READ_SIZE: Final = 16 * 1024
"""Bytes read per peer and turn of the loop: what one flooding client can put before the others' turn."""

DEFLATED_READ_SIZE: Final = 2 * 1024
"""The same for a peer that may compress: deflate makes up to a thousand bytes of one."""

WRITE_BUFFERS: Final = 64
"""Waiting buffers handed to the system in one call; well under Linux's IOV_MAX of 1,024."""

CONTROL_SIZE: Final = 127
"""Bytes of the largest control frame a server sends (RFC 6455 section 5.5)."""

REASON_SIZE: Final = 123
"""Bytes of a close reason that fit into a control frame (RFC 6455 section 5.5)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one peer may cost.

    Args:
        message: bytes of one received message, all fragments; beyond it the peer is closed with 1009.
        waiting: bytes sent that the system has not taken yet; beyond it the peer is closed with 1013. It must
            exceed the largest batch that is ever sent at once.
        closing: seconds a peer has to answer a close frame and to hang up before it is cut off.
        request: seconds from a connect, or from the previous answer, to the end of an HTTP request's headers; and
            those for which a client may neither send more of a body nor take more of an answer.
        connections: connections at a time, WebSockets included, None for any number; beyond it one that waits for a
            request is ended, or the new one refused.
        sessions: sessions that one client address may have at a time, None for any number; more are refused.
    """

    message: int = 1024 * 1024
    waiting: int = 8 * 1024 * 1024
    closing: float = 5.0
    request: float = 60.0
    connections: int | None = None
    sessions: int | None = None


class _Nobody:
    """The receiver before the application is connected and after it has heard of the end."""

    def receive(self, text: str) -> None: ...

    def drained(self) -> None: ...

    def closed(self, code: int, reason: str) -> None: ...


NOBODY: Final = _Nobody()


class WebSocketChannel:
    """The `Channel` of one WebSocket peer.

    Args:
        fileno: the connected socket's descriptor; from now on it belongs to this object.
        family: the socket's address family.
        on_gone: called once, with this channel, when the socket has been closed.
        deflate: how messages are written to a peer with which compression was agreed on.

    Attributes:
        frames: how messages are written to this peer.
    """

    __slots__ = (
        "_deflated",
        "_fragments",
        "_half_close",
        "_limits",
        "_loop",
        "_on_gone",
        "_open",
        "_protocol",
        "_read_size",
        "_reader",
        "_receiver",
        "_send",
        "_socket",
        "_timer",
        "_waiting",
        "_writer",
        "buffered",
        "frames",
        "remote_address",
    )

    def __init__(
        self,
        fileno: int,
        family: int,
        remote_address: str,
        limits: Limits,
        on_gone: Callable[[WebSocketChannel], None],
        deflate: Encoding | None = None,
    ) -> None:
        self.remote_address = remote_address
        self.frames: Encoding = deflate or text_frames
        self.buffered = 0
        self._limits = limits
        self._on_gone = on_gone
        self._socket = Socket(family, _names.SOCK_STREAM, 0, fileno=fileno)
        self._socket.setblocking(False)
        if family != _names.AF_UNIX:  # a message is small, and waits for nothing
            self._socket.setsockopt(_names.IPPROTO_TCP, _names.TCP_NODELAY, 1)
        self._send = self._socket.send
        self._loop: Any = get_hub().loop
        self._reader: Any = self._loop.io(fileno, READ)  # None once the socket is closed
        self._writer: Any = None  # exists while bytes are waiting
        self._timer: Any = None  # exists while closing
        self._waiting: deque[bytes | memoryview] | None = None
        self._protocol = Protocol(SERVER, state=OPEN, max_size=limits.message, logger=frame_logger)
        self._read_size = READ_SIZE
        if deflate is not None:
            self._protocol.extensions = DEFLATE
            self._read_size = DEFLATED_READ_SIZE
        self._fragments: bytearray | None = None  # of an unfinished message
        self._deflated = False  # whether these are compressed
        self._receiver: Receiver = NOBODY
        self._open = True  # nothing is sent or received once False
        self._half_close = False  # hang up once nothing is waiting

    def start(self, application: Application, request: Request, received: bytes) -> None:
        """Connect to the application, take what the client sent behind its handshake, then read on."""
        self._loop.run_callback(self._connect, application, request, received)

    def _connect(self, application: Application, request: Request, received: bytes) -> None:
        if not self._open:  # the server stopped in between
            return
        self._reader.start(self._readable)
        try:
            self._receiver = application.connect(self, request)
        except Exception:
            logger.exception("! %s: the application refused the connection", self.remote_address)
            self._fail(CloseCode.INTERNAL_ERROR, "internal error")
        if received:
            self._feed(received)

    # Reading

    def pause(self) -> None:
        """Stop reading, until `resume`."""
        if self._open:
            self._reader.stop()

    def resume(self) -> None:
        """Read again."""
        if self._reader is not None and not self._reader.active:
            self._reader.start(self._readable)

    def _readable(self) -> None:
        try:
            data = self._socket.recv(self._read_size)
        except BlockingIOError:
            return
        except OSError:  # reset by the peer
            data = b""
        if data:
            self._feed(data)
        else:
            self.abort()

    def _feed(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        closing = protocol.state is not OPEN
        if not closing:  # pongs go before answers, a close frame behind them
            self._flush()
        for event in protocol.events_received():
            if not self._open:
                break
            if isinstance(event, Frame) and event.opcode in DATA:
                self._take(event)
        if closing:
            self._flush()

    def _take(self, frame: Frame) -> None:
        """Put a message together; the protocol has checked the sequence of frames and their size."""
        if self._fragments is not None:
            self._fragments += frame.data
        else:
            self._deflated = isinstance(frame, DeflatedFrame)
            if not frame.fin:
                # One buffer, not a list of fragments: a client may send a million of a byte each, or empty ones.
                self._fragments = bytearray(frame.data)
        if frame.fin:
            data, self._fragments = self._fragments, None
            self._deliver_whole(frame.data if data is None else data)

    def _deliver_whole(self, data: bytes | bytearray | memoryview) -> None:
        if self._deflated:
            try:
                data = inflate(data, self._limits.message)
            except CannotInflate as error:
                self._fail(error.code, str(error))
                return
        self._deliver(data)

    def _deliver(self, data: bytes | bytearray | memoryview) -> None:
        # Binary messages count as text, as on Meteor's server (ddp-wire 1.5).
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError as error:
            self._fail(CloseCode.INVALID_DATA, f"a message is not UTF-8 at byte {error.start}")
            return
        self._call(self._receiver.receive, text)

    # Writing

    def send(self, message: bytes) -> None:
        """Send one message."""
        if self._open:
            self._write(self.frames((message,)))

    def send_batch(self, batch: Batch) -> None:
        """Send several messages in one write."""
        if self._open:
            self._write(batch.encoded(self.frames))

    def _write(self, data: bytes) -> None:
        """Write whole frames, after all that were written before."""
        if self._waiting is not None:
            self._wait(data)
            return
        try:
            sent = self._send(data)
        except BlockingIOError:
            self._wait(data)
        except OSError:
            self.abort()
        else:
            if sent != len(data):
                self._wait(memoryview(data)[sent:])

    def _wait(self, data: bytes | memoryview) -> None:
        """Queue whole frames, or the rest (a memoryview) of some that were partly sent."""
        limit = self._limits.waiting
        if self.buffered + len(data) > (limit if self._open else limit + CONTROL_SIZE):
            self._overflow(data)
            return
        if self._waiting is None:
            self._waiting = deque()
            self._writer = self._loop.io(self._socket.fileno(), WRITE)
            self._writer.start(self._writable)
        self._waiting.append(data)
        self.buffered += len(data)

    def _overflow(self, data: bytes | memoryview) -> None:
        """Give up on a client that does not read: forget what waits, so that a close frame may arrive."""
        if not self._open or isinstance(data, memoryview):  # a frame cut in the middle lets nothing follow
            self.abort()
            return
        logger.warning("! %s: reads too slowly, closed", self.remote_address)
        if self._waiting:
            head = self._waiting[0]
            self._waiting.clear()
            if isinstance(head, memoryview):  # partly sent: it must be finished first
                self._waiting.append(head)
            self.buffered = sum(map(len, self._waiting))
        self.close(CloseCode.TRY_AGAIN_LATER, "reading too slowly")

    def _writable(self) -> None:
        waiting = self._waiting
        assert waiting is not None  # or there is no watcher
        try:
            sent = self._socket.sendmsg(islice(waiting, WRITE_BUFFERS))
        except BlockingIOError:
            return
        except OSError:
            self.abort()
            return
        self.buffered -= sent
        while sent:
            head = waiting.popleft()
            if sent < len(head):
                waiting.appendleft(memoryview(head)[sent:])
                break
            sent -= len(head)
        if not waiting:
            self._drained()

    def _drained(self) -> None:
        self._waiting = None
        _stop(self._writer)
        self._writer = None
        if self._half_close:
            self._hang_up()
        elif self._open:
            self._call(self._receiver.drained)

    # The end

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Start the closing handshake."""
        if self._open:
            if self._protocol.state is OPEN:  # else the peer's own close frame is being handled right now
                self._protocol.send_close(code, _cut(reason))
            self._flush()

    def abort(self) -> None:
        """Close the socket now. A receiver that has not heard of an end yet hears 1006, in the loop."""
        if self._reader is None:
            return
        if self._open:
            self._end(CloseCode.ABNORMAL_CLOSURE, "connection lost")
        for watcher in (self._reader, self._writer, self._timer):
            _stop(watcher)
        self._reader = self._writer = self._timer = None
        self._waiting = None
        self.buffered = 0
        self._socket.close()
        self._on_gone(self)

    def _fail(self, code: int, reason: str) -> None:
        """Send a close frame and hang up without waiting for an answer (RFC 6455 section 7.1.7)."""
        self._protocol.fail(code, _cut(reason))
        self._flush()

    def _flush(self) -> None:
        """Write what the protocol wants written: pongs, close frames, the end of the stream."""
        protocol = self._protocol
        if self._open and protocol.state is not OPEN:
            close = protocol.close_rcvd or protocol.close_sent
            assert close is not None  # nothing else ends the state OPEN, as receive_eof is never called
            self._end(close.code, close.reason)
        for data in protocol.data_to_send():
            if data == SEND_EOF:
                self._half_close = True
            else:
                self._write(data)
        if self._half_close and self._waiting is None:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close our direction only; closing both with input unread would destroy the close frame."""
        if self._reader is None:
            return
        try:
            self._socket.shutdown(_names.SHUT_WR)
        except OSError:
            self.abort()

    def _end(self, code: int, reason: str) -> None:
        self._open = False
        self._fragments = None
        self.resume()  # to see the peer's close frame and its end of the stream
        self._timer = self._loop.timer(self._limits.closing)
        self._timer.start(self.abort)
        self._loop.run_callback(self._tell_closed, code, reason)

    def _tell_closed(self, code: int, reason: str) -> None:
        receiver, self._receiver = self._receiver, NOBODY
        self._call(receiver.closed, code, reason)

    def _call(self, method: Callable[..., None], *args: object) -> None:
        """Call the application; its errors end this channel, never the loop or another channel."""
        try:
            method(*args)
        except Exception:
            logger.exception("! %s: the application failed, closed", self.remote_address)
            if self._open:
                self._fail(CloseCode.INTERNAL_ERROR, "internal error")


def _stop(watcher: Any) -> None:
    """End a watcher of the event loop, if there is one."""
    if watcher is not None:
        watcher.stop()
        watcher.close()


def _cut(reason: str) -> str:
    return reason.encode("utf-8", "replace")[:REASON_SIZE].decode("utf-8", "ignore")
