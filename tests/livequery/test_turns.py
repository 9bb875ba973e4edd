from __future__ import annotations

import pytest

from dddp.livequery.query import LiveQuery
from dddp.livequery.turns import Turns
from tests.livequery.test_router import Edge, spec


def query(name: str, whose: str) -> LiveQuery:
    return LiveQuery(spec(name), Edge().router.documents, whose)


@pytest.fixture
def waiting() -> Turns:
    """Three queries of one client's, and two of another's that came later."""
    return Turns(
        [*(query(name, "a") for name in ("a1", "a2", "a3")), *(query(name, "b") for name in ("b1", "b2"))]
    )


def names(queries: tuple[LiveQuery, ...]) -> list[str]:
    return [each.spec.identity[0] for each in queries]


def test_those_who_ask_take_turns(waiting: Turns) -> None:
    assert names(waiting.take(10)) == ["a1", "b1", "a2", "b2", "a3"]
    assert not waiting


def test_turns_go_on_where_the_last_take_ended(waiting: Turns) -> None:
    assert names(waiting.take(1)) == ["a1"]
    assert names(waiting.take(2)) == ["b1", "a2"]
    assert len(waiting) == 2


def test_queries_that_were_not_served_come_first(waiting: Turns) -> None:
    a1, b1, a2 = waiting.take(3)

    waiting.put_back([b1, a2])

    assert a1 not in waiting
    assert names(waiting.take(10)) == ["b1", "a2", "b2", "a3"]


def test_query_that_waits_no_more(waiting: Turns) -> None:
    for each in list(waiting):
        waiting.discard(each)

    assert not waiting
    assert waiting.take(10) == ()


def test_query_waits_once(waiting: Turns) -> None:
    for each in list(waiting):
        waiting.add(each)

    assert len(waiting.take(10)) == 5
