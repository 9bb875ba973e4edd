"""Windows: the slice of an ordered query, followed by the places of its rows.

Its law: a window is followed only as far as its order is known here. Beyond its last row are rows that nobody here
has seen, so whenever one of them may move in, the answer is that a read is needed. Pure, like all of ``livequery``.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from dddp.changes import Key, Row
from dddp.livequery.predicate import Column

__all__ = ["Order", "Place", "Ranking", "Window"]

Place: TypeAlias = tuple[tuple[int, Any], ...]
"""Where a row stands: for each column of the order whether it is NULL (-1 first, 1 last), and its value."""

NULL_FIRST: Final = (-1, None)
NULL_LAST: Final = (1, None)


class _Descending:
    """A value that sorts the other way round."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Descending) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __lt__(self, other: _Descending) -> bool:
        return bool(other.value < self.value)

    def __gt__(self, other: _Descending) -> bool:
        return other < self

    def __repr__(self) -> str:
        return f"-{self.value!r}"


@dataclass(frozen=True, slots=True)
class Order:
    """One column that rows are ordered by."""

    column: Column
    descending: bool = False
    nulls_first: bool = False
    ordered: bool = True  #: Python orders its values as PostgreSQL does; False: it only knows equal ones
    strange: frozenset[Any] = frozenset()  #: values of which it does not: they may stand for several

    def reader(self) -> Callable[[Row], tuple[int, Any]]:
        """What the column adds to a row's place."""
        read = self.column.reader()
        null = NULL_FIRST if self.nulls_first else NULL_LAST

        def part(row: Row) -> tuple[int, Any]:
            value = read(row)
            if value is None:
                return null
            return 0, _Descending(value) if self.descending else value

        return part


class Window:
    """The rows from rank ``start`` up to ``stop`` of all those that a predicate accepts.

    Args:
        stop: the rank behind the last; None is no limit.
        total: no two rows ever have equal places.
    """

    __slots__ = ("_parts", "columns", "ordered", "orders", "start", "stop", "total")

    def __init__(self, orders: Iterable[Order], start: int, stop: int | None, *, total: bool) -> None:
        self.orders = tuple(orders)
        self.start = start
        self.stop = stop
        self.total = total
        self.ordered = all(order.ordered for order in self.orders)
        self.columns = frozenset(order.column.name for order in self.orders)
        self._parts = tuple(order.reader() for order in self.orders)

    def place(self, row: Row) -> Place:
        """Where a row stands."""
        return tuple([part(row) for part in self._parts])

    def tells(self, place: Place) -> bool:
        """Whether rows of this place are equal to PostgreSQL, too."""
        return not any(
            order.strange and _plain(value) in order.strange
            for order, (_, value) in zip(self.orders, place, strict=True)
        )

    def orders_by(self, place: Place) -> bool:
        """Whether the place says what comes before it and what behind."""
        return self.ordered and self.tells(place)


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, _Descending) else value


class Ranking:
    """The rows that a windowed query has up to its last rank, with their places. Never changed: see ``after``.

    It is *complete* while there are fewer than the window's last rank: then no row is beyond it.
    """

    __slots__ = ("_end", "_order", "_places", "_window")

    def __init__(self, window: Window, places: Mapping[Key, Place]) -> None:
        """Make the ranking of rows as they were read, in their order."""
        self._window = window
        self._places = dict(places)
        self._end: Place | None = next(reversed(self._places.values()), None)  #: of the last row, as read
        ordered = all(map(window.orders_by, self._places.values()))
        #: The rows in their order, where it is known.
        self._order = sorted((place, key) for key, place in self._places.items()) if ordered else None

    @property
    def complete(self) -> bool:
        """Whether these are all rows that there are."""
        stop = self._window.stop
        return stop is None or len(self._places) < stop

    def members(self) -> Set[Key] | None:
        """The keys in the window, as a set; None where the order of those at its beginning is not known."""
        start = self._window.start
        if start == 0:
            return self._places.keys()
        if start >= len(self._places):
            return frozenset()
        if self._order is None or self._ties_at(start):
            return None
        return frozenset(key for _, key in self._order[start:])

    def after(self, changes: Iterable[tuple[Key, Place | None]]) -> Ranking | None:
        """The ranking after some rows have changed; None where only a read can tell.

        Args:
            changes: each row's place; None for one that the query does not have, or has no more.
        """
        ranking = self
        for key, place in changes:
            if ranking._is_touched(key, place):
                if ranking is self:
                    ranking = self._copy()
                if not ranking._apply(key, place):
                    return None
        return ranking

    def _copy(self) -> Ranking:
        copy: Ranking = object.__new__(Ranking)
        copy._window = self._window
        copy._end = self._end
        copy._places = dict(self._places)
        copy._order = None if self._order is None else list(self._order)
        return copy

    def _is_touched(self, key: Key, place: Place | None) -> bool:
        """Whether a change may matter to the ranking at all."""
        if key in self._places:
            return place is None or place != self._places[key] or not self._is_settled_at(place)
        return place is not None and not self._is_beyond(place)

    def _is_settled_at(self, place: Place) -> bool:
        """Whether a row of the ranking with this place surely stays: PostgreSQL chooses among equals at either end."""
        if not self._window.tells(place):
            return False
        return self._window.total or not (self._may_start_at(place) or self._may_end_at(place))

    def _may_start_at(self, place: Place) -> bool:
        """Whether rows before the window and in it may have this place."""
        start = self._window.start
        if not 0 < start < len(self._places):
            return False
        return self._order is None or (self._ties_at(start) and place == self._order[start][0])

    def _may_end_at(self, place: Place) -> bool:
        """Whether rows in the window and behind it may have this place."""
        if self.complete:
            return False
        return place == self._last if self._order is not None else self._end in (None, place)

    def _is_beyond(self, place: Place) -> bool:
        """Whether a row with this place comes behind all of these."""
        if self.complete or self._order is None or not self._window.orders_by(place):
            return False
        return not self._order or place > self._last

    @property
    def _last(self) -> Place:
        assert self._order is not None
        return self._order[-1][0]

    def _apply(self, key: Key, place: Place | None) -> bool:
        """Move one row; False where a row that is not here may have to move in its stead."""
        complete, last = self.complete, self._last if self._order else None
        was_here = key in self._places
        self._take_out(key)
        if place is None:
            return complete or not was_here
        if not complete and not (last is not None and self._window.orders_by(place) and place < last):
            return False
        self._put_in(key, place)
        return self._cut()

    def _take_out(self, key: Key) -> None:
        place = self._places.pop(key, None)
        if place is not None and self._order is not None:
            del self._order[bisect_left(self._order, (place, key))]

    def _put_in(self, key: Key, place: Place) -> None:
        self._places[key] = place
        self._end = None
        if self._order is not None and self._window.orders_by(place):
            insort(self._order, (place, key))
        else:
            self._order = None

    def _cut(self) -> bool:
        """Let the row behind the last rank go; False where it is not known which one that is."""
        stop = self._window.stop
        if stop is None or len(self._places) <= stop:
            return True
        if self._order is None or self._ties_at(stop):
            return False
        _, key = self._order.pop()
        del self._places[key]
        return True

    def _ties_at(self, rank: int) -> bool:
        """Whether the rows before and at a rank have equal places."""
        assert self._order is not None
        return 0 < rank < len(self._order) and self._order[rank - 1][0] == self._order[rank][0]
