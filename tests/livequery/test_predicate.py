"""Predicates say of a row what SQL would, NULL included, and stay the same when they are simplified."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given

from dddp.changes import Table
from dddp.livequery.predicate import (
    ALWAYS,
    NEVER,
    Anchor,
    And,
    Between,
    Column,
    Compare,
    CompareColumns,
    Elements,
    In,
    InSet,
    IsNull,
    MatchesText,
    Not,
    Or,
    Predicate,
    SetSpec,
    all_of,
    any_of,
    in_set,
    nan_last,
    negate,
    untrue,
)
from tests.livequery.test_index import EXPRESSIONS, MEMBERS, ROWS

A, B = Column("a"), Column("b")
TRUE, FALSE, NULL = ALWAYS, NEVER, Compare(A, "=", None)
TEAMS = SetSpec(Table("app.team"), ALWAYS, Column("id"))


def value(expression: Any, row: Any = None, sets: Any = None) -> bool | None:
    return expression.compile()({"a": 1, "b": None} if row is None else row, sets or {})


# -- Three values


@pytest.mark.parametrize(("one", "other"), list(product([True, False, None], repeat=2)))
def test_three_values(one: bool | None, other: bool | None) -> None:
    """AND, OR and NOT by SQL's truth tables."""
    known = {True: TRUE, False: FALSE, None: NULL}
    rank = {False: 0, None: 1, True: 2}
    parts = (known[one], known[other])

    assert value(And(parts)) == min(one, other, key=rank.__getitem__)
    assert value(Or(parts)) == max(one, other, key=rank.__getitem__)
    assert value(Not(known[one])) == (None if one is None else not one)


@given(EXPRESSIONS, ROWS, MEMBERS)
def test_negate(expression: Any, row: Any, sets: Any) -> None:
    """Pushing NOT inwards changes no answer."""
    assert value(negate(expression), row, sets) == value(Not(expression), row, sets)


@given(EXPRESSIONS, ROWS, MEMBERS)
def test_untrue(expression: Any, row: Any, sets: Any) -> None:
    """TRUE or not, FALSE and NULL alike."""
    other = untrue(expression, lambda column: True)

    assert Predicate(other)(row, sets) is not Predicate(expression)(row, sets)


def test_untrue_of_a_column_that_is_never_null() -> None:
    assert untrue(Compare(A, "=", 1), lambda column: False) == Compare(A, "<>", 1)


def test_untrue_of_a_list_without_values() -> None:
    """It is never NULL."""
    assert not Predicate(untrue(Not(In(A, frozenset())), lambda column: True))({"a": None})


@pytest.mark.parametrize("values", [frozenset(), frozenset({1})])
@pytest.mark.parametrize("a", [None, 1, 2])
def test_untrue_of_what_is_not_in_a_list_with_null(values: frozenset[int], a: int | None) -> None:
    """NOT IN is never TRUE then."""
    assert Predicate(untrue(Not(In(A, values, has_null=True)), lambda column: True))({"a": a})


def test_row_belongs_when_true() -> None:
    """NULL is not enough."""
    assert Predicate(Compare(A, "=", 1))({"a": 1})
    assert not Predicate(Compare(A, "=", 1))({"a": 2})
    assert not Predicate(Compare(A, "=", 1))({"a": None})
    assert not Predicate(Not(Compare(A, "=", 1)))({"a": None})


# -- Leaves


@pytest.mark.parametrize(
    ("expression", "row", "expected"),
    [
        (Compare(A, "<", 2), {"a": 1}, True),
        (Compare(A, ">=", 2), {"a": 1}, False),
        (Compare(A, "<>", 2), {"a": None}, None),
        (Compare(A, "=", None), {"a": None}, None),
        (In(A, frozenset({1, 2})), {"a": 2}, True),
        (In(A, frozenset({1, 2})), {"a": 3}, False),
        (In(A, frozenset({1, 2})), {"a": None}, None),
        (In(A, frozenset({1}), has_null=True), {"a": 3}, None),
        (In(A, frozenset({1}), has_null=True), {"a": 1}, True),
        (In(A, frozenset()), {"a": None}, False),
        (IsNull(A), {"a": None}, True),
        (IsNull(A), {"a": 0}, False),
        (CompareColumns(A, "<", B), {"a": 1, "b": 2}, True),
        (CompareColumns(A, "<", B), {"a": 1, "b": None}, None),
        (MatchesText(A, "contains", "b"), {"a": "abc"}, True),
        (MatchesText(A, "startswith", "b"), {"a": "abc"}, False),
        (MatchesText(A, "endswith", "c"), {"a": "abc"}, True),
        (MatchesText(A, "endswith", "c"), {"a": None}, None),
        (Elements(A, "@>", frozenset({1})), {"a": [2, 1, None]}, True),
        (Elements(A, "@>", frozenset({1}), has_null=True), {"a": [1, None]}, False),
        (Elements(A, "@>", frozenset()), {"a": []}, True),
        (Elements(A, "<@", frozenset({1}), has_null=True), {"a": [1, None]}, False),
        (Elements(A, "<@", frozenset({1, 2})), {"a": [1, 1]}, True),
        (Elements(A, "&&", frozenset({1}), has_null=True), {"a": [None]}, False),
        (Elements(A, "&&", frozenset({1})), {"a": [None, 1]}, True),
        (Elements(A, "&&", frozenset({1})), {"a": None}, None),
    ],
    ids=range(26),
)
def test_leaf(expression: Any, row: Any, expected: bool | None) -> None:
    assert value(expression, row) is expected


@pytest.mark.parametrize(("members", "of_one"), [({1}, True), ({2}, False), (set(), False)])
def test_live_set(members: set[Any], of_one: bool) -> None:
    """As ``EXISTS``: NULL is in no set, and that is certain."""
    sets = {TEAMS: members}

    assert value(InSet(A, TEAMS), {"a": 1}, sets) is of_one
    assert value(InSet(A, TEAMS), {"a": None}, sets) is False
    assert value(negate(InSet(A, TEAMS)), {"a": None}, sets) is True


def test_empty_set() -> None:
    """It needs not be kept."""
    assert in_set(A, SetSpec(TEAMS.table, NEVER, B)) == NEVER


def test_live_sets_are_shared() -> None:
    """Equal descriptions are one set."""
    specs = {SetSpec(Table("app.team"), Compare(A, "=", Decimal(n)), B) for n in (1, "1.0", 2)}

    assert len(specs) == 2


@pytest.mark.parametrize("number", ["-Infinity", "0", "Infinity"])
@pytest.mark.parametrize("kind", [float, Decimal])
def test_nan(kind: Any, number: str) -> None:
    """Equal to itself and above everything, as PostgreSQL has it."""
    column = Column("a", nan_last)
    nan, other = kind("NaN"), kind(number)

    assert value(Compare(column, "=", nan_last(nan)), {"a": kind("NaN")}) is True
    for operator, expected in {
        "=": False,
        "<>": True,
        "<": False,
        "<=": False,
        ">": True,
        ">=": True,
    }.items():
        assert value(Compare(column, operator, other), {"a": nan}) is expected
    for operator, expected in {
        "=": False,
        "<>": True,
        "<": True,
        "<=": True,
        ">": False,
        ">=": False,
    }.items():
        assert value(Compare(column, operator, nan_last(nan)), {"a": other}) is expected


# -- Building


def test_simplified() -> None:
    """Constants disappear, nested ANDs are one."""
    part = Compare(A, "=", 1)

    assert all_of([ALWAYS, part]) == part
    assert all_of([part, NEVER]) == NEVER
    assert any_of([NEVER, part]) == part
    assert any_of([part, ALWAYS]) == ALWAYS
    assert (all_of([]), any_of([])) == (ALWAYS, NEVER)
    assert all_of([all_of([part, IsNull(B)]), part]) == And((part, IsNull(B), part))
    assert negate(negate(In(A, frozenset({1})))) == In(A, frozenset({1}))
    assert negate(any_of([Compare(A, "<", 1), IsNull(A)])) == And((Compare(A, ">=", 1), Not(IsNull(A))))


def test_columns() -> None:
    expression = any_of([CompareColumns(A, "=", B), negate(IsNull(Column("c")))])

    assert Predicate(expression).columns == {"a", "b", "c"}


# -- Anchors


def fixed(**values: Any) -> Anchor:
    return Anchor(tuple((Column(name), frozenset(options)) for name, options in values.items()))


@pytest.mark.parametrize(
    ("expression", "anchors"),
    [
        (Compare(A, "=", 1), [fixed(a={1})]),
        (IsNull(A), [fixed(a={None})]),
        (In(A, frozenset({1, 2})), [fixed(a={1, 2})]),
        (all_of([Compare(B, "=", 1), Compare(A, "=", 2)]), [fixed(a={2}, b={1})]),
        (all_of([In(A, frozenset({1, 2})), In(A, frozenset({2, 3}))]), [fixed(a={2})]),
        (all_of([Compare(A, "=", 1), Compare(A, "=", 2)]), []),
        (any_of([Compare(A, "=", 1), IsNull(B)]), [fixed(a={1}), fixed(b={None})]),
        (any_of([Compare(A, "=", 1), Compare(B, "<>", 2)]), None),
        (all_of([Compare(A, "=", 1), Compare(B, "<>", 2)]), [replace(fixed(a={1}), exact=False)]),
        (negate(all_of([Compare(A, "<>", 1), Not(IsNull(A))])), [fixed(a={1}), fixed(a={None})]),
        (Compare(A, "<", 5), [Anchor(within=(A, Between(None, 5, False, True)))]),
        (
            all_of([Compare(A, ">=", 1), Compare(A, "<=", 5), Compare(A, ">", 1)]),
            [Anchor(within=(A, Between(1, 5, True, False)))],
        ),
        (all_of([Compare(A, "=", 1), Compare(A, "<=", 5)]), [replace(fixed(a={1}), exact=False)]),
        (InSet(A, TEAMS), [Anchor(member=(A, TEAMS))]),
        (negate(InSet(A, TEAMS)), None),
        (Compare(A, "=", None), []),
        (ALWAYS, None),
        (NEVER, []),
    ],
    ids=range(18),
)
def test_anchors(expression: Any, anchors: list[Anchor] | None) -> None:
    found = Predicate(expression).anchors

    assert (found if found is None else list(found)) == anchors


def test_anchors_of_many_alternatives() -> None:
    """Ways do not multiply without bound: what is too much is left to the predicate."""
    choice = any_of([Compare(A, "=", n) for n in range(10)])
    other = any_of([Compare(B, "=", n) for n in range(20)])

    anchors = Predicate(all_of([choice, other])).anchors or ()

    assert len(anchors) == 10
    assert not any(anchor.exact for anchor in anchors)


def test_memory() -> None:
    """Nothing is compiled for a query that no row has met."""
    predicate = Predicate(Compare(A, "=", 1))

    assert predicate._test is None
    assert predicate({"a": 1})
    assert predicate._test is not None
