"""The write fence of one method: ``updated`` goes out when all it wrote has been told (design, section 8).

The transaction that commits carries a token; whatever was committed besides (other databases, ``on_commit``
callbacks, a method without a transaction) is followed by a token of its own, since the feed keeps the order of
commits. A method that wrote nothing needs none. Statements are counted, so that "besides" is not a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.db import Error, connections
from gevent.local import local

from dddp.feed.token import note_token, send_token
from dddp.livequery.fences import Fence
from dddp.livequery.query import LiveQuery
from dddp.runtime.live import LiveDatabase

__all__ = ["DATABASE", "WriteFence", "count_statements"]

logger = logging.getLogger(__name__)

DATABASE = "default"
"""The database whose transaction a method runs in, as Django's ``ATOMIC_REQUESTS`` has it."""

_statements = local()
"""Of the current greenlet: database -> statements run on its connection so far."""


def count_statements(databases: Iterable[str]) -> None:
    """Count the statements that this greenlet runs from now on."""
    for alias in databases:
        setattr(_statements, alias, 0)
        connections[alias].execute_wrappers.append(_counting(alias))


def _counting(alias: str) -> Callable[..., Any]:
    def count(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        setattr(_statements, alias, _run(alias) + 1)
        return execute(sql, params, many, context)

    return count


def _run(alias: str) -> int:
    count: int = getattr(_statements, alias, 0)
    return count


class WriteFence:
    """Follows one method's writes; made, noted and armed in the greenlet that runs the method.

    Args:
        interest: gives the session's live queries of a database.
        passed: called once, when everything the method wrote has been told.
    """

    def __init__(
        self,
        databases: Mapping[str, LiveDatabase],
        interest: Callable[[LiveDatabase], Iterable[LiveQuery]],
        passed: Callable[[], None],
    ) -> None:
        self._databases = databases
        self._interest = interest
        self._passed = passed
        self._before = {alias: _run(alias) for alias in databases}
        self._accounted = dict(self._before)  #: statements whose writes a token covers
        self._fences: list[tuple[LiveDatabase, Fence]] = []
        self._closed = 1  #: fences that have not fired, and the one that ``release`` opens

    def note(self, alias: str) -> None:
        """Leave a token with the transaction that is about to commit, if it has written anything.

        One that is to be rolled back (``transaction.set_rollback``) has nothing to tell, and takes no further query.

        Raises:
            django.db.Error: the database refused; the transaction cannot be committed.
        """
        live = self._databases.get(alias)
        if live is None or _run(alias) == self._accounted[alias]:
            return
        if not connections[alias].get_rollback():
            token = live.new_token()
            if note_token(connections[alias], live.channel, token):
                self._raise(live, token)
        self._accounted[alias] = _run(alias)

    def drop(self) -> None:
        """The method raised: whether its transaction has committed is unknown, so no token can be relied on."""
        for live, fence in self._fences:
            live.drop_fence(fence)
        self._closed -= len(self._fences)
        self._fences.clear()
        self._accounted = dict(self._before)

    def arm(self) -> None:
        """All is committed: follow what no transaction's token covers, and let the fences fire."""
        for alias, live in self._databases.items():
            if _run(alias) != self._accounted[alias]:
                self._follow(live)
        for live, fence in list(self._fences):
            if fence.epoch != live.router.epoch and not fence.seen:
                self._send(live, fence)  # the feed was cut meanwhile, and its token may be lost
            live.arm(fence)

    def release(self) -> None:
        """The method's answer is ready; in any greenlet."""
        self._open_one()

    def _follow(self, live: LiveDatabase) -> None:
        self._send(live, self._raise(live, live.new_token()))

    def _send(self, live: LiveDatabase, fence: Fence) -> None:
        try:
            with connections[live.alias].cursor() as cursor:
                send_token(cursor, live.channel, fence.token)
        except Error as error:
            # Without a database nothing can be told either; the gap that follows has every query read again.
            logger.warning("! no token could be sent behind a method's writes: %s", error)
            self._fences.remove((live, fence))
            live.drop_fence(fence)
            self._closed -= 1

    def _raise(self, live: LiveDatabase, token: str) -> Fence:
        self._closed += 1
        fence = live.raise_fence(token, lambda: self._interest(live), self._open_one)
        self._fences.append((live, fence))
        return fence

    def _open_one(self) -> None:
        self._closed -= 1
        if not self._closed:
            self._passed()
