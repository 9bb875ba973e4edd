"""Snapshot reads against a real server."""

from __future__ import annotations

import json
import select
from typing import Any

import psycopg2
import pytest
from django.db import connection, connections, models, transaction
from django.db.models import Count, Exists, F, Func, OuterRef, Subquery, Value, Window
from django.db.models.functions import Rank

from dddp.changes import Snapshot
from dddp.livequery.spec import QuerySpec
from dddp.orm.documents import ModelShape, document_id
from dddp.orm.queries import specify
from dddp.orm.reads import ReadFailed, ReadResult, read
from dddp.orm.tables import table_of
from tests.orm.models import Badge, Finger, Play, Print, Topic, Work, Writer

pytestmark = pytest.mark.django_db(transaction=True)

CAPTURED = frozenset(map(table_of, (Play, Topic, Work, Writer, Work.topics.through)))
SHAPE = ModelShape("works", Work)


def spec(queryset: models.QuerySet[Any], shape: ModelShape = SHAPE) -> QuerySpec:
    return specify(queryset, shape, captured=CAPTURED)


def run(*specs: QuerySpec, **options: Any) -> ReadResult:
    return read("default", specs, options.pop("token", "t"), options.pop("channel", "c"), 5000, **options)


def documents(queryset: models.QuerySet[Any], shape: ModelShape = SHAPE) -> dict[str, Any]:
    """Key -> the document as a client would parse it."""
    one = spec(queryset, shape)
    return {key: parsed(fields) for key, fields in run(one).rows[one].items()}


def parsed(fields: Any) -> dict[str, Any]:
    return json.loads(b"{" + b",".join(fields.values()) + b"}")


@pytest.fixture
def works() -> list[Work]:
    writer = Writer.objects.create(name="Jane", email="jane@example.org")
    return [
        Work.objects.create(title=title, year=year, writer=writer)
        for title, year in (("Emma", 1815), ("Lady", 1871))
    ]


def test_read_gives_whole_documents(works: list[Work]) -> None:
    """Every concrete field but the key, a foreign key as the related document's id."""
    emma, lady = works
    writer = str(emma.writer_id)

    assert documents(Work.objects.all()) == {
        str(emma.pk): {"title": "Emma", "year": 1815, "writer_id": writer},
        str(lady.pk): {"title": "Lady", "year": 1871, "writer_id": writer},
    }


def test_only_loads_the_whole_document(works: list[Work]) -> None:
    """The part that a query publishes is cut out of the shared document later."""
    assert set(documents(Work.objects.only("title"))[str(works[0].pk)]) == {"title", "year", "writer_id"}


def test_read_of_a_slice(works: list[Work]) -> None:
    assert list(documents(Work.objects.order_by("-year")[:1])) == [str(works[1].pk)]


def test_read_of_none(works: list[Work]) -> None:
    assert documents(Work.objects.none()) == {}


def test_read_of_an_empty_in(works: list[Work]) -> None:
    assert documents(Work.objects.filter(pk__in=[])) == {}


def test_read_of_distinct_through_a_join(works: list[Work]) -> None:
    """A row that a join doubles is one document."""
    works[0].topics.add(Topic.objects.create(word="a"), Topic.objects.create(word="b"))

    assert list(documents(Work.objects.filter(topics__isnull=False).distinct())) == [str(works[0].pk)]


def test_read_of_an_annotated_queryset(works: list[Work]) -> None:
    """Annotations filter, and are not published."""
    works[0].topics.add(Topic.objects.create(word="a"))
    queryset = Work.objects.annotate(count=models.Count("topics")).filter(count=1)

    assert documents(queryset) == {str(works[0].pk): documents(Work.objects.all())[str(works[0].pk)]}


@pytest.mark.parametrize("combine", ["union", "intersection", "difference"])
def test_read_of_a_combination(works: list[Work], combine: str) -> None:
    """Parts that load other columns than the document has are completed."""
    queryset = getattr(Work.objects.only("year"), combine)(Work.objects.only("year").filter(title="Emma"))

    expected = {str(work.pk) for work in queryset}
    found = documents(queryset)

    assert set(found) == expected
    assert all(set(document) == {"title", "year", "writer_id"} for document in found.values())


def test_read_of_a_sliced_union(works: list[Work]) -> None:
    emma = Work.objects.filter(title="Emma")

    assert list(documents(emma.union(Work.objects.filter(title="Lady")).order_by("-year")[:1])) == [
        str(works[1].pk)
    ]


def test_read_of_inherited_rows() -> None:
    """A document of a multi-table child has the parent's fields."""
    play = Play.objects.create(title="Hamlet", year=1603)

    assert documents(Play.objects.all(), ModelShape("plays", Play)) == {
        str(play.pk): {"title": "Hamlet", "year": 1603, "writer_id": None, "acts": 5}
    }


def test_read_of_many_to_many_ids(works: list[Work]) -> None:
    """Sorted by the related key, empty where there are none."""
    topics = [Topic.objects.create(word=word) for word in "cab"]
    works[0].topics.add(topics[2], topics[0])
    shape = ModelShape("works", Work, fields=["title", "topics"])

    assert documents(Work.objects.all(), shape) == {
        str(works[0].pk): {"title": "Emma", "topics_ids": [str(topics[0].pk), str(topics[2].pk)]},
        str(works[1].pk): {"title": "Lady", "topics_ids": []},
    }


def test_read_of_serialized_objects(works: list[Work], django_assert_num_queries: Any) -> None:
    """``serialize`` gets objects with their relations loaded: one query, one more per prefetch."""
    shape = ModelShape(
        "works",
        Work,
        serialize=lambda work: {
            "_id": 1,
            "by": work.writer.name,
            "topics": [tag.word for tag in work.topics.all()],
        },
        select_related=["writer"],
        prefetch_related=["topics"],
    )
    one = spec(Work.objects.all(), shape)
    with django_assert_num_queries(6):  # BEGIN, snapshot, works with writers, topics, token, COMMIT
        rows = run(one).rows[one]

    assert parsed(rows[str(works[0].pk)]) == {"by": "Jane", "topics": []}


def test_read_of_a_serialized_union(works: list[Work]) -> None:
    shape = ModelShape("works", Work, serialize=lambda work: {"t": work.title}, prefetch_related=["topics"])
    queryset = Work.objects.filter(title="Emma").union(Work.objects.filter(title="Lady"))

    assert documents(queryset, shape) == {str(works[0].pk): {"t": "Emma"}, str(works[1].pk): {"t": "Lady"}}


# -- The snapshot


def other_session() -> Any:
    other = psycopg2.connect(**connection.get_connection_params())
    other.autocommit = True
    return other


def test_slow_query_leaves_out_those_behind_it(works: list[Work]) -> None:
    """Quick ones go together; one that has taken the time is the last."""
    sleep = Func(Value(0.3), function="pg_sleep", output_field=models.TextField())
    slow = spec(Work.objects.filter(title="Emma").alias(slept=sleep).filter(slept__isnull=False))
    first, second, last = (spec(Work.objects.filter(year=year)) for year in (1815, 1871, 1900))

    assert set(run(first, second, slow, last).rows) == {first, second, slow}
    assert set(run(slow, first).rows) == {slow}
    assert set(run(first, second, last).rows) == {first, second, last}


def test_snapshot_is_that_of_the_rows(works: list[Work]) -> None:
    """A commit after the snapshot is reported is neither shown by it nor read, the second query included."""
    other = other_session()
    written: list[int] = []

    def write(snapshot: Snapshot) -> None:
        with other.cursor() as cursor:
            cursor.execute("UPDATE app_work SET title = 'X' RETURNING pg_current_xact_id()::text::bigint")
            written.append(cursor.fetchone()[0])

    one, two = spec(Work.objects.all()), spec(Work.objects.filter(year__gt=0))
    result = run(one, two, on_snapshot=write)
    other.close()

    assert not result.snapshot.shows(written[0])
    assert {parsed(fields)["title"] for fields in result.rows[two].values()} == {"Emma", "Lady"}


def test_snapshot_shows_what_was_committed_before(works: list[Work]) -> None:
    with transaction.atomic():
        Work.objects.update(title="X")
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_current_xact_id()::text::bigint")
            (xid,) = cursor.fetchone()

    assert run(spec(Work.objects.all())).snapshot.shows(xid)


def test_token_arrives_on_the_channel() -> None:
    other = other_session()
    other.cursor().execute("LISTEN c")
    run(token="the token", channel="c")
    select.select([other], [], [], 5)
    other.poll()

    assert [(notify.channel, notify.payload) for notify in other.notifies] == [("c", "the token")]
    other.close()


def test_read_cannot_write(works: list[Work]) -> None:
    """A serialize() that writes is a failed query, not a write."""
    shape = ModelShape("works", Work, serialize=lambda work: work.delete())

    with pytest.raises(ReadFailed):
        run(spec(Work.objects.all(), shape))
    assert Work.objects.count() == 2


# -- When it fails


def failing_spec() -> QuerySpec:
    return spec(Work.objects.annotate(half=models.F("year") / 0).filter(half=1))


def test_failure_names_the_query(works: list[Work]) -> None:
    """The error carries the spec and the database's error, and the connection works again."""
    bad = failing_spec()
    with pytest.raises(ReadFailed, match="works failed: DataError: division by zero") as caught:
        run(spec(Work.objects.all()), bad)

    assert caught.value.spec is bad
    assert isinstance(caught.value.__cause__, Exception)
    assert Work.objects.count() == 2


def test_failure_of_a_live_set_names_a_query_that_uses_it(works: list[Work]) -> None:
    """Or the read would be tried again for ever, although the database is well."""
    names = {table_of(Writer): ["name"]}
    queryset = Work.objects.filter(writer__name="Jane")
    joined = specify(queryset, SHAPE, captured=CAPTURED, columns=names)
    (values,) = joined.sets
    broken = Writer.objects.filter(pk=Value(1) / Value(0)).all
    with pytest.raises(ReadFailed) as failure:
        run(spec(Work.objects.all()), joined, sets={values: broken})

    assert failure.value.spec == joined


def test_failure_leaves_no_token(works: list[Work]) -> None:
    other = other_session()
    other.cursor().execute("LISTEN c")
    with pytest.raises(ReadFailed):
        run(failing_spec(), channel="c")
    other.poll()

    assert other.notifies == []
    other.close()


def test_slow_query_is_stopped(works: list[Work]) -> None:
    """The time limit is per query, and gone with the read."""
    slow = spec(
        Work.objects.annotate(nap=models.Func(5, function="pg_sleep", output_field=models.TextField()))
    )
    with pytest.raises(ReadFailed, match="statement timeout"):
        read("default", [slow], "t", "c", 50)

    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("0",)


def test_cut_connection_is_replaced(works: list[Work]) -> None:
    """After a read on a connection that was cut the next one works."""
    one = spec(Work.objects.all())
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    other = other_session()
    other.cursor().execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    other.close()

    with pytest.raises(ReadFailed) as caught:
        run(one)
    assert caught.value.spec is None
    assert len(run(one).rows[one]) == 2


def test_read_inside_a_transaction_is_refused() -> None:
    with transaction.atomic(), pytest.raises(RuntimeError, match="durable"):
        run()


def test_session_settings_survive_a_read(works: list[Work]) -> None:
    """The connection is not left read only."""
    run(spec(Work.objects.all()))
    Work.objects.update(title="written")

    assert connections["default"].in_atomic_block is False
    assert Work.objects.filter(title="written").count() == 2


# -- Changed rows alone


@pytest.mark.parametrize(
    "queryset",
    [
        Work.objects.filter(title__icontains="m"),
        Work.objects.annotate(n=Count("topics")).filter(n=0),
        Work.objects.filter(writer__name__icontains="j").distinct(),
        Work.objects.filter(Exists(Topic.objects.filter(works=OuterRef("pk")))),
        Work.objects.annotate(later=F("year") + 1).filter(later__gt=1),
    ],
    ids=["lookup", "count", "distinct", "exists", "calculation"],
)
def test_changed_rows_of_a_query_are_those_of_the_whole_that_have_their_keys(
    queryset: models.QuerySet[Any], works: list[Work]
) -> None:
    works[0].topics.add(Topic.objects.create(word="sea"))
    one = spec(queryset)
    keys = {document_id(works[0].pk), document_id(10**6)}
    restricted = run(one, keys={one: keys}).rows[one]

    assert one.row_by_row
    assert restricted == {key: found for key, found in run(one).rows[one].items() if key in keys}


@pytest.mark.parametrize(
    "queryset",
    [
        Work.objects.order_by("year")[:3],
        Work.objects.filter(title="a").union(Work.objects.filter(title="b")),
        Work.objects.order_by("writer").distinct("writer"),
        Work.objects.filter(year__gt=Subquery(Work.objects.order_by("year").values("year")[:1])),
        Work.objects.filter(writer__works__year=1),
        Work.objects.annotate(rank=Window(Rank(), order_by="year")).filter(rank__lt=3),
    ],
    ids=["slice", "union", "distinct on", "subquery", "joined with itself", "window function"],
)
def test_query_whose_rows_depend_on_one_another_is_asked_as_a_whole(queryset: models.QuerySet[Any]) -> None:
    assert not spec(queryset).row_by_row


@pytest.mark.parametrize("model", [Badge, Finger, Print])
def test_query_is_asked_as_a_whole_where_the_text_of_a_key_is_not_the_key(model: type[models.Model]) -> None:
    one = specify(model.objects.all(), ModelShape("each", model), captured=frozenset([table_of(model)]))

    assert not one.row_by_row


def test_query_of_serialized_objects_is_asked_as_a_whole() -> None:
    """Nobody knows what ``serialize`` looks at."""
    shape = ModelShape("works", Work, serialize=lambda work: {"title": work.title})

    assert not spec(Work.objects.filter(title__icontains="m"), shape).row_by_row
