"""What one session sends: counted, and kept while the client cannot take it (design, section 7; ddp-wire 13).

Usually a message goes straight to the channel. It waits here, in order, in three cases:

* A large first batch is on its way. Its documents are not charged to the client's limit: they go out in slices, each
  when the socket has taken the one before, so that a client may load more than it could ever have queued. What is sent
  meanwhile waits behind it and is charged. While too much of it waits, no other subscription begins (``is_loaded``).
* The client lags: more waits in its channel than a threshold. What steps do to its documents is held back by its merge
  box then and told as one step when the socket has taken everything; other messages wait behind that.
* The client has been cut off and may come back. All that waits is charged then, to a limit of its own.

Messages are counted as clients count them, so that a client that comes back can say what it has received.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import gevent

from dddp.livequery.step import FirstMessages
from dddp.mergebox import MergeBox
from dddp.protocol.messages import is_counted
from dddp.runtime.replay import Entry, Matter, ReplayLog
from dddp.transport.contract import Batch, Channel

__all__ = ["Outbox", "first_batches"]

SLICE = 64 * 1024
"""Bytes of messages that are handed to the socket at once: about what a socket's buffer takes (not measured)."""

TOO_SLOW = 1013
"""Close code for a client past its limit: "try again later"; it restores itself on reconnect."""


class _Nowhere:
    """The channel of a client that is not there."""

    remote_address = ""
    buffered = 0

    def send(self, message: bytes) -> None: ...

    def send_batch(self, batch: Batch) -> None: ...

    def close(self, code: int = 1000, reason: str = "") -> None: ...

    def pause(self) -> None: ...

    def resume(self) -> None: ...


NOWHERE: Final = _Nowhere()


class Outbox:
    """The way of one session's messages to its client.

    Args:
        limit: bytes of charged messages that may wait for a connected client.
        threshold: bytes that wait from which on the client lags.

    Attributes:
        box: makes the messages of steps, and holds them back when it is told to.
    """

    __slots__ = (
        "_channel",
        "_charged",
        "_closed",
        "_free",
        "_held",
        "_limit",
        "_log",
        "_overflown",
        "_place",
        "_sent",
        "_threshold",
        "_waiting",
        "box",
    )

    def __init__(self, channel: Channel, limit: int, threshold: int) -> None:
        self.box: MergeBox[Batch] = MergeBox(self.send_batch)
        self._threshold = threshold
        #: Among those that wait, while the client lags: where what is held back goes.
        self._place: Entry | None = None
        self._held = 0  # bytes of it
        self._channel = channel
        self._limit = limit
        self._charged = 0
        self._free = 0  # bytes that wait and are not charged
        self._closed = False
        self._waiting: deque[Entry] | None = None  # exists while messages may not go straight to the channel
        self._sent = 0  # messages handed to a channel, as clients count them
        self._log: ReplayLog | None = None
        self._overflown: Callable[[], object] | None = None  # while the client is away

    # --- sending

    def send(self, message: bytes, settles: Matter | None = None) -> None:
        """Send one message."""
        if self._waiting is None and self._log is None:
            self._sent += 1
            self._channel.send(message)
        else:
            self._put(Batch((message,)), settles)

    def send_batch(self, batch: Batch) -> None:
        """Send messages contiguously."""
        if self._waiting is None and self._log is None:
            self._sent += len(batch.messages)
            self._channel.send_batch(batch)
        else:
            self._put(batch, None)
        if self._channel.buffered + self._charged > self._threshold:
            self._lag()

    def send_first(self, batches: Sequence[Batch]) -> None:
        """Send a first batch of documents, in slices."""
        if self._overflown is not None or (len(batches) < 2 and self._waiting is None):
            for batch in batches:
                self.send_batch(batch)
            return
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.extend(map(Entry, batches))
        self._free += sum(batch.size for batch in batches)
        self.pump()

    @property
    def is_loaded(self) -> bool:
        """Whether more waits uncharged than the limit: no subscription should bring yet more."""
        return self._free > self._limit

    def send_at_once(self, message: bytes) -> None:
        """Send a message of the session itself, past everything that waits."""
        if is_counted(message):
            self._hand(Entry(Batch((message,))))
        else:
            self._channel.send(message)

    def _put(self, batch: Batch, settles: Matter | None) -> None:
        if self._waiting is None:
            self._hand(Entry(batch, 0, settles))
            return
        entry = Entry(batch, batch.size, settles)
        self._waiting.append(entry)
        self._charged += entry.charge
        if self._charged > self._limit:
            self._overflow()

    def _hand(self, entry: Entry) -> None:
        self._sent += len(entry.batch.messages)
        if self._log is not None:
            self._log.add(entry)
        self._channel.send_batch(entry.batch)

    def _overflow(self) -> None:
        """The client is too slow, or too long away for what it has subscribed to."""
        overflown = self._overflown
        self.close(TOO_SLOW, "the client is too slow for what it has subscribed to")
        if overflown is not None:
            # Not from within a send: it takes the session out of its queries' audience.
            gevent.spawn(overflown)

    def pump(self) -> None:
        """Hand on as much as the socket takes; to be called when it has taken all."""
        if self._overflown is not None:
            return
        while self._waiting and not self._channel.buffered:
            entry = self._waiting.popleft()
            if entry is self._place:
                self._catch_up(self._waiting)
            else:
                self._charged -= entry.charge
                self._free -= _free_of(entry)
                self._hand(entry)
        if not self._waiting:
            self._waiting = None

    # --- a client that lags (``mergebox.Behind``)

    def _lag(self) -> None:
        """Hold back what happens to documents until the socket has taken what waits."""
        if self._place is not None or self._closed or self._overflown is not None:
            return
        if self._waiting is None:
            self._waiting = deque()
        self._place = Entry(Batch(()))
        self._waiting.append(self._place)
        self.box.hold_back(self)

    def _catch_up(self, waiting: deque[Entry]) -> None:
        """It is the turn of what was held back: in slices, as it may be as much as a first batch."""
        self._end_lag()
        batches = first_batches(self.box.catch_up())
        waiting.extendleft(map(Entry, reversed(batches)))
        self._free += sum(batch.size for batch in batches)

    def charge(self, size: int) -> None:
        """So many more bytes are held back."""
        if self._place is not None:
            self._held += size
            self._charged += size
            if self._charged > self._limit:
                self._overflow()

    def fill(self, messages: Sequence[bytes]) -> None:
        """Put what was held back into its place: something else is told behind it."""
        place = self._end_lag()
        if self._waiting is None or place is None:
            return
        batch = Batch(messages)
        position = next(number for number, entry in enumerate(self._waiting) if entry is place)
        self._waiting[position] = Entry(batch, batch.size)
        self._charged += batch.size

    def _end_lag(self) -> Entry | None:
        place, self._place = self._place, None
        self._charged -= self._held
        self._held = 0
        return place

    # --- the end of the channel

    def close(self, code: int, reason: str) -> None:
        """Close the channel; what waits is forgotten, and what is sent from now on goes nowhere."""
        self._closed = True
        self._waiting = self._log = self._overflown = self._place = None
        self._charged = self._free = self._held = 0
        self._channel.close(code, reason)

    # --- resumption

    def detach(self, limit: int, overflown: Callable[[], object]) -> bool:
        """The channel is lost: keep what is to be sent. Returns whether that can be, within the limit.

        Args:
            limit: bytes that may wait from now on.
            overflown: called, by another greenlet, when it is exceeded later.
        """
        self.box.flush()
        entries = (entry._replace(charge=entry.batch.size) for entry in self._waiting or ())
        self._channel = NOWHERE
        self._waiting = deque(entries)
        self._charged = sum(entry.charge for entry in self._waiting)
        self._free = 0
        self._limit = limit
        self._overflown = overflown
        return self._charged <= limit and not self._closed

    def missing(self, received: int) -> list[Entry] | None:
        """What was sent and has not been received; None if the client cannot go on from there.

        Args:
            received: messages that the client has received.
        """
        if self._closed or received > self._sent:
            return None
        if received == self._sent:
            return []
        return self._log.after(received) if self._log is not None else None

    def attach(self, channel: Channel, limit: int, missing: Iterable[Entry], log: ReplayLog) -> None:
        """Go on on another channel: first what the client has not received, then what waits; ``pump`` begins.

        Args:
            limit: bytes of charged messages that may wait from now on.
            missing: what ``missing`` has given.
            log: an empty one, that begins behind what the client has received.
        """
        self._channel = channel
        self._limit = limit
        self._waiting = deque([*missing, *(self._waiting or ())])
        self._charged = self._held + sum(entry.charge for entry in self._waiting)
        self._free = sum(map(_free_of, self._waiting))
        self._sent = log.start
        self._log = log
        self._overflown = None

    def unsettled(self) -> Iterable[Matter]:
        """What the waiting messages are the last word on: the client still asks for it."""
        return [entry.settles for entry in self._waiting or () if entry.settles is not None]

    def surrender(self) -> Channel:
        """Give the channel away; this outbox sends nothing any more."""
        channel, self._channel = self._channel, NOWHERE
        return channel

    def pinged(self) -> None:
        """A ping has been sent."""
        if self._log is not None:
            self._log.pinged()

    def ponged(self) -> None:
        """A ping has been answered."""
        if self._log is not None:
            self._log.ponged()


def _free_of(entry: Entry) -> int:
    """The bytes of an entry that is not charged."""
    return 0 if entry.charge else entry.batch.size


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
