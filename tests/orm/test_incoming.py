"""What clients send for fields: the way back of documents."""

from __future__ import annotations

import datetime
from decimal import Decimal
from uuid import UUID

import pytest
from django.core.exceptions import ValidationError
from django.db import models
from psycopg2.extras import DateRange, NumericRange

from dddp.orm.incoming import field_value
from tests.orm.models import Everything, Labelled, Review, Work

MOMENT = datetime.datetime(2026, 1, 2, 23, 4, 5, tzinfo=datetime.UTC)
ID = "c0ffee00-0000-0000-0000-000000000001"


def field(name):
    model = Labelled if "label" in name else Everything
    return model._meta.get_field(name)


@pytest.mark.parametrize(
    ("name", "sent", "expected"),
    [
        ("integer", 5, 5),
        ("integer", 5.0, 5),
        ("integer", "5", 5),
        ("real", 5, 5.0),
        ("boolean", True, True),
        ("char", "Emma", "Emma"),
        ("decimal", 12.99, Decimal("12.99")),
        ("decimal", 3, Decimal("3")),
        ("decimal", "0.1", Decimal("0.1")),
        ("uuid", ID, UUID(ID)),
        ("moment", MOMENT, MOMENT),
        ("moment", "2026-01-02T23:04:05Z", MOMENT),
        ("date", "2026-01-02", datetime.date(2026, 1, 2)),
        ("date", MOMENT, datetime.date(2026, 1, 2)),
        ("time", "03:04:05.678", datetime.time(3, 4, 5, 678000)),
        ("duration", "P1DT02H00M04.000005S", datetime.timedelta(days=1, hours=2, seconds=4, microseconds=5)),
        ("binary", b"\0", b"\0"),
        ("json", {"a": [1, None]}, {"a": [1, None]}),
        ("json", {"\uff04a\uff0eb": [{"c\uff0e": 1}]}, {"$a.b": [{"c.": 1}]}),
        ("foreign", "7", 7),
        ("by_email", "ann@example.org", "ann@example.org"),
        ("single", ID, UUID(ID)),
        ("integers", [1, 2.0], [1, 2]),
        ("decimals", [0.1, "2"], [Decimal("0.1"), Decimal("2")]),
        ("words", ["a", None], ["a", None]),
        ("nested", [[1], [None]], [[1], [None]]),
        ("labels", {"a\uff0eb": "c"}, {"a.b": "c"}),
        ("integer_range", {"lower": 1, "upper": 5, "bounds": "[)"}, NumericRange(1, 5)),
        ("integer_range", {"lower": None, "upper": None, "bounds": "empty"}, NumericRange(empty=True)),
        ("date_range", {"lower": "2026-01-02", "upper": None}, DateRange(datetime.date(2026, 1, 2), None)),
    ],
)
def test_value(name, sent, expected):
    value = field_value(field(name), sent)

    assert (value, type(value)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("integer", True),
        ("integer", 2.7),
        ("integer", float("nan")),
        ("integer", "five"),
        ("integer", {"$gt": 1}),
        ("real", False),
        ("real", "heavy"),
        ("boolean", 1),
        ("boolean", "true"),
        ("char", 5),
        ("char", ["a"]),
        ("char", "a\0"),
        ("char", "\ud800"),
        ("json", {"a": ["\0"]}),
        ("json", {"\ud800": 1}),
        ("decimal", True),
        ("decimal", "dear"),
        ("uuid", "x"),
        ("moment", 5),
        ("moment", "yesterday"),
        ("date", 5),
        ("time", MOMENT),
        ("duration", "P9999999999999D"),
        ("binary", "AAE="),
        ("foreign", "emma"),
        ("integers", 5),
        ("integers", ["x"]),
        ("labels", "a=>b"),
        ("search", False),
        ("integer_range", [1, 2]),
        ("integer_range", {"lower": "x"}),
        ("integer_range", {"lower": 5, "upper": 1, "bounds": "??"}),
        ("integer_range", {"from": 1}),
    ],
)
def test_value_that_does_not_fit(name, sent):
    with pytest.raises(ValidationError):
        field_value(field(name), sent)


def test_null():
    assert field_value(field("char"), None) is None


def test_null_for_a_text_that_cannot_be_null():
    assert field_value(Work._meta.get_field("title"), None) == ""


@pytest.mark.parametrize("required", [Work._meta.get_field("year"), Review._meta.get_field("work")])
def test_null_for_what_cannot_be_null(required):
    with pytest.raises(ValidationError, match="cannot be null"):
        field_value(required, None)


@pytest.mark.parametrize("sent", [MOMENT, "2026-01-03T08:04:05"])
def test_date_without_time_zones(settings, sent):
    """In the time zone in which Django stores it."""
    settings.USE_TZ = False
    settings.TIME_ZONE = "Asia/Tokyo"

    assert field_value(field("moment"), sent) == datetime.datetime(2026, 1, 3, 8, 4, 5)


def test_text_without_a_time_zone_is_in_djangos(settings):
    settings.TIME_ZONE = "Asia/Tokyo"

    assert field_value(field("moment"), "2026-01-03T08:04:05") == MOMENT


def test_field_of_another_package():
    class Doubled(models.Field):
        def to_python(self, value):
            return 2 * value

    assert field_value(Doubled(), 2) == 4
