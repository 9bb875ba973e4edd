"""What compiles, what it becomes, and the reason in words of what does not. The answers are the matcher's to prove."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.postgres.fields import ArrayField
from django.db import connection, connections, models
from django.db.models import Count, Exists, F, Func, OuterRef, Q, Value, Window
from django.db.models.functions import Lower, RowNumber, Upper
from django.test import override_settings
from django.test.utils import register_lookup
from django.utils import timezone

from dddp.livequery.predicate import (
    Anchor,
    Column,
    Compare,
    CompareColumns,
    Elements,
    Expression,
    In,
    InSet,
    IsNull,
    MatchesText,
    Predicate,
    SetSpec,
    all_of,
    any_of,
    nan_last,
    negate,
)
from dddp.orm import columns
from dddp.orm.compiler import NotCompilable, compile_predicate, everything, nothing
from dddp.orm.documents import ModelShape
from dddp.orm.tables import compiled_sql, table_of
from tests.orm.models import Everything, Play, Review, SortedWork, Topic, Work, Writer

pytestmark = pytest.mark.django_db

WORKS = ModelShape("works", Work)
EVERYTHING = ModelShape("everything", Everything)
THE_DAY = datetime.date(2020, 2, 29)


def compiled(queryset: Any, shape: ModelShape | None = None, **options: Any) -> Predicate | NotCompilable:
    shape = shape or (WORKS if issubclass(queryset.model, Work) else EVERYTHING)
    _, _, query = compiled_sql(queryset, "default")
    return compile_predicate(query, shape, "default", **options)


def expression(queryset: Any, **options: Any) -> Expression:
    predicate = compiled(queryset, **options)
    assert isinstance(predicate, Predicate), predicate
    return predicate.expression


def reason(queryset: Any, **options: Any) -> str:
    refused = compiled(queryset, **options)
    assert isinstance(refused, NotCompilable), refused
    return refused.reason


def where(*conditions: Q, **lookups: Any) -> Expression:
    return expression(Everything.objects.filter(*conditions, **lookups))


def why_not(*conditions: Any, **lookups: Any) -> str:
    return reason(Everything.objects.filter(*conditions, **lookups))


# -- Trees


THROUGH = Work.topics.through
OF_TOPIC = SetSpec(table_of(THROUGH), Compare(Column("topic_id"), "=", 1), Column("work_id"))
HAS_TOPIC = InSet(Column("id"), OF_TOPIC)
YEAR, TITLE, WRITER = Column("year"), Column("title"), Column("writer_id")


@pytest.mark.parametrize(
    ("queryset", "expected"),
    [
        (Work.objects.filter(year=1), Compare(YEAR, "=", 1)),
        (Work.objects.filter(year=1, title="a"), all_of([Compare(TITLE, "=", "a"), Compare(YEAR, "=", 1)])),
        (Work.objects.filter(year=1).filter(year=2), all_of([Compare(YEAR, "=", 1), Compare(YEAR, "=", 2)])),
        (Work.objects.filter(Q(year=1) | Q(year=2)), any_of([Compare(YEAR, "=", 1), Compare(YEAR, "=", 2)])),
        (Work.objects.exclude(year__lt=1), Compare(YEAR, ">=", 1)),
        (
            Work.objects.filter(year=1).exclude(title="a"),
            all_of([Compare(YEAR, "=", 1), Compare(TITLE, "<>", "a")]),
        ),
        (Work.objects.exclude(writer=1), any_of([Compare(WRITER, "<>", 1), IsNull(WRITER)])),
        (Work.objects.filter(~(Q(year=1) & ~Q(title="a"))), any_of([Compare(YEAR, "<>", 1), Compare(TITLE, "=", "a")])),
        (Work.objects.filter(pk=5), Compare(Column("id"), "=", 5)),
        (Work.objects.filter(writer=5), Compare(WRITER, "=", 5)),
        (Work.objects.filter(writer=Writer(pk=5)), Compare(WRITER, "=", 5)),
        (Work.objects.filter(writer__id=5), Compare(WRITER, "=", 5)),
        (Work.objects.filter(writer__in=[5, None]), In(WRITER, frozenset({5}))),
        (Work.objects.filter(writer=None), IsNull(WRITER)),
        (Work.objects.filter(title=None) | Work.objects.filter(year=1), any_of([IsNull(TITLE), Compare(YEAR, "=", 1)])),
        (SortedWork.objects.filter(year=1).order_by(), Compare(YEAR, "=", 1)),
        (Work.objects.filter(Q(year=1), Q()), Compare(YEAR, "=", 1)),
        (Work.objects.annotate(later=F("year") + 1).filter(year=1), Compare(YEAR, "=", 1)),
        (Work.objects.annotate(same=F("year")).filter(same=1), Compare(YEAR, "=", 1)),
        (Work.objects.filter(year=Value(1)), Compare(YEAR, "=", 1)),
        (Work.objects.filter(year=1).distinct(), Compare(YEAR, "=", 1)),
        (Work.objects.filter(pk__in=Work.objects.filter(year=1)), Compare(YEAR, "=", 1)),
        (Work.objects.exclude(pk__in=Work.objects.filter(year=1)), Compare(YEAR, "<>", 1)),
        (Work.objects.exclude(topics=1), negate(HAS_TOPIC)),
        (Work.objects.filter(Exists(THROUGH.objects.filter(work=OuterRef("pk"), topic=1))), HAS_TOPIC),
        (Work.objects.filter(Q(topics=1) | Q(year=1)), any_of([HAS_TOPIC, Compare(YEAR, "=", 1)])),
    ],
    ids=range(26),
)  # fmt: skip
def test_tree(queryset: Any, expected: Expression) -> None:
    """AND, OR and NOT are Django's, NOT pushed inwards; the IS NOT NULLs that it adds are there."""
    assert expression(queryset) == expected


@pytest.mark.parametrize(
    ("queryset", "expected"),
    [
        (Work.objects.all(), everything),
        (Work.objects.filter(Q()), everything),
        (Work.objects.filter(~Q(pk__in=[])), everything),
        (Work.objects.filter(Q(pk__in=[]) | ~Q(pk__in=[])), everything),
        (Work.objects.filter(year__lt=10**20), everything),
        (Work.objects.filter(Q(pk__in=[]) & Q(year=1)), nothing),
        (Work.objects.filter(year=10**20), nothing),
        (Work.objects.filter(year__gt=10**20), nothing),
    ],
    ids=range(8),
)
def test_tree_that_does_not_depend_on_the_row(queryset: Any, expected: Predicate) -> None:
    """What Django decides without the database: it is TRUE or FALSE, for NULL too."""
    assert compiled(queryset) is expected


# -- Lookups


@pytest.mark.parametrize(
    ("lookups", "expected"),
    [
        ({"small__gte": 2.5}, Compare(Column("small"), ">=", 3)),
        ({"small": "7"}, Compare(Column("small"), "=", 7)),
        ({"big__lte": 2**60}, Compare(Column("big"), "<=", 2**60)),
        ({"decimal": Decimal("0.00000000001")}, Compare(Column("decimal", nan_last), "=", Decimal("0.00000000001"))),
        ({"decimal__gt": 0.5}, Compare(Column("decimal", nan_last), ">", Decimal("0.5"))),
        ({"real__lt": "1.5"}, Compare(Column("real", nan_last), "<", 1.5)),
        ({"real": float("nan")}, Compare(Column("real", nan_last), "=", nan_last(float("nan")))),
        ({"boolean": False}, Compare(Column("boolean"), "=", False)),
        ({"char": "a "}, Compare(Column("char"), "=", "a ")),
        ({"char": 5}, Compare(Column("char"), "=", "5")),
        ({"char__in": ["a", "b", None]}, In(Column("char"), frozenset("ab"))),
        ({"text__contains": "50%_\\"}, MatchesText(Column("text"), "contains", "50%_\\")),
        ({"text__startswith": "a"}, MatchesText(Column("text"), "startswith", "a")),
        ({"text__endswith": ""}, MatchesText(Column("text"), "endswith", "")),
        ({"small__contains": 7}, MatchesText(Column("small", str), "contains", "7")),
        ({"uuid__startswith": "00"}, MatchesText(Column("uuid", str), "startswith", "00")),
        ({"date": THE_DAY}, Compare(Column("date"), "=", THE_DAY)),
        ({"date__gt": "2020-02-29"}, Compare(Column("date"), ">", THE_DAY)),
        (
            {"date__year": 2020},
            all_of(
                [
                    Compare(Column("date"), ">=", datetime.date(2020, 1, 1)),
                    Compare(Column("date"), "<=", datetime.date(2020, 12, 31)),
                ]
            ),
        ),
        ({"date__year__gte": 2020}, Compare(Column("date"), ">=", datetime.date(2020, 1, 1))),
        (
            {"moment__lt": datetime.datetime(2020, 1, 1, 2, tzinfo=ZoneInfo("Europe/Helsinki"))},
            Compare(Column("moment"), "<", datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)),
        ),
        ({"time": datetime.time(12, 30)}, Compare(Column("time"), "=", datetime.time(12, 30))),
        ({"small__range": (1, 5)}, all_of([Compare(Column("small"), ">=", 1), Compare(Column("small"), "<=", 5)])),
        ({"binary": b"a"}, Compare(Column("binary", bytes), "=", b"a")),
        ({"integers__contains": [1, 2]}, Elements(Column("integers"), "@>", frozenset({1, 2}))),
        ({"integers__contained_by": []}, Elements(Column("integers"), "<@", frozenset())),
        ({"words__overlap": ["a", None]}, Elements(Column("words"), "&&", frozenset("a"), has_null=True)),
        ({"words__contains": [None]}, Elements(Column("words"), "@>", frozenset(), has_null=True)),
        ({"nested__len": 2}, Compare(Column("nested", len), "=", 2)),
        ({"by_email": "a@b.c"}, Compare(Column("by_email_id"), "=", "a@b.c")),
        ({"small__lt": F("decimal")}, CompareColumns(Column("small"), "<", Column("decimal", nan_last))),
        ({"char": F("slug")}, CompareColumns(Column("char"), "=", Column("slug"))),
        ({"small": F("small")}, CompareColumns(Column("small"), "=", Column("small"))),
        ({"doubled": 4}, Compare(Column("doubled"), "=", 4)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_lookup(lookups: Any, expected: Expression) -> None:
    """The constant is what is sent, in the form in which the row's values compare."""
    assert where(**lookups) == expected


def test_json_key() -> None:
    """Texts and booleans at a path of keys; what is not there is NULL, JSON's null is not."""
    predicate = Predicate(where(json__a__b__in=["x", True]))
    missing = Predicate(where(json__a__b__isnull=True))

    assert [predicate({"json": {"a": {"b": value}}}) for value in ("x", True, "y", None, 1, ["x"])] == [
        *[True] * 2,
        *[False] * 4,
    ]
    assert not predicate({"json": {"a": 1}})
    assert [missing({"json": json}) for json in (None, {}, {"a": []}, {"a": {"b": None}})] == [True] * 3 + [
        False
    ]


def test_choices() -> None:
    """Members of choices are the values that are sent."""

    class Slug(models.TextChoices):
        HIGH = "high"

    constant = where(char=Slug.HIGH).constant  # type: ignore[union-attr]
    assert type(constant) is str
    assert constant == "high"


class Unlike(models.Lookup):
    """A lookup of a project's own, which sends the constant as it is."""

    lookup_name = "unlike"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> Any:
        sql, parameters = self.process_lhs(compiler, connection)
        return f"{sql} <> %s", [*parameters, self.rhs]


def test_custom_lookup() -> None:
    """A lookup is understood by its SQL, whose ever it is."""
    with register_lookup(models.Field, Unlike):
        assert where(small__unlike=1) == Compare(Column("small"), "<>", 1)


@pytest.mark.parametrize("constant", [Decimal("Infinity"), Decimal("NaN"), Decimal("sNaN"), 1.5, "1"])
def test_odd_constant(constant: Any) -> None:
    """psycopg2 sends an infinite Decimal as NaN; other types PostgreSQL would convert by rules of its own."""
    with register_lookup(models.Field, Unlike):
        assert "decimal" in why_not(decimal__unlike=constant)


def test_columns_are_shared() -> None:
    """A hundred thousand queries on a column name one object."""
    one, other = where(small=1), where(small=2)

    assert one.column is other.column  # type: ignore[union-attr]


def test_anchors() -> None:
    """What the index needs survives the NOTs and IS NOT NULLs that Django adds."""
    queryset = Everything.objects.filter(foreign=1).exclude(char="a")
    predicate = compiled(queryset)

    assert isinstance(predicate, Predicate)
    foreign = (Column("foreign_id"), frozenset({1}))
    assert predicate.anchors == (
        Anchor((foreign,), exact=False),
        Anchor(((Column("char"), frozenset({None})), foreign)),
    )


# -- Refused, and why


@pytest.mark.parametrize(
    ("queryset", "words"),
    [
        (Work.objects.order_by("year")[:5], "slice"),
        (Work.objects.distinct("year"), "distinct by some columns"),
        (Work.objects.union(Work.objects.filter(year=1)), "combines queries"),
        (Work.objects.annotate(n=Count("topics")).filter(n=1), "aggregates"),
        (Work.objects.filter(writer__name="a"), "name is not in the feed"),
        (Work.objects.filter(topics__word="a"), "word is not in the feed"),
        (Work.objects.filter(writer__in=Writer.objects.filter(name="a")), "name is not in the feed"),
        (Work.objects.filter(pk__in=Work.objects.order_by("year")[:1].values("pk")), "slice"),
        (
            Work.objects.filter(Exists(Topic.objects.filter(pk__gt=OuterRef("pk")))),
            "one pair of equal columns",
        ),
        (Work.objects.filter(year=Writer.objects.values("pk")[:1]), "subquery"),
        (Work.objects.exclude(topics__word="a"), "word is not in the feed"),
        (Work.objects.extra(where=["true"]), "ExtraWhere"),
        (Work.objects.extra(select={"a": "1"}), "raw SQL"),
        (Work.objects.filter(Q(year=1) ^ Q(year=2)), "XOR"),
        (Work.objects.annotate(upper=Upper("title")).filter(upper="A"), "UPPER"),
        (Work.objects.annotate(row=Window(RowNumber())).filter(row=1), "lookup 'exact'"),
        (Work.objects.filter(year=F("id") + 1), "+"),
        (Work.objects.filter(title__iexact="a"), "iexact ignores case as the database's locale says"),
        (Work.objects.filter(title__icontains="a"), "icontains ignores case"),
        (Work.objects.filter(title__regex="a"), "regex patterns mean something else"),
        (Work.objects.filter(title__gt="a"), "does not order character varying(50) (title)"),
        (Work.objects.annotate(n=Func("year", Value(3), function="generate_series")), "several rows"),
        (Work.objects.annotate(n=Lower("title", function="unnest")), "several rows"),
    ],
    ids=range(23),
)
def test_refused_query(queryset: Any, words: str) -> None:
    assert words in reason(queryset)


@pytest.mark.parametrize(
    ("lookups", "words"),
    [
        ({"moment__lt": datetime.datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))}, "odd value"),
        ({"date__lt": F("moment")}, "does not compare date (date) with timestamp with time zone (moment)"),
        ({"real__lt": F("small")}, "does not compare double precision (real) with smallint (small)"),
        ({"address__lt": "1.2.3.4"}, "does not order inet"),
        ({"json": {"a": 1}}, "does not compare jsonb"),
        ({"json__a": 1}, "only texts and booleans"),
        ({"json__0": "a"}, "a number as a key"),
        ({"json__isnull": True}, "loaded as something else than what the column holds"),
        ({"json__has_key": "a"}, "lookup 'has_key'"),
        ({"decimals": [1]}, "lookup 'exact'"),
        ({"integers__0": 1}, "lookup 'exact'"),
        ({"words__contains": ["x" * 51]}, "cuts"),
        ({"decimals__contains": [Decimal(1)]}, "numeric(20, 4)"),
        ({"integer_range__contains": 1}, "lookup 'contains'"),
        ({"moment__date": THE_DAY}, "depends on what Python and PostgreSQL know of that zone"),
        ({"moment__month": 2}, "a part of moment in America/Chicago"),
        ({"small__range": (None, 5)}, "NoneType"),
    ],
    ids=range(17),
)  # fmt: skip
def test_refused_lookup(lookups: Any, words: str) -> None:
    """Where Python's answer may not be PostgreSQL's, the reason says what differs."""
    assert words in why_not(**lookups)


CARRIED = {table_of(Work): ["year"]}


@pytest.mark.parametrize(
    ("lookups", "words"),
    [
        ({"duration": datetime.timedelta(1)}, "does not compare interval (duration)"),
        ({"date__lte": datetime.date.max}, "infinite dates are loaded as 9999-12-31"),
        ({"moment__gte": datetime.datetime.min.replace(tzinfo=datetime.UTC)}, "infinite times"),
        ({"date__lt": F("day")}, "does not compare date (date) with date (day)"),
        ({"date__month": 2}, "does not take MONTH"),
        ({"time": datetime.time(0)}, "24:00"),
        ({"time__gt": datetime.time(1)}, "does not order time without time zone"),
        ({"integers": [1]}, "do not count from 1"),
    ],
    ids=range(8),
)
def test_refused_lookup_beside_a_join(lookups: Any, words: str) -> None:
    """Rows that a read has loaded are judged too, in which infinity looks like a date."""
    assert isinstance(where(**lookups), Expression)
    assert words in reason(Everything.objects.filter(foreign__year=2000, **lookups), carried=CARRIED)


def test_dates_beside_a_join() -> None:
    """Infinity is before or after all that it is not loaded as."""
    assert expression(Everything.objects.filter(foreign__year=2000, date__lt=THE_DAY), carried=CARRIED)


@pytest.mark.parametrize(
    ("lookups", "hour"), [({"moment__hour": 23}, 23), ({"moment__date": THE_DAY}, 0)], ids=range(2)
)
@override_settings(TIME_ZONE="UTC")
def test_part_of_a_moment_in_utc(lookups: Any, hour: int) -> None:
    predicate = compiled(Everything.objects.filter(**lookups))

    moment = datetime.datetime.combine(THE_DAY, datetime.time(hour), datetime.UTC)
    assert isinstance(predicate, Predicate)
    assert predicate({"moment": moment})
    assert not predicate({"moment": moment - datetime.timedelta(hours=1)})


def test_nul_character() -> None:
    assert "NUL" in why_not(char="a\0")


def test_column_that_the_feed_does_not_carry() -> None:
    """Filtering on it would ask the row for a value that it has not."""
    shape = ModelShape("works", Work, fields=["title"])
    queryset = Work.objects.filter(year=1)

    assert "filter_fields" in reason(queryset, shape=shape)
    assert expression(queryset, shape=shape, carried={WORKS.table: ["year"]}) == Compare(YEAR, "=", 1)
    assert expression(Work.objects.filter(pk=1, writer=1), shape=shape)


def test_column_name_that_is_not_the_fields() -> None:
    shape = ModelShape("reviews", Review)

    assert expression(Review.objects.filter(stars=3), shape=shape) == Compare(Column("stars"), "=", 3)


def test_rows_of_a_parent() -> None:
    """A child's own table is another one."""
    assert "joins" in reason(Play.objects.filter(year=1), shape=WORKS)


@pytest.mark.parametrize("zone", ["Europe/Paris", "Asia/Tokyo"])
def test_part_of_a_moment_in_another_zone(zone: str) -> None:
    """Whoever runs the query again does not know the zone that was current here."""
    queryset = Everything.objects.filter(moment__year=2020)

    assert isinstance(compiled(queryset), Predicate)
    with timezone.override(zone):
        assert "TIME_ZONE" in reason(queryset)


def test_moments_loaded_in_a_zone_with_summer_time(settings: Any) -> None:
    """The two runs of an hour are loaded as one."""
    connection.settings_dict["TIME_ZONE"] = "Europe/Paris"
    forget_zone()
    try:
        assert "autumn" in why_not(moment__lt=timezone.now())
        assert "autumn" in why_not(moments__contains=[timezone.now()])
        assert where(moment=None) == IsNull(Column("moment"))
    finally:
        connection.settings_dict["TIME_ZONE"] = None
        forget_zone()


def forget_zone() -> None:
    for cached in ("timezone", "timezone_name"):
        connections["default"].__dict__.pop(cached, None)


# -- Columns that are not what the model says


class Odd(models.Model):
    """Stands on a table that something else made."""

    char = models.CharField(max_length=10)
    folded = models.CharField(max_length=10)
    other = models.CharField(max_length=10)
    real = models.FloatField()
    moment = models.DateTimeField()
    domain = models.IntegerField()
    missing = models.IntegerField()
    words = ArrayField(models.TextField())

    class Meta:
        app_label = "app"
        managed = False


ODD = ModelShape("odd", Odd)


@pytest.fixture
def odd_table(db: None) -> Any:
    """Its table; gone with the test's transaction."""
    with connection.cursor() as cursor:
        cursor.execute("""
            CREATE COLLATION folding (locale = 'C'); -- a real one takes ICU, which not every server has
            UPDATE pg_collation SET collisdeterministic = false WHERE collname = 'folding';
            CREATE DOMAIN even AS integer CHECK (VALUE % 2 = 0);
            CREATE TABLE app_odd (
                id bigint PRIMARY KEY, char char(10), folded varchar(10) COLLATE folding,
                other varchar(10) COLLATE "C", real real, moment timestamp, domain even,
                words text[] COLLATE folding)
        """)
    yield
    columns._known.clear()


@pytest.mark.parametrize(
    ("lookups", "words"),
    [
        ({"char": "a"}, "character(10) (char)"),
        ({"folded": "a"}, "the collation of folded is not deterministic"),
        ({"folded__contains": "a"}, "the collation of folded is not deterministic"),
        ({"words__contains": ["a"]}, "the collation of words is not deterministic"),
        ({"real": 1.5}, "real (real)"),
        ({"moment__lt": datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)}, "timestamp without time zone"),
        ({"domain": 2}, "even (domain)"),
        ({"missing": 2}, "does not tell the type of missing; run migrate"),
        ({"other": F("folded")}, "not deterministic"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_column_of_another_type(odd_table: None, lookups: Any, words: str) -> None:
    """The database's word counts: trailing spaces, equal texts that differ, numbers that Python has not."""
    assert words in reason(Odd.objects.filter(**lookups), shape=ODD)


def test_null_in_a_column_of_another_type(odd_table: None) -> None:
    """NULL is NULL in any type."""
    assert isinstance(compiled(Odd.objects.filter(char__isnull=True, folded=None), ODD), Predicate)


def test_deterministic_collation(odd_table: None) -> None:
    assert expression(Odd.objects.filter(other="a"), shape=ODD) == Compare(Column("other"), "=", "a")


def test_different_collations(odd_table: None) -> None:
    """PostgreSQL refuses the comparison; so do we."""
    with connection.cursor() as cursor:
        cursor.execute('ALTER TABLE app_odd ALTER folded TYPE varchar(10) COLLATE "POSIX"')

    assert "different collations" in reason(Odd.objects.filter(other=F("folded")), shape=ODD)


def test_table_that_is_not_there() -> None:
    assert "run migrate" in reason(Odd.objects.filter(char="a"), shape=ODD)


def test_field_that_converts() -> None:
    """What is loaded is not what the column holds."""

    class Shouting(models.CharField):
        def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
            return value and value.upper()

    class Shouted(models.Model):
        title = Shouting(max_length=50)

        class Meta:
            app_label = "app"
            db_table = "app_work"
            managed = False

    shape = ModelShape("shouted", Shouted)
    try:
        assert "loaded as something else" in reason(Shouted.objects.filter(title="a"), shape=shape)
        assert "loaded as something else" in reason(Shouted.objects.filter(title=None), shape=shape)
    finally:
        del Shouted._meta.apps.all_models["app"]["shouted"]
        Shouted._meta.apps.clear_cache()
