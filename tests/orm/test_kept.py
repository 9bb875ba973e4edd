"""A queryset that was kept as bytes is the one that it was."""

from __future__ import annotations

from typing import Any

import pytest
from django.db.models import Exists, F, OuterRef, Q, Value
from django.db.models.functions import Upper

from dddp.orm.kept import Kept
from tests.orm.models import Everything, Review, Topic, Work

QUERYSETS = [
    Work.objects.all(),
    Work.objects.filter(year=1).exclude(title="a"),
    Work.objects.filter(Q(writer__name="a") | Q(topics__word="b")).order_by("-year")[2:5],
    Work.objects.exclude(topics__word="b"),
    Work.objects.annotate(later=F("year") + 1, upper=Upper("title")).filter(later=2),
    Work.objects.filter(Exists(Review.objects.filter(work=OuterRef("pk")))),
    Work.objects.filter(topics__in=Topic.objects.filter(word="a")),
    Work.objects.filter(year=1).union(Work.objects.filter(year=2)),
    Work.objects.only("title", "writer").select_related("writer"),
    Review.objects.filter(stars=2),
    Everything.objects.filter(integers__contains=[1], json__a="x", binary=b"\0"),
]


@pytest.mark.parametrize("queryset", QUERYSETS, ids=range(len(QUERYSETS)))
def test_later_runs_have_the_same_sql(queryset: Any) -> None:
    kept = Kept(queryset, packed=True)

    first, second, third = (str(kept().query) for _ in range(3))
    assert first == second == third == str(queryset.query)


@pytest.mark.django_db
def test_later_runs_have_the_same_rows() -> None:
    Work.objects.create(title="a")
    kept = Kept(Work.objects.using("default").filter(title="a"), packed=True)

    assert list(kept()) == list(kept().filter(title__contains="a")) == list(Work.objects.all())
    assert kept().db == "default"


def test_queryset_that_prefetches() -> None:
    """Its objects are made for a ``serialize`` of the project's own."""
    kept = Kept(Work.objects.prefetch_related("topics"), packed=False)

    assert [kept()._prefetch_related_lookups for _ in range(2)] == [("topics",)] * 2


class Own(Value):
    """An expression that cannot be pickled."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.hook = lambda: value


def test_queryset_that_cannot_be_pickled() -> None:
    kept = Kept(Work.objects.filter(title=Own("a")), packed=True)

    assert str(kept().query) == str(kept().query)
