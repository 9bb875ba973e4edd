"""Queries that wait to be read: of each who asked in the order they came, and of all who asked in turn."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator

from dddp.livequery.query import LiveQuery

__all__ = ["Turns"]


class Turns:
    """Takes queries in, and gives them out so that who asks for many waits longer for them, and not the others."""

    __slots__ = ("_turns", "_whose")

    def __init__(self, queries: Iterable[LiveQuery] = ()) -> None:
        self._turns: dict[Hashable, dict[LiveQuery, None]] = {}  # whose turn is next comes first
        self._whose: dict[LiveQuery, Hashable] = {}
        for query in queries:
            self.add(query)

    def __len__(self) -> int:
        return len(self._whose)

    def __iter__(self) -> Iterator[LiveQuery]:
        return iter(self._whose)

    def __contains__(self, query: LiveQuery) -> bool:
        return query in self._whose

    def add(self, query: LiveQuery) -> None:
        """Have a query wait, behind the others of whoever asked for it."""
        if query not in self._whose:
            self._whose[query] = query.whose
            self._turns.setdefault(query.whose, {})[query] = None

    def discard(self, query: LiveQuery) -> None:
        """It waits no more, if it did."""
        if query in self._whose:
            whose = self._whose.pop(query)
            del self._turns[whose][query]
            if not self._turns[whose]:
                del self._turns[whose]

    def take(self, limit: int) -> tuple[LiveQuery, ...]:
        """At most so many queries, which wait no more: one of each who asked, then the next of each."""
        taken: list[LiveQuery] = []
        while self._turns and len(taken) < limit:
            whose = next(iter(self._turns))
            query = next(iter(self._turns[whose]))
            others = self._turns.pop(whose)
            del others[query], self._whose[query]
            if others:
                self._turns[whose] = others
            taken.append(query)
        return tuple(taken)

    def put_back(self, queries: Iterable[LiveQuery]) -> None:
        """Have queries wait that were taken and not served: before all others, in the order they were taken."""
        turns, self._turns, self._whose = self._turns, {}, {}
        for waiting in (queries, *turns.values()):
            for query in waiting:
                self.add(query)
