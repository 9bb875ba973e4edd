"""What waits for one client while a large first batch goes out (design, section 7).

The documents of a first batch are not charged to the client's limit: they go out in slices, each when the socket has
taken the one before, so that a client may load more than it could ever have queued. Everything that is sent to the
client meanwhile waits behind it, in order, and is charged. Without a first batch on its way there is no outbox.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from dddp.livequery.step import FirstMessages
from dddp.transport.contract import Batch, Channel

__all__ = ["Outbox", "first_batches"]

SLICE = 64 * 1024
"""Bytes of messages that are handed to the socket at once: about what a socket's buffer takes (not measured)."""

TOO_SLOW = 1013
"""Close code for a client past its limit: "try again later"; it restores itself on reconnect."""


class Outbox:
    """Slices and batches on their way to one client, in order.

    Args:
        limit: bytes of charged messages that may wait.
    """

    __slots__ = ("_channel", "_charged", "_first", "_limit", "_waiting")

    def __init__(self, channel: Channel, first: Iterable[Batch], limit: int) -> None:
        self._channel = channel
        self._limit = limit
        self._charged = 0
        self._first: Iterator[Batch] = iter(first)
        self._waiting: deque[Batch] = deque()

    def add(self, batch: Batch) -> None:
        """Queue messages behind what waits already; a client past its limit is disconnected."""
        self._waiting.append(batch)
        self._charged += _size(batch.messages)
        if self._charged > self._limit:
            self._waiting.clear()
            self._first = iter(())
            self._channel.close(TOO_SLOW, "the client is too slow for what it has subscribed to")

    def add_first(self, first: Iterable[Batch]) -> None:
        """Queue another large first batch, uncharged, behind what waits."""
        self._first = chain(self._first, tuple(self._waiting), first)
        self._waiting.clear()
        self._charged = 0

    def pump(self) -> bool:
        """Hand on as much as the socket takes. Returns whether nothing waits any more."""
        while not self._channel.buffered:
            batch = next(self._first, None)
            if batch is None:
                if not self._waiting:
                    return True
                batch = self._waiting.popleft()
                self._charged -= _size(batch.messages)
            self._channel.send_batch(batch)
        return False


def first_batches(messages: Sequence[bytes]) -> Sequence[Batch]:
    """The messages in slices; those of a shared query are cut, and so encoded, once for all who join it."""
    if not isinstance(messages, FirstMessages):
        return tuple(_slices(messages))
    if messages.batches is None:
        messages.batches = tuple(_slices(messages))
    batches: Sequence[Batch] = messages.batches
    return batches


def _slices(messages: Sequence[bytes]) -> Iterator[Batch]:
    start = size = 0
    for stop, message in enumerate(messages, 1):
        size += len(message)
        if size >= SLICE or stop == len(messages):
            yield Batch(messages[start:stop])
            start, size = stop, 0


def _size(messages: Sequence[bytes]) -> int:
    return sum(map(len, messages))
