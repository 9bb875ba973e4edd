"""Random querysets over the related models of the tests, and a random small library for them to find something in.

Values are few, so that filters hit; NULLs, dangling ends and repetitions are many.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, TypeAlias

from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from tests.orm.models import Country, Review, Topic, Work, Writer

__all__ = ["THROUGH", "change_rows", "fill", "random_queryset"]

THROUGH = Work.topics.through
W, A, T, C, R = Work.objects, Writer.objects, Topic.objects, Country.objects, Review.objects

Chance: TypeAlias = random.Random
Subquery: TypeAlias = Callable[[Any], Q]

NUMBERS, NAMES, WORDS, STARS = (0, 1, 2, 3), ("a", "b", "ab", "x", "y", "t", "u"), ("p", "q"), (2, 3)

#: Paths that lookups take, with what they end at; None for relations, which are only asked whether they are there.
PATHS: dict[type[Model], dict[str, tuple[Any, ...] | None]] = {
    Work: {
        "year": NUMBERS,
        "title": NAMES,
        "writer": None,
        "writer__name": NAMES,
        "writer__country": None,
        "writer__country__name": NAMES,
        "writer__works__year": NUMBERS,
        "writer__works__topics__word": WORDS,
        "writer__review__stars": STARS,
        "writer__country__writer__name": NAMES,
        "topics": None,
        "topics__word": WORDS,
        "topics__works__title": NAMES,
        "review": None,
        "review__stars": STARS,
        "review__writer": None,
        "review__writer__name": NAMES,
        "review__writer__country__name": NAMES,
    },
    Writer: {
        "name": NAMES,
        "country": None,
        "country__name": NAMES,
        "country__writer__name": NAMES,
        "works": None,
        "works__year": NUMBERS,
        "works__title": NAMES,
        "works__topics": None,
        "works__topics__word": WORDS,
        "works__review": None,
        "works__review__stars": STARS,
        "review": None,
        "review__stars": STARS,
        "review__work__year": NUMBERS,
    },
    Topic: {
        "word": WORDS,
        "works": None,
        "works__year": NUMBERS,
        "works__writer": None,
        "works__writer__name": NAMES,
        "works__writer__country__name": NAMES,
        "works__review__stars": STARS,
    },
    Country: {
        "name": NAMES,
        "writer": None,
        "writer__name": NAMES,
        "writer__works": None,
        "writer__works__year": NUMBERS,
        "writer__works__topics__word": WORDS,
    },
    Review: {
        "stars": STARS,
        "writer": None,
        "writer__name": NAMES,
        "writer__works__year": NUMBERS,
        "work__year": NUMBERS,
        "work__writer": None,
        "work__writer__country__name": NAMES,
        "work__topics": None,
        "work__topics__word": WORDS,
    },
}

#: Conditions with a subquery; each is given a maker of random querysets of a model.
SUBQUERIES: dict[type[Model], list[Subquery]] = {
    Work: [
        lambda of: Q(writer__in=of(Writer)),
        lambda of: Q(pk__in=THROUGH.objects.filter(topic__word="p").values("work_id")),
        lambda of: Q(pk__in=of(Writer).values("works")),
        lambda of: Q(pk__in=of(Topic).values("works")),
        lambda of: Q(pk__in=of(Work)),
        lambda of: Q(topics__in=of(Topic)),
        lambda of: Q(review__in=of(Review)),
        lambda of: Q(pk__in=of(Review).values("work")),
        lambda of: Q(writer__in=of(Review).values("work__writer")),
        lambda of: Q(writer__in=of(Work).values("writer")),
        lambda of: Q(writer__country__in=of(Country)),
        lambda of: Q(title__in=of(Writer).values("name")),
        lambda of: Q(year__in=of(Review).values("stars")),
        lambda of: Q(Exists(of(Review).filter(work=OuterRef("pk")))),
        lambda of: Q(Exists(of(Writer).filter(pk=OuterRef("writer")))),
        lambda of: Q(Exists(of(Writer).filter(works=OuterRef("pk")))),
        lambda of: Q(~Exists(of(Topic).filter(works=OuterRef("pk")))),
        lambda of: Q(Exists(of(Writer).filter(country=OuterRef("writer__country")))),
        lambda of: Q(Exists(of(Work).filter(writer=OuterRef("writer")))),
        lambda of: Q(Exists(of(Work).filter(year=OuterRef("year")))),
    ],
    Writer: [
        lambda of: Q(works__in=of(Work)),
        lambda of: Q(pk__in=of(Work).values("writer")),
        lambda of: Q(pk__in=of(Work).filter(writer__isnull=False).values("writer")),
        lambda of: Q(country__in=of(Country)),
        lambda of: Q(country__in=of(Writer).values("country")),
        lambda of: Q(email__in=of(Review).values("writer")),
        lambda of: Q(Exists(of(Work).filter(writer=OuterRef("pk")))),
        lambda of: Q(Exists(of(Review).filter(writer=OuterRef("email")))),
        lambda of: Q(Exists(of(Review).filter(work__writer=OuterRef("pk")))),
    ],
    Topic: [
        lambda of: Q(works__in=of(Work)),
        lambda of: Q(pk__in=of(Work).values("topics")),
        lambda of: Q(Exists(of(Work).filter(topics=OuterRef("pk")))),
    ],
    Country: [
        lambda of: Q(pk__in=of(Writer).values("country")),
        lambda of: Q(writer__in=of(Writer)),
        lambda of: Q(Exists(of(Writer).filter(country=OuterRef("pk")))),
    ],
    Review: [
        lambda of: Q(work__in=of(Work)),
        lambda of: Q(writer__in=of(Writer)),
        lambda of: Q(writer__in=of(Writer).values("email")),
        lambda of: Q(Exists(of(Work).filter(pk=OuterRef("work_id")))),
        lambda of: Q(Exists(THROUGH.objects.filter(work=OuterRef("work"), topic__word="p"))),
    ],
}

#: How deep subqueries are nested at most.
MAX_DEPTH = 2


def random_queryset(chance: Chance, model: type[Model] | None = None, depth: int = 0) -> QuerySet[Any]:
    """Some filter() and exclude() calls, with AND, OR and NOT, through relations and subqueries."""
    model = model or chance.choice([Work, Work, Work, Writer, Writer, Topic, Country, Review])
    rows = model._default_manager.all()
    for _ in range(chance.choice([1, 1, 1, 2])):
        condition = _condition(chance, model, depth, size=1 if depth else 2)
        rows = rows.filter(condition) if chance.random() < 0.65 else rows.exclude(condition)
    return rows


def _condition(chance: Chance, model: type[Model], depth: int, size: int) -> Q:
    kind = chance.random()
    if not size or kind < 0.4:
        found = _lookup(chance, model, depth)
    else:
        one, other = (_condition(chance, model, depth, size - 1) for _ in range(2))
        found = one & other if kind < 0.7 else one | other
    return ~found if chance.random() < 0.25 else found


def _lookup(chance: Chance, model: type[Model], depth: int) -> Q:
    if depth < MAX_DEPTH and chance.random() < 0.15:
        return chance.choice(SUBQUERIES[model])(lambda inner: random_queryset(chance, inner, depth + 1))
    path, values = chance.choice(list(PATHS[model].items()))
    if values is None or chance.random() < 0.12:
        return Q(**{f"{path}__isnull": chance.random() < 0.6})
    lookup = chance.choice(["", "__in", "__gt" if isinstance(values[0], int) else "__startswith"])
    return Q(**{path + lookup: chance.sample(values, 2) if lookup == "__in" else chance.choice(values)})


# -- Rows


def fill(chance: Chance) -> None:
    """A new library."""
    for model in (Review, THROUGH, Work, Writer, Country, Topic):
        model.objects.all().delete()
    for number in (1, 2):
        C.create(pk=number, name=chance.choice("xy"))
    for name in "abc":
        A.create(name=chance.choice(["a", "b", "ab"]), email=f"{name}@x", country=_some(chance, Country))
    for number in (1, 2, 3):
        T.create(pk=number, word=chance.choice("pq"))
    for _ in range(8):
        _add_work(chance)
        if chance.random() < 0.5:
            _add_review(chance)


def _some(chance: Chance, model: type[Model], *, none: bool = True) -> Any:
    rows = list(model._default_manager.order_by("pk"))
    return chance.choice([None, *rows] if none else rows)


def _add_work(chance: Chance) -> None:
    work = W.create(title=chance.choice("tu"), year=chance.randint(0, 3), writer=_some(chance, Writer))
    _set_topics(chance, work)


def _set_topics(chance: Chance, work: Work) -> None:
    topics = list(T.order_by("pk"))
    work.topics.set(chance.sample(topics, min(len(topics), chance.randint(0, 2))))


def _add_review(chance: Chance) -> None:
    free = list(W.filter(review=None).order_by("pk"))
    if free:
        R.create(work=chance.choice(free), stars=chance.randint(2, 3), writer=_some(chance, Writer))


def change_rows(chance: Chance) -> None:
    """Some changes, as one transaction makes them."""
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        _change(chance, _some(chance, chance.choice([Work, Work, Work, Writer, Country, Topic, Review])))


def _change(chance: Chance, row: Any) -> None:
    if row is None:
        chance.choice([_add_work, _add_review])(chance)
    elif chance.random() < 0.15 and not isinstance(row, Country):
        row.delete()
    elif isinstance(row, Work) and chance.random() < 0.4:
        _set_topics(chance, row)
    else:
        _edit(chance, row)


def _edit(chance: Chance, row: Any) -> None:
    if isinstance(row, Work):
        row.title, row.year = chance.choice("tu"), chance.randint(0, 3)
        row.writer = chance.choice([row.writer, _some(chance, Writer)])
    elif isinstance(row, Writer):
        row.name, row.country = chance.choice(["a", "b", "ab"]), _some(chance, Country)
    elif isinstance(row, Review):
        row.stars, row.writer = chance.randint(2, 3), _some(chance, Writer)
    elif isinstance(row, Topic):
        row.word = chance.choice("pq")
    else:
        row.name = chance.choice("xy")
    row.save()
