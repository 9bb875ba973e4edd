"""A client without a WebSocket: a session that outlives the HTTP requests it is made of (ddp-wire 1.7).

What lives here: the `Channel` to the application, the frames that wait, which response may carry them, and when it is
over. It knows no HTTP. Everything here happens without giving way, in whichever greenlet calls, but for
`Session.upload` and `Session.confirm`, which may wait.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from gevent.event import Event

from dddp.transport.sockjs.delivery import Delivery
from dddp.transport.sockjs.frames import OPEN, close_frame, quoted

if TYPE_CHECKING:
    from dddp.transport.contract import Batch, Request
    from dddp.transport.sockjs.connection import Receipt
    from dddp.transport.sockjs.sessions import Sessions

__all__ = ["ANOTHER_RESPONSE", "Carrier", "Session"]

logger = logging.getLogger(__name__)

FRAME_SIZE: Final = 128 * 1024
"""Bytes from which on no further message is put into a frame: what one response carries at least."""

LOST: Final = (1006, "connection lost")
TOO_SLOW: Final = (1013, "reading too slowly")

ANOTHER_RESPONSE: Final = close_frame(2010, "Another connection still open")
INTERRUPTED: Final = close_frame(1002, "Connection interrupted")


class Carrier(Protocol):
    """A response that carries a session's frames: what takes them, one after another, with `Session.next_frame`."""

    def wake(self) -> None:
        """There is something to take."""

    def beat(self) -> None:
        """Nothing may have been sent for long: a heartbeat is due."""

    def receipt(self) -> Receipt | None:
        """Return what will tell whether the client has received all of it; None if it needs not."""

    def cut(self) -> None:
        """The session is over, and the client does not take what is left: end without."""


class Session:
    """The `Channel` of one client that polls or streams.

    It is there from the first request that asks for frames until none has come for a while, also after its end: the
    client is to learn of that.
    """

    __slots__ = (
        "_carrier",
        "_close_frame",
        "_close_told",
        "_delivery",
        "_opened",
        "_pieces",
        "_receipt",
        "_sessions",
        "_taken",
        "buffered",
        "id",
        "remote_address",
    )

    def __init__(self, sessions: Sessions, id: str, request: Request) -> None:
        self.id = id
        self.remote_address = request.remote_address
        self.buffered = 0
        self._sessions = sessions
        self._pieces: deque[bytes] = deque()  # quoted messages, one piece for each batch
        self._carrier: Carrier | None = None
        self._receipt: Receipt | None = None  # of the last response
        self._opened = False
        self._close_frame: bytes | None = None  # once it has ended
        self._close_told = False
        self._taken: Event | None = None  # exists once an upload has had to wait
        self._delivery = Delivery(self, self._tell_taken)
        self._delivery.connect(sessions.application, request)

    @property
    def ended(self) -> bool:
        """Whether nothing is sent or received any more."""
        return self._close_frame is not None

    # What the application sends

    def send(self, message: bytes) -> None:
        """Send one message."""
        if self._close_frame is None:
            self._queue(quoted((message,)))

    def send_batch(self, batch: Batch) -> None:
        """Send several messages in one frame."""
        if self._close_frame is None and batch.messages:
            self._queue(batch.encoded(quoted))

    def _queue(self, piece: bytes) -> None:
        if self.buffered + len(piece) > self._sessions.limits.waiting:
            logger.warning("! %s: reads too slowly, closed", self.remote_address)
            self._drop()
            self.close(*TOO_SLOW)
            return
        self._pieces.append(piece)
        self.buffered += len(piece)
        self._wake()

    def _wake(self) -> None:
        if self._carrier is not None:
            self._carrier.wake()

    def _drop(self) -> None:
        self._pieces.clear()
        self.buffered = 0

    def pause(self) -> None:
        """Let further messages wait, and uploads with them, until `resume`."""
        self._delivery.pause()

    def resume(self) -> None:
        """Take messages again."""
        self._delivery.resume()

    # What the client sends

    def upload(self, messages: list[str]) -> bool:
        """Take messages, once those of earlier uploads have been received.

        Returns:
            Whether they were taken; not, if the session has ended.
        """
        while self._close_frame is None and self._delivery.waits:
            if self._taken is None:
                self._taken = Event()
            self._taken.clear()
            self._taken.wait()
        if self._close_frame is not None:
            return False
        self._delivery.receive(messages)
        return True

    def _tell_taken(self) -> None:
        if self._taken is not None:
            self._taken.set()

    # Responses

    def attach(self, carrier: Carrier) -> bool:
        """Let a response carry frames; not if another one does, and the session has not ended."""
        if self._carrier is not None and self._close_frame is None:
            return False
        self._detach()
        self._carrier = carrier
        self._sessions.absent.stop(self)
        self._sessions.heartbeats.start(carrier)
        return True

    def confirm(self) -> None:
        """End the session if the response before this one may not have reached the client: it would miss frames."""
        receipt, self._receipt = self._receipt, None
        if receipt is not None and not receipt.received():
            self._end(INTERRUPTED, *LOST)

    def next_frame(self) -> tuple[bytes, int] | None:
        """Return the frame to send now and its number of buffered bytes, to be passed to `sent`; None for none."""
        if not self._opened:
            self._opened = True
            return OPEN, 0
        if self._pieces:
            return self._messages()
        if self._close_frame is not None:
            self._close_told = True
            return self._close_frame, 0
        return None

    def _messages(self) -> tuple[bytes, int]:
        pieces = [self._pieces.popleft()]
        size = len(pieces[0])
        while self._pieces and size < FRAME_SIZE:
            pieces.append(self._pieces.popleft())
            size += len(pieces[-1])
        return b"a[" + b",".join(pieces) + b"]", size

    def sent(self, size: int) -> None:
        """Hear that the system has taken a frame."""
        if size and self.buffered:  # else it was dropped meanwhile
            self.buffered -= size
            if not self.buffered:
                self._delivery.drained()

    def detach(self, carrier: Carrier, whole: bool) -> None:
        """Hear that a response has ended.

        Args:
            whole: it ended as it should; otherwise frames may be lost, and the session is over.
        """
        if carrier is not self._carrier:
            return
        self._detach()
        if not whole:
            self._end(INTERRUPTED, *LOST)
        elif not self._close_told:
            self._receipt = carrier.receipt()
        if self._sessions.closed and (self._close_told or not whole):
            self._sessions.forget(self)
        else:
            self._sessions.absent.start(self)

    def _detach(self) -> None:
        if self._carrier is not None:
            self._sessions.heartbeats.stop(self._carrier)
            self._carrier = None

    # The end

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close after what was sent so far."""
        if self._close_frame is None:
            self._delivery.end(code, reason)
            self._close_frame = close_frame(code, reason)
            self._tell_taken()
            self._sessions.closing.start(self)
            self._wake()

    def cut(self) -> None:
        """Give up a client that has not taken what was sent before the end in time."""
        if self._carrier is not None:
            self._carrier.cut()

    def abort(self) -> None:
        """Forget the client."""
        self._end(INTERRUPTED, *LOST)
        self._wake()
        self._detach()
        self._sessions.forget(self)

    def release(self) -> None:
        """Hold nothing any more: no further response comes."""
        receipt, self._receipt = self._receipt, None
        if receipt is not None:
            receipt.close()

    def _end(self, frame: bytes, code: int, reason: str) -> None:
        self._drop()
        if self._close_frame is None:
            self._delivery.end(code, reason)
            self._close_frame = frame
            self._tell_taken()
