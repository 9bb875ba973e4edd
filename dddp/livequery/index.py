"""The index: which queries a row may belong to, at a cost that does not grow with the number of queries.

Queries that fix the same columns stand in one group: a hash table from the columns' values to the queries, so a row
asks once per group, and there are as many groups as the code has kinds of queries. A range stands in an interval tree
behind its group's hash; a live set behind the sets that contain the row's value. What fixes nothing is scanned, each
time; ``scanned`` names it.

Pure; tokens are any hashable thing (a live query). It never misses. A query that is nothing but what it is found by
(comparisons with ``=``, ``IN``, ``IS NULL``, one range, one set, joined by AND, in any number of ORs) is not asked
again whether the row belongs to it.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import replace
from itertools import product
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from dddp.changes import Row
from dddp.livequery.predicate import NO_SETS, Anchor, Between, Column, Sets, SetSpec

__all__ = ["Containing", "Index", "Intervals"]

Token = TypeVar("Token", bound=Hashable)

Containing: TypeAlias = Callable[[Column, Any], Iterable[SetSpec]]
"""The live sets that contain a value of a column."""

#: Keys that one way of being TRUE may take; columns beyond are left to the predicate.
MAX_KEYS = 256

#: Balances the treaps; seeded, so that a run can be repeated.
_priorities = random.Random(1)


class Anchored(Protocol):
    """What the index needs of a predicate."""

    @property
    def anchors(self) -> tuple[Anchor, ...] | None: ...

    def __call__(self, row: Row, sets: Sets = ...) -> bool: ...


Found: TypeAlias = dict[Token, Anchored | None]
"""Queries, each with the predicate that is still to be asked; None where being found is enough."""


def _no_sets(column: Column, value: Any) -> Iterable[SetSpec]:
    return ()


class Index(Generic[Token]):
    """Queries by what their predicates ask of a row. One index is of one table."""

    def __init__(self) -> None:
        self._predicates: dict[Token, Anchored] = {}
        self._groups: dict[tuple[Any, ...], _Group[Token]] = {}
        self._scanned: Found[Token] = {}

    def __len__(self) -> int:
        return len(self._predicates)

    @property
    def scanned(self) -> tuple[Token, ...]:
        """The queries that are candidates for every row."""
        return tuple(self._scanned)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The columns that each group of queries is found by: a row costs one look-up for each."""
        return tuple(group.columns for group in self._groups.values())

    def add(self, token: Token, predicate: Anchored) -> None:
        """Take a query in; it must not be there yet."""
        self._predicates[token] = predicate
        anchors = predicate.anchors
        if anchors is None:
            self._scanned[token] = predicate
            return
        for anchor in map(_affordable, anchors):
            name = _name(anchor)
            group = self._groups.get(name)
            if group is None:
                group = self._groups[name] = _group(anchor)
            group.add(anchor, token, None if anchor.exact else predicate)

    def remove(self, token: Token) -> None:
        """Forget a query and what was kept for it."""
        anchors = self._predicates.pop(token).anchors
        if anchors is None:
            del self._scanned[token]
            return
        for anchor in map(_affordable, anchors):
            name = _name(anchor)
            group = self._groups.get(name)
            if group is not None:
                group.remove(anchor, token)
                if not group.buckets:
                    del self._groups[name]

    def candidates(self, row: Row, containing: Containing = _no_sets) -> Iterable[Token]:
        """Every query that the row may belong to, once each.

        Args:
            containing: tells the live sets; needed where predicates have an ``InSet``.
        """
        return self._found(row, containing)

    def matches(self, row: Row, sets: Sets = NO_SETS, containing: Containing = _no_sets) -> list[Token]:
        """Every query that the row belongs to, once each.

        Args:
            sets: the members of the live sets.
            containing: the other way around.
        """
        found = self._found(row, containing)
        return [token for token, predicate in found.items() if predicate is None or predicate(row, sets)]

    def _found(self, row: Row, containing: Containing) -> Found[Token]:
        found = self._scanned.copy()
        for group in self._groups.values():
            group.find(row, containing, found)
        return found


def _affordable(anchor: Anchor) -> Anchor:
    """The anchor as it is indexed: without columns whose values would multiply to too many keys; a set, or a range."""
    if anchor.member and anchor.within:
        anchor = replace(anchor, within=None, exact=False)
    kept: list[tuple[Column, frozenset[Any]]] = []
    keys = 1
    for column, values in sorted(anchor.equal, key=lambda item: len(item[1])):
        keys *= len(values)
        if kept and keys > MAX_KEYS:
            break
        kept.append((column, values))
    if len(kept) == len(anchor.equal):
        return anchor
    kept.sort(key=lambda item: item[0].name)
    return replace(anchor, equal=tuple(kept), exact=False)


def _name(anchor: Anchor) -> tuple[Any, ...]:
    """What the anchors of a group have in common. Of a range and a set the set counts (``_affordable``)."""
    columns = tuple(column for column, _ in anchor.equal)
    if anchor.member:
        return (*columns, "member", anchor.member[0])
    return (*columns, "within", anchor.within[0]) if anchor.within else columns


def _group(anchor: Anchor) -> _Group[Any]:
    columns = [column for column, _ in anchor.equal]
    if anchor.member:
        return _ByMembership(columns, anchor.member[0])
    return _ByRange(columns, anchor.within[0]) if anchor.within else _Group(columns)


def _keys(anchor: Anchor) -> Iterator[Any]:
    """The keys of an anchor: values where one column is fixed, else tuples of values."""
    if len(anchor.equal) == 1:
        return iter(anchor.equal[0][1])
    return product(*(values for _, values in anchor.equal))


def _key_reader(columns: list[Column]) -> Callable[[Row], Any]:
    """A row's key, as ``_keys`` makes them."""
    if not columns:
        return lambda row: ()
    if not any(column.comparable for column in columns):
        return operator.itemgetter(*(column.name for column in columns))
    readers = [column.reader() for column in columns]
    if len(readers) == 1:
        return readers[0]
    return lambda row: tuple(read(row) for read in readers)


class _Group(Generic[Token]):
    """Queries that fix the same columns, by the values they fix them to."""

    def __init__(self, columns: list[Column]) -> None:
        self.columns = tuple(column.name for column in columns)
        self.buckets: dict[Any, Any] = {}
        self._key = _key_reader(columns)

    def add(self, anchor: Anchor, token: Token, predicate: Anchored | None) -> None:
        for key in _keys(anchor):
            bucket = self.buckets.get(key)
            if bucket is None:
                bucket = self.buckets[key] = self._new_bucket()
            self._put(bucket, anchor, token, predicate)

    def remove(self, anchor: Anchor, token: Token) -> None:
        for key in _keys(anchor):
            bucket = self.buckets.get(key)
            if bucket is not None:
                self._take(bucket, anchor, token)
                if not bucket:
                    del self.buckets[key]

    def find(self, row: Row, containing: Containing, found: Found[Token]) -> None:
        bucket = self.buckets.get(self._key(row))
        if bucket is not None:
            found.update(bucket)

    def _new_bucket(self) -> Any:
        return {}

    def _put(self, bucket: Any, anchor: Anchor, token: Token, predicate: Anchored | None) -> None:
        bucket[token] = predicate

    def _take(self, bucket: Any, anchor: Anchor, token: Token) -> None:
        bucket.pop(token, None)


class _ByRange(_Group[Token]):
    """Queries that fix the same columns and ask another one to be in a range."""

    def __init__(self, columns: list[Column], ranged: Column) -> None:
        super().__init__(columns)
        self.columns += (ranged.name,)
        self._value = ranged.reader()

    def find(self, row: Row, containing: Containing, found: Found[Token]) -> None:
        intervals = self.buckets.get(self._key(row))
        value = self._value(row)
        if intervals is not None and value is not None:
            intervals.find(value, found)

    def _new_bucket(self) -> Intervals[Token]:
        return Intervals()

    def _put(
        self, bucket: Intervals[Token], anchor: Anchor, token: Token, predicate: Anchored | None
    ) -> None:
        assert anchor.within is not None
        bucket.add(anchor.within[1], token, predicate)

    def _take(self, bucket: Intervals[Token], anchor: Anchor, token: Token) -> None:
        assert anchor.within is not None
        bucket.remove(anchor.within[1], token)


class _ByMembership(_Group[Token]):
    """Queries that fix the same columns and ask another one to be in a live set."""

    def __init__(self, columns: list[Column], member: Column) -> None:
        super().__init__(columns)
        self.columns += (member.name,)
        self._member = member
        self._value = member.reader()

    def find(self, row: Row, containing: Containing, found: Found[Token]) -> None:
        by_set = self.buckets.get(self._key(row))
        value = self._value(row)
        if by_set is None or value is None:
            return
        for each in containing(self._member, value):
            tokens = by_set.get(each)
            if tokens is not None:
                found.update(tokens)

    def _put(
        self, bucket: dict[SetSpec, Found[Token]], anchor: Anchor, token: Token, predicate: Anchored | None
    ) -> None:
        assert anchor.member is not None
        bucket.setdefault(anchor.member[1], {})[token] = predicate

    def _take(self, bucket: dict[SetSpec, Found[Token]], anchor: Anchor, token: Token) -> None:
        assert anchor.member is not None
        tokens = bucket.get(anchor.member[1])
        if tokens is not None:
            tokens.pop(token, None)
            if not tokens:
                del bucket[anchor.member[1]]


class Intervals(Generic[Token]):
    """Ranges of one ordered type, found by a value in them: a treap ordered by both ends, lower end first.

    Adding, removing and finding cost the logarithm of the number of different ranges, finding also what is found.
    """

    def __init__(self) -> None:
        self._root: _Node | None = None
        self._nodes: dict[Between, _Node] = {}

    def __len__(self) -> int:
        """The number of different ranges."""
        return len(self._nodes)

    def add(self, interval: Between, token: Token, predicate: Anchored | None = None) -> None:
        node = self._nodes.get(interval)
        if node is None:
            node = self._nodes[interval] = _Node(interval)
            self._root = _inserted(self._root, node)
        node.tokens[token] = predicate

    def remove(self, interval: Between, token: Token) -> None:
        node = self._nodes.get(interval)
        if node is not None:
            node.tokens.pop(token, None)
            if not node.tokens:
                del self._nodes[interval]
                self._root = _removed(self._root, node)

    def find(self, value: Any, found: Found[Token]) -> None:
        """Add the tokens of every range that has the value."""
        point = (1, value, 1)
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            while node is not None and point <= node.reach:
                if node.low <= point:
                    if point <= node.high:
                        found.update(node.tokens)
                    waiting.append(node.right)
                node = node.left


class _Node:
    """One range of the treap. ``reach`` is the highest upper end of the node and all below it."""

    __slots__ = ("high", "left", "low", "order", "priority", "reach", "right", "tokens")

    def __init__(self, interval: Between) -> None:
        self.order = self.low, self.high = interval.ends
        self.reach = self.high
        self.priority = _priorities.random()
        self.left: _Node | None = None
        self.right: _Node | None = None
        self.tokens: Found[Any] = {}

    def settle(self) -> _Node:
        """Bring ``reach`` up to date with the nodes right below."""
        self.reach = self.high
        for child in (self.left, self.right):
            if child is not None and child.reach > self.reach:
                self.reach = child.reach
        return self


def _inserted(root: _Node | None, node: _Node) -> _Node:
    if root is None:
        return node
    if node.priority > root.priority:
        node.left, node.right = _split(root, node)
        return node.settle()
    if node.order < root.order:
        root.left = _inserted(root.left, node)
    else:
        root.right = _inserted(root.right, node)
    return root.settle()


def _removed(root: _Node | None, node: _Node) -> _Node | None:
    if root is None or root is node:
        return _merged(node.left, node.right)
    if node.order < root.order:
        root.left = _removed(root.left, node)
    else:
        root.right = _removed(root.right, node)
    return root.settle()


def _split(root: _Node | None, node: _Node) -> tuple[_Node | None, _Node | None]:
    """What comes before a node, and what comes after it."""
    if root is None:
        return None, None
    if root.order < node.order:
        root.right, after = _split(root.right, node)
        return root.settle(), after
    before, root.left = _split(root.left, node)
    return before, root.settle()


def _merged(before: _Node | None, after: _Node | None) -> _Node | None:
    if before is None or after is None:
        return before or after
    if before.priority > after.priority:
        before.right = _merged(before.right, after)
        return before.settle()
    after.left = _merged(before, after.left)
    return after.settle()
