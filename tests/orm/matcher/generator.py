"""Rows and querysets for the matcher's oracle: every field type, every lookup, NULLs, negation and nesting.

Values come from small pools, so that rows and constants meet; the pools are made of what goes wrong: edges, values
that Python and PostgreSQL write differently, constants that the field does not have.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F, Q, QuerySet
from psycopg2.extras import NumericRange

from tests.orm.models import Everything, Review, Work, Writer

ZONES = [datetime.UTC, datetime.timezone(datetime.timedelta(hours=5, minutes=45))]
MOMENTS = [
    datetime.datetime(2020, 2, 29, 12, 30, 15, 123456),
    datetime.datetime(2020, 10, 25, 0, 30),
    datetime.datetime(2020, 10, 25, 1, 30),
    datetime.datetime(2019, 12, 31, 23, 59, 59, 999999),
    datetime.datetime(2020, 1, 1),
    datetime.datetime(1, 1, 2),
    datetime.datetime(9999, 12, 30),
]
INTEGERS = [-(2**15), -7, -1, 0, 1, 2, 7, 2**15 - 1]
BIG = [*INTEGERS, -(2**31), 2**31 - 1]
HUGE = [*BIG, -(2**63), 2**53 + 1, 2**63 - 1]
TEXTS = [
    "",
    " ",
    "a",
    "A",
    "a ",
    "ab",
    "aB",
    "b",
    "ß",
    "ss",
    "SS",
    "İ",
    "i",
    "\u0131",
    "é",
    "e\u0301",
    "%",
    "a%b",
    "a_b",
]
TEXTS += ["\\", "a\\b", "'", '"', "\n", "\U0001f600", "\u0661", "1", "100", "ﬁ", "fi", "$0", "%s", "x" * 60]
DECIMALS = ["0", "-0", "1", "1.0", "1.5", "-7", "0.0000000001", "12345678901234567890.0123456789", "7", "NaN"]
FLOATS = [0.0, -0.0, 1.0, 1.5, 0.1, 0.1 + 0.2, -7.0, 5e-324, 1.7976931348623157e308, 1e22]
FLOATS += [float("nan"), float("inf"), float("-inf"), float(2**53)]
UUIDS = [UUID(int=n) for n in (0, 1, 255, 2**127, 2**128 - 1)]
DATES = [*sorted({moment.date() for moment in MOMENTS}), datetime.date.min, datetime.date.max]
TIMES = [*sorted({moment.time() for moment in MOMENTS}), datetime.time.max]
DURATIONS = [datetime.timedelta(days) for days in (-1, 0, 1, 30, 360, 365)] + [datetime.timedelta(0, 1, 5)]
BLOBS = [b"", b"\0", b"a", b"ab", b"\xff"]
ADDRESSES = ["1.2.3.4", "10.0.0.1", "::1", "2001:db8::32", "2001:db8:0:1:0:0:0:1", "::ffff:1.2.3.4"]
DOCUMENTS = [
    {},
    [],
    {"a": 1},
    {"a": "x"},
    {"a": None},
    {"a": {"b": True}},
    [1, "a"],
    "a",
    1,
    1.5,
    True,
    {"b": [1]},
]

#: What rows hold.
VALUES: dict[str, list[Any]] = {
    "small": INTEGERS,
    "integer": BIG,
    "big": HUGE,
    "positive": [0, 1, 2, 7],
    "boolean": [True, False],
    "char": TEXTS,
    "text": TEXTS,
    "slug": ["a", "b", "ab"],
    "email": ["a@b.c", "A@b.c"],
    "image_name": TEXTS[:8],
    "file": ["a.txt", "b/c.txt"],
    "uuid": UUIDS,
    "decimal": [Decimal(text) for text in DECIMALS if text != "NaN"],
    "real": FLOATS,
    "date": DATES,
    "moment": [moment.replace(tzinfo=datetime.UTC) for moment in MOMENTS],
    "time": [*TIMES, datetime.time.min],
    "duration": DURATIONS,
    "binary": BLOBS,
    "json": DOCUMENTS,
    "address": ADDRESSES,
    "integers": [[], [1], [1, 1], [1, 2], [2, 1], [7, 2, 1], [0]],
    "words": [[], ["a"], ["a", None], [None], ["A", "a "], ["x" * 50]],
    "flags": [[], [True], [True, False], [False]],
    "uuids": [[], UUIDS[:1], UUIDS[:2], UUIDS[1:3]],
    "dates": [[], DATES[:1], DATES[:2]],
    "decimals": [[], [Decimal(1)], [Decimal("1.5"), Decimal(1)]],
    "nested": [[], [[1, 2], [2, 1]], [[1]], [[None]]],
    "integer_range": [NumericRange(1, 5), NumericRange(1, 2), NumericRange(empty=True)],
}

#: What Django does not write, but SQL can.
ODD = {
    "date": ["infinity", "-infinity", "9999-12-31", "0001-01-01"],
    "moment": ["infinity", "-infinity", "9999-12-31 23:59:59.999999+00"],
    "time": ["24:00", "00:00"],
    "duration": ["1 year", "360 days", "1 mon", "30 days", "1 day", "24 hours", "infinity"],
    "decimal": ["NaN", "1.50"],
    "integers": ["[2:3]={1,2}", "{{1,2},{2,1}}", "{1,NULL}", "{NULL}"],
    "dates": ["{9999-12-31}", "[0:0]={2020-02-29}"],
    "uuids": ["[7:7]={00000000-0000-0000-0000-000000000000}"],
    "words": ["{NULL,NULL}", '{"NULL"}', "{{a},{b}}"],
    "address": ["10.0.0.0/8", "1.2.3.4/31", "2001:db8::/32"],
    "json": ["null", '{"a": 1.00000000000000000001}', '{"a": 1e2}', '"\\u00e9"'],
}

#: Constants that rows of the type do not hold.
STRANGE: dict[str, list[Any]] = {
    "small": [2**15, -(2**40), "7", 1.5, 2**70, True],
    "integer": [2**31, -(2**40), "7", 1.5, 2**70, Decimal("1.5")],
    "big": [2**63, -(2**70), "7", -1.5],
    "positive": [-1, "2", 2**40],
    "boolean": ["True", 0, 1],
    "char": [1, "x" * 200],
    "text": ["x" * 200, 5],
    "uuid": [str(UUIDS[1]), UUIDS[1].hex],
    "decimal": [1, 0.1, "1.5", Decimal("0.00000000001"), Decimal("1E+3"), Decimal("Infinity")],
    "real": [1, "1.5", Decimal("0.1"), 2**53 + 1],
    "date": ["2020-02-29", MOMENTS[0].replace(tzinfo=datetime.UTC)],
    "moment": ["2020-10-25 00:30+00:00", datetime.datetime(2020, 10, 25, 2, 30, tzinfo=ZONES[1])],
    "time": ["12:30:15.123456"],
    "address": ["2001:DB8:0:0:0:0:0:32", "1.2.3.4", "::ffff:102:304"],
}

RELATED = ("foreign", "by_email", "single")
COMPARISONS = ("exact", "gt", "gte", "lt", "lte")
TEXT_LOOKUPS = ("contains", "startswith", "endswith")
ELEMENTS = ("contains", "contained_by", "overlap")
KEYS = ("a", "a__b", "a__in", "a__isnull", "a__b__isnull")
FOLDING = ("iexact", "icontains", "istartswith", "iendswith")
PARTS = (
    *("year", "month", "day", "week", "week_day", "iso_week_day", "iso_year", "quarter"),
    *("date", "hour", "minute", "month__gt", "day__in"),
)
ARRAYS = ("integers", "words", "flags", "uuids", "dates", "decimals", "nested")

ANY = (*COMPARISONS, "in", "range", "isnull", "F")
LOOKUPS: dict[str, tuple[str, ...]] = {
    name: lookups
    for names, lookups in [
        ("small integer big positive uuid", (*ANY, *COMPARISONS, *TEXT_LOOKUPS)),
        ("boolean decimal real duration binary", ANY),
        ("date moment time", (*ANY, *PARTS)),
        ("char text slug", (*ANY, *TEXT_LOOKUPS, *TEXT_LOOKUPS, *FOLDING, "regex", "iregex")),
        ("email image_name file", (*ANY, *TEXT_LOOKUPS, *FOLDING)),
        ("address", (*COMPARISONS, "in", "isnull", "startswith")),
        (" ".join(ARRAYS), ("exact", "in", "isnull", *ELEMENTS, *ELEMENTS, "len", "len__gt", "0", "0_2")),
        (
            "json",
            (
                "exact",
                "isnull",
                "a",
                "a",
                "a__b",
                "a__b__isnull",
                "a__isnull",
                "a__in",
                "has_key",
                "contains",
                "0",
            ),
        ),
        ("integer_range", ("exact", "isnull", "contains", "overlap", "startswith", "isempty")),
        (" ".join(RELATED), ("exact", "in", "isnull")),
    ]
    for name in names.split()
}

#: Columns that are compared with each other, some of them in vain.
PAIRS = {
    "small": ("integer", "big", "decimal", "real", "doubled", "small"),
    "integer": ("small", "big", "foreign_id", "positive"),
    "big": ("doubled", "real"),
    "decimal": ("small", "decimal", "real"),
    "real": ("real", "decimal", "small"),
    "boolean": ("boolean",),
    "char": ("text", "slug", "by_email_id"),
    "text": ("char", "image_name"),
    "uuid": ("single_id", "uuid"),
    "date": ("day", "moment"),
    "moment": ("date", "moment"),
    "time": ("time",),
}


class Generator:
    """Makes rows and querysets from a seed."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.related: dict[str, list[Any]] = {}

    # -- Rows

    def create_rows(self, count: int) -> None:
        writers = [Writer.objects.create(name=name, email=f"{name}@b.c") for name in "aA"]
        works = [Work.objects.create(title=str(n)) for n in range(3)]
        reviews = [Review.objects.create(id=key, work=work) for key, work in zip(UUIDS, works, strict=False)]
        self.related = {"foreign": works, "by_email": writers, "single": reviews}
        unused = list(reviews)
        rows = [Everything(**self.row()) for _ in range(count)]
        for row in self.random.sample(rows, min(count, len(unused))):
            row.single = unused.pop()
        self.make_odd([row.pk for row in Everything.objects.bulk_create(rows)])

    def row(self) -> dict[str, Any]:
        values = {name: self.nullable(pool) for name, pool in VALUES.items()}
        return values | {name: self.nullable(self.related[name]) for name in ("foreign", "by_email")}

    def nullable(self, pool: list[Any]) -> Any:
        return None if self.random.random() < 0.15 else self.random.choice(pool)

    def make_odd(self, keys: list[int]) -> None:
        """Put values into some rows that only SQL can write."""
        with connection.cursor() as cursor:
            for name, values in ODD.items():
                column = Everything._meta.get_field(name).column
                for value in values:
                    if (name, value) == ("duration", "infinity") and connection.pg_version < 170000:
                        continue  # there are no infinite intervals before PostgreSQL 17
                    key = self.random.choice(keys)
                    cursor.execute(f'UPDATE app_everything SET "{column}" = %s WHERE id = %s', [value, key])

    # -- Querysets

    def queryset(self, condition: Callable[[], Q]) -> QuerySet[Any]:
        """One to three filters and excludes, sometimes over an annotation."""
        queryset = Everything.objects.all()
        if self.random.random() < 0.05:
            queryset = queryset.annotate(twice=F("integer") * 2, alike=F("char"))
        for _ in range(self.random.choice([1, 1, 2, 3])):
            restrict = queryset.exclude if self.random.random() < 0.4 else queryset.filter
            queryset = restrict(condition())
        return queryset

    def condition(self, depth: int = 3) -> Q:
        """A tree of lookups."""
        roll = self.random.random()
        if depth == 0 or roll < 0.35:
            return self.leaf()[1]
        if roll < 0.5:
            return ~self.condition(depth - 1)
        join = self.random.choice([Q.__and__, Q.__or__, Q.__or__])
        if roll > 0.99:
            join = Q.__xor__
        return join(self.condition(depth - 1), self.condition(depth - 1))

    def leaf(self) -> tuple[str, Q]:
        """One lookup, and its name for the report: ``char contains``."""
        name = self.random.choice(list(LOOKUPS))
        lookup = self.random.choice(LOOKUPS[name])
        if lookup == "F":
            other = self.random.choice(PAIRS.get(name, (name,)))
            compare = self.random.choice(COMPARISONS)
            return f"{name} {compare} F", Q(**{f"{name}__{compare}": F(other)})
        return f"{name} {lookup}", Q(**{f"{name}__{lookup}": self.argument(name, lookup)})

    def argument(self, name: str, lookup: str) -> Any:
        make = {
            "isnull": lambda: self.random.choice([True, False]),
            "in": lambda: [self.maybe(name) for _ in range(self.random.randrange(5))],
            "range": lambda: (self.constant(name), self.constant(name)),
            "len": lambda: self.random.randrange(3),
            "len__gt": lambda: self.random.randrange(-1, 3),
            "year": lambda: self.random.choice([1, 2019, 2020, 9999]),
            "iso_year": lambda: self.random.choice([2019, 2020]),
            "date": lambda: self.random.choice(DATES),
            "a__isnull": lambda: self.random.choice([True, False]),
            "isempty": lambda: self.random.choice([True, False]),
            "has_key": lambda: "a",
            "0_2": lambda: [1, 2],
            "a__b": lambda: self.random.choice([True, "x"]),
            "a__in": lambda: self.random.choice([["x"], ["x", True], [False, "y"], [1, "x"]]),
            "a__b__isnull": lambda: self.random.choice([True, False]),
        }
        if lookup in make:
            return make[lookup]()
        if lookup == "day__in":
            return self.random.sample(range(1, 32), 9)
        if lookup in PARTS:
            return self.random.randrange(1, 13)
        if lookup in ("0", "a") and name in (*ARRAYS, "json"):
            return self.random.choice([1, "x", "a", None, True, UUIDS[0]])
        if (
            name not in ARRAYS
            and name != "integer_range"
            and lookup in (*TEXT_LOOKUPS, *FOLDING, "regex", "iregex")
        ):
            return self.random.choice([*TEXTS, "1", "7", "0000", 7])
        return self.maybe(name) if lookup == "exact" else self.constant(name)

    def maybe(self, name: str) -> Any:
        return None if self.random.random() < 0.1 else self.constant(name)

    def constant(self, name: str) -> Any:
        if name in RELATED:
            chosen = self.random.choice(self.related[name])
            keys = {"foreign": chosen.pk, "by_email": getattr(chosen, "email", ""), "single": chosen.pk}
            return self.random.choice([chosen, keys[name]])
        strange = STRANGE.get(name, [])
        if strange and self.random.random() < 0.15:
            return self.random.choice(strange)
        value = self.random.choice(VALUES[name])
        if isinstance(value, datetime.datetime):
            return value.astimezone(self.random.choice(ZONES)) if 1 < value.year < 9999 else value
        return value
