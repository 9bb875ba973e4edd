"""A row that came as the feed's text is what the ORM loads, and the same document: for every type of field."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg2
import pytest
from django.contrib.postgres.signals import get_hstore_oids, register_type_handlers
from django.db import connection, connections, models, transaction
from django.db.models.functions import Cast
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg2.extras import DateRange, DateTimeTZRange, NumericRange

from dddp.changes import Change, Key, Kind, Table
from dddp.errors import QueryFailed
from dddp.orm.documents import ModelShape, document_id
from dddp.orm.queries import specify
from dddp.orm.reads import read
from dddp.orm.rows import RowType, ValueUndecodable
from dddp.orm.tables import table_of
from tests.orm.models import Everything, Labelled, Review, Work, Writer

#: The settings with which the feed writes values as text.
FEED = (
    "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres';"
    "SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1;"
)

every_example = settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


# -- Values


def integers(bits: int, lowest: int | None = None) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)) if lowest is None else lowest, 2 ** (bits - 1) - 1)


def texts(size: int | None = None) -> st.SearchStrategy[str]:
    return st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=size)


def decimals(places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(-(10**12), 10**12, places=places, allow_nan=False)


def instants() -> st.SearchStrategy[datetime.datetime]:
    return st.datetimes(timezones=st.just(datetime.UTC))


def ranges(kind: Any, bounds: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    ends = st.tuples(st.none() | bounds, st.none() | bounds).map(
        lambda pair: pair if None in pair else tuple(sorted(pair))
    )
    return st.builds(
        lambda pair, marks: kind(*pair, marks), ends, st.sampled_from(["[)", "(]", "[]", "()"])
    ) | st.just(kind(empty=True))


ADDRESSES = st.ip_addresses().map(str)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts(5), inner, max_size=3),
    max_leaves=10,
)
MICROSECONDS = st.integers(-(10**17), 10**17)

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "big": integers(64),
    "small": integers(16),
    "integer": integers(32),
    "positive": integers(32, 0),
    "positive_big": integers(64, 0),
    "positive_small": integers(16, 0),
    "boolean": st.booleans(),
    "char": texts(100),
    "text": texts(),
    "slug": st.from_regex(r"\A[-\w]{1,40}\Z"),
    "email": st.emails().filter(lambda email: len(email) < 200),
    "url": texts(100),
    "uuid": st.uuids(),
    "decimal": decimals(10),
    "real": st.floats(),
    "date": st.dates(),
    "moment": instants(),
    "time": st.times(),
    "duration": MICROSECONDS.map(lambda number: datetime.timedelta(microseconds=number)),
    "binary": st.binary(),
    "json": JSON | st.just(models.Value(None, models.JSONField())),
    "address": ADDRESSES,
    "path": texts(100),
    "file": texts(100),
    "image_name": texts(100),
    "integers": st.lists(integers(32), max_size=4),
    "words": st.lists(st.none() | texts(50), max_size=4),
    "flags": st.lists(st.booleans(), max_size=4),
    "dates": st.lists(st.dates(), max_size=4),
    "moments": st.lists(instants(), max_size=4),
    "decimals": st.lists(decimals(4), max_size=4),
    "uuids": st.lists(st.uuids(), max_size=4),
    "addresses": st.lists(ADDRESSES, max_size=4),
    "blobs": st.lists(st.binary(), max_size=4),
    "nested": st.integers(0, 3).flatmap(
        lambda width: st.lists(st.lists(st.none() | integers(32), min_size=width, max_size=width), max_size=3)
    ),
    "integer_range": ranges(NumericRange, st.integers(-(2**30), 2**30)),
    "big_range": ranges(NumericRange, st.integers(-(2**62), 2**62)),
    "decimal_range": ranges(NumericRange, decimals(4)),
    "moment_range": ranges(DateTimeTZRange, instants()),
    "date_range": ranges(DateRange, st.dates(max_value=datetime.date(9999, 12, 30))),
    "search": st.lists(st.from_regex(r"\A[a-z]{1,8}\Z"), max_size=4).map(" ".join),
}


# -- The two ways of a row


def feed_change(obj: models.Model, cursor: Any) -> Change:
    """The change as the feed would bring it: each of the table's columns as text."""
    columns = [field.column for field in obj._meta.local_concrete_fields]
    quote = connection.ops.quote_name
    texts = ", ".join(f"{quote(column)}::text" for column in columns)
    pk = obj._meta.pk
    cursor.execute(
        f"{FEED} SELECT {texts} FROM {quote(obj._meta.db_table)} WHERE {quote(pk.column)} = %s", [obj.pk]
    )
    row = dict(zip(columns, cursor.fetchone(), strict=True))
    return Change(table_of(type(obj)), Key(row[pk.column]), Kind.ROW, row)


def change_of(obj: models.Model) -> Change:
    """As ``feed_change``, on Django's connection, whose settings stay as they were."""
    with transaction.atomic(), connection.cursor() as cursor:
        change = feed_change(obj, cursor)
        transaction.set_rollback(True)
    return change


def row_type(model: type[models.Model]) -> RowType:
    return RowType(model, [field.column for field in model._meta.local_concrete_fields])


def exact(row: dict[str, Any]) -> dict[str, str]:
    """Values with their types, so that 1 and 1.0, or two zones of one instant, differ."""
    return {name: repr(plain(value)) for name, value in row.items() if name != "_state"}


def plain(value: Any) -> Any:
    if isinstance(value, list):
        return [plain(item) for item in value]
    return bytes(value) if isinstance(value, memoryview) else value


def loaded(obj: models.Model) -> dict[str, str]:
    return exact(type(obj)._base_manager.get(pk=obj.pk).__dict__)


def decoded(obj: models.Model, rows: RowType | None = None) -> dict[str, str]:
    change = (rows or row_type(type(obj))).decode(change_of(obj))
    assert change.kind is Kind.ROW
    return exact(dict(change.row or {}))


# -- The promise


@pytest.mark.django_db
@pytest.mark.parametrize("name", VALUES)
def test_value_of_each_field_type(name: str) -> None:
    """What the feed brings is what the ORM loads, in value and type, whatever was decoded before."""
    values = st.none() | VALUES[name]
    obj = Everything.objects.create()
    rows = row_type(Everything)

    @every_example
    @given(values)
    def check(value: Any) -> None:
        setattr(obj, name, value)
        obj.save(update_fields=[name])

        assert decoded(obj, rows) == loaded(obj)

    check()


@pytest.mark.django_db(transaction=True)
def test_document_of_each_field_type() -> None:
    """A row from the feed and the same row read by the ORM give the same bytes."""
    writer = Writer.objects.create(name="Jane", email="jane@example.org")
    work = Work.objects.create(title="Emma", writer=writer)
    review = Review.objects.create(work=work)
    obj = Everything.objects.create(foreign=work, by_email=writer, single=review)
    shape = ModelShape("everything", Everything)
    spec = specify(Everything.objects.all(), shape, captured=frozenset({shape.table}))
    rows = row_type(Everything)
    other = psycopg2.connect(**connection.get_connection_params())

    @settings(every_example, max_examples=100)
    @given(st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()}))
    def check(values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(obj, name, value)
        obj.save()
        with other, other.cursor() as cursor:
            change = rows.decode(feed_change(obj, cursor))

        (document,) = read("default", [spec], "t", "c", 5000).rows[spec].values()
        assert shape.document(change.row or {}) == document

    check()
    other.close()


@every_example
@given(
    st.dictionaries(texts(5), st.none() | texts(5), max_size=3), st.lists(st.dictionaries(texts(3), texts(3)))
)
def test_hstore(labelled: None, labels: dict[str, str | None], many: list[dict[str, str]]) -> None:
    """hstore is an extension's type, known to a connection only where the extension is."""
    obj = Labelled.objects.create(labels=labels, many_labels=many)

    assert decoded(obj) == loaded(obj)


@pytest.fixture
def labelled(db: None) -> None:
    """The table of Labelled, and hstore as its migration operation sets it up; gone with the test's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_available_extensions WHERE name = 'hstore'")
        if cursor.fetchone() == (0,):
            pytest.skip("this PostgreSQL has no hstore; point DATABASE_URL at one that has")
        cursor.execute("CREATE EXTENSION IF NOT EXISTS hstore")
    get_hstore_oids.cache_clear()
    register_type_handlers(connection)
    with connection.schema_editor() as editor:
        editor.create_model(Labelled)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value",
    [math.nan, math.inf, -math.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2],
)
def test_float_at_its_edges(value: float) -> None:
    obj = Everything.objects.create(real=Cast(models.Value(repr(value)), models.FloatField()))

    assert decoded(obj)["real"] == loaded(obj)["real"] == repr(value)


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["1.2.3.4", "::1", "2001:db8::32", "::ffff:1.2.3.4", "10.0.0.32"])
def test_address_without_netmask(value: str) -> None:
    """``inet::text`` adds a netmask, a cursor of the ORM does not get one."""
    obj = Everything.objects.create(address=value)

    assert decoded(obj)["address"] == loaded(obj)["address"]


@pytest.mark.django_db
def test_json_null_and_sql_null() -> None:
    null = Everything.objects.create(json=models.Value(None, models.JSONField()))
    nothing = Everything.objects.create(json=None)

    assert change_of(null).row["json"] == "null"
    assert change_of(nothing).row["json"] is None
    assert decoded(null)["json"] == loaded(null)["json"] == "None"
    assert decoded(nothing)["json"] == loaded(nothing)["json"] == "None"


@pytest.mark.django_db
def test_generated_field() -> None:
    obj = Everything.objects.create(small=21, date=datetime.date(2020, 2, 29))

    assert decoded(obj)["doubled"] == loaded(obj)["doubled"] == "42"
    assert decoded(obj)["day"] == loaded(obj)["day"] == "datetime.date(2020, 2, 29)"


@pytest.mark.django_db
def test_related_keys() -> None:
    """Foreign keys are decoded as what they refer to: a number, a text, a UUID."""
    writer = Writer.objects.create(name="Jane", email="jane@example.org")
    work = Work.objects.create(title="Emma", writer=writer)
    obj = Everything.objects.create(foreign=work, by_email=writer, single=Review.objects.create(work=work))

    assert decoded(obj) == loaded(obj)
    assert isinstance(row_type(Everything).decode(change_of(obj)).row["single_id"], UUID)


# -- What is not a plain row


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("model", "text", "key"),
    [
        (Work, "-17", "-17"),
        (Review, "8F14E45F-CEEA-467F-9C2E-1B3A5C7D9E00", "8f14e45f-ceea-467f-9c2e-1b3a5c7d9e00"),
    ],
)
def test_key_as_document_id(model: type[models.Model], text: str, key: str) -> None:
    assert row_type(model).document_id(text) == key


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (-5, "-5"),
        (UUID(int=255), "00000000-0000-0000-0000-0000000000ff"),
        ("Ünï", "Ünï"),
        (Decimal("1.50"), "1.50"),
        (datetime.date(2020, 2, 29), "2020-02-29"),
        (memoryview(b"\0\xff"), "00ff"),
    ],
)
def test_document_id(value: Any, key: str) -> None:
    assert document_id(value) == key


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [Kind.GONE, Kind.KEY_ONLY])
def test_change_without_a_row(kind: Kind) -> None:
    """Its key is a document id all the same."""
    change = Change(Table("app.review"), Key("8F14E45F-CEEA-467F-9C2E-1B3A5C7D9E00"), kind)

    assert row_type(Review).decode(change) == Change(
        Table("app.review"), Key("8f14e45f-ceea-467f-9c2e-1b3a5c7d9e00"), kind
    )


def work_change(**row: str | None) -> Change:
    return Change(Table("app.work"), Key("1"), Kind.ROW, row)


EMMA = {"id": "1", "title": "Emma", "year": "1815", "writer_id": None}


def run(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.mark.django_db
def test_row_without_a_column() -> None:
    """Captured before a column was: it has to be read again."""
    assert row_type(Work).decode(work_change(id="1", title="Emma")).kind is Kind.KEY_ONLY


@pytest.mark.django_db
def test_row_with_an_unknown_column() -> None:
    rows = RowType(Work, ["id", "title"])

    assert rows.decode(work_change(id="1", title="Emma", colour="red")).row == {"id": 1, "title": "Emma"}


@pytest.mark.django_db
def test_value_that_is_none_of_its_type() -> None:
    """The error names the column and carries the key, by which the row can be read again."""
    with pytest.raises(ValueUndecodable, match=r"app\.work\.year \(key 1\)") as caught:
        row_type(Work).decode(work_change(id="1", title="Emma", year="soon", writer_id=None))

    assert caught.value.key == "1"


@pytest.mark.django_db
def test_key_that_is_none_of_its_type() -> None:
    with pytest.raises(ValueUndecodable) as caught:
        row_type(Work).decode(Change(Table("app.work"), Key("soon"), Kind.GONE))

    assert caught.value.key is None


@pytest.mark.django_db
@pytest.mark.parametrize("text", ["0044-03-15 00:00:00+00 BC", "294276-12-31 00:00:00+00"])
def test_date_that_python_has_not(text: str) -> None:
    """The ORM cannot load it either."""
    rows = RowType(Everything, ["id", "moment"])

    with pytest.raises(ValueUndecodable):
        rows.decode(Change(Table("app.everything"), Key("1"), Kind.ROW, {"id": "1", "moment": text}))


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("date", "infinity"),
        ("moment", "-infinity"),
        ("time", "24:00:00"),
        ("duration", "1 year 2 mons"),
        ("duration", "-infinity"),
        ("integers", "[2:3]={1,2}"),
        ("dates", "[0:0]={2020-02-29}"),
        ("words", "[0:0]={a}"),
    ],
)
def test_value_that_is_loaded_as_another(column: str, text: str) -> None:
    """PostgreSQL tells them apart, Python does not: nothing may be concluded from such a row."""
    rows = RowType(Everything, ["id", column])
    change = Change(Table("app.everything"), Key("1"), Kind.ROW, {"id": "1", column: text})

    assert rows.decode(change) == Change(Table("app.everything"), Key("1"), Kind.KEY_ONLY)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("column", "text", "value"),
    [
        ("date", "9999-12-31", datetime.date.max),
        ("time", "00:24:00", datetime.time(0, 24)),
        ("duration", "24:00:00", datetime.timedelta(1)),
        ("duration", "11 mons", datetime.timedelta(330)),
        ("words", '{[2:3],24:00,"1 year",infinity}', ["[2:3]", "24:00", "1 year", "infinity"]),
        ("text", "infinity", "infinity"),
    ],
)
def test_value_that_only_looks_odd(column: str, text: str, value: Any) -> None:
    rows = RowType(Everything, ["id", column])
    change = Change(Table("app.everything"), Key("1"), Kind.ROW, {"id": "1", column: text})

    assert rows.decode(change).row == {"id": 1, column: value}


@pytest.mark.django_db
def test_texts_that_came_before() -> None:
    """They are decoded and encoded once; only what nobody can change, and what is not the field's own making."""
    rows, shape = row_type(Everything), ModelShape("everything", Everything)
    obj = Everything.objects.create(decimal="1.50", json={"a": 1}, integers=[1])
    first, second = (rows.decode(change_of(obj)).row or {} for _ in range(2))
    documents = shape.document(first), shape.document(second)

    assert documents[0] == documents[1]
    for name in ("decimal", "json", "integers"):
        kept = name == "decimal"
        assert (first[name] is second[name]) is kept
        assert ((documents[0] or {})[name] is (documents[1] or {})[name]) is kept


@pytest.mark.django_db
def test_decoding_after_the_connection_is_closed(django_assert_num_queries: Any) -> None:
    """Decoding does no I/O: the cursor that lends its settings may be dead."""
    rows = row_type(Everything)
    obj = Everything.objects.create(moments=[datetime.datetime.now(datetime.UTC)], integer_range=(1, 5))
    change = change_of(obj)
    expected = loaded(obj)
    rows._cursor.connection.cursor().close()
    rows._cursor.close()

    with django_assert_num_queries(0):
        assert exact(dict(rows.decode(change).row or {})) == expected


@pytest.mark.django_db
def test_table_that_is_not_there() -> None:
    with pytest.raises(QueryFailed, match=r'finds no table "app_labelled"; run: manage.py migrate'):
        row_type(Labelled)


@pytest.mark.django_db
def test_column_that_is_not_there() -> None:
    """Rows count by their keys, for the sake of queries that do without it; also should it come back."""
    run('ALTER TABLE app_work DROP COLUMN "year"')
    rows = row_type(Work)

    assert rows.lacks.startswith("the database has no column year of app.work; run: manage.py migrate")
    for row in ({"id": "1", "title": "Emma", "writer_id": None}, EMMA):
        assert rows.decode(work_change(**row)) == Change(Table("app.work"), Key("1"), Kind.KEY_ONLY)


@pytest.mark.django_db
def test_column_that_may_not_be_read() -> None:
    run("CREATE ROLE web", "GRANT SELECT (id, title, writer_id) ON app_work TO web", "SET LOCAL ROLE web")
    rows = row_type(Work)

    assert rows.lacks == (
        "the role web may not read year of app.work; run as its owner: "
        'GRANT SELECT ("year") ON "app_work" TO web'
    )
    assert rows.decode(work_change(**EMMA)).kind is Kind.KEY_ONLY


@pytest.mark.django_db
def test_table_that_may_not_be_read() -> None:
    run("CREATE ROLE web", "SET LOCAL ROLE web")

    with pytest.raises(QueryFailed, match=r'owner: GRANT SELECT ON "app_work" TO web$'):
        row_type(Work)


# -- Time zones


MOMENTS = {
    "moment": datetime.datetime(2020, 7, 1, 12, tzinfo=datetime.UTC),
    "moments": [datetime.datetime(2020, 1, 1, 12, tzinfo=datetime.UTC)],
    "moment_range": DateTimeTZRange(
        datetime.datetime(2020, 3, 29, 0, tzinfo=datetime.UTC),
        datetime.datetime(2020, 10, 25, 1, tzinfo=datetime.UTC),
    ),
}


#: Without the hour that is repeated in Paris: neither psycopg2 nor a naive time tells its two runs apart.
UNAMBIGUOUS = {name: value for name, value in MOMENTS.items() if name != "moment_range"}


@pytest.fixture
def other_zone(db: None) -> Any:
    """Django's connection in another zone for the test."""

    def enter() -> None:
        for cached in ("timezone", "timezone_name"):
            connections["default"].__dict__.pop(cached, None)
        connection.ensure_timezone()

    yield enter
    connection.settings_dict["TIME_ZONE"] = None
    enter()


@pytest.mark.parametrize("use_tz", [True, False])
def test_moments_in_another_time_zone(other_zone: Any, use_tz: bool) -> None:
    """With DATABASES' TIME_ZONE the ORM loads times of that zone, without USE_TZ naive ones; so does the feed."""
    obj = Everything.objects.create(**MOMENTS)
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Europe/Paris"):
        connection.settings_dict["TIME_ZONE"] = "Europe/Paris" if use_tz else None
        other_zone()

        assert decoded(obj) == loaded(obj)
        assert ("tzinfo" in loaded(obj)["moment"]) is use_tz


@pytest.mark.parametrize("use_tz", [True, False])
def test_documents_do_not_depend_on_the_time_zone(other_zone: Any, use_tz: bool) -> None:
    """A moment is the same EJSON date, whatever zone it is loaded in."""
    obj = Everything.objects.create(**UNAMBIGUOUS)
    shape = ModelShape("everything", Everything, fields=list(UNAMBIGUOUS))
    in_utc = shape.document(row_type(Everything).decode(change_of(obj)).row)
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Europe/Paris"):
        connection.settings_dict["TIME_ZONE"] = "Europe/Paris" if use_tz else None
        other_zone()

        assert shape.document(row_type(Everything).decode(change_of(obj)).row) == in_utc
