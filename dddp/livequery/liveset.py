"""Live sets: the values that a column has in the rows of a table that satisfy a condition, kept from the feed.

A filter through a relation is a test of membership in one (``author_id IN authors with that e-mail``). Sets that are
equal are one object, whoever needs them. A set has no documents and no clients; what changes in it is told to the
live queries that use it (``Delta``). Pure; only the router writes here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from dddp.changes import Change, Key, Kind, Table
from dddp.livequery.index import Index
from dddp.livequery.predicate import Column, Predicate, SetSpec
from dddp.livequery.query import LiveQuery
from dddp.livequery.setuse import uses_of

__all__ = ["Delta", "LiveSet", "LiveSets"]


@dataclass(slots=True)
class Delta:
    """What a transaction did to a set."""

    entered: dict[Any, None] = field(default_factory=dict)
    left: dict[Any, None] = field(default_factory=dict)

    def enter(self, value: Any) -> None:
        """A value is new in the set, or back."""
        if value in self.left:
            del self.left[value]
        else:
            self.entered[value] = None

    def leave(self, value: Any) -> None:
        """A value is in the set no more."""
        if value in self.entered:
            del self.entered[value]
        else:
            self.left[value] = None


class LiveSet:
    """One set: which row has which value, and how many rows have each. A row whose value is NULL counts for nothing."""

    __slots__ = ("counts", "depth", "loaded", "predicate", "read_value", "rows", "spec", "users")

    def __init__(self, spec: SetSpec) -> None:
        self.spec = spec
        self.depth = _depth(spec)
        self.predicate = Predicate(spec.where)
        self.read_value = spec.column.reader()
        self.loaded = False  #: whether it shows the process's position of the feed
        self.rows: dict[Key, Any] = {}
        self.counts: dict[Any, int] = {}  #: value -> rows that have it; its keys are the members
        self.users: dict[LiveQuery, None] = {}


def _depth(spec: SetSpec) -> int:
    """How deep sets are nested in a set's condition."""
    return max((1 + _depth(use.values) for use in uses_of(spec.where)), default=0)


class LiveSets:
    """All live sets of one database, and the values they have."""

    def __init__(self) -> None:
        self._sets: dict[SetSpec, LiveSet] = {}
        #: By depth: a set is judged when those that its condition uses have followed the whole transaction.
        self._index: defaultdict[int, dict[Table, Index[LiveSet]]] = defaultdict(dict)
        self._holders: dict[tuple[Table, Key], dict[LiveSet, None]] = {}
        self._containing: dict[Any, dict[SetSpec, None]] = {}
        self._outer: dict[SetSpec, dict[LiveSet, None]] = {}  #: set -> the sets whose conditions use it
        self.members: dict[SetSpec, Mapping[Any, int]] = {}  #: what predicates are evaluated with

    def __len__(self) -> int:
        return len(self._sets)

    def __getitem__(self, spec: SetSpec) -> LiveSet:
        return self._sets[spec]

    def containing(self, column: Column, value: Any) -> Iterable[SetSpec]:
        """The sets that have a value; those that other columns are tested against among them."""
        return self._containing.get(value, ())

    # --- who needs which

    def use(self, spec: SetSpec, query: LiveQuery) -> None:
        """A query needs the set, and those that its condition uses."""
        live_set = self._sets.get(spec) or self._make(spec)
        live_set.users[query] = None
        for use in uses_of(spec.where):
            self.use(use.values, query)

    def leave(self, spec: SetSpec, query: LiveQuery) -> None:
        """A query needs the set no longer; the last one takes it along."""
        live_set = self._sets.get(spec)
        if live_set is None or query not in live_set.users:
            return
        del live_set.users[query]
        for use in uses_of(spec.where):
            self.leave(use.values, query)
        if not live_set.users:
            self._drop(live_set)

    def _make(self, spec: SetSpec) -> LiveSet:
        live_set = self._sets[spec] = LiveSet(spec)
        self.members[spec] = live_set.counts
        self._index[live_set.depth].setdefault(spec.table, Index()).add(live_set, live_set.predicate)
        for use in uses_of(spec.where):
            self._outer.setdefault(use.values, {})[live_set] = None
        return live_set

    def _drop(self, live_set: LiveSet) -> None:
        spec = live_set.spec
        self._empty(live_set)
        del self._sets[spec], self.members[spec]
        indexes = self._index[live_set.depth]
        indexes[spec.table].remove(live_set)
        if not len(indexes[spec.table]):
            del indexes[spec.table]
        if not indexes:
            del self._index[live_set.depth]
        for use in uses_of(spec.where):
            outer = self._outer.get(use.values, {})
            outer.pop(live_set, None)
            if not outer:
                self._outer.pop(use.values, None)

    # --- what is in them

    def load(self, spec: SetSpec, rows: Mapping[Key, Any]) -> Delta:
        """Take what a read found: key -> value, as the column's ``comparable`` gives it. Returns what that changed."""
        live_set = self._sets[spec]
        before = dict.fromkeys(live_set.counts)
        self._empty(live_set)
        for key, value in rows.items():
            if value is not None:
                self._put(live_set, key, value)
        live_set.loaded = True
        counts = live_set.counts
        entered = {value: None for value in counts if value not in before}
        return Delta(entered, {value: None for value in before if value not in counts})

    def unload(self, tables: Iterable[Table] | None = None) -> None:
        """What is known of these tables' sets (None: of all) is out of date until they are read again."""
        chosen = None if tables is None else set(tables)
        if chosen is not None and not chosen:
            return
        for live_set in self._sets.values():
            if chosen is None or live_set.spec.table in chosen:
                live_set.loaded = False
                self._outdate_users(live_set)

    def _outdate_users(self, live_set: LiveSet) -> None:
        """What is known of the sets whose conditions use a set is out of date, and so on."""
        for outer in self._outer.get(live_set.spec, ()):
            outer.loaded = False
            self._outdate_users(outer)

    def apply(self, changes: Iterable[Change]) -> dict[LiveSet, Delta]:
        """Follow a transaction. Returns the sets whose members it changed, with what it changed.

        A set whose condition uses one of them is out of date then: ``LiveSet.loaded`` tells.
        """
        changes = list(changes)
        changed: dict[LiveSet, Delta] = {}
        for depth in sorted(self._index):
            deltas: dict[LiveSet, Delta] = {}
            for change in changes:
                for live_set in self._looking_at(change, depth):
                    if live_set.loaded:
                        self._move(live_set, change, deltas)
            for live_set, delta in deltas.items():
                if delta.entered or delta.left:
                    changed[live_set] = delta
                    self._outdate_users(live_set)
        return changed

    def _looking_at(self, change: Change, depth: int) -> Iterable[LiveSet]:
        """The sets of a depth that have a value of the changed row, and those that it may enter."""
        holders = self._holders.get((change.table, change.key), ())
        looking = {live_set: None for live_set in holders if live_set.depth == depth}
        index = self._index[depth].get(change.table)
        if index is not None and change.kind is Kind.ROW and change.row is not None:
            looking.update(dict.fromkeys(index.candidates(change.row, self.containing)))
        return looking

    def _move(self, live_set: LiveSet, change: Change, deltas: dict[LiveSet, Delta]) -> None:
        before, after = live_set.rows.get(change.key), self._value(live_set, change)
        if before == after:
            return
        delta = deltas.setdefault(live_set, Delta())
        if before is not None and self._take(live_set, change.key):
            delta.leave(before)
        if after is not None and self._put(live_set, change.key, after):
            delta.enter(after)

    def _value(self, live_set: LiveSet, change: Change) -> Any:
        """What a row's value in a set is after a change; None when it has none there."""
        if change.kind is not Kind.ROW or change.row is None:
            return None
        return live_set.read_value(change.row) if live_set.predicate(change.row, self.members) else None

    def _put(self, live_set: LiveSet, key: Key, value: Any) -> bool:
        """Enter a row; whether its value is new in the set."""
        live_set.rows[key] = value
        self._holders.setdefault((live_set.spec.table, key), {})[live_set] = None
        count = live_set.counts.get(value, 0)
        live_set.counts[value] = count + 1
        if not count:
            self._containing.setdefault(value, {})[live_set.spec] = None
        return not count

    def _take(self, live_set: LiveSet, key: Key) -> bool:
        """Take a row out; whether its value has left the set."""
        value = live_set.rows.pop(key)
        address = (live_set.spec.table, key)
        holders = self._holders[address]
        del holders[live_set]
        if not holders:
            del self._holders[address]
        live_set.counts[value] -= 1
        if live_set.counts[value]:
            return False
        del live_set.counts[value]
        containing = self._containing[value]
        del containing[live_set.spec]
        if not containing:
            del self._containing[value]
        return True

    def _empty(self, live_set: LiveSet) -> None:
        for key in list(live_set.rows):
            self._take(live_set, key)
        live_set.loaded = False
