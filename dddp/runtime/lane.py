"""One session's share of the handler pool: so many jobs at once, so that no client keeps all others waiting.

The pool takes jobs in order, and a session has only a few of its own in there; so sessions take turns, and so do
client addresses, as many sessions as one may have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from functools import partial

from dddp.runtime.pool import Job, Pool

__all__ = ["Lane"]


class Lane:
    """Jobs of one session on their way to the pool.

    Args:
        limit: jobs that are in the pool, waiting or being done, at once.
        whose: the client address: by it sessions take turns.
    """

    __slots__ = ("_limit", "_pool", "_running", "_waiting", "_whose")

    def __init__(self, pool: Pool, limit: int, whose: Hashable = None) -> None:
        self._pool = pool
        self._limit = limit
        self._whose = whose
        self._running = 0
        self._waiting: deque[tuple[Job, Job | None]] | None = None  # made when something has to wait

    def submit(self, job: Job, late: Job | None = None) -> None:
        """Have a job done as soon as it is this session's turn. Never waits.

        Args:
            late: done instead when the pool has no free greenlet in time; it must not wait.
        """
        if self._running < self._limit:
            self._running += 1
            self._pool.submit(partial(self._run, job), late and partial(self._run, late), self._whose)
            return
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((job, late))

    def _run(self, job: Job) -> None:
        try:
            job()
        finally:
            self._running -= 1
            if self._waiting:
                self.submit(*self._waiting.popleft())
