"""Live sets follow a transaction, or know that they are out of date."""

from __future__ import annotations

from dddp.changes import Change, Key, Kind, Row, Table
from dddp.livequery.liveset import LiveSets
from dddp.livequery.predicate import ALWAYS, Column, Compare, Expression, InSet, Predicate, SetSpec, negate
from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import QuerySpec
from tests.livequery.model import BOOKS

TAG, LINK, BOOK = Table("shop.tag"), Table("shop.link"), Table("shop.book")
NEW_TAGS = SetSpec(TAG, Compare(Column("name"), "=", "new"), Column("id"))
OF_NEW_TAGS = SetSpec(LINK, InSet(Column("tag"), NEW_TAGS), Column("book"))
SHOPS = SetSpec(BOOK, InSet(Column("id"), OF_NEW_TAGS), Column("shop"))


def live_sets(values: SetSpec) -> LiveSets:
    """The sets that a query needs, empty and up to date."""
    sets = LiveSets()
    expression: Expression = InSet(Column("id"), values)
    spec = QuerySpec(("query",), BOOKS, frozenset(), predicate=Predicate(expression))
    sets.use(values, LiveQuery(spec, None))  # type: ignore[arg-type]  # no documents
    for each in list(sets.members):
        sets.load(each, {})
    return sets


def changed(table: Table, key: int, row: Row | None = None) -> Change:
    return Change(table, Key(str(key)), Kind.GONE if row is None else Kind.ROW, row and {"id": key, **row})


def test_rows_without_a_value() -> None:
    """NULL is in no set."""
    shops = SetSpec(BOOK, ALWAYS, Column("shop"))
    sets = live_sets(shops)
    sets.load(shops, {Key("1"): None, Key("2"): 7})

    deltas = sets.apply([changed(BOOK, 3, {"shop": None}), changed(BOOK, 2, {"shop": None})])

    assert not sets.members[shops]
    assert list(deltas[sets[shops]].left) == [7]
    assert not deltas[sets[shops]].entered


def test_set_in_a_set_is_judged_after_the_inner_one() -> None:
    """Whatever the order of the changes: in between, the inner set is as it never was for anybody."""
    others = SetSpec(
        LINK, negate(InSet(Column("book"), SetSpec(LINK, ALWAYS, Column("book")))), Column("tag")
    )
    sets = live_sets(others)

    sets.apply([changed(LINK, 1, {"book": 5, "tag": 8})])
    sets.load(others, {})
    sets.apply([changed(LINK, 1), changed(LINK, 2, {"book": 5, "tag": 8})])

    assert sets[others].loaded
    assert not sets.members[others]


def test_change_of_a_set_outdates_all_that_are_built_on_it() -> None:
    sets = live_sets(SHOPS)

    sets.apply([changed(TAG, 1, {"name": "new"})])

    assert [sets[each].loaded for each in (NEW_TAGS, OF_NEW_TAGS, SHOPS)] == [True, False, False]


def test_unknown_table_outdates_all_that_are_built_on_it() -> None:
    sets = live_sets(SHOPS)

    sets.unload([TAG])

    assert not any(sets[each].loaded for each in (NEW_TAGS, OF_NEW_TAGS, SHOPS))


def test_last_query_takes_its_sets_along() -> None:
    sets = live_sets(SHOPS)
    (query,) = sets[SHOPS].users

    sets.leave(SHOPS, query)

    assert not len(sets)
    assert not sets.members
    assert not any(vars(sets).values())
