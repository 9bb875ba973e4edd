"""Which tables a queryset reads: against the server's own plan of its SQL."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection, models
from django.db.models import Count, Exists, F, FilteredRelation, OuterRef, Q, Subquery, Window
from django.db.models.expressions import RawSQL
from django.db.models.functions import ExtractYear, Now, Random, RowNumber

from dddp.errors import QueryRefused
from dddp.orm.tables import model_of, table_of, tables_in, tables_read
from tests.orm.models import Country, Everything, Play, Review, SortedWork, Work, Writer

pytestmark = pytest.mark.django_db


def test_table_of_a_model() -> None:
    assert table_of(Work) == "app.work"


def test_table_of_a_proxy() -> None:
    """A proxy has no rows of its own."""
    assert table_of(SortedWork) == "app.work"


def test_table_of_an_automatic_through() -> None:
    assert table_of(User.groups.through) == "auth.user_groups"


def test_model_of_a_table() -> None:
    assert model_of(table_of(Work.topics.through)) is Work.topics.through


by_jane = Work.objects.filter(writer__name="Jane")

#: queryset -> the tables it reads, by their last word
READS: dict[str, tuple[Any, str]] = {
    "all": (Work.objects.all(), "work"),
    "own column": (Work.objects.filter(writer_id=1), "work"),
    "trimmed join": (Work.objects.filter(writer__id=1), "work"),
    "foreign key": (by_jane, "work writer"),
    "chain": (Work.objects.filter(writer__country__name="UK"), "work writer country"),
    "exclude": (Work.objects.exclude(writer__country__name="UK"), "work writer country"),
    "reverse": (Writer.objects.filter(works__title="Emma"), "writer work"),
    "exclude reverse": (Writer.objects.exclude(works__title="Emma"), "writer work"),
    "many-to-many": (Work.objects.filter(topics__word="sea"), "work work_topics topic"),
    "many-to-many by key": (Work.objects.filter(topics=1), "work work_topics"),
    "one-to-one": (Work.objects.filter(review__stars=5), "work review"),
    "to_field": (Review.objects.filter(writer__name="Jane"), "review writer"),
    "ordering": (Work.objects.order_by("writer__country__name"), "work writer country"),
    "default ordering": (SortedWork.objects.all(), "work writer country"),
    "select_related": (Work.objects.select_related("writer"), "work writer"),
    "prefetch_related": (Work.objects.prefetch_related("topics"), "work"),
    "inherited": (Play.objects.all(), "play work"),
    "inherited filter": (Play.objects.filter(title="x"), "play work"),
    "child of a parent": (Work.objects.filter(play__acts=5), "work play"),
    "count": (Writer.objects.annotate(n=Count("works")), "writer work"),
    "having": (Writer.objects.annotate(n=Count("works__topics")).filter(n=2), "writer work work_topics"),
    "exists": (Writer.objects.filter(Exists(Work.objects.filter(writer=OuterRef("pk")))), "writer work"),
    "exists of a join": (
        Writer.objects.filter(~Exists(Work.objects.filter(writer=OuterRef("pk"), topics__word="sea"))),
        "writer work work_topics topic",
    ),
    "subquery with ordering": (
        Writer.objects.annotate(
            last=Subquery(
                Work.objects.filter(writer=OuterRef("pk")).order_by("review__stars").values("title")[:1]
            )
        ),
        "writer work review",
    ),
    "nested subquery": (
        Country.objects.filter(
            writer__in=Writer.objects.filter(pk__in=Review.objects.values("work__writer"))
        ),
        "country writer review work",
    ),
    "in": (Work.objects.filter(writer__in=Writer.objects.filter(country__name="UK")), "work writer country"),
    "array of a subquery": (
        Country.objects.annotate(names=ArraySubquery(Writer.objects.values("name"))),
        "country writer",
    ),
    "union": (Work.objects.filter(title="a").union(by_jane), "work writer"),
    "difference": (Work.objects.difference(Work.objects.filter(topics__word="x")), "work work_topics topic"),
    "union in a subquery": (
        Review.objects.filter(work__in=Work.objects.values("pk").union(Play.objects.values("pk"))),
        "review work play",
    ),
    "expression": (Work.objects.filter(title=F("writer__name")), "work writer"),
    "annotation": (Work.objects.annotate(by=F("writer__name")), "work writer"),
    "unused alias": (Work.objects.alias(by=F("writer__name")), "work writer"),
    "filtered relation": (
        Writer.objects.annotate(old=FilteredRelation("works", condition=Q(works__year__lt=1900))).filter(
            old__title="Emma"
        ),
        "writer work",
    ),
    "window": (
        Work.objects.annotate(n=Window(RowNumber(), order_by="writer__name")).filter(n=1),
        "work writer",
    ),
    "distinct on": (Work.objects.order_by("writer__name").distinct("writer__name"), "work writer"),
    "extract": (Everything.objects.annotate(y=ExtractYear("moment")).filter(y=2020), "everything"),
    "odd table name": (Review.objects.filter(stars=1), "review"),
    "case": (
        Work.objects.annotate(
            kind=models.Case(models.When(topics__word="x", then=F("writer__name")), default=models.Value(""))
        ),
        "work work_topics topic writer",
    ),
    "automatic through": (User.groups.through.objects.filter(group__name="x"), "user_groups group"),
    "generic permission": (
        User.objects.filter(groups__permissions=1),
        "user user_groups group group_permissions",
    ),
    "none": (Work.objects.none(), "work"),
    "sliced": (by_jane.order_by("topics__word")[2:5], "work writer work_topics topic"),
}


@pytest.mark.parametrize("name", READS)
def test_tables_read(name: str) -> None:
    queryset, expected = READS[name]

    assert {table.split(".")[1] for table in tables_read(queryset)} == set(expected.split())


@pytest.mark.parametrize("name", [name for name in READS if name != "none"])
def test_tables_read_cover_the_plan(name: str) -> None:
    """No relation that PostgreSQL scans is missing."""
    queryset, _ = READS[name]

    assert scanned(queryset) <= {model_of(table)._meta.db_table for table in tables_read(queryset)}


def scanned(queryset: Any) -> set[str]:
    """The relations in the server's plan, which may leave out joins that it does not need."""
    sql, params = queryset.query.get_compiler("default").as_sql()
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}", params)
        (plan,) = cursor.fetchone()
    return set(re.findall(r'"Relation Name": "([^"]+)"', json.dumps(plan)))


def test_queryset_is_unchanged() -> None:
    """Looking at a queryset adds no joins to it."""
    queryset = Work.objects.order_by("writer__name")
    tables_read(queryset)

    assert list(queryset.query.alias_map) == []


def test_text_of_values_is_not_read() -> None:
    """What looks like SQL in a value is a value."""
    assert tables_read(Work.objects.filter(title='FROM "app_writer"')) == {"app.work"}


def test_bare_and_quoted_names() -> None:
    assert tables_in('SELECT 1 FROM app_work JOIN ONLY "app_writer" USING (id)') == {"app.work", "app.writer"}


def test_column_after_from() -> None:
    assert tables_in('SELECT EXTRACT(YEAR FROM "app_work"."year"), TRIM(app_writer.name) FROM f()') == set()


@pytest.mark.parametrize(
    "queryset",
    [
        Work.objects.extra(where=["year > 1"]),
        Work.objects.extra(tables=["app_writer"]),
        Work.objects.extra(select={"n": "(SELECT 1)"}),
        Work.objects.extra(order_by=["title"]),
        Work.objects.annotate(n=RawSQL("SELECT 1", ())),
        Work.objects.filter(pk__in=RawSQL("SELECT 1", ())),
        Work.objects.filter(writer__in=Writer.objects.extra(where=["true"])),
        Work.objects.filter(Exists(Writer.objects.annotate(n=RawSQL("1", ())).filter(n=1))),
        Work.objects.order_by(RawSQL("1", ())),
        Work.objects.all().union(Work.objects.extra(where=["true"])),
        Work.objects.filter(pk__in=[1, RawSQL("1", ())]),
        Work.objects.annotate(n=FilteredRelation("topics", condition=Q(topics__pk=RawSQL("1", ())))).filter(
            n=1
        ),
        Work.objects.annotate(n=models.Case(models.When(year=RawSQL("1", ()), then=1), default=2)),
        Work.objects.annotate(n=Window(RowNumber(), order_by=RawSQL("1", ()))),
        Work.objects.raw("SELECT * FROM app_work"),
        Work.objects.filter(Q(year=1) | ~Q(pk__in=Writer.objects.filter(pk=RawSQL("1", ())).values("pk"))),
    ],
)
def test_raw_sql_is_refused(queryset: Any) -> None:
    with pytest.raises(QueryRefused, match="raw SQL"):
        tables_read(queryset)


@pytest.mark.parametrize(
    "queryset",
    [
        Everything.objects.filter(moment__lt=Now()),
        Everything.objects.annotate(luck=Random()),
        Everything.objects.filter(moment__gt=Now() - F("duration")),
    ],
    ids=["now", "random", "arithmetic"],
)
def test_value_that_changes_by_itself_is_refused(queryset: Any) -> None:
    with pytest.raises(QueryRefused, match=r"Now\(\)|Random\(\)"):
        tables_read(queryset)


def test_slice_of_random_order_is_refused() -> None:
    with pytest.raises(QueryRefused, match="random order"):
        tables_read(Work.objects.order_by("?")[:3])
