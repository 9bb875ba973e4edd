"""What was sent to one client last, kept for the case that it comes back without having received it.

Only for clients that have resumed their session once, and so can do it again: for all others a count is enough, since
they can resume only if they have received everything. Pure: no channel, no clock.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple, TypeAlias

from dddp.transport.contract import Batch

__all__ = ["Entry", "Matter", "ReplayLog"]

Matter: TypeAlias = tuple[type, str]
"""A method call or a subscription, by the type of the message that began it and the client's id for it."""


class Entry(NamedTuple):
    """Messages on their way to the client."""

    batch: Batch
    charge: int = 0  #: bytes that count against the client's limit while they wait
    settles: Matter | None = None  #: what they are the last word on


class ReplayLog:
    """The last entries sent, up to so many bytes, in order.

    Args:
        start: how many messages were sent before.
        limit: bytes.
    """

    __slots__ = ("_entries", "_limit", "_pinged", "_size", "start")

    def __init__(self, start: int, limit: int) -> None:
        self.start = start
        self._limit = limit
        self._size = 0
        self._entries: deque[Entry] = deque()
        self._pinged = start

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Note that an entry has been sent."""
        self._entries.append(entry)
        self._size += entry.batch.size
        while self._size > self._limit:
            self._drop()

    def after(self, received: int) -> list[Entry] | None:
        """What the client has not received; None if that is not known any more.

        Args:
            received: messages that it has received, of those sent.
        """
        surplus = received - self.start
        if surplus < 0:
            return None
        missing = []
        for entry in self._entries:
            count = len(entry.batch.messages)
            if surplus <= 0:
                missing.append(entry)
            elif surplus < count:
                missing.append(entry._replace(batch=Batch(entry.batch.messages[surplus:])))
            surplus -= count
        return missing

    def pinged(self) -> None:
        """The client is asked whether it is there, behind all that was sent."""
        self._pinged = self.start + sum(len(entry.batch.messages) for entry in self._entries)

    def ponged(self) -> None:
        """It has answered: it has received all that was sent before it was asked."""
        while self._entries and self.start + len(self._entries[0].batch.messages) <= self._pinged:
            self._drop()

    def _drop(self) -> None:
        entry = self._entries.popleft()
        self.start += len(entry.batch.messages)
        self._size -= entry.batch.size
