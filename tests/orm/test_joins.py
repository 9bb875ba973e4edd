"""Filters through relations: what the predicate and its live sets accept is what PostgreSQL selects, on random rows.

Also after changes, when the sets follow these. ``DDDP_JOIN_ROUNDS`` sets the number of random databases (default 20),
``DDDP_JOIN_SEED`` the first seed; each is named when it fails.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from django.db.models import Count, Exists, F, Min, OuterRef, Q, QuerySet
from django.db.models.sql import Query

from dddp.changes import Change, Key, Kind, Table
from dddp.livequery.liveset import Delta, LiveSet, LiveSets
from dddp.livequery.predicate import InSet, Predicate, SetSpec
from dddp.livequery.query import LiveQuery
from dddp.livequery.setuse import uses_of
from dddp.orm.documents import ModelShape, document_id
from dddp.orm.queries import restrict, specify
from dddp.orm.reads import read
from dddp.orm.tables import table_of
from tests.orm.models import Country, Review, Topic, Work, Writer
from tests.orm.querysets import THROUGH, change_rows, fill, random_queryset

pytestmark = pytest.mark.django_db(transaction=True)

MODELS = [Country, Writer, Work, Topic, Review, THROUGH]
CAPTURED = frozenset(table_of(model) for model in MODELS)
COLUMNS = {table_of(model): [f.column for f in model._meta.local_concrete_fields] for model in MODELS}
FIRST = int(os.environ.get("DDDP_JOIN_SEED", "0"))
SEEDS = range(FIRST, FIRST + int(os.environ.get("DDDP_JOIN_ROUNDS", "20")))

W, A, T, C, R = Work.objects, Writer.objects, Topic.objects, Country.objects, Review.objects

COMPILED: list[QuerySet[Any]] = [
    W.filter(writer__name="a"),
    W.exclude(writer__name="a"),
    W.filter(writer__name__in=["a", "b"], year__gt=1),
    W.filter(Q(writer__name="a") | Q(year=2)),
    W.filter(~Q(writer__name="a") | Q(year=2)),
    W.filter(~(Q(writer__name="a") & Q(year=2))),
    W.filter(writer__country__name="x"),
    W.exclude(writer__country__name="x"),
    W.filter(Q(writer__country__name="x") | Q(writer__name="b")),
    W.exclude(Q(writer__country__name="x") | Q(writer__name="b")),
    W.filter(writer__country__isnull=True),
    W.filter(writer__country__isnull=False),
    W.filter(writer__country__name__isnull=True),
    W.exclude(writer__country__name__isnull=True),
    W.filter(writer__isnull=True),
    W.filter(writer__name__startswith="a", writer__country__name="x"),
    W.filter(writer__country=1),
    W.filter(topics__word="p"),
    W.filter(topics__word="p", year__lt=3),
    W.filter(topics__word="p", writer__name="a"),
    W.filter(topics=1),
    W.filter(review__stars=3),
    W.exclude(review__stars=3),
    W.filter(review__isnull=True),
    W.filter(review__stars__isnull=False),
    W.filter(writer__email="a@x", writer__name="a"),
    W.filter(pk__in=W.filter(topics__word="q").values("pk")),
    W.filter(pk__in=W.filter(writer__name="a").values("pk"), year=2),
    A.filter(works__year=2),
    A.filter(works__year=2, works__title="t"),
    W.filter(year__gt=1).filter(writer__works__year=2),
    A.filter(works__year__gte=1, country__name="x"),
    C.filter(writer__name="a"),
    T.filter(works__year=2),
    T.filter(works__writer__name="a"),
    W.order_by("writer__name"),
    W.filter(writer__name=F("writer__email")),
    W.exclude(writer__name=F("writer__email")),
    # What excludes through many rows is a subquery that Django makes.
    W.exclude(topics__word="p"),
    W.exclude(topics__word="p", year=2),
    W.exclude(topics=1),
    W.exclude(topics__isnull=True),
    W.exclude(writer__works__year=2),
    A.exclude(works__topics__word="p"),
    A.exclude(works__year=2).exclude(works__title="t"),
    A.exclude(review__work__topics__word="p"),
    R.exclude(writer__works__year=2),
    # OR, absence
    W.filter(Q(topics__word="p") | Q(year=2)),
    W.filter(Q(topics__word="p") | Q(writer__name="a")),
    W.filter(Q(topics__word="p") | Q(topics__isnull=True)),
    W.filter(~Q(topics__word="p") | Q(writer__works__title="t")),
    W.filter((Q(topics__word="p") | Q(year=2)) & Q(topics=1)),
    W.filter((Q(topics__word="p") | Q(year=2)) & (Q(topics=1) | Q(title="t"))),
    W.filter(topics__isnull=True),
    W.filter(topics__word__isnull=True),
    W.filter(Q(writer=1) | Q(topics=1)),
    A.filter(Q(works__year=2) | Q(works__title="t")),
    C.filter(writer__country__name="x"),
    # Several relations to many rows
    A.filter(works__topics__word="p"),
    A.filter(works__topics=1),
    A.filter(works__year=2, review__stars=3),
    A.filter(works__year=2).filter(works__title="t"),
    C.filter(writer__works__topics__word="p"),
    W.filter(topics__word="p").filter(topics__word="q"),
    # Subqueries
    W.filter(writer__in=A.filter(name="a")),
    W.exclude(writer__in=A.filter(name="a")),
    W.filter(~Q(writer__in=A.filter(works__year=2)) | Q(year=1)),
    W.filter(pk__in=THROUGH.objects.filter(topic__word="p").values("work_id")),
    W.exclude(pk__in=THROUGH.objects.filter(topic__word="p").values("work")),
    W.exclude(pk__in=W.filter(Q(topics__word="p") | Q(writer__name="a"))),
    W.filter(pk__in=A.filter(name="a").values("works")),
    W.filter(title__in=A.values("name")),
    W.filter(writer__in=A.filter(name="a").distinct()),
    W.filter(writer__in=A.none()),
    W.exclude(writer__in=A.none()),
    A.filter(email__in=R.values("writer")),
    A.exclude(pk__in=W.filter(writer__isnull=False).values("writer")),
    A.exclude(pk__in=W.filter(writer__name="a").values("writer")),
    W.filter(Exists(R.filter(work=OuterRef("pk"), stars=3))),
    W.filter(~Exists(THROUGH.objects.filter(work=OuterRef("pk"), topic__word="p"))),
    W.filter(~Exists(A.filter(pk=OuterRef("writer"), name="a"))),
    W.filter(Exists(A.filter(country=OuterRef("writer__country")).exclude(name="a"))),
    W.filter(Exists(W.filter(year=OuterRef("year"), title="t")[:5])),
    W.filter(Q(Exists(R.filter(work=OuterRef("pk")))) | Q(year=2)),
    W.annotate(reviewed=Exists(R.filter(work=OuterRef("pk")))).filter(reviewed=False),
    W.filter(Exists(A.none())),
    # What user_rel with several paths makes
    restrict(W.filter(year__gt=0), Q(writer=1) | Q(topics__works__writer__name="a")),
    restrict(A.all(), Q(country=1) | Q(works__topics=1) | Q(review__stars=3)),
    # Rows that come twice
    W.distinct(),
    W.filter(topics__word__in=["p", "q"]).distinct(),
]


def many_combinations() -> QuerySet[Any]:
    """ORs about the same topic, each with something else."""
    conditions = [Q(topics__word="p") | Q(year=year) for year in range(7)]
    return W.filter(*conditions)


REFUSED: list[tuple[QuerySet[Any], str]] = [
    (W.exclude(writer__in=W.values("writer")), "NULL on either side"),
    (A.exclude(pk__in=W.values("writer")), "NULL on either side"),
    (A.exclude(pk__in=A.values("works__writer")), "NULL on either side"),
    (W.filter(writer__in=A.order_by("name")[:2]), "a subquery that is a slice"),
    (W.filter(writer__in=A.order_by("name").distinct("name")), "distinct by some columns"),
    (W.filter(writer__in=A.union(A.all()).values("pk")), "combines queries"),
    (
        W.filter(writer__in=A.values("country").annotate(n=Min("pk")).values("n")),
        "something else than a column",
    ),
    (W.filter(writer__in=A.annotate(n=Count("works")).filter(n=1)), "aggregates"),
    (W.filter(Exists(A.filter(works__year=2)[1:])), "a subquery that is a slice"),
    (W.filter(Exists(A.filter(name="a"))), "one pair of equal columns"),
    (W.filter(Exists(A.filter(pk__lt=OuterRef("year")))), "one pair of equal columns"),
    (W.filter(Exists(A.filter(name=OuterRef("title"), pk=OuterRef("writer")))), "one pair of equal columns"),
    (W.filter(Exists(A.filter(name=OuterRef("title")) | A.filter(name="a"))), "one pair of equal columns"),
    (
        W.filter(
            Exists(A.filter(works=OuterRef("pk")).filter(Exists(C.filter(name=OuterRef(OuterRef("title"))))))
        ),
        "outside of the next query",
    ),
    (W.filter(writer=A.filter(name="a").values("pk")[:1]), "another place than IN and EXISTS"),
    (W.filter(title=F("writer__name")), "columns of two tables"),
    (many_combinations(), "too many combinations"),
    (W.filter(year__in=A.annotate(y=OuterRef("year")).values("y")), "more than ="),
    (W.distinct("year"), "distinct by some columns"),
]


def shape_of(queryset: QuerySet[Any]) -> ModelShape:
    return ModelShape(queryset.model._meta.model_name or "", queryset.model)


def spec_of(queryset: QuerySet[Any]) -> Any:
    return specify(queryset.all(), shape_of(queryset), captured=CAPTURED, columns=COLUMNS)


def rows(queryset: QuerySet[Any]) -> dict[str, dict[str, Any]]:
    """All rows of the model, as the feed's decoding gives them."""
    return {
        document_id(each.pk): vars(each) | {"_state": None} for each in queryset.model._base_manager.all()
    }


def accepted(spec: Any) -> set[str]:
    """The keys of the rows that the predicate accepts, with its live sets as a read finds them."""
    sets = LiveSets()
    query = LiveQuery(spec, None)  # type: ignore[arg-type]  # only its identity is used
    for values in spec.sets:
        sets.use(values, query)
    found = read("default", [spec], "token", "channel", 0, sets=spec.sets)
    for values, members in found.related.sets.items():
        sets.load(values, members)
    assert set(found.rows[spec]) == {document_id(pk) for pk in spec.source().values_list("pk", flat=True)}
    assert set(found.related.links.get(spec, found.rows[spec])) == set(found.rows[spec])
    return {key for key, row in rows(spec.source()).items() if spec.predicate(row, sets.members)}


@pytest.mark.parametrize("seed", SEEDS)
def test_predicate_through_relations_gives_postgresqls_answer(seed: int) -> None:
    fill(random.Random(seed))
    for queryset in COMPILED:
        spec = spec_of(queryset)
        assert isinstance(spec.predicate, Predicate), f"{queryset.query}: {spec.reason}"

        assert accepted(spec) == selected(queryset), f"{queryset.query}\n{spec.predicate}"


@pytest.mark.parametrize("seed", SEEDS)
def test_predicate_of_a_random_queryset_gives_postgresqls_answer(seed: int) -> None:
    chance = random.Random(seed)
    fill(chance)
    refused = 0
    for _ in range(25):
        queryset = random_queryset(chance)
        spec = spec_of(queryset)
        refused += spec.predicate is None

        if spec.predicate is not None:
            assert accepted(spec) == selected(queryset), f"{queryset.query}\n{spec.predicate}"
    assert refused < 10


@pytest.mark.parametrize("seed", SEEDS)
def test_sets_follow_changes(seed: int) -> None:
    """After a transaction each set either has what PostgreSQL selects, or is known to be out of date."""
    chance = random.Random(seed)
    fill(chance)
    follower = Follower(random_queryset(chance) for _ in range(12))
    for _ in range(8):
        change_rows(chance)
        follower.follow()


class Follower:
    """Some live queries, and the live sets that they share."""

    def __init__(self, querysets: Iterable[QuerySet[Any]]) -> None:
        self.sets = LiveSets()
        self.queries: dict[LiveQuery, QuerySet[Any]] = {}
        for queryset in querysets:
            spec = spec_of(queryset)
            if spec.predicate is not None:
                query = LiveQuery(spec, None)  # type: ignore[arg-type]  # only its identity is used
                self.queries[query] = queryset
                for values in spec.sets:
                    self.sets.use(values, query)
        self.rows = all_rows()
        self.selected = {query: selected(queryset) for query, queryset in self.queries.items()}
        self._load()

    def follow(self) -> None:
        """Tell the sets what has changed in the database, and hold what they make of it against PostgreSQL."""
        before, self.rows = self.rows, all_rows()
        changes = list(difference(before, self.rows))
        deltas = self.sets.apply(changes)
        self._check_sets()
        decided = {query for query in self.queries if all(self.sets[each].loaded for each in query.sets)}
        self._load()
        for query, queryset in self.queries.items():
            now = selected(queryset)
            assert self._accepted(query) == now, f"{queryset.query}\n{query.spec.predicate}"
            if query in decided:
                touched = {change.key for change in changes if change.table == query.spec.shape.table}
                for key in now - self.selected[query] - touched:
                    assert self._is_wanted(query, key, deltas), f"{queryset.query} is not told of {key}"
            self.selected[query] = now

    def _load(self) -> None:
        for values, source in self._sources():
            if not self.sets[values].loaded:
                found = source.values_list("pk", values.column.name)
                self.sets.load(values, {document_id(pk): value for pk, value in found})

    def _sources(self) -> Iterable[tuple[SetSpec, QuerySet[Any]]]:
        sources = [item for query in self.queries for item in query.spec.sets.items()]
        return [(values, source()) for values, source in sources]

    def _check_sets(self) -> None:
        for values, source in self._sources():
            if self.sets[values].loaded:
                expected = set(source.values_list(values.column.name, flat=True)) - {None}
                assert self.sets.members[values].keys() == expected, str(values)

    def _accepted(self, query: LiveQuery) -> set[Key]:
        predicate, table = query.spec.predicate, query.spec.shape.table
        assert predicate is not None
        return {
            key
            for (each, key), row in self.rows.items()
            if each == table and predicate(row, self.sets.members)
        }

    def _is_wanted(self, query: LiveQuery, key: Key, deltas: Mapping[LiveSet, Delta]) -> bool:
        """Whether a row that has entered without a change of its own is among those that are read."""
        row = self.rows[query.spec.shape.table, key]
        for use in query.uses:
            delta = deltas.get(self.sets[use.values])
            if delta and row[use.column.name] in (delta.left if use.negated else delta.entered):
                return True
        return False


def selected(queryset: QuerySet[Any]) -> set[Key]:
    return {document_id(pk) for pk in queryset.values_list("pk", flat=True)}


def all_rows() -> dict[tuple[Table, Key], dict[str, Any]]:
    return {(table_of(model), key): row for model in MODELS for key, row in rows(model.objects.all()).items()}


def difference(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> Iterable[Change]:
    for table, key in {**before, **after}:
        row = after.get((table, key))
        if row is None:
            yield Change(table, key, Kind.GONE)
        elif row != before.get((table, key)):
            yield Change(table, key, Kind.ROW, row)


@pytest.mark.parametrize(("queryset", "words"), REFUSED, ids=range(len(REFUSED)))
def test_what_is_not_certain_is_refused_with_the_reason(queryset: QuerySet[Any], words: str) -> None:
    spec = spec_of(queryset)

    assert spec.predicate is None
    assert words in spec.reason


def test_reference_to_related_rows_makes_one_set_of_two_tables() -> None:
    """A table between two joins that adds nothing costs no set of its own."""
    spec = spec_of(W.filter(topics=1))

    (use,) = uses_of(spec.predicate.expression)
    assert use.values.table == table_of(THROUGH)
    assert len(spec.sets) == 1


def test_equal_filters_share_one_set() -> None:
    one, other = spec_of(W.filter(writer__name="a")), spec_of(W.filter(writer__name="a", year=2))

    assert one.sets.keys() == other.sets.keys()
    assert isinstance(one.predicate.expression, InSet)


def test_what_excludes_keeps_the_set_of_the_excluded() -> None:
    """Not of all others, of which there may be millions."""
    spec = spec_of(W.exclude(writer__name="a"))

    assert spec.sets.keys() == spec_of(W.filter(writer__name="a")).sets.keys()


def test_column_of_a_related_row_that_the_feed_does_not_carry() -> None:
    spec = specify(W.filter(writer__name="a"), shape_of(W.all()), captured=CAPTURED)

    assert spec.predicate is None
    assert "name is not in the feed" in spec.reason


def test_queries_are_not_changed_by_being_compiled() -> None:
    queryset = W.filter(writer__name="a")
    before = str(queryset.query)
    spec_of(queryset)

    assert isinstance(queryset.query, Query)
    assert str(queryset.query) == before
