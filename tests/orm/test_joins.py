"""Filters through relations: what the predicate and its live sets accept is what PostgreSQL selects, on random rows.

``DDDP_JOIN_ROUNDS`` sets the number of random databases (default 40); each is one seed, named when it fails.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from django.db.models import Q, QuerySet
from django.db.models.sql import Query

from dddp.livequery.liveset import LiveSets
from dddp.livequery.predicate import InSet, Predicate
from dddp.livequery.query import LiveQuery
from dddp.livequery.setuse import uses_of
from dddp.orm.documents import ModelShape, document_id
from dddp.orm.queries import specify
from dddp.orm.reads import read
from dddp.orm.tables import table_of
from tests.orm.models import Country, Review, Topic, Work, Writer

pytestmark = pytest.mark.django_db(transaction=True)

THROUGH = Work.topics.through
MODELS = [Country, Writer, Work, Topic, Review, THROUGH]
CAPTURED = frozenset(table_of(model) for model in MODELS)
COLUMNS = {table_of(model): [f.column for f in model._meta.local_concrete_fields] for model in MODELS}
ROUNDS = int(os.environ.get("DDDP_JOIN_ROUNDS", "40"))

W, A, T, C = Work.objects, Writer.objects, Topic.objects, Country.objects

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
]

REFUSED: list[tuple[QuerySet[Any], str]] = [
    (W.exclude(topics__word="p"), "subquery"),
    (W.filter(Q(topics__word="p") | Q(year=2)), "part of OR or NOT"),
    (W.filter(topics__isnull=True), "absence"),
    (A.filter(works__topics__word="p"), "two relations to many rows"),
    (A.filter(works__topics=1), "two relations to many rows"),
]


def shape_of(queryset: QuerySet[Any]) -> ModelShape:
    return ModelShape(queryset.model._meta.model_name or "", queryset.model)


def spec_of(queryset: QuerySet[Any]) -> Any:
    return specify(queryset.all(), shape_of(queryset), captured=CAPTURED, columns=COLUMNS)


def fill(chance: random.Random) -> None:
    """Few values, so that rows are alike; many NULLs and dangling ends."""
    for model in (Review, THROUGH, Work, Writer, Country, Topic):
        model.objects.all().delete()
    countries = [C.create(pk=n, name=chance.choice("xy")) for n in (1, 2)]
    writers = [
        A.create(
            name=chance.choice(["a", "b", "ab"]), email=f"{n}@x", country=chance.choice([None, *countries])
        )
        for n in "abc"
    ]
    topics = [T.create(pk=n, word=chance.choice("pq")) for n in (1, 2, 3)]
    for _ in range(8):
        work = W.create(
            title=chance.choice("tu"), year=chance.randint(0, 3), writer=chance.choice([None, *writers])
        )
        work.topics.set(chance.sample(topics, chance.randint(0, 2)))
        if chance.random() < 0.5:
            Review.objects.create(work=work, stars=chance.randint(2, 3))


def rows(queryset: QuerySet[Any]) -> dict[str, dict[str, Any]]:
    """All rows of the model, as the feed's decoding gives them."""
    return {document_id(each.pk): dict(each.__dict__) for each in queryset.model._base_manager.all()}


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


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_predicate_through_relations_gives_postgresqls_answer(seed: int) -> None:
    fill(random.Random(seed))
    for queryset in COMPILED:
        spec = spec_of(queryset)
        assert isinstance(spec.predicate, Predicate), f"{queryset.query}: {spec.reason}"
        selected = {document_id(pk) for pk in queryset.values_list("pk", flat=True)}

        assert accepted(spec) == selected, f"{queryset.query}\n{spec.predicate}"


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
