"""The index against evaluating every predicate: never misses, is exact where it says so, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dddp.changes import Table
from dddp.livequery.index import Index, Intervals
from dddp.livequery.predicate import (
    ALWAYS,
    NEVER,
    Between,
    Column,
    Compare,
    CompareColumns,
    Elements,
    Expression,
    In,
    InSet,
    IsNull,
    MatchesText,
    Predicate,
    SetSpec,
    all_of,
    any_of,
    nan_last,
    negate,
)

A, B, TEXT, TAGS = Column("a"), Column("b"), Column("text"), Column("tags")
NUMBER = Column("number", nan_last)
SETS = [SetSpec(Table("app.team"), Compare(Column("n"), "=", n), Column("id")) for n in range(3)]

SMALL = st.integers(0, 5)
NUMBERS = st.sampled_from([Decimal(0), Decimal("0.5"), Decimal(3), Decimal("Infinity"), Decimal("NaN")])
OPERATORS = st.sampled_from(["=", "=", "=", "<>", "<", "<=", ">", ">="])

LEAVES = st.one_of(
    st.sampled_from([ALWAYS, NEVER]),
    st.builds(Compare, st.sampled_from([A, B]), OPERATORS, SMALL),
    st.builds(Compare, st.just(NUMBER), OPERATORS, NUMBERS.map(nan_last)),
    st.builds(In, st.sampled_from([A, B]), st.frozensets(SMALL, max_size=3), st.booleans()),
    st.builds(IsNull, st.sampled_from([A, B, TEXT])),
    st.builds(CompareColumns, st.just(A), OPERATORS, st.just(B)),
    st.builds(MatchesText, st.just(TEXT), st.sampled_from(["contains", "startswith"]), st.sampled_from("xy")),
    st.builds(Elements, st.just(TAGS), st.sampled_from(["@>", "<@", "&&"]), st.frozensets(SMALL, max_size=2)),
    st.builds(InSet, st.sampled_from([A, B]), st.sampled_from(SETS)),
)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3).map(all_of) | st.lists(inner, max_size=3).map(any_of) | inner.map(negate)
    ),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries(
    {
        "a": st.none() | SMALL,
        "b": st.none() | SMALL,
        "number": st.none() | NUMBERS,
        "text": st.none() | st.text("xy", max_size=2),
        "tags": st.none() | st.lists(st.none() | SMALL, max_size=3),
    }
)
MEMBERS = st.fixed_dictionaries({each: st.frozensets(SMALL, max_size=4) for each in SETS})


def indexed(predicates: Iterable[Predicate]) -> Index[int]:
    index: Index[int] = Index()
    for number, predicate in enumerate(predicates):
        index.add(number, predicate)
    return index


@given(st.lists(EXPRESSIONS, max_size=8), st.lists(ROWS, min_size=1, max_size=5), MEMBERS, st.data())
def test_candidates(expressions: list[Any], rows: list[Any], sets: Any, data: st.DataObject) -> None:
    """Every query that the row belongs to is among them, and matches are exactly these, whatever was there before."""
    predicates = dict(enumerate(map(Predicate, expressions)))
    index = indexed(predicates.values())

    def containing(column: Column, value: Any) -> list[SetSpec]:
        return [each for each in SETS if value in sets[each]]

    for gone in data.draw(st.sets(st.sampled_from(list(predicates)))) if predicates else ():
        index.remove(gone)
        del predicates[gone]

    for row in rows:
        found = list(index.candidates(row, containing))
        expected = {token for token, predicate in predicates.items() if predicate(row, sets)}
        assert expected <= set(found)
        assert len(found) == len(set(found))
        assert sorted(index.matches(row, sets, containing)) == sorted(expected)


PURE = st.one_of(
    st.builds(Compare, st.sampled_from([A, B]), st.just("="), SMALL),
    st.builds(In, st.sampled_from([A, B]), st.frozensets(SMALL, min_size=1, max_size=3)),
    st.builds(IsNull, st.sampled_from([A, B])),
)
EQUALITIES = st.lists(PURE, min_size=1, max_size=3).map(all_of)
RANGES = st.lists(
    st.builds(Compare, st.just(A), st.sampled_from(["<", "<=", ">", ">="]), SMALL), min_size=1, max_size=3
).map(all_of)


@given(
    st.lists(EQUALITIES | RANGES | EQUALITIES.flatmap(lambda e: EQUALITIES.map(lambda f: any_of([e, f])))),
    ROWS,
)
def test_exact(expressions: list[Any], row: Any) -> None:
    """Nothing but comparisons with ``=`` and IN, or one range: found when TRUE, and only then."""
    predicates = list(map(Predicate, expressions))

    expected = {number for number, predicate in enumerate(predicates) if predicate(row)}
    assert set(indexed(predicates).candidates(row)) == expected


@given(st.lists(EXPRESSIONS, max_size=8), st.randoms())
def test_remove(expressions: list[Any], randomness: Any) -> None:
    """Nothing is left of what has gone."""
    index = indexed(map(Predicate, expressions))
    tokens = list(range(len(expressions)))
    randomness.shuffle(tokens)
    for token in tokens:
        index.remove(token)

    assert len(index) == 0
    assert index.groups == index.scanned == ()


def test_scanned() -> None:
    """What fixes nothing is a candidate for every row, counted and named."""
    index = indexed([Predicate(Compare(A, "=", 1)), Predicate(ALWAYS), Predicate(Compare(A, "<>", 1))])

    assert index.scanned == (1, 2)
    assert list(index.candidates({"a": 2})) == [1, 2]


def test_groups() -> None:
    """Columns that are fixed together are one key, so a second column with few values makes no crowd."""
    by_both = (Compare(A, "=", 1), Compare(B, "=", 2))
    index = indexed([Predicate(all_of(by_both)), Predicate(all_of(reversed(by_both)))])

    assert index.groups == (("a", "b"),)
    assert list(index.candidates({"a": 1, "b": 2})) == [0, 1]
    assert list(index.candidates({"a": 1, "b": 3})) == []


def test_range_behind_an_equality() -> None:
    index = indexed([Predicate(all_of([Compare(A, "=", 1), Compare(B, ">", n)])) for n in range(3)])

    assert index.groups == (("a", "b"),)
    assert set(index.candidates({"a": 1, "b": 2})) == {0, 1}
    assert list(index.candidates({"a": 2, "b": 2})) == []


def test_matches_ask_only_where_they_must() -> None:
    """A query that is nothing but what it is found by is not evaluated."""
    exact, inexact = (
        Predicate(In(A, frozenset({1, 2}))),
        Predicate(all_of([Compare(A, "=", 1), Compare(B, "<>", 1)])),
    )
    index = indexed([exact, inexact])

    assert index.matches({"a": 1, "b": 1}) == [0]
    assert index.matches({"a": 1, "b": 2}) == [0, 1]
    assert exact._test is None
    assert inexact._test is not None


def test_many_values() -> None:
    """IN lists do not multiply without bound: the longer one is left to the predicate."""
    both = all_of([In(A, frozenset(range(100))), In(B, frozenset(range(1000)))])
    index = indexed([Predicate(both)])

    assert index.groups == (("a",),)


# -- Ranges


BOUND = st.none() | SMALL
RANGE = st.builds(Between, BOUND, BOUND, st.booleans(), st.booleans())


def contains(interval: Between, value: int) -> bool:
    low, high = interval.low, interval.high
    above = low is None or value > low or (value == low and not interval.low_open)
    below = high is None or value < high or (value == high and not interval.high_open)
    return above and below


@given(st.lists(RANGE), st.data())
def test_intervals(ranges: list[Between], data: st.DataObject) -> None:
    """Exactly the ranges with the value, whatever was added and removed before."""
    held = dict(enumerate(ranges))
    intervals: Intervals[int] = Intervals()
    for token, interval in held.items():
        intervals.add(interval, token)
    for token in data.draw(st.sets(st.sampled_from(list(held)))) if held else ():
        intervals.remove(held.pop(token), token)

    assert len(intervals) == len({each.ends for each in held.values() if each.ends[0] < each.ends[1]})
    for value in range(-1, 7):
        found: dict[int, None] = {}
        intervals.find(value, found)
        assert set(found) == {token for token, interval in held.items() if contains(interval, value)}


@given(RANGE, RANGE)
def test_narrowed(one: Between, other: Between) -> None:
    both = one.narrowed(other)

    for value in range(-1, 7):
        assert contains(both, value) == (contains(one, value) and contains(other, value))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 3))), st.data())
def test_side_by_side(bounds: list[tuple[int, int]], data: st.DataObject) -> None:
    """Ranges that seldom overlap, more of them than there are values, with some taken out and others put in again."""
    held = {number: Between(low, low + length, False, True) for number, (low, length) in enumerate(bounds)}
    intervals: Intervals[int] = Intervals()
    for token, interval in held.items():
        intervals.add(interval, token)
    if held:
        for token in data.draw(st.lists(st.sampled_from(list(held)))):
            intervals.remove(held[token], token)
            intervals.add(held[token], token)

    for value in range(44):
        found: dict[int, None] = {}
        intervals.find(value, found)
        assert set(found) == {token for token, interval in held.items() if contains(interval, value)}
    for token, interval in held.items():
        intervals.remove(interval, token)
    assert not len(intervals)
