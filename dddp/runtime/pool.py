"""Greenlets that do database work: few, lasting, each with its own Django connections.

Nothing else in the runtime touches the database: the listener, the transports and the timers hand their work to a
pool. A job that raises is logged here, since nobody waits for it; what must be answered, the job answers itself.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from typing import Any, TypeAlias

import gevent
import psycopg2
from django.db import connections, reset_queries
from gevent.event import Event

__all__ = ["FAILURES", "TOO_BUSY", "Job", "Pool"]

logger = logging.getLogger(__name__)

FAILURES = (Exception, gevent.Timeout, SystemExit)
"""What a job may raise and its greenlet survive: ``gevent.Timeout`` and ``SystemExit`` are no ``Exception``, and the
latter, in any greenlet, would end the process. ``GreenletExit`` alone ends the greenlet."""

TOO_BUSY = (503, "The server is too busy; try again later")
"""The error, code and reason, that clients get for a job that no greenlet was free for in time."""

Job: TypeAlias = Callable[[], object]


KILLS, KILL_INTERVAL = 10, 0.5
"""How often a greenlet is killed that does not end by it, and the seconds in between."""


class _Waiting:
    """A job that waits for a free greenlet."""

    __slots__ = ("deadline", "job", "late", "whose")

    def __init__(self, job: Job, late: Job | None, whose: Hashable, deadline: float) -> None:
        self.job: Job | None = job  # None once it has been begun, or given up
        self.late = late
        self.whose = whose
        self.deadline = deadline


class Pool:
    """A fixed number of greenlets that take jobs in order, from each of those who have some in turn.

    Of those that are free, the one that worked last takes the next job: so there are no more database connections than
    have been needed at once.

    Args:
        name: for the log.
        size: greenlets, and so database connections per database.
        prepare: called once in each greenlet before its first job.
        patience: seconds that a job waits for a free greenlet, if it says what is to be done when none comes.
    """

    def __init__(
        self, name: str, size: int, prepare: Job = lambda: None, patience: float = float("inf")
    ) -> None:
        self.name = name
        self.size = size
        self.busy = 0
        self._prepare = prepare
        self._renewals = 0
        self._stopping = False
        self._patience = patience
        self._turns: OrderedDict[Hashable, OrderedDict[_Waiting, None]] = OrderedDict()  # the next one first
        #: One for each greenlet that waits for a job, the one that worked last at the end.
        self._free: list[Event] = []
        self._impatient: deque[_Waiting] = deque()  # those that may be late, in the order of their deadlines
        self._silent_until = 0.0
        self._clock: gevent.Greenlet[[], None] | None = None  # while there are some
        self._greenlets: list[gevent.Greenlet[[], None]] = []

    def start(self) -> None:
        """Start the greenlets; their database connections open with their first jobs."""
        self._greenlets = [gevent.spawn(self._work) for _ in range(self.size)]

    def submit(self, job: Job, late: Job | None = None, whose: Hashable = None) -> None:
        """Have a job done by the next free greenlet. Never waits.

        Args:
            late: done instead when none is free in time; it must not wait.
            whose: who has many jobs waits longer for them, and not the others.
        """
        waiting = _Waiting(job, late, whose, time.monotonic() + self._patience)
        self._turns.setdefault(whose, OrderedDict())[waiting] = None
        if self._free:
            self._free.pop().set()
        if late is not None and self._patience < float("inf"):
            self._impatient.append(waiting)
            if self._clock is None:
                self._clock = gevent.spawn(self._give_up_late_ones)

    def renew(self) -> None:
        """Have each greenlet do its next job on new connections: these may lead nowhere, without a sign of it."""
        self._renewals += 1

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do and nothing being done."""
        return not self.busy and not self._turns

    def stop(self) -> None:
        """Give up what is being done and close the database connections."""
        self._stopping = True
        # More than once: a cursor that cannot be closed any more turns the exit into an error of its own.
        for _ in range(KILLS):
            gevent.killall(self._greenlets, block=False)
            gevent.joinall(self._greenlets, timeout=KILL_INTERVAL)

    def _work(self) -> None:
        self._prepare()
        renewals = self._renewals
        try:
            while not self._stopping:
                self._wait_for_job()
                if renewals != self._renewals:
                    renewals = self._renewals
                    connections.close_all()
                    continue  # another greenlet may have taken the job meanwhile
                # No name here keeps a job, and its client, until the next one comes.
                self._do(self._next())
        finally:
            connections.close_all()

    def _wait_for_job(self) -> None:
        while not self._turns:  # one that has just become free may have taken what this one was called for
            called = Event()
            self._free.append(called)
            called.wait()

    def _next(self) -> Job:
        """Begin the first job of whose turn it is."""
        whose, jobs = next(iter(self._turns.items()))
        self._turns.move_to_end(whose)
        return self._taken(next(iter(jobs)))

    def _taken(self, waiting: _Waiting) -> Job:
        """Take a job out: it waits no more."""
        jobs = self._turns[waiting.whose]
        del jobs[waiting]
        if not jobs:
            del self._turns[waiting.whose]
        job, waiting.job = waiting.job, None
        assert job is not None  # or it would not be in there
        while self._impatient and self._impatient[0].job is None:
            self._impatient.popleft()
        return job

    def _give_up_late_ones(self) -> None:
        while self._impatient:
            # No name here keeps a job, and its client, until the next one is late.
            wait = self._impatient[0].deadline - time.monotonic()
            if wait > 0:
                gevent.sleep(wait)
            else:
                self._give_up(self._impatient[0])
        self._clock = None

    def _give_up(self, waiting: _Waiting) -> None:
        self._taken(waiting)
        assert waiting.late is not None  # or it would not be impatient
        self._do_late(waiting.late)

    def _do_late(self, late: Job) -> None:
        now = time.monotonic()
        if now >= self._silent_until:  # one line for a flood of them
            self._silent_until = now + self._patience
            logger.warning("! all %d of the %s pool are busy for %g s", self.size, self.name, self._patience)
        try:
            late()
        except FAILURES:
            logger.exception("! the answer of a late job of the %s pool failed", self.name)

    def _do(self, job: Job) -> None:
        self.busy += 1
        _drop_dead_connections()
        try:
            job()
        except FAILURES:
            logger.exception("! a job of the %s pool failed", self.name)
        finally:
            self.busy -= 1
            _tidy_connections()


def _drop_dead_connections() -> None:
    """Close connections that the database has ended while they were idle, so that no job fails by them."""
    for connection in connections.all(initialized_only=True):
        if (
            connection.vendor == "postgresql"
            and connection.connection is not None
            and _is_dead(connection.connection)
        ):
            connection.close()


def _is_dead(pgconn: Any) -> bool:
    """Whether the other end is gone, as far as this end has heard; asks nothing of the network."""
    try:
        pgconn.poll()  # finds the server's farewell, if there is one
        pgconn.poll()  # finds that nothing follows it
    except psycopg2.Error:
        return True
    return False


def _tidy_connections() -> None:
    """Keep good connections open for the next job, whatever ``CONN_MAX_AGE``; drop broken ones."""
    reset_queries()
    for connection in connections.all(initialized_only=True):
        broken: Any = connection.errors_occurred and not connection.is_usable()
        if broken or connection.in_atomic_block:
            connection.close()
        connection.errors_occurred = False
