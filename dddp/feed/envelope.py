"""Notifications in, feed events out. Pure: knows the envelope of ``sql/flush.sql``, neither sockets nor PostgreSQL.

The notifications of one transaction arrive contiguously. A group of them is complete when the end of every channel
that it uses and we listen to has come. The rest of the rules are for an end that cannot come, because our LISTEN
began or ended between two channels of the transaction: the next transaction, or a token, closes the group too.
Whoever drives an ``Assembler`` sends a token when one stays ``open``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import orjson

from dddp.changes import Change, FeedEvent, Gap, Key, Kind, Mark, Table, Transaction, Xid
from dddp.feed.channels import table_channel

__all__ = ["Assembler"]

VERSION = 1
GAP_INTERVAL = 10.0  # seconds; any role may NOTIFY nonsense, and a Gap re-runs every query


@dataclass(slots=True)
class Group:
    """The notifications of one batch of one transaction, as far as they have come."""

    xid: Xid
    batch: str
    changes: list[Change] = field(default_factory=list)
    tables: set[Table] = field(default_factory=set)
    marks: list[str] = field(default_factory=list)
    ended: set[str] = field(default_factory=set)  #: channels whose last envelope has come
    #: All channels of the batch; None: not known (yet, or too many to list).
    ends: frozenset[str] | None = None

    def transaction(self) -> Transaction:
        return Transaction(self.xid, tuple(self.changes), frozenset(self.tables), tuple(self.marks))

    def add(self, channel: str, envelope: dict[str, Any]) -> None:
        """
        Raises:
            ValueError, KeyError, TypeError, AttributeError: the envelope is not what ``sql/flush.sql`` sends.
        """
        self.marks.extend(envelope.get("t", ()))
        if "m" in envelope:
            self._add_changes(channel, Table(envelope["m"]), envelope)
        if "e" in envelope:
            self.ended.add(channel)
            self.ends = None if envelope["e"] is None else frozenset(envelope["e"])

    def _add_changes(self, channel: str, table: Table, envelope: dict[str, Any]) -> None:
        if table_channel(table) != channel:
            raise ValueError(f"an envelope of {table} on the channel {channel}")
        if envelope.get("w"):
            self.tables.add(table)
        columns = envelope.get("c", ())
        for values in envelope.get("r", ()):
            row = dict(zip(columns, values, strict=True))
            self.changes.append(Change(table, Key(values[0]), Kind.ROW, row))
        self.changes.extend(Change(table, Key(key), Kind.GONE) for key in envelope.get("g", ()))
        self.changes.extend(Change(table, Key(key), Kind.KEY_ONLY) for key in envelope.get("k", ()))


class Assembler:
    """Groups the notifications of each transaction.

    Args:
        clock: seconds, monotonic; an argument so that tests need not wait.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.channels: frozenset[str] = (
            frozenset()
        )  #: those we listen to, as of the last committed LISTEN or UNLISTEN
        self.undecodable = 0  #: how many payloads could not be read, ever
        self._clock = clock
        self._group: Group | None = None
        self._gap: Gap | None = None  # owed, until the interval allows it
        self._next_gap = float("-inf")

    @property
    def open(self) -> bool:
        """Whether a transaction has begun to arrive and not ended: a token would close it."""
        return self._group is not None

    @property
    def owes_gap(self) -> bool:
        return self._gap is not None

    def receive(self, channel: str, payload: str) -> list[FeedEvent]:
        """One notification, in the order of arrival."""
        if not payload.startswith("{"):
            return [*self._close(), Mark(payload)]
        try:
            return self._receive_envelope(channel, orjson.loads(payload))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.undecodable += 1
            self._gap = Gap(f"a payload on {channel} could not be read: {error}")
            return self.pay_gap()

    def pay_gap(self) -> list[FeedEvent]:
        """The ``Gap`` owed for what could not be read, if the last one was long enough ago."""
        gap, now = self._gap, self._clock()
        if gap is None or now < self._next_gap:
            return []
        self._gap, self._group, self._next_gap = None, None, now + GAP_INTERVAL
        return [gap]

    def listen_to(self, channels: Iterable[str]) -> list[FeedEvent]:
        """The channels of a LISTEN or UNLISTEN that has been committed."""
        self.channels = frozenset(channels)
        return self._close_if_complete()

    def reset(self) -> None:
        """Forget what has begun: the connection it came through is gone."""
        self._group = self._gap = None

    def _receive_envelope(self, channel: str, envelope: dict[str, Any]) -> list[FeedEvent]:
        if envelope["v"] != VERSION:
            raise ValueError(f"version {envelope['v']} of the envelope; this process knows {VERSION}")
        xid, batch = Xid(int(envelope["x"])), str(envelope["b"])
        events: list[FeedEvent] = []
        group = self._group
        if group is None or (group.xid, group.batch) != (xid, batch):
            events = self._close()
            group = self._group = Group(xid, batch)
        group.add(channel, envelope)
        return events + self._close_if_complete()

    def _close_if_complete(self) -> list[FeedEvent]:
        group = self._group
        if group is None or group.ends is None or not group.ends & self.channels <= group.ended:
            return []
        return self._close()

    def _close(self) -> list[FeedEvent]:
        group, self._group = self._group, None
        return [group.transaction()] if group is not None else []
