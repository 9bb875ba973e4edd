"""SockJS frames over a WebSocket (ddp-wire 1.5, 1.7). Knows the contract, and no WebSocket in particular.

Such a session is never found by its id: it lives and ends with its WebSocket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from dddp.transport.sockjs.delivery import Delivery
from dddp.transport.sockjs.frames import HEARTBEAT, OPEN, BadPayload, array_frame, close_frame, messages

if TYPE_CHECKING:
    from dddp.transport.contract import Application, Batch, Channel, Request
    from dddp.transport.sockjs.countdown import Countdown
    from dddp.transport.sockjs.sessions import Beating

__all__ = ["Framed", "FramedChannel"]

BROKEN_FRAMING: Final = (3000, "Broken framing.")


class Framed:
    """What a WebSocket's channel is given to as its `Application`; the real one gets a channel of messages.

    Attributes:
        channels: the open ones.
    """

    def __init__(self, application: Application, heartbeats: Countdown[Beating]) -> None:
        self._application = application
        self._heartbeats = heartbeats
        self.channels: set[FramedChannel] = set()

    def connect(self, channel: Channel, request: Request) -> FramedChannel:
        """Open a session."""
        framed = FramedChannel(self, channel)
        channel.send(OPEN)
        self.channels.add(framed)
        self._heartbeats.start(framed)
        framed.delivery.connect(self._application, request)
        return framed

    def forget(self, channel: FramedChannel) -> None:
        """A session has ended."""
        self.channels.discard(channel)
        self._heartbeats.stop(channel)


class FramedChannel:
    """One session: a `Channel` to the application, and the `Receiver` of the WebSocket's channel."""

    __slots__ = ("_channel", "_framed", "_paused", "delivery")

    def __init__(self, framed: Framed, channel: Channel) -> None:
        self._framed = framed
        self._channel = channel
        self._paused = False  # by the application
        self.delivery = Delivery(self, self._emptied)

    # The channel

    @property
    def remote_address(self) -> str:
        """The IP address at the other end of the socket."""
        return self._channel.remote_address

    @property
    def buffered(self) -> int:
        """Bytes not yet taken by the operating system."""
        return self._channel.buffered

    def send(self, message: bytes) -> None:
        """Send one message."""
        self._channel.send(array_frame((message,)))

    def send_batch(self, batch: Batch) -> None:
        """Send several messages in one frame."""
        if batch.messages:
            self._channel.send_batch(batch.framed(array_frame))

    def beat(self) -> None:
        """Send a heartbeat."""
        self._channel.send(HEARTBEAT)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close after what was sent so far."""
        self._channel.send(close_frame(code, reason))
        self._end(code, reason)

    def _end(self, code: int, reason: str) -> None:
        self._framed.forget(self)
        self.delivery.end(code, reason)
        self._channel.close(code, reason)

    def pause(self) -> None:
        """Stop reading, until `resume`."""
        self._paused = True
        self.delivery.pause()
        self._channel.pause()

    def resume(self) -> None:
        """Read again."""
        self._paused = False
        self.delivery.resume()
        if not self.delivery.waits:
            self._channel.resume()

    # The receiver of what comes by the WebSocket

    def receive(self, text: str) -> None:
        """Take one payload; the next one is read when its messages have been received."""
        try:
            self.delivery.receive(messages(text))
        except BadPayload:
            self._end(*BROKEN_FRAMING)
        else:
            if self.delivery.waits:
                self._channel.pause()

    def _emptied(self) -> None:
        if not self._paused:
            self._channel.resume()

    def drained(self) -> None:
        """Hear that the system has taken everything."""
        self.delivery.drained()

    def closed(self, code: int, reason: str) -> None:
        """Hear that the WebSocket has ended."""
        self._framed.forget(self)
        self.delivery.finish(code, reason)
