"""Slices of ordered querysets: a window followed from change to change has the rows that PostgreSQL selects.

``DDDP_WINDOW_ROUNDS`` sets the number of random histories (default 80); each is one seed, named when it fails.
"""

from __future__ import annotations

import datetime
import os
import random
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F, QuerySet

from dddp.changes import Key
from dddp.livequery.window import Place, Ranking
from dddp.orm.documents import ModelShape, document_id
from dddp.orm.queries import specify
from dddp.orm.reads import read
from dddp.orm.tables import table_of
from tests.orm.models import Country, Everything, SortedWork, Topic, Work, Writer

pytestmark = pytest.mark.django_db(transaction=True)

ROUNDS = int(os.environ.get("DDDP_WINDOW_ROUNDS", "80"))
STEPS = 25
UTC = datetime.UTC

VALUES: dict[str, list[Any]] = {
    "integer": [None, -1, 0, 7],
    "decimal": [None, Decimal("-0.5"), Decimal(0), Decimal("1.25")],
    "real": [None, float("nan"), float("-inf"), -0.0, 0.0, 2.5],
    "boolean": [None, True, False],
    "uuid": [None, uuid.UUID(int=1), uuid.UUID(int=2**127)],
    "date": [None, datetime.date.max, datetime.date(2020, 1, 1), datetime.date(2020, 1, 2)],
    "moment": [None, datetime.datetime(2020, 1, 1, tzinfo=UTC), datetime.datetime(2021, 1, 1, tzinfo=UTC)],
    "binary": [None, b"", b"a", b"\xff"],
    "char": [None, "", "a", "B", "é"],
    "time": [None, datetime.time(0), datetime.time(12)],
}

INFINITE = "UPDATE app_everything SET date = 'infinity' WHERE id = %s"


def spec_of(queryset: QuerySet[Any]) -> Any:
    shape = ModelShape("each", queryset.model)
    captured = frozenset(map(table_of, [Everything, Work, Writer, Country, Topic, Work.topics.through]))
    return specify(queryset, shape, captured=captured)


def random_queryset(chance: random.Random) -> QuerySet[Any]:
    names = chance.sample(list(VALUES), chance.randint(1, 2))
    if chance.random() < 0.7:
        names.append("pk")
    terms = [chance.choice([F(name).asc, F(name).desc])(**_nulls(chance)) for name in names]
    start = chance.choice([0, 0, 0, 1, 3])
    rows = Everything.objects.order_by(*terms)
    if chance.random() < 0.4:
        rows = rows.filter(small__gt=1)
    return rows[
        start : chance.choice([None, start + chance.randint(1, 4)]) if start else chance.randint(1, 5)
    ]


def _nulls(chance: random.Random) -> dict[str, bool]:
    return chance.choice([{}, {"nulls_first": True}, {"nulls_last": True}])


def random_values(chance: random.Random) -> dict[str, Any]:
    return {name: chance.choice(values) for name, values in VALUES.items()} | {"small": chance.randint(0, 3)}


class Follower:
    """A window as a process keeps it: by the changes that it hears of, and by a read where these do not tell."""

    def __init__(self, queryset: QuerySet[Any]) -> None:
        self.queryset = queryset
        self.spec = spec_of(queryset)
        self.window = self.spec.window
        self.reads = 0
        self.read()

    def read(self) -> None:
        found = read("default", [self.spec], "token", "channel", 0)
        self.reads += 1
        links = found.related.links[self.spec]
        self.ranking = Ranking(self.window, {key: self.window.place(row) for key, row in links.items()})
        self.members = set(found.rows[self.spec])

    def hear(self, pk: int) -> None:
        row = Everything.objects.filter(pk=pk).first()
        accepted = row is not None and self.spec.predicate(row.__dict__)
        place = self.window.place(row.__dict__) if accepted and row is not None else None
        after = self.ranking.after([(document_id(pk), place)])
        members = None if after is None else after.members()
        if after is self.ranking:
            return
        if after is None or members is None or not members <= self.members | {document_id(pk)}:
            self.read()
        else:
            self.ranking, self.members = after, set(members)

    def selected(self) -> set[Key]:
        return {document_id(pk) for pk in self.queryset.values_list("pk", flat=True)}

    def places(self, keys: set[Key]) -> list[Place]:
        rows = Everything.objects.filter(pk__in=map(int, keys))
        return sorted((self.window.place(row.__dict__) for row in rows), key=repr)


def write(chance: random.Random) -> int:
    """Change, add or delete one row. Returns its key."""
    keys = list(Everything.objects.values_list("pk", flat=True))
    what = chance.random()
    if what < 0.2 or not keys:
        return Everything.objects.create(**random_values(chance)).pk
    pk = chance.choice(keys)
    if what < 0.4:
        Everything.objects.filter(pk=pk).delete()
    elif what < 0.5:
        with connection.cursor() as cursor:
            cursor.execute(INFINITE, [pk])
    else:
        some = chance.sample(list(VALUES), 3)
        Everything.objects.filter(pk=pk).update(**{name: random_values(chance)[name] for name in some})
    return pk


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_followed_window_has_the_rows_that_postgresql_selects(seed: int) -> None:
    chance = random.Random(seed)
    Everything.objects.bulk_create(Everything(**random_values(chance)) for _ in range(chance.randint(0, 8)))
    follower = Follower(random_queryset(chance))
    for _ in range(STEPS):
        follower.hear(write(chance))
        selected = follower.selected()
        if follower.window.total:
            assert follower.members == selected, follower.queryset.query
        else:  # PostgreSQL may choose others among equals
            assert follower.places(follower.members) == follower.places(selected), follower.queryset.query


@pytest.fixture
def ten() -> list[int]:
    rows = [Everything(pk=n, integer=n, char=f"t{n}", small=2) for n in range(10)]
    return [row.pk for row in Everything.objects.bulk_create(rows)]


@pytest.mark.parametrize(
    ("pk", "change", "reads"),
    [
        (7, lambda row: row.update(integer=8), 0),
        (7, lambda row: row.delete(), 0),
        (7, lambda row: row.update(integer=-1), 0),
        (1, lambda row: row.update(small=3), 0),
        (1, lambda row: row.update(integer=0), 0),
        (1, lambda row: row.update(integer=8), 1),
        (1, lambda row: row.delete(), 1),
    ],
    ids=["beyond", "gone beyond", "moves in", "changed within", "moved within", "moves out", "gone"],
)
def test_only_a_row_that_moves_in_unseen_takes_a_read(
    ten: list[int], pk: int, change: Callable[[QuerySet[Any]], object], reads: int
) -> None:
    follower = Follower(Everything.objects.order_by("integer", "pk")[:3])
    change(Everything.objects.filter(pk=pk))
    follower.hear(pk)

    assert (follower.reads - 1, follower.members) == (reads, follower.selected())


@pytest.mark.parametrize(
    ("pk", "change", "reads"),
    [
        (1, lambda row: row.update(small=3), 0),
        (7, lambda row: row.delete(), 0),
        (7, lambda row: row.update(small=3), 1),
    ],
    ids=["changed within", "gone beyond", "changed beyond"],
)
def test_order_by_text_is_left_to_postgresql(
    ten: list[int], pk: int, change: Callable[[QuerySet[Any]], object], reads: int
) -> None:
    """A text that has not changed is still where it was."""
    follower = Follower(Everything.objects.order_by("char")[:3])
    change(Everything.objects.filter(pk=pk))
    follower.hear(pk)

    assert (follower.reads - 1, follower.members) == (reads, follower.selected())


@pytest.mark.parametrize(
    ("queryset", "reason"),
    [
        (Everything.objects.order_by("duration")[:3], "duration"),
        (Everything.objects.order_by(F("integer") + 1)[:3], "ordered by more than columns"),
        (Work.objects.order_by("writer__name")[:3], "ordered by name of another table"),
        (SortedWork.objects.all()[:3], "ordered by name of another table"),
        (Everything.objects.order_by("pk")[5000:5010], "begins 5000 rows back"),
        (Work.objects.filter(topics__word="sea").order_by("pk")[:3], "more than once"),
        (Everything.objects.order_by("pk").distinct("pk")[:3], "it is distinct by some columns"),
        (Everything.objects.filter(char__iexact="a").order_by("pk")[:3], "iexact ignores case"),
    ],
)
def test_window_that_is_not_understood_is_run_again(queryset: QuerySet[Any], reason: str) -> None:
    spec = spec_of(queryset)

    assert (spec.predicate, spec.window) == (None, None)
    assert reason in spec.reason


@pytest.mark.parametrize(
    ("order", "total"),
    [("single", False), ("pk", True), ("integer", False), ("-id", True)],
)
def test_rows_may_have_equal_places_unless_a_column_is_unique_and_never_null(order: str, total: bool) -> None:
    """Of a unique column, any number of rows may be NULL."""
    assert spec_of(Everything.objects.order_by(order)[:3]).window.total is total
