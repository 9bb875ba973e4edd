"""The ranking of a window against all that PostgreSQL may do: rows of equal places come in the order they lie in."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from dddp.changes import Key, Row
from dddp.livequery.predicate import Column
from dddp.livequery.window import Order, Ranking, Window

VALUE, ID = Order(Column("value")), Order(Column("id"))
ORDERS = {
    "by value": [VALUE],
    "by value, descending": [Order(Column("value"), descending=True)],
    "by value and key": [VALUE, ID],
    "by value that Python does not order": [Order(Column("value"), ordered=False)],
    "by value that Python does not order, and key": [Order(Column("value"), ordered=False), ID],
    "by value of which one stands for several": [Order(Column("value"), strange=frozenset({1}))],
    "by nothing": [],
}
SLICES = [(0, 2), (0, 4), (1, 3), (2, 4), (1, None), (3, None)]


class Table:
    """Rows where they lie; one that is written lies somewhere else from then on."""

    def __init__(self, chance: random.Random, window: Window) -> None:
        self.chance = chance
        self.window = window
        self.rows: dict[Key, Row] = {}

    def write(self) -> Key:
        """Add, change or delete a row. Changed rows often keep their places."""
        number = self.chance.randint(1, 6)
        key = Key(str(number))
        old = self.rows.pop(key, None)
        if old is None or self.chance.random() < 0.7:
            keeps = old is not None and self.chance.random() < 0.5
            value = old["value"] if old is not None and keeps else self.chance.choice([None, 0, 1, 2])
            self.rows[key] = {"id": number, "value": value, "lies": self.chance.random()}
        return key

    def selected(self) -> list[Key]:
        """The rows up to the end of the window, in PostgreSQL's order."""
        return sorted(self.rows, key=lambda key: self._rank(self.rows[key]))[: self.window.stop]

    def _rank(self, row: Row) -> tuple[object, ...]:
        return self.window.place(self._ordered(row)), row["lies"]

    def _ordered(self, row: Row) -> Row:
        """PostgreSQL has an order for what Python does not: here that of the values upside down."""
        known = self.window.ordered or row["value"] is None
        return row if known else row | {"value": -row["value"]}


class Follower:
    """A window as the router keeps it."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.reads = 0
        self.read()

    def read(self) -> None:
        self.reads += 1
        selected = self.table.selected()
        self.ranking = Ranking(self.table.window, self.places(selected))
        self.members = set(selected[self.table.window.start :])

    def places(self, keys: list[Key]) -> Mapping[Key, tuple[tuple[int, object], ...]]:
        return {key: self.table.window.place(self.table.rows[key]) for key in keys}

    def hear(self, key: Key) -> None:
        row = self.table.rows.get(key)
        after = self.ranking.after([(key, self.table.window.place(row) if row is not None else None)])
        if after is self.ranking:
            return
        members = after.members() if after is not None else None
        if after is None or members is None or not members <= self.members | {key}:
            self.read()
        else:
            self.ranking, self.members = after, set(members)


@pytest.mark.parametrize(("start", "stop"), SLICES)
@pytest.mark.parametrize("order", ORDERS)
def test_followed_window_has_the_rows_that_a_read_would_find(
    order: str, start: int, stop: int | None
) -> None:
    window = Window(ORDERS[order], start, stop, total=ID in ORDERS[order])
    for seed in range(40):
        table = Table(random.Random(seed), window)
        follower = Follower(table)
        for _ in range(40):
            follower.hear(table.write())
            assert follower.members == set(table.selected()[start:]), f"seed {seed}"


def test_window_of_a_known_order_seldom_takes_a_read() -> None:
    table = Table(random.Random(1), Window(ORDERS["by value and key"], 0, 4, total=True))
    follower = Follower(table)
    for _ in range(1000):
        follower.hear(table.write())

    assert follower.reads < 400


def test_ranking_is_never_changed_itself() -> None:
    """The router may find that a later part of the transaction takes a read, and keeps what it had."""
    window = Window(ORDERS["by value and key"], 1, 4, total=True)
    places = {Key(str(n)): window.place({"id": n, "value": n}) for n in range(4)}
    ranking = Ranking(window, places)
    ranking.after([(Key("9"), window.place({"id": 9, "value": 0})), (Key("1"), None)])

    assert ranking.members() == {"1", "2", "3"}
