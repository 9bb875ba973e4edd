"""What querysets are as live queries, and that it is worked out no more often than needed."""

from __future__ import annotations

import gc

import pytest
from django.db import OperationalError

from dddp.livequery.router import Router
from dddp.orm import columns
from dddp.orm.documents import ModelShape
from dddp.orm.tables import table_of
from dddp.runtime.specs import Specs
from tests import postgres
from tests.orm.models import Work

pytestmark = pytest.mark.django_db

SHAPE, OTHER = ModelShape("works", Work), ModelShape("titles", Work, fields=["title"])


def specs(router: Router) -> Specs:
    return Specs("default", {table_of(Work): ["id", "title", "year"]}, router.living)


def test_queryset_that_comes_again() -> None:
    made, queryset = specs(Router()), Work.objects.all()

    assert made.spec(queryset, SHAPE) is made.spec(queryset, SHAPE)


def test_queryset_in_two_shapes() -> None:
    """Two collections of one model."""
    made, queryset = specs(Router()), Work.objects.all()

    assert made.spec(queryset, SHAPE) != made.spec(queryset, OTHER)
    assert made.spec(queryset, OTHER).shape is OTHER


def test_queryset_equal_to_a_living_query() -> None:
    """It is the living one's spec: nothing is compiled again."""
    router = Router()
    made = specs(router)
    query, _ = router.open(made.spec(Work.objects.filter(year=1), SHAPE))

    assert made.spec(Work.objects.filter(year=1), SHAPE) is query.spec
    assert made.spec(Work.objects.filter(year=2), SHAPE) is not query.spec


def test_queryset_equal_to_a_query_that_has_ended() -> None:
    router = Router()
    made = specs(router)
    query, _ = router.open(made.spec(Work.objects.filter(year=1), SHAPE))
    list(router.close(query))

    assert made.spec(Work.objects.filter(year=1), SHAPE) is not query.spec


def test_queryset_that_is_gone() -> None:
    """Nothing is kept of it."""
    made = specs(Router())
    made.spec(Work.objects.filter(year=1), SHAPE)
    gc.collect()

    assert not made._made


def test_database_that_was_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is concluded from that: the same queryset is followed by its rows once the database is back."""
    monkeypatch.setattr(columns, "_known", {})
    made, queryset = specs(Router()), Work.objects.order_by("year")[:2]
    with postgres.away(), pytest.raises(OperationalError):
        made.spec(queryset, SHAPE)

    assert made.spec(queryset, SHAPE).window is not None
