"""Clients that have been cut off and may come back to their sessions: so many, for so long (ddp-wire 13).

All that such a session is is kept; only its messages wait. Whoever is away longest goes first.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

import gevent

from dddp.protocol.session import Event, Invoke, Subscribe
from dddp.runtime.replay import Matter

if TYPE_CHECKING:
    from dddp.runtime.connection import Connection

__all__ = ["Absentees", "Return"]

logger = logging.getLogger(__name__)

ENDED_PER_TURN = 50
"""Sessions that are ended before other greenlets have a turn."""


class Absentees:
    """Sessions without a client.

    Args:
        time_limit: seconds until one is ended.
        limit: how many are kept.
        address_limit: how many of one client address, None for any number.
    """

    def __init__(self, time_limit: float, limit: int, address_limit: int | None) -> None:
        self._time_limit = time_limit
        self._limit = limit
        self._address_limit = address_limit
        self._addresses: Counter[str | None] = Counter()
        self._deadlines: dict[Connection, float] = {}  # in the order in which they left
        self._sweeper: gevent.Greenlet[[], None] | None = None

    def __contains__(self, session: Connection) -> bool:
        return session in self._deadlines

    def __len__(self) -> int:
        return len(self._deadlines)

    def has_room(self, address: str | None) -> bool:
        """Whether one more from an address may be kept: who leaves again and again must not fill the memory."""
        return self._address_limit is None or self._addresses[address] < self._address_limit

    def add(self, session: Connection) -> None:
        """A session's client is gone; end the session when its time is up, or when too many others leave."""
        self._deadlines[session] = time.monotonic() + self._time_limit
        self._addresses[session.client_address] += 1
        if len(self._deadlines) > self._limit:
            self._end(next(iter(self._deadlines)))
        if self._sweeper is None:
            self._sweeper = gevent.spawn(self._sweep)

    def discard(self, session: Connection) -> None:
        """It has got a client again, or has ended."""
        if self._deadlines.pop(session, None) is None:
            return
        address = session.client_address
        self._addresses[address] -= 1
        if not self._addresses[address]:
            del self._addresses[address]

    def _sweep(self) -> None:
        ended = 0
        while self._deadlines:
            session, deadline = next(iter(self._deadlines.items()))
            wait = deadline - time.monotonic()
            if wait > 0:
                gevent.sleep(wait)
                continue
            self._end(session)
            ended += 1
            if ended % ENDED_PER_TURN == 0:
                gevent.sleep(0)
        self._sweeper = None

    def _end(self, session: Connection) -> None:
        self.discard(session)
        try:
            session.finish()
        except Exception:
            # One session's failure must not keep all others for ever.
            logger.exception("! the end of session %s failed", session.id)


class Return:
    """A client that has come back: it sends again what it has got no answer to, and what it is subscribed to.

    Args:
        settled: what it will get, or has just been sent, the last word on.
        subscriptions: the ids of those that the session has.
    """

    __slots__ = ("_claims", "_settled", "_ticks", "_unclaimed")

    def __init__(self, settled: set[Matter], subscriptions: set[str]) -> None:
        self._settled = settled
        self._unclaimed = subscriptions
        self._claims = False
        self._ticks = 0

    def repeats(self, event: Event) -> bool:
        """Whether an event repeats one that came before the cut, and so must not be handled again."""
        if not isinstance(event, Invoke | Subscribe):
            return False
        if isinstance(event, Subscribe) and event.id in self._unclaimed:
            self._unclaimed.discard(event.id)
            self._claims = True
            return True
        matter = (type(event), event.id)
        if matter in self._settled:
            self._settled.discard(matter)
            return True
        return False

    def tick(self) -> set[str]:
        """One heartbeat interval has passed. Returns the subscriptions that the client has given up unheard.

        A client that sends its subscriptions again, as Meteor's does, sends all of them at once: what is missing after
        a full interval is one whose ``unsub`` was lost. One that sends none of them relies on the session's memory.
        """
        self._ticks += 1
        if self._ticks != 2 or not self._claims:
            return set()
        abandoned, self._unclaimed = self._unclaimed, set()
        return abandoned
