"""What the library publishes; ``tests.properties.expected`` says the same in plain Python."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import transaction
from django.db.models import BooleanField, Count, Exists, Func, OuterRef, Q, QuerySet, Value

from dddp.api import API, Call, Collection, Publication, method
from tests.properties.library import models, operations

Book = models.Book.objects
BOOKS = "library.book"
"""A model of several collections: each queryset says which."""
Author = models.Author.objects


class Authors(Collection):
    model = models.Author


class Books(Collection):
    model = models.Book
    exclude = ("owner", "team")


class Teams(Collection):
    model = models.Team


class OwnBooks(Collection):
    """A user's books: owned, or of a team of which the user is a member."""

    name = "own"
    model = models.Book
    fields = ("title", "n", "owner", "team")
    user_rel = ("owner", "team__members")


class TaggedBooks(Collection):
    name = "tagged"
    model = models.Book
    fields = ("title", "n", "tags")


class Shelf(Collection):
    """Books in a shape of their own."""

    name = "shelf"
    model = models.Book
    select_related = ("author",)
    prefetch_related = ("tags",)

    def serialize(self, obj: models.Book) -> dict[str, Any]:
        tags = sorted(tag.name for tag in obj.tags.all())
        return {"label": f"{obj.title} by {obj.author.name}", "tags": tags, "n": obj.n}


class AllTeams(Publication):
    auto = True
    queries = [models.Team.objects.all()]


class All(Publication):
    queries = [Author.all(), (Book.all(), BOOKS)]


class ByEmail(Publication):
    def get_queries(self, email: str) -> list[Any]:
        return [Author.filter(email=email), (Book.filter(author__email=email), BOOKS)]


class ByGoodAuthor(Publication):
    queries = [(Book.filter(author__good=True), BOOKS)]


class ByValue(Publication):
    def get_queries(self, low: int, high: int) -> Any:
        return Book.filter(value__gte=low, value__lte=high), BOOKS


class Cheapest(Publication):
    def get_queries(self, count: int) -> Any:
        return Book.order_by("value", "pk")[:count], BOOKS


class Page(Publication):
    def get_queries(self, start: int, stop: int) -> Any:
        return Book.order_by("-value", "pk")[start:stop], BOOKS


class FirstTitles(Publication):
    """In an order that only PostgreSQL tells."""

    def get_queries(self, count: int) -> Any:
        return Book.order_by("title", "pk")[:count], BOOKS


class CheapestGood(Publication):
    """A slice of rows that a live set lets in; beside it a query that is run again."""

    def get_queries(self, count: int, title: str) -> Any:
        return [
            (Book.filter(author__good=True).order_by("value", "pk")[:count], BOOKS),
            (Book.filter(title__iexact=title), BOOKS),
        ]


class Titles(Publication):
    queries = [(Book.only("title", "n"), BOOKS)]


class Values(Publication):
    def get_queries(self, least: int) -> Any:
        return Book.filter(value__gte=least).only("value", "n", "txn"), BOOKS


class Own(Publication):
    queries = [(Book.all(), "own")]


class OwnFirst(Publication):
    def get_queries(self, count: int) -> Any:
        return Book.order_by("-value", "pk")[:count], "own"


class OwnedBooks(Publication):
    """Of the ordinary collection, for the user of the subscription only."""

    login_required = True

    def get_queries(self) -> Any:
        return Book.filter(owner_id=self.user_id), BOOKS


class Tagged(Publication):
    queries = [(Book.all(), "tagged")]


class OnShelf(Publication):
    def get_queries(self, least: int) -> Any:
        return Book.filter(value__gte=least), "shelf"


class WithoutTag(Publication):
    def get_queries(self, name: str) -> Any:
        return Book.exclude(tags__name=name), BOOKS


class TitleOrTag(Publication):
    def get_queries(self, title: str, name: str) -> Any:
        return Book.filter(Q(title=title) | Q(tags__name=name)), BOOKS


class AuthorWithoutValue(Publication):
    """Books of authors none of whose books has the value."""

    def get_queries(self, value: int) -> Any:
        return Book.exclude(author__books__value=value), BOOKS


class AuthorsOfTag(Publication):
    def get_queries(self, name: str) -> QuerySet:
        return Author.filter(Exists(Book.filter(author=OuterRef("pk"), tags__name=name)))


class WithTags(Publication):
    def get_queries(self, *names: str) -> Any:
        return Book.filter(tags__name__in=names).distinct(), BOOKS


class ValueOrTitle(Publication):
    def get_queries(self, value: int, title: str) -> Any:
        return Book.filter(value=value).union(Book.filter(title=title)), BOOKS


class Prolific(Publication):
    def get_queries(self, least: int) -> QuerySet:
        return Author.annotate(count=Count("books")).filter(count__gte=least)


class Gate(Func):
    """False, as soon as nobody holds the advisory lock of this number: where a test stops a read."""

    template = "(pg_advisory_xact_lock_shared(%(expressions)s) IS NULL)"
    output_field = BooleanField()


class Gated(Publication):
    def get_queries(self, gate: int, least: int) -> Any:
        return Book.annotate(gate=Gate(Value(gate))).filter(value__gte=least, gate=False), BOOKS


class GatedShelf(Publication):
    def get_queries(self, gate: int, least: int) -> Any:
        return Book.annotate(gate=Gate(Value(gate))).filter(value__gte=least, gate=False), "shelf"


class ByHand(Publication):
    """Documents of the ordinary collection, some of which a live query may have too."""

    def publish(self, note: str, *ids: int) -> None:
        for key in ids:
            self.added("library.book", key, {"note": note, "mark": [note, key]})
        self.ready()


writing: list[None] = []


@contextmanager
def counted() -> Iterator[None]:
    writing.append(None)
    try:
        yield
    finally:
        writing.pop()


@method
def login(call: Call, user_id: str | None) -> None:
    call.set_user_id(user_id)


@method
def write(call: Call, *writes: list) -> Any:
    """Perform operations in one transaction; its id."""
    with counted():
        operations.limit_lock_waits()
        for operation in writes:
            operations.perform(operation)
        return operations.transaction_id()


@method(atomic=False)
def write_loosely(call: Call, *writes: list) -> None:
    """Each operation in a transaction of its own."""
    with counted():
        for operation in writes:
            with transaction.atomic():
                operations.limit_lock_waits()
                operations.perform(operation)


@method
def running(call: Call) -> int:
    """How many methods write at this moment, for clients that may be gone."""
    return len(writing)


API.register([Authors, Books, Teams, OwnBooks, TaggedBooks, Shelf])
API.register(
    [AllTeams, All, ByEmail, ByGoodAuthor, ByValue, Cheapest, Titles, Values, Own, OwnFirst, OwnedBooks]
)
API.register([TitleOrTag, AuthorWithoutValue, AuthorsOfTag])
API.register([Tagged, OnShelf, WithoutTag, WithTags, ValueOrTitle, Prolific, Gated, GatedShelf, ByHand])
API.register([Page, FirstTitles, CheapestGood])
API.register([login, write, write_loosely, running])
