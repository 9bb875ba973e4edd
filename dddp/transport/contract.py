"""The contract between a transport and what sits on it.

What lives here: the words both sides share. It knows no socket, no HTTP library and no DDP: a message is a
text, in both directions, and what it means is the application's business. Each transport (WebSocket, the
SockJS ones) implements `Channel`; the layer above implements `Application` and `Receiver`.

The rule of threads: `Application.connect` and every method of `Receiver` are called in the event loop
itself. They must not wait; what takes time is handed to a greenlet. Every method of `Channel` may be called
from any greenlet of the process, never waits and never raises because of the network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Application", "Batch", "Channel", "Encoding", "Receiver", "Request"]

Encoding = Callable[[tuple[bytes, ...]], bytes]
"""How a transport writes messages: UTF-8 texts in, what goes over the socket out."""


class Batch:
    """Messages for any number of recipients, encoded once per transport whatever the number of them.

    Args:
        messages: UTF-8 texts, in order. They arrive contiguously.
    """

    __slots__ = ("_encoded", "_framed", "_size", "messages")

    def __init__(self, messages: Iterable[bytes]) -> None:
        self.messages = tuple(messages)
        self._encoded: dict[Encoding, bytes] = {}
        self._framed: dict[Encoding, Batch] | None = None
        self._size: int | None = None

    @property
    def size(self) -> int:
        """The bytes of its messages, counted once."""
        if self._size is None:
            self._size = sum(map(len, self.messages))
        return self._size

    def encoded(self, encoding: Encoding) -> bytes:
        """Return the messages as `encoding` writes them: the same object at every call."""
        encoded = self._encoded.get(encoding)
        if encoded is None:
            encoded = self._encoded[encoding] = encoding(self.messages)
        return encoded

    def framed(self, encoding: Encoding) -> Batch:
        """Return these messages as one message of the protocol in between: the same batch at every call."""
        if self._framed is None:
            self._framed = {}
        framed = self._framed.get(encoding)
        if framed is None:
            framed = self._framed[encoding] = Batch((self.encoded(encoding),))
        return framed


@dataclass(frozen=True, slots=True)
class Request:
    """What is kept of the HTTP request that opened a channel (ddp-wire 1.9).

    Args:
        path: percent-decoded, without the query.
        query: as it came, without the question mark.
        headers: lower-case names to values, the whitelisted ones that were present; never a cookie.
        remote_address: the IP address at the other end of the socket; a proxy's, if there is one.
        origin: the ``Origin`` header, None where absent (not a browser).
    """

    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    remote_address: str = ""
    origin: str | None = None


class Channel(Protocol):
    """One connected client, as the application sees it: messages go out here."""

    @property
    def remote_address(self) -> str:
        """The IP address at the other end of the socket."""

    @property
    def buffered(self) -> int:
        """Bytes accepted by `send` and not yet taken by the operating system."""

    def send(self, message: bytes) -> None:
        """Send one message, a UTF-8 text. Once the channel is closing it goes nowhere, silently."""

    def send_batch(self, batch: Batch) -> None:
        """Send several messages contiguously, in one write, encoded once for all recipients."""

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close after what was sent so far; nothing more is received. Calls after the first do nothing.

        Args:
            code: a WebSocket close code: 1000, 1001, 1008, 1011 to 1014, or 3000 to 4999.
            reason: at most 123 bytes in UTF-8; what is longer is cut.
        """

    def pause(self) -> None:
        """Stop reading from the client, until `resume`; a few messages already read may still be received.

        A client that goes away meanwhile is noticed at the next write or after `resume`.
        """

    def resume(self) -> None:
        """Read again. Without a `pause` before it this does nothing."""


class Receiver(Protocol):
    """What the application made of one channel: messages and its end come in here. None of these may wait.

    An exception out of any of them is logged with its traceback and closes this one channel with 1011.
    """

    def receive(self, text: str) -> None:
        """Take one message, valid Unicode. Calls are in the order of arrival."""

    def drained(self) -> None:
        """Hear that `Channel.buffered`, which was above 0, has come back to 0."""

    def closed(self, code: int, reason: str) -> None:
        """Hear that the channel has ended, whoever ended it: the last call, once, never from within `send`.

        Args:
            code: the close code the client sent, else the one it was sent, else 1006 (connection lost).
        """


class Application(Protocol):
    """What is reached through the transports."""

    def connect(self, channel: Channel, request: Request) -> Receiver:
        """Take a new client. It may be sent to, or closed, at once; nothing is received before this returns.

        Raises:
            Exception: is logged with its traceback, and the channel is closed with 1011.
        """
