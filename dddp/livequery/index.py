"""The index: which queries a row may belong to, at a cost that does not grow with the number of queries.

Queries that fix the same columns stand in one group: a hash table from the columns' values to the queries, so a row
asks once per group, and there are as many groups as the code has kinds of queries. Ranges stand in order behind their
group's hash; live sets behind the sets that contain the row's value. What fixes nothing is scanned, each time;
``scanned`` names it.

Pure; tokens are any hashable thing (a live query). It never misses. A query that is nothing but what it is found by
(comparisons with ``=``, ``IN``, ``IS NULL``, one range, one set, joined by AND, in any number of ORs) is not asked
again whether the row belongs to it.
"""

from __future__ import annotations

import operator
import random
from bisect import bisect_right
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

#: Sorted lists of ranges that do not overlap; each costs a look-up one bisection.
MAX_LAYERS = 4

#: Balances the treaps; seeded, so that a run can be repeated.
_priorities = random.Random(1)


class Anchored(Protocol):
    """What the index needs of a predicate."""

    @property
    def anchors(self) -> tuple[Anchor, ...] | None: ...

    def __call__(self, row: Row, sets: Sets = ...) -> bool: ...


Found: TypeAlias = dict[Token, Anchored | None]
"""Queries, each with the predicate that is still to be asked; None where being found is enough."""

Bucket: TypeAlias = tuple[Token, Anchored | None] | Found[Token]
"""The queries of one key. Most have one: a pair is a third of a dict's size, and one place in memory to look at."""


def _with(bucket: Bucket[Token] | None, token: Token, predicate: Anchored | None) -> Bucket[Token]:
    """The bucket with one query more."""
    if bucket is None:
        return token, predicate
    found = {bucket[0]: bucket[1]} if isinstance(bucket, tuple) else bucket
    found[token] = predicate
    return found


def _without(bucket: Bucket[Token], token: Token) -> Bucket[Token] | None:
    """The bucket with one query less; None when it was the last."""
    if isinstance(bucket, tuple):
        return None if bucket[0] == token else bucket
    bucket.pop(token, None)
    return bucket or None


def _has(bucket: Bucket[Token], token: Token) -> bool:
    return bucket[0] == token if isinstance(bucket, tuple) else token in bucket


def _pour(bucket: Bucket[Token], found: Found[Token]) -> None:
    """Add the queries of a bucket to what is found."""
    if isinstance(bucket, tuple):
        found[bucket[0]] = bucket[1]
    else:
        found.update(bucket)


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
            self.buckets[key] = self._put(self.buckets.get(key), anchor, token, predicate)

    def remove(self, anchor: Anchor, token: Token) -> None:
        for key in _keys(anchor):
            bucket = self.buckets.get(key)
            if bucket is not None:
                bucket = self._take(bucket, anchor, token)
                if bucket:
                    self.buckets[key] = bucket
                else:
                    del self.buckets[key]

    def find(self, row: Row, containing: Containing, found: Found[Token]) -> None:
        bucket = self.buckets.get(self._key(row))
        if type(bucket) is tuple:
            found[bucket[0]] = bucket[1]
        elif bucket is not None:
            found.update(bucket)

    def _put(self, bucket: Any, anchor: Anchor, token: Token, predicate: Anchored | None) -> Any:
        return _with(bucket, token, predicate)

    def _take(self, bucket: Any, anchor: Anchor, token: Token) -> Any:
        return _without(bucket, token)


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

    def _put(
        self, bucket: Intervals[Token] | None, anchor: Anchor, token: Token, predicate: Anchored | None
    ) -> Intervals[Token]:
        assert anchor.within is not None
        intervals = Intervals() if bucket is None else bucket
        intervals.add(anchor.within[1], token, predicate)
        return intervals

    def _take(self, bucket: Intervals[Token], anchor: Anchor, token: Token) -> Intervals[Token]:
        assert anchor.within is not None
        bucket.remove(anchor.within[1], token)
        return bucket


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
            bucket = by_set.get(each)
            if bucket is not None:
                _pour(bucket, found)

    def _put(
        self,
        bucket: dict[SetSpec, Bucket[Token]] | None,
        anchor: Anchor,
        token: Token,
        predicate: Anchored | None,
    ) -> dict[SetSpec, Bucket[Token]]:
        assert anchor.member is not None
        by_set = {} if bucket is None else bucket
        values = anchor.member[1]
        by_set[values] = _with(by_set.get(values), token, predicate)
        return by_set

    def _take(
        self, bucket: dict[SetSpec, Bucket[Token]], anchor: Anchor, token: Token
    ) -> dict[SetSpec, Bucket[Token]]:
        assert anchor.member is not None
        values = anchor.member[1]
        tokens = bucket.get(values)
        if tokens is not None:
            left = _without(tokens, token)
            if left is None:
                del bucket[values]
            else:
                bucket[values] = left
        return bucket


# -- Ranges

End: TypeAlias = tuple[int, Any, int]
"""An end of a range, as ``Between.ends`` has it: between two values, or before or after all."""


class Intervals(Generic[Token]):
    """Ranges of one ordered type, found by a value in them.

    Those that do not overlap, as prices and days often are, stand side by side in a few sorted lists; the others, and
    those without one of the ends, in a treap. Finding costs the logarithm of the number of different ranges, and what
    is found; so do adding and removing, but for moving a list's references.
    """

    __slots__ = ("_layers", "_nodes", "_root")

    def __init__(self) -> None:
        self._layers: tuple[_Layer, ...] = ()
        self._root: _Node | None = None
        self._nodes = 0  #: of the treap

    def __len__(self) -> int:
        """The number of different ranges."""
        return self._nodes + sum(len(layer.lows) for layer in self._layers)

    def add(self, interval: Between, token: Token, predicate: Anchored | None = None) -> None:
        low, high = interval.ends
        if low >= high:
            return  # nothing is in it
        bounded = interval.low is not None and interval.high is not None
        if bounded and self._add_to_layer(low, high, token, predicate):
            return
        node = self._node(low, high)
        if node is None:
            node = _Node(low, high)
            self._nodes += 1
            self._root = _inserted(self._root, node)
        node.bucket = _with(node.bucket, token, predicate)

    def remove(self, interval: Between, token: Token) -> None:
        low, high = interval.ends
        if any(layer.remove(low, high, token) for layer in self._layers):
            self._layers = tuple(layer for layer in self._layers if layer.lows)
            return
        node = self._node(low, high)
        if node is not None:
            node.bucket = _without(node.bucket, token)
            if node.bucket is None:
                self._nodes -= 1
                self._root = _removed(self._root, node)

    def _add_to_layer(self, low: End, high: End, token: Token, predicate: Anchored | None) -> bool:
        if any(layer.add(low, high, token, predicate) for layer in self._layers):
            return True
        if len(self._layers) == MAX_LAYERS:
            return False
        self._layers = (*self._layers, _Layer())
        return self._layers[-1].add(low, high, token, predicate)

    def _node(self, low: End, high: End) -> _Node | None:
        """The range in the treap."""
        node, order = self._root, (low, high)
        while node is not None and node.order != order:
            node = node.left if order < node.order else node.right
        return node

    def find(self, value: Any, found: Found[Token]) -> None:
        """Add the tokens of every range that has the value."""
        point = (1, value, 1)
        for layer in self._layers:
            place = bisect_right(layer.lows, point) - 1
            if place >= 0 and point <= layer.highs[place]:
                _pour(layer.buckets[place], found)
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            while node is not None and point <= node.reach:
                if node.low <= point:
                    if point <= node.high:
                        _pour(node.bucket, found)
                    waiting.append(node.right)
                node = node.left


class _Layer:
    """Ranges that do not overlap, in order."""

    __slots__ = ("buckets", "highs", "lows")

    def __init__(self) -> None:
        self.lows: list[End] = []
        self.highs: list[End] = []
        self.buckets: list[Any] = []

    def add(self, low: End, high: End, token: Any, predicate: Anchored | None) -> bool:
        """Take a query in; False when its range overlaps another one."""
        after = bisect_right(self.lows, low)
        if self._is_at(after - 1, low, high):
            self.buckets[after - 1] = _with(self.buckets[after - 1], token, predicate)
            return True
        if (after and self.highs[after - 1] > low) or (after < len(self.lows) and self.lows[after] < high):
            return False
        self.lows.insert(after, low)
        self.highs.insert(after, high)
        self.buckets.insert(after, _with(None, token, predicate))
        return True

    def remove(self, low: End, high: End, token: Any) -> bool:
        """Forget a query; False when it is not here."""
        place = bisect_right(self.lows, low) - 1
        if not self._is_at(place, low, high) or not _has(self.buckets[place], token):
            return False
        bucket = _without(self.buckets[place], token)
        if bucket is not None:
            self.buckets[place] = bucket
        else:
            del self.lows[place], self.highs[place], self.buckets[place]
        return True

    def _is_at(self, place: int, low: End, high: End) -> bool:
        return place >= 0 and self.lows[place] == low and self.highs[place] == high


class _Node:
    """One range of the treap. ``reach`` is the highest upper end of the node and all below it."""

    __slots__ = ("bucket", "high", "left", "low", "order", "priority", "reach", "right")

    def __init__(self, low: End, high: End) -> None:
        self.order = self.low, self.high = low, high
        self.reach = self.high
        self.priority = _priorities.random()
        self.left: _Node | None = None
        self.right: _Node | None = None
        self.bucket: Any = None

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
