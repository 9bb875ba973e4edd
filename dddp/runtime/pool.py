"""Greenlets that do database work: few, lasting, each with its own Django connections.

Nothing else in the runtime touches the database: the listener, the transports and the timers hand their work to a
pool. A job that raises is logged here, since nobody waits for it; what must be answered, the job answers itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import gevent
import psycopg2
from django.db import connections, reset_queries
from gevent.queue import SimpleQueue

__all__ = ["FAILURES", "Pool"]

logger = logging.getLogger(__name__)

FAILURES = (Exception, gevent.Timeout, SystemExit)
"""What a job may raise and its greenlet survive: ``gevent.Timeout`` and ``SystemExit`` are no ``Exception``, and the
latter, in any greenlet, would end the process. ``GreenletExit`` alone ends the greenlet."""


class Pool:
    """A fixed number of greenlets that take jobs in order.

    Args:
        name: for the log.
        size: greenlets, and so database connections per database.
        prepare: called once in each greenlet before its first job.
    """

    def __init__(self, name: str, size: int, prepare: Callable[[], None] = lambda: None) -> None:
        self.name = name
        self.size = size
        self.busy = 0
        self._prepare = prepare
        self._jobs: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._greenlets: list[gevent.Greenlet[[], None]] = []

    def start(self) -> None:
        """Start the greenlets; their database connections open with their first jobs."""
        self._greenlets = [gevent.spawn(self._work) for _ in range(self.size)]

    def submit(self, job: Callable[[], object]) -> None:
        """Have a job done by the next free greenlet. Never waits."""
        self._jobs.put(job)

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do and nothing being done."""
        return not self.busy and self._jobs.empty()

    def stop(self) -> None:
        """Give up what is being done and close the database connections."""
        gevent.killall(self._greenlets)

    def _work(self) -> None:
        self._prepare()
        try:
            while True:
                self._do(
                    self._jobs.get()
                )  # no name here keeps a job, and its client, until the next one comes
        finally:
            connections.close_all()

    def _do(self, job: Callable[[], object]) -> None:
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
