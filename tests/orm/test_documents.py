"""Shapes: which fields a document has, and what each type of value becomes."""

from __future__ import annotations

import datetime
import enum
import json
import logging
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import models
from django.test import override_settings
from psycopg2.extras import DateRange, NumericRange

from dddp.errors import ImproperlyDeclared
from dddp.orm.documents import ModelShape, ejson_value, original_key, published_key
from dddp.protocol.ejson import dumps
from tests.orm.models import Everything, Play, Review, Seat, SortedWork, Work, Writer

WORK = {"id": 1, "title": "Emma", "year": 1815, "writer_id": 7}


def parsed(fields: Any) -> dict[str, Any]:
    return json.loads(b"{" + b",".join(fields.values()) + b"}")


# -- Which fields


def test_default_fields() -> None:
    """Every concrete field but the key, foreign keys by attname, no many-to-many."""
    assert list(ModelShape("works", Work).concrete) == ["title", "year", "writer_id"]
    assert ModelShape("works", Work).many == {}


def test_default_fields_hide_nothing_by_name() -> None:
    """Whoever publishes users says which fields."""
    assert "password" in ModelShape("users", User).field_names


@pytest.mark.parametrize("name", ["writer", "writer_id"])
def test_foreign_key_by_either_name(name: str) -> None:
    assert ModelShape("works", Work, fields=[name]).field_names == {"writer_id"}


def test_key_when_named() -> None:
    shape = ModelShape("works", Work, fields=["id", "title"])

    assert parsed(shape.document(WORK)) == {"id": 1, "title": "Emma"}


def test_exclude() -> None:
    assert ModelShape("works", Work, exclude=["year", "writer"]).field_names == {"title"}


def test_no_fields() -> None:
    assert ModelShape("works", Work, fields=[]).document(WORK) == {}


@pytest.mark.parametrize("option", ["fields", "exclude"])
def test_unknown_field(option: str) -> None:
    """The message names the collection, the field and the choices."""
    with pytest.raises(
        ImproperlyDeclared, match=r"works: .*'colour', which app.Work.*id, title, topics, writer"
    ):
        ModelShape("works", Work, **{option: ["colour"]})


def test_composite_key() -> None:
    with pytest.raises(ImproperlyDeclared, match="composite"):
        ModelShape("seats", Seat)


def test_model_as_a_string() -> None:
    with pytest.raises(ImproperlyDeclared, match="not a model class"):
        ModelShape("works", "app.Work")  # type: ignore[arg-type]


# -- What they are made of


def test_document() -> None:
    assert ModelShape("works", Work).document(WORK) == {
        "title": b'"title":"Emma"',
        "year": b'"year":1815',
        "writer_id": b'"writer_id":"7"',
    }


def test_document_of_an_inherited_row() -> None:
    """The row of a multi-table child is half a document."""
    assert ModelShape("plays", Play).document({"work_ptr_id": 1, "acts": 5}) is None


def test_document_of_a_proxy() -> None:
    shape = ModelShape("works", SortedWork)

    assert shape.table == "app.work"
    assert shape.document(WORK) is not None


def test_document_with_many_to_many() -> None:
    shape = ModelShape("works", Work, fields=["title", "topics"])

    assert shape.document(WORK) is None
    assert shape.field_names == {"title", "topics_ids"}
    assert shape.reads == {"app.work_topics"}


def test_document_of_serialize() -> None:
    assert ModelShape("works", Work, serialize=lambda work: {}).document(WORK) is None


def test_columns() -> None:
    """The key first, names of the database."""
    assert ModelShape("reviews", Review, fields=["stars"]).columns == ("id", "number of stars")


@pytest.mark.parametrize(
    "shape",
    [
        ModelShape("works", Work, fields=["title", "topics"]),
        ModelShape("works", Work, serialize=dict),
    ],
    ids=["many-to-many", "serialize"],
)
def test_columns_of_what_takes_a_read(shape: ModelShape) -> None:
    """Nothing that is not needed travels through the feed."""
    assert shape.columns == ("id",)


def test_tables_of_related_objects() -> None:
    """What serialize() is declared to walk is a dependency."""
    shape = ModelShape(
        "writers",
        Writer,
        serialize=dict,
        select_related=["country"],
        prefetch_related=["works__topics", "works__play"],
    )

    assert shape.reads == {"app.country", "app.work", "app.work_topics", "app.topic", "app.play"}


@pytest.mark.django_db
def test_tables_of_a_prefetch_queryset() -> None:
    prefetch = models.Prefetch("works", Work.objects.filter(review__stars=5), to_attr="good")

    assert ModelShape("writers", Writer, serialize=dict, prefetch_related=[prefetch]).reads == {
        "app.work",
        "app.review",
    }


def test_tables_of_an_unknown_relation() -> None:
    with pytest.raises(ImproperlyDeclared, match=r"'work' is not a relation of app\.Writer"):
        _ = ModelShape("writers", Writer, serialize=dict, prefetch_related=["work"]).reads


# -- Values


class Colour(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**53 + 1, 2**53 + 1),
        (Decimal("1.50"), "1.50"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (datetime.date(2020, 2, 29), "2020-02-29"),
        (datetime.time(1, 2, 3, 456789), "01:02:03.456"),
        (datetime.timedelta(days=-1, microseconds=5), "-P0DT23H59M59.999995S"),
        (datetime.datetime(1970, 1, 1, 0, 0, 1, 5000, tzinfo=datetime.UTC), {"$date": 1005}),
        (memoryview(b"\0\1"), {"$binary": "AAE="}),
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ({"k": "v", "n": None}, {"k": "v", "n": None}),
        ([datetime.date(2020, 1, 1), None], ["2020-01-01", None]),
        ((b"\0",), [{"$binary": "AA=="}]),
        (NumericRange(1, 5), {"lower": 1, "upper": 5, "bounds": "[)"}),
        (NumericRange(None, Decimal("2.5"), "(]"), {"lower": None, "upper": "2.5", "bounds": "(]"}),
        (NumericRange(empty=True), {"lower": None, "upper": None, "bounds": "empty"}),
        (DateRange(datetime.date(2020, 1, 1)), {"lower": "2020-01-01", "upper": None, "bounds": "[)"}),
        (float("nan"), {"$InfNaN": 0}),
        (Colour.RED, "Colour.RED"),
    ],
    ids=str,
)
def test_value(value: Any, expected: Any) -> None:
    assert json.loads(dumps(ejson_value(value))) == expected


@override_settings(TIME_ZONE="Europe/Paris", USE_TZ=False)
def test_naive_moment() -> None:
    """It is one of the default time zone, in which Django stores it."""
    shape = ModelShape("everything", Everything, fields=["moment"])

    document = shape.document({"moment": datetime.datetime(2020, 7, 1, 14)})

    assert parsed(document) == {"moment": {"$date": 1593604800000}}


def test_value_that_ejson_cannot_hold(caplog: Any) -> None:
    """It is null, and one log line says so for each field, so that one odd row does not stop a collection."""
    deep: Any = 1
    for _ in range(200):
        deep = [deep]
    shape = ModelShape("everything", Everything, fields=["json", "integer"])
    with caplog.at_level(logging.WARNING):
        documents = [parsed(shape.document({"json": deep, "integer": 1})) for _ in range(2)]

    assert documents == [{"json": None, "integer": 1}] * 2
    assert [record.getMessage()[:53] for record in caplog.records] == [
        "Collection everything: a value of json is published as"[:53]
    ]


def test_members_of_serialize() -> None:
    """The id is the document's already; other values are encoded as those of fields are."""
    shape = ModelShape("works", Work, serialize=dict)

    assert shape.members({"_id": 5, "range": NumericRange(1, 2)}) == {
        "range": b'"range":{"lower":1,"upper":2,"bounds":"[)"}'
    }


# -- Computed fields


def label(title: str, year: int | None) -> str:
    return f"{title} ({year:d})"


COMPUTED = ModelShape("works", Work, fields=["title"], computed={"label": (["title", "year"], label)})


def test_computed_field() -> None:
    assert parsed(COMPUTED.document(WORK)) == {"title": "Emma", "label": "Emma (1815)"}
    assert COMPUTED.field_names == {"title", "label"}


def test_columns_of_a_computed_field() -> None:
    assert COMPUTED.columns == ("id", "title", "year")


def test_computed_field_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    """It is null; this is said once."""
    for _ in range(2):
        assert parsed(COMPUTED.document(WORK | {"year": None})) == {"title": "Emma", "label": None}
    assert caplog.text.count("label is published as null") == 1


@pytest.mark.parametrize("source", ["colour", "topics"])
def test_computed_field_of_no_column(source: str) -> None:
    with pytest.raises(
        ImproperlyDeclared, match=f"'label' is made from '{source}'.*Choices: id, title, writer"
    ):
        ModelShape("works", Work, computed={"label": ([source], label)})


@pytest.mark.django_db
def test_computed_field_of_a_read_row() -> None:
    """It has what it is made of, whatever the queryset loads."""
    query = Work.objects.only("writer").query
    COMPUTED.load(query)

    assert str(query).count("year") == 1


# -- Keys


@pytest.mark.parametrize(
    ("key", "published"),
    [
        ("title", "title"),
        ("", ""),
        ("a.b.", "a\uff0eb\uff0e"),
        ("$set", "\uff04set"),
        ("$.", "\uff04\uff0e"),
        ("price in $", "price in $"),
    ],
)
def test_key_that_minimongo_refuses(key: str, published: str) -> None:
    assert published_key(key) == published
    assert original_key(published) == key


def test_key_with_a_nul() -> None:
    """It cannot be stored, so it has no way back."""
    assert published_key("a\0") == "a\u2400" == original_key("a\u2400")


def test_keys_at_any_depth() -> None:
    value = {"a.b": [{"$c": {"d.": 1}}]}

    assert ejson_value(value) == {"a\uff0eb": [{"\uff04c": {"d\uff0e": 1}}]}


def test_keys_of_a_json_field() -> None:
    shape = ModelShape("all", Everything, fields=["json"])

    assert parsed(shape.document({"json": {"$date": 1, "x.y": 2}})) == {
        "json": {"\uff04date": 1, "x\uff0ey": 2}
    }


def test_keys_of_serialize() -> None:
    shape = ModelShape("works", Work, serialize=dict)

    assert parsed(shape.members({"_id": 1, "a.b": {"$c": 1}})) == {"a\uff0eb": {"\uff04c": 1}}
