"""The promise of documents, end to end: captured, notified, received and decoded, a row is what the ORM reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st

from dddp.apps import install_capture
from dddp.changes import Change, Key, Kind, Table
from dddp.feed import capture
from dddp.feed.capture import CapturedTable
from dddp.orm.documents import ModelShape
from dddp.orm.queries import specify
from dddp.orm.reads import read
from dddp.orm.rows import RowType
from tests.feed.recording import RecordingFeed
from tests.orm.models import Everything, Review, Work, Writer
from tests.orm.test_rows import VALUES, every_example, exact, loaded

pytestmark = pytest.mark.django_db(transaction=True)

SHAPE = ModelShape("everything", Everything)
CAPTURED = [
    CapturedTable(SHAPE.table, '"app_everything"', "id", SHAPE.columns),
    CapturedTable(Table("app.review"), '"app review"', "id", ("number of stars",)),
]

#: Each changes how PostgreSQL writes some value as text.
HOSTILE = (
    "SET TimeZone = 'Asia/Kathmandu'; SET DateStyle = 'German, DMY'; SET IntervalStyle = 'iso_8601';"
    "SET bytea_output = 'escape'; SET extra_float_digits = -15; SET search_path = pg_temp"
)


@pytest.fixture
def pgconn(transactional_db: None) -> Iterator[Any]:
    pgconn = connect()
    yield pgconn
    pgconn.close()


@pytest.fixture
def feed(pgconn: Any) -> Iterator[RecordingFeed]:
    """What triggers on the table of every type report; other tests find their own capture again."""
    capture.install(connection, CAPTURED, triggers=True)
    yield RecordingFeed(pgconn, [table.table for table in CAPTURED])
    install_capture("default")


def connect() -> Any:
    pgconn = psycopg2.connect(**connection.get_connection_params())
    pgconn.autocommit = True
    return pgconn


def last_change(feed: RecordingFeed) -> Change:
    return feed.transactions()[-1].changes[-1]


def test_captured_row_of_each_field_type(feed: RecordingFeed) -> None:
    """Whoever wrote last, with whatever settings: values, types and bytes are those that the ORM reads."""
    work = Work.objects.create(
        title="Emma", writer=Writer.objects.create(name="Jane", email="jane@example.org")
    )
    obj = Everything.objects.create(
        foreign=work, by_email=work.writer, single=Review.objects.create(work=work)
    )
    rows = RowType(Everything, SHAPE.columns)
    spec = specify(Everything.objects.all(), SHAPE, captured=frozenset({SHAPE.table}))
    hostile = connect()
    hostile.cursor().execute(HOSTILE)

    @settings(every_example, max_examples=60)
    @given(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}))
    def check(values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(obj, name, value)
        obj.save()
        hostile.cursor().execute("UPDATE public.app_everything SET small = small")

        change = rows.decode(last_change(feed))
        (document,) = read("default", [spec], "t", "c", 5000).rows[spec].values()
        if change.kind is not Kind.KEY_ONLY:  # too large for an envelope
            assert exact(dict(change.row or {})) == loaded(obj)
            assert SHAPE.document(change.row or {}) == document
        assert change.key == str(obj.pk)

    check()
    hostile.close()


def test_captured_key_of_a_deleted_row(feed: RecordingFeed) -> None:
    """The key of a row that is gone is the id of its document."""
    review = Review.objects.create(work=Work.objects.create(title="Emma"))
    key = Key(str(review.pk))
    review.delete()

    assert RowType(Review, CAPTURED[1].columns).decode(last_change(feed)) == Change(
        Table("app.review"), key, Kind.GONE
    )


def test_captured_key_is_that_of_a_read(feed: RecordingFeed) -> None:
    review = Review.objects.create(work=Work.objects.create(title="Emma"))
    spec = specify(
        Review.objects.all(), ModelShape("reviews", Review), captured=frozenset({Table("app.review")})
    )

    decoded = RowType(Review, CAPTURED[1].columns).decode(last_change(feed))

    assert set(read("default", [spec], "t", "c", 5000).rows[spec]) == {decoded.key} == {Key(str(review.pk))}
