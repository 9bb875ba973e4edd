"""Drift: capture that was complete when the server started, and is not any more.

Somebody makes a partition, drops a trigger or disables one: what is written there reaches no client, and nothing
fails. Looked at now and then, and told in the log in the words of ``manage.py check``, once for each change of what is
missing. What ``migrate`` of newer code has added is not missing here: two releases may meet on one database. All
database work is done in the read pool.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from functools import partial

import gevent
from django.db import Error, connections
from gevent.event import Event

from dddp.feed import capture
from dddp.feed.capture import CapturedTable, Status
from dddp.feed.catalogue import hidden, is_created, mark_is_guarded
from dddp.feed.drift import digest
from dddp.orm.failures import is_away, is_overtime
from dddp.runtime.pool import Pool

__all__ = ["DriftWatch"]

logger = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds between two looks: who makes a partition hears of it while it is fresh. A look is one query of the catalogue;
a change is looked at closely, which takes 30 ms of this process for a table with 100 partitions."""

PAUSE = 1.0
"""Seconds before a look: after an interruption the clients' reads go first, and further interruptions cost no look."""

MOST = 5
"""How many of the relations are named in one line."""

DRIFTED = ("missing", "changed")
"""States of triggers that do not do their work."""


class DriftWatch:
    """Looks after the capture triggers of one database.

    Args:
        alias: Django's name of the database.
        tables: those that are to have triggers.
        readers: the pool for reads.
        interval: seconds between two looks, about.
    """

    def __init__(
        self, alias: str, tables: Sequence[CapturedTable], readers: Pool, interval: float = INTERVAL
    ) -> None:
        self._alias = alias
        self._tables = tables
        self._readers = readers
        self._interval = interval
        self._told = ""
        self._digest: str | None = None  # of the catalogue when it was looked at closely
        self._due = Event()
        self._greenlet: gevent.Greenlet[[], None] | None = None

    def start(self) -> None:
        """Look from now on; the pool must be started."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self) -> None:
        """Look no more."""
        if self._greenlet is not None:
            self._greenlet.kill()

    def look_soon(self) -> None:
        """Do not wait for the interval's end: the database may have been restored, or be another one."""
        self._due.set()

    def look(self) -> None:
        """Look once, and tell what has changed since the last time. Runs in a greenlet of the pool."""
        try:
            self._look()
        except Error as error:
            if not (is_away(error) or is_overtime(error)):  # of these others speak, and they pass
                self._tell(f"it cannot be seen whether its triggers are there: {str(error).strip()}")
                self._digest = None  # what is seen again is told, though it be as before

    def _look(self) -> None:
        with connections[self._alias].cursor() as cursor:
            seen = digest(cursor)
        if seen != self._digest:
            self._tell(self._drift())
            self._digest = seen

    def _run(self) -> None:
        while True:
            # Not all processes that were started together at the same time.
            self._due.wait(self._interval * random.uniform(0.5, 1.5))
            gevent.sleep(min(PAUSE, self._interval))
            self._due.clear()
            looked = Event()
            self._readers.submit(partial(self._look_and_say, looked), whose=self)
            looked.wait()

    def _look_and_say(self, looked: Event) -> None:
        try:
            self.look()
        finally:
            looked.set()

    def _drift(self) -> str:
        """What is not as it should be, and the mend; nothing when all is well."""
        with connections[self._alias].cursor() as cursor:
            if not is_created(cursor):
                return str(Status(created=False, hidden=hidden(cursor)))
            guarded = mark_is_guarded(cursor)
        sentences = [*([] if guarded else [capture.UNGUARDED]), *self._sentences()]
        if not sentences:
            return ""
        more = [f"and {len(sentences) - MOST} more"] if len(sentences) > MOST else []
        mend = f"run: manage.py ddp_triggers install --database {self._alias}"
        return "; ".join([*sentences[:MOST], *more, mend])

    def _sentences(self) -> list[str]:
        """One for each captured relation and state."""
        groups: dict[tuple[str, str, str], list[str]] = {}
        for trigger, state in capture.report(connections[self._alias], self._tables):
            if state in DRIFTED:
                groups.setdefault((trigger.label, trigger.relation, state), []).append(trigger.event)
        return [
            f"{label}: {', '.join(events)} trigger on {relation} is {state}"
            for (label, relation, state), events in groups.items()
        ]

    def _tell(self, drift: str) -> None:
        if drift == self._told:
            return
        self._told = drift
        if drift:
            logger.warning(
                "! capture in the database %r is not up to date: %s. Until then changes will not reach DDP clients",
                self._alias,
                drift,
            )
        else:
            logger.warning("= capture in the database %r is up to date again", self._alias)
