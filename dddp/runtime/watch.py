"""A publication's look at documents that it does not publish: which there are, now and after each change.

The watched query is a live query like any other. Where a session has a merge box that sends, a watch has one that
calls back; what it would send is thrown away.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable

from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import QuerySpec
from dddp.mergebox import MergeBox
from dddp.runtime.live import LiveDatabase
from dddp.runtime.pool import FAILURES
from dddp.transport.contract import Batch

__all__ = ["Watch"]

logger = logging.getLogger(__name__)


class Watch:
    """Calls back with the ids of a query's documents.

    Changes that come while a call has not begun yet are told by that call.

    Args:
        whose: the client address: by it reads take turns.
        submit: has a job done where it may wait; the callback runs there.
        failed: called instead, at most once, when the query cannot be kept live.
    """

    __slots__ = ("_box", "_callback", "_due", "_failed", "_live", "_query", "_submit", "active")

    def __init__(
        self,
        live: LiveDatabase,
        spec: QuerySpec,
        whose: Hashable,
        submit: Callable[[Callable[[], object]], object],
        callback: Callable[[frozenset[str]], object],
        failed: Callable[[Exception], None],
    ) -> None:
        self.active = True
        self._live = live
        self._submit = submit
        self._callback = callback
        self._failed = failed
        self._due = False  # a call that has not begun yet
        self._box: MergeBox[Batch] | None = None  # once the first rows are known
        self._query: LiveQuery = live.open(spec, self._on_query, whose)
        if self._query.settled:
            self._attach()

    def close(self) -> None:
        """Call back no more."""
        self.active = False
        if self._box is not None:
            self._box.close()
        self._live.close(self._query, self._on_query)

    def _on_query(self, query: LiveQuery, error: Exception | None) -> None:
        if error is not None:
            self._failed(error)
        elif self._box is None:
            self._attach()

    def _attach(self) -> None:
        self._box = MergeBox(lambda batch: self._tell())
        self._box.replace([], [self._query])
        self._tell()

    def _tell(self) -> None:
        if not self._due:
            self._due = True
            self._submit(self._call)

    def _call(self) -> None:
        self._due = False
        if not self.active:
            return
        try:
            self._callback(frozenset(self._query.keys))
        except FAILURES:
            logger.exception("! a callback of watch() failed")
