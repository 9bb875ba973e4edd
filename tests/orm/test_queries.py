"""From querysets to specs: identity, fields, what is refused; and restricting under a slice."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import models
from django.db.models import Count, Exists, OuterRef, Q

from dddp.errors import QueryRefused
from dddp.livequery.spec import QuerySpec
from dddp.orm.compiler import everything, nothing
from dddp.orm.documents import ModelShape
from dddp.orm.queries import restrict, specify
from dddp.orm.tables import table_of
from tests.orm.models import Country, Everything, Play, Review, Seat, SortedWork, Topic, Work, Writer

pytestmark = pytest.mark.django_db

CAPTURED = frozenset(
    map(table_of, (Country, Everything, Play, Review, Topic, Work, Writer, Work.topics.through))
)
SHAPE = ModelShape("works", Work)
WITH_TOPICS = ModelShape("works", Work, fields=["title", "year", "topics"])


def spec(queryset: Any, shape: ModelShape = SHAPE, **options: Any) -> QuerySpec:
    return specify(queryset, shape, **{"captured": CAPTURED} | options)


# -- Identity


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Work.objects.all(), Work.objects.filter()),
        (Work.objects.filter(year=1), Work.objects.filter(year="1")),
        (Work.objects.filter(writer=Writer(pk=3)), Work.objects.filter(writer_id=3)),
        (Work.objects.all(), Work.objects.order_by("-title")),
        (Work.objects.all(), SortedWork.objects.all()),
        (Work.objects.all(), Work.objects.select_related("writer").prefetch_related("topics")),
        (Work.objects.only("title"), Work.objects.only("title", "pk")),
        (Work.objects.all(), Work.objects.only("title", "year", "writer")),
        (Work.objects.defer("year"), Work.objects.only("title", "writer_id")),
        (Work.objects.none(), Work.objects.filter(pk__in=[])),
    ],
    ids=range(10),
)
def test_equal_queries(one: Any, other: Any) -> None:
    """The same documents, so one live query."""
    assert spec(one) == spec(other)
    assert hash(spec(one)) == hash(spec(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Work.objects.filter(year=1), Work.objects.filter(year=2)),
        (Work.objects.all(), Work.objects.only("title")),
        (Work.objects.order_by("title")[:5], Work.objects.order_by("year")[:5]),
        (Work.objects.order_by("title")[:5], Work.objects.order_by("title")[:6]),
        (Work.objects.filter(title="a' OR 'b"), Work.objects.filter(title="a")),
    ],
    ids=range(5),
)
def test_different_queries(one: Any, other: Any) -> None:
    assert spec(one) != spec(other)


def test_identity_of_unhashable_parameters() -> None:
    """JSON and arrays compare by what is sent."""
    shape = ModelShape("everything", Everything)
    one, other, third = (
        spec(Everything.objects.filter(json={"a": n}, integers=[1, 2]), shape) for n in (1, 1, 2)
    )

    assert one == other != third


def test_identity_of_another_collection() -> None:
    assert spec(Work.objects.all()) != spec(Work.objects.all(), ModelShape("other", Work))


# -- What a spec says


def test_reads() -> None:
    assert spec(Work.objects.filter(writer__country__name="UK")).reads == {
        "app.work",
        "app.writer",
        "app.country",
    }


def test_reads_without_ordering() -> None:
    """Order need not reach the client, so it costs no dependency; in a slice it does."""
    ordered = Work.objects.order_by("writer__name")

    assert spec(ordered).reads == {"app.work"}
    assert spec(ordered[:5]).reads == {"app.work", "app.writer"}


def test_reads_of_the_shape() -> None:
    assert spec(Work.objects.all(), WITH_TOPICS).reads == {"app.work", "app.work_topics"}


@pytest.mark.parametrize(
    ("queryset", "fields"),
    [
        (Work.objects.all(), None),
        (Work.objects.only("title"), {"title"}),
        (Work.objects.only("writer"), {"writer_id"}),
        (Work.objects.only("writer_id"), {"writer_id"}),
        (Work.objects.only("pk"), set()),
        (Work.objects.only("title", "writer__name").select_related("writer"), {"title", "writer_id"}),
        (Work.objects.defer("title"), {"year", "writer_id"}),
        (Work.objects.defer("writer__name").select_related("writer"), None),
        (Work.objects.defer("title").only("title", "year"), {"year"}),
        (Work.objects.only("title", "year").defer("year"), {"title"}),
        (Work.objects.only("title").union(Work.objects.only("title").filter(year=1)), {"title"}),
        (Work.objects.annotate(n=Count("topics")), None),
    ],
    ids=range(12),
)
def test_published_fields(queryset: Any, fields: set[str] | None) -> None:
    assert spec(queryset).fields == fields


def test_published_fields_with_many_to_many() -> None:
    assert spec(Work.objects.defer("topics"), WITH_TOPICS).fields == {"title", "year"}
    assert spec(Work.objects.only("title"), WITH_TOPICS).fields == {"title"}


@pytest.mark.parametrize(
    "queryset",
    [
        Work.objects.all(),
        Work.objects.order_by("title"),
        Work.objects.order_by("writer__name"),
        Work.objects.only("year"),
    ],
    ids=range(4),
)
def test_predicate_of_all_rows(queryset: Any) -> None:
    assert spec(queryset).predicate is everything


@pytest.mark.parametrize(
    "queryset", [Work.objects.none(), Work.objects.filter(pk__in=[])], ids=["none", "in"]
)
def test_predicate_of_no_rows(queryset: Any) -> None:
    assert spec(queryset).predicate is nothing


@pytest.mark.parametrize(
    "queryset",
    [
        Work.objects.order_by("writer__name")[:5],
        Work.objects.distinct("title"),
        Work.objects.union(Work.objects.all()),
        Work.objects.annotate(n=Count("topics")),
        Work.objects.filter(title__icontains="a"),
    ],
    ids=range(5),
)
def test_predicate_of_other_queries(queryset: Any) -> None:
    """Run again, and the reason is said."""
    assert spec(queryset).predicate is None
    assert spec(queryset).reason


def test_predicate_of_a_slice_is_that_of_the_rows_it_is_cut_from() -> None:
    sliced = spec(Work.objects.filter(year=1).order_by("pk")[2:5])

    assert sliced.predicate.expression == spec(Work.objects.filter(year=1)).predicate.expression
    assert (sliced.window.start, sliced.window.stop, sliced.window.total) == (2, 5, True)


def test_predicate_of_filtered_rows() -> None:
    """What the compiler understands; tests/orm/test_compiler.py says what that is."""
    filtered = spec(Work.objects.filter(year=1))

    assert filtered.predicate is not None
    assert filtered.reason is None
    assert filtered.predicate({"year": 1})
    assert not filtered.predicate({"year": 2})


def test_predicate_on_a_column_of_the_feed_only() -> None:
    """One of ``filter_fields``: it is in the rows, not in the documents."""
    shape = ModelShape("works", Work, fields=["title"])

    assert "filter_fields" in str(spec(Work.objects.filter(year=1), shape).reason)
    assert spec(Work.objects.filter(year=1), shape, columns={shape.table: ["year"]}).predicate is not None


def test_predicate_of_shapes_that_take_a_read() -> None:
    assert spec(Play.objects.all(), ModelShape("plays", Play)).predicate is None
    assert spec(Work.objects.all(), WITH_TOPICS).predicate is None


def test_database() -> None:
    assert spec(Work.objects.all()).identity[0] == "default"
    assert spec(Work.objects.using("default"), database="default").source().db == "default"


def test_read_replica_is_not_used(settings: Any) -> None:
    """A replica does not notify, so reads go where the model is written."""
    settings.DATABASE_ROUTERS = [ReplicaRouter()]

    assert spec(Work.objects.all()).source().db == "default"


def test_read_replica_is_not_used_by_a_restriction(settings: Any) -> None:
    """The subquery that a restriction adds goes where the query goes."""
    settings.DATABASE_ROUTERS = [ReplicaRouter()]

    assert "app.work_topics" in spec(restrict(Work.objects.all(), Q(topics=1))).reads


class ReplicaRouter:
    def db_for_read(self, model: Any, **hints: Any) -> str:
        return "replica"

    def db_for_write(self, model: Any, **hints: Any) -> str:
        return "default"


# -- What is refused


@pytest.mark.parametrize(
    ("queryset", "reason"),
    [
        (Work.objects.values("title"), r"Use \.only\(\)"),
        (Work.objects.values_list("title"), r"Use \.only\(\)"),
        (Work.objects.select_for_update(), "locks rows"),
        (Writer.objects.all(), "rows of app.Writer; the collection's are app.work"),
        (Work.objects.only("pk").union(Writer.objects.only("pk")), "rows of app.Writer"),
        (Seat.objects.all(), "composite"),
        (Work.objects.raw("SELECT 1"), "RawQuerySet"),
        (Work.objects.extra(where=["true"]), "raw SQL"),
        (Work.objects, "Manager"),
        (Work.objects.only("title").union(Work.objects.only("title", "year")), "different fields"),
    ],
    ids=range(10),
)
def test_refused(queryset: Any, reason: str) -> None:
    with pytest.raises(QueryRefused, match=reason):
        spec(queryset)


def test_uncaptured_table_is_refused() -> None:
    """The message names the table and the setting."""
    with pytest.raises(
        QueryRefused, match=r"reads app\.writer, .*Add 'app\.writer' to DDDP\[\"CAPTURE_MODELS\"\]"
    ):
        spec(Work.objects.filter(writer__name="Jane"), captured=frozenset({"app.work"}))


def test_only_with_serialize_is_refused() -> None:
    """Nobody knows which field of the model is in which of the document."""
    with pytest.raises(QueryRefused, match=r"serialize\(\)"):
        spec(Work.objects.only("title"), ModelShape("works", Work, serialize=dict))


# -- Restricting


@pytest.fixture
def works() -> list[Work]:
    """Six works of two writers in turn, the even ones with two topics each."""
    writers = [Writer.objects.create(name=name, email=f"{name}@example.org") for name in ("jane", "mary")]
    topics = [Topic.objects.create(word="sea"), Topic.objects.create(word="sea")]
    works = [Work.objects.create(title=str(n), year=n, writer=writers[n % 2]) for n in range(6)]
    for work in works[::2]:
        work.topics.set(topics)
    return works


def years(queryset: models.QuerySet[Work]) -> list[int]:
    return sorted(work.year for work in queryset)


JANE = Q(writer__name="jane")


@pytest.mark.parametrize(
    ("queryset", "condition", "expected"),
    [
        (Work.objects.all(), JANE, [0, 2, 4]),
        (Work.objects.order_by("-year")[:2], JANE, [2, 4]),
        (Work.objects.order_by("-year")[1:3], JANE, [0, 2]),
        (Work.objects.order_by("-year")[1:], JANE, [0, 2]),
        (Work.objects.order_by("-year")[:2], Q(topics__word="sea"), [2, 4]),
        (Work.objects.all(), Q(topics__word="sea"), [0, 2, 4]),
        (Work.objects.all(), ~Q(topics__word="sea"), [1, 3, 5]),
        (Work.objects.all(), JANE | Q(topics__word="sea") | Q(year=1), [0, 1, 2, 4]),
        (Work.objects.order_by("year")[:2], Work.objects.filter(year__gt=2), [3, 4]),
        (Work.objects.filter(topics__word="sea"), JANE, [0, 0, 2, 2, 4, 4]),
        (Work.objects.annotate(n=Count("topics")).filter(n=2), Q(topics__word="sea"), [0, 2, 4]),
        (Work.objects.distinct(), Q(topics__word="sea"), [0, 2, 4]),
        (Work.objects.filter(year__lt=2).union(Work.objects.filter(year__gt=3)), JANE, [0, 4]),
        (Work.objects.all().difference(Work.objects.filter(year=0)).order_by("-year")[:2], JANE, [2, 4]),
        (Work.objects.order_by("year")[:3].union(Work.objects.order_by("-year")[:1]), JANE, [0, 2, 4]),
        (Work.objects.none(), JANE, []),
        (Work.objects.order_by("year")[0:0], JANE, []),
        (Work.objects.all(), Q(pk__in=[]), []),
        (Work.objects.all(), Q(Exists(Writer.objects.filter(pk=OuterRef("writer"), name="jane"))), [0, 2, 4]),
        (Work.objects.all(), Q(), [0, 1, 2, 3, 4, 5]),
    ],
    ids=range(20),
)
def test_restrict(works: list[Work], queryset: Any, condition: Any, expected: list[int]) -> None:
    """The slice is cut from what satisfies the condition; no row is doubled by it."""
    before = str(queryset.query) if expected else ""

    assert years(restrict(queryset, condition)) == expected
    if before:
        assert str(queryset.query) == before


def test_restrict_through_a_foreign_key() -> None:
    """A path that cannot double rows stays a join, which the compiler may understand."""
    assert "IN (SELECT" not in str(restrict(Work.objects.all(), JANE).query)
    assert "IN (SELECT" in str(restrict(Work.objects.all(), Q(topics=1)).query)


@pytest.mark.parametrize("path", ["review__stars", "writer__country__name", "play__acts"])
def test_restrict_through_single_valued_relations(path: str) -> None:
    assert "IN (SELECT" not in str(restrict(Work.objects.all(), Q(**{path: 1})).query)
