"""One session's share of the handler pool: so many jobs at once, so that no client keeps all others waiting.

The pool takes jobs in order, and a session has only a few of its own in there; so sessions take turns.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

from dddp.runtime.pool import Pool

__all__ = ["Lane"]


class Lane:
    """Jobs of one session on their way to the pool.

    Args:
        limit: jobs that are in the pool, waiting or being done, at once.
    """

    __slots__ = ("_limit", "_pool", "_running", "_waiting")

    def __init__(self, pool: Pool, limit: int) -> None:
        self._pool = pool
        self._limit = limit
        self._running = 0
        self._waiting: deque[Callable[[], object]] | None = None  # made when something has to wait

    def submit(self, job: Callable[[], object]) -> None:
        """Have a job done as soon as it is this session's turn. Never waits."""
        if self._running < self._limit:
            self._running += 1
            self._pool.submit(partial(self._run, job))
            return
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append(job)

    def _run(self, job: Callable[[], object]) -> None:
        try:
            job()
        finally:
            self._running -= 1
            if self._waiting:
                self.submit(self._waiting.popleft())
