"""The matcher against its oracle: for every row and queryset the predicate says what PostgreSQL says, or there is none.

Rows come as the feed brings them: text, decoded. ``MATCHER_PAIRS`` (pairs of a row and a queryset; 300,000) makes the
run longer, ``MATCHER_SEED`` repeats one.
"""

from __future__ import annotations

import os
import random
import warnings
from collections import Counter
from typing import Any

import pytest
from django.core.exceptions import FieldError, ValidationError
from django.db import DatabaseError, connection, models, transaction

from dddp.changes import Change, Key, Kind, Row
from dddp.errors import QueryRefused
from dddp.livequery.index import Index
from dddp.livequery.predicate import NO_SETS
from dddp.livequery.spec import QuerySpec
from dddp.orm.documents import ModelShape
from dddp.orm.queries import specify
from dddp.orm.rows import RowType, ValueUndecodable
from dddp.orm.tables import table_of
from tests.orm.matcher.conftest import REPORT
from tests.orm.matcher.generator import Generator
from tests.orm.models import Everything, Review, Work, Writer
from tests.orm.test_rows import FEED

PAIRS = int(os.environ.get("MATCHER_PAIRS", "300000"))
SEED = int(os.environ.get("MATCHER_SEED", random.SystemRandom().randrange(10**6)))
ROWS = 100
SHAPE = ModelShape("everything", Everything)
CAPTURED = frozenset(map(table_of, (Everything, Review, Work, Writer)))

COLUMNS = {table_of(Work): ["title", "year"]}

#: What a generated queryset may be: one that Django or PostgreSQL does not take.
NOT_A_QUERY = (
    FieldError,
    ValidationError,
    ValueError,
    TypeError,
    OverflowError,
    NotImplementedError,
    DatabaseError,
)

#: Lookups that must compile whatever their constants, but for a few that no row has.
EASY = {
    f"{name} {lookup}": share
    for share, names, lookups in [
        (0.0, "small integer big positive boolean uuid", "exact gt gte lt lte in range isnull"),
        (0.0, "char text slug email image_name file", "exact in contains startswith endswith isnull"),
        (0.0, "foreign by_email single", "exact in isnull"),
        (0.1, "decimal real binary", "exact gt gte lt lte in range isnull"),
        (0.0, "date moment time duration", "exact gt gte lt lte in range isnull"),
        (0.0, "date", "year iso_year"),
        (0.3, "moment", "year"),
        (0.0, "date", "month month__gt day day__in week week_day iso_week_day quarter"),
        (0.0, "time", "hour minute"),
        (
            0.0,
            "integers words flags uuids dates",
            "exact in contains contained_by overlap len len__gt isnull",
        ),
        (0.0, "address", "exact in isnull"),
    ]
    for name in names.split()
    for lookup in lookups.split()
}


@pytest.mark.django_db
def test_matcher(settings: Any) -> None:
    """No pair differs; the report says how often there was no predicate."""
    generator = Generator(SEED)
    settings.TIME_ZONE = generator.random.choice(["UTC", "America/Chicago"])
    generator.create_rows(ROWS)
    rows = feed_rows()
    seen, refused, reasons = Counter[str](), Counter[str](), Counter[str]()
    compiled: list[tuple[QuerySpec, set[int]]] = []
    pairs = queries = 0
    while pairs < PAIRS:
        leaf = generator.leaf()
        single = generator.random.random() < 0.5
        found = judged(generator, leaf[1] if single else None)
        if found is None:
            continue
        spec, expected = found
        queries += 1
        if single:
            seen[leaf[0]] += 1
        if spec.predicate is None:
            refused[leaf[0]] += single
            reasons[str(spec.reason)] += 1
            continue
        assert {key for key, row in rows.items() if spec.predicate(row)} == expected, explain(
            spec, rows, expected
        )
        pairs += len(rows)
        compiled.append((spec, expected))
    check_index(compiled[-2000:], rows)
    report(pairs, queries, len(compiled), seen, refused, reasons)
    assert_easy(seen, refused)


@pytest.mark.django_db
def test_matcher_beside_a_join() -> None:
    """Where a query uses live sets, rows that the ORM has loaded are judged: odd values look like others there."""
    generator = Generator(SEED)
    generator.create_rows(ROWS)
    pairs = 0
    while pairs < PAIRS // 10:
        found = judged(generator, models.Q(foreign__year=2000) & generator.condition())
        if found is None or found[0].predicate is None:
            continue
        spec, expected = found
        sets = {
            values: set(map(values.column.reader(), source().values(values.column.name)))
            for values, source in spec.sets.items()
        }
        rows = loaded_rows(spec.predicate.columns)
        assert {key for key, row in rows.items() if spec.predicate(row, sets)} == expected, (
            f"{SEED=} {spec.source().query}"
        )
        pairs += len(rows)


def loaded_rows(columns: frozenset[str]) -> dict[int, Row]:
    """Every row by its key, as a read finds it."""
    return {row["id"]: row for row in Everything.objects.values("id", *columns)}


def judged(generator: Generator, leaf: models.Q | None) -> tuple[QuerySpec, set[int]] | None:
    """A queryset's spec and the keys PostgreSQL finds; None when it is not a query."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # naive datetimes
        try:
            with transaction.atomic():
                queryset = generator.queryset(lambda: leaf or generator.condition())
                spec = specify(queryset, SHAPE, captured=CAPTURED, columns=COLUMNS)
                return spec, set(queryset.values_list("pk", flat=True))
        except (*NOT_A_QUERY, QueryRefused):
            return None


def feed_rows() -> dict[int, Row]:
    """Every row by its key, as the feed brings it."""
    columns = [field.column for field in Everything._meta.local_concrete_fields]
    texts = ", ".join(f'"{column}"::text' for column in columns)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"{FEED} SELECT {texts} FROM app_everything")
        fetched = [dict(zip(columns, values, strict=True)) for values in cursor.fetchall()]
        transaction.set_rollback(True)
    row_type = RowType(Everything, columns)
    rows: dict[int, Row] = {}
    for row in fetched:
        decoded = decode(row_type, row)
        if decoded is None:
            Everything.objects.filter(pk=row["id"]).delete()  # such a row is read again, not matched
        else:
            rows[int(row["id"])] = decoded
    return rows


def decode(row_type: RowType, row: Row) -> Row | None:
    """The row; None where it is key only."""
    try:
        return row_type.decode(Change(SHAPE.table, Key(row["id"]), Kind.ROW, row)).row
    except ValueUndecodable:
        return None


def explain(spec: QuerySpec, rows: dict[int, Row], expected: set[int], sets: Any = NO_SETS) -> str:
    wrong = next(key for key, row in rows.items() if spec.predicate(row, sets) != (key in expected))
    assert spec.predicate is not None
    names = spec.predicate.columns
    values = {name: rows[wrong][name] for name in names}
    return (
        f"MATCHER_SEED={SEED} MATCHER_PAIRS={PAIRS}: PostgreSQL says {wrong in expected} of row {wrong}, {values}, for "
        f"{spec.source().query} as {spec.predicate!r}"
    )


def check_index(compiled: list[tuple[QuerySpec, set[int]]], rows: dict[int, Row]) -> None:
    """The index finds for each row the queries that it is in."""
    index: Index[int] = Index()
    for number, (spec, _) in enumerate(compiled):
        index.add(number, spec.predicate)
    for key, row in rows.items():
        assert set(index.matches(row)) == {number for number, (_, keys) in enumerate(compiled) if key in keys}


def report(
    pairs: int, queries: int, compiled: int, seen: Counter[str], refused: Counter[str], reasons: Counter[str]
) -> None:
    REPORT.append(
        f"matcher: seed {SEED}, {pairs} pairs equal, {queries} querysets, {queries - compiled} without a predicate"
    )
    REPORT.append("matcher: share of single lookups without a predicate, where there was any:")
    by_lookup: dict[str, list[str]] = {}
    for leaf, count in sorted(refused.items()):
        if count:
            name, lookup = leaf.split(" ", 1)
            by_lookup.setdefault(lookup, []).append(f"{name} {100 * count // seen[leaf]}%")
    REPORT.extend(f"  {lookup:14} {', '.join(names)}" for lookup, names in sorted(by_lookup.items()))
    REPORT.append("matcher: the commonest reasons:")
    REPORT.extend(f"  {count:6} {reason[:120]}" for reason, count in reasons.most_common(12))


def assert_easy(seen: Counter[str], refused: Counter[str]) -> None:
    """A lookup that is easy and has no predicate is a defect; a share has four standard deviations for chance."""
    for leaf, share in EASY.items():
        expected, chance = share * seen[leaf], 4 * (share * (1 - share) * seen[leaf]) ** 0.5
        if seen[leaf] >= 10:
            assert refused[leaf] <= expected + chance, f"{leaf}: {refused[leaf]} of {seen[leaf]} refused"
