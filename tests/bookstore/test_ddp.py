"""What the bookstore publishes and lets clients do, up to the edge of the api; the server has its own tests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from bookstore import ddp
from bookstore.models import Author, Book
from django.db import transaction

from dddp.api import MeteorError
from dddp.api.sanitise import sanitise

pytestmark = pytest.mark.django_db


@pytest.fixture
def lem() -> Author:
    return Author.objects.create(name="Stanisław Lem", email="stanislaw.lem@example.org", born=1921)


@pytest.fixture
def solaris(lem: Author) -> Book:
    return Book.objects.create(title="Solaris", author=lem, published=1961, language="Polish", price="9.50")


@pytest.fixture
def emma() -> Book:
    austen = Author.objects.create(name="Jane Austen", email="jane.austen@example.org", born=1775)
    return Book.objects.create(title="Emma", author=austen, published=1815, price="7.25")


def call(method: Any, *params: Any) -> Any:
    """A client's call: its parameters checked, its errors as the client would see them."""
    try:
        with transaction.atomic():
            return method(None, *method.bind(params))
    except Exception as error:
        raise sanitise(error) from error


def published(publication: Any, *params: Any) -> list[Any]:
    """The rows of a publication, collection after collection."""
    selections = publication(params, None, None, None).resolve()
    return [row for selection in selections for row in selection.queryset]


def test_all_books(solaris: Book, emma: Book) -> None:
    assert published(ddp.AllBooks) == [emma.author, solaris.author, emma, solaris]


def test_books_by_author_email(solaris: Book, emma: Book) -> None:
    assert published(ddp.BooksByAuthorEmail, "stanislaw.lem@example.org") == [solaris.author, solaris]


def test_books_by_language(solaris: Book, emma: Book) -> None:
    assert published(ddp.BooksByLanguage, "Polish") == [solaris]


def test_cheapest_books(solaris: Book, emma: Book) -> None:
    """By price, then by key."""
    same = Book.objects.create(title="Eden", author=solaris.author, published=1959, price="9.50")

    assert published(ddp.CheapestBooks, 1) == [emma]
    assert published(ddp.CheapestBooks, 100) == [emma, solaris, same]


@pytest.mark.parametrize("limit", [0, 101, -1, 1.5, "10", True, None])
def test_cheapest_books_limit(limit: Any) -> None:
    with pytest.raises(MeteorError) as caught:
        published(ddp.CheapestBooks, limit)

    assert caught.value.error == 400


def test_add_author() -> None:
    """The answer is the document's id, as text; spaces around the values are dropped."""
    key = call(ddp.add_author, " Natsume Sōseki ", "natsume.soseki@example.org")

    author = Author.objects.get()
    assert key == str(author.pk)
    assert (author.name, author.email, author.born) == ("Natsume Sōseki", "natsume.soseki@example.org", None)


@pytest.mark.parametrize("price", ["12.99", 12.99])
def test_add_book(lem: Author, price: Any) -> None:
    """A price may come as text or as JavaScript's number and is exact either way."""
    key = call(ddp.add_book, "Fiasco", str(lem.pk), 1987, price)

    book = Book.objects.get(pk=key)
    assert (book.title, book.author, book.published, book.price) == ("Fiasco", lem, 1987, Decimal("12.99"))


def test_rename_book(solaris: Book) -> None:
    assert call(ddp.rename_book, str(solaris.pk), "Solyaris") == str(solaris.pk)

    solaris.refresh_from_db()
    assert solaris.title == "Solyaris"


def test_reprice_book(solaris: Book) -> None:
    assert call(ddp.reprice_book, str(solaris.pk), 0) == str(solaris.pk)

    solaris.refresh_from_db()
    assert solaris.price == 0


def test_remove_book(solaris: Book, emma: Book) -> None:
    assert call(ddp.remove_book, str(solaris.pk)) == str(solaris.pk)

    assert list(Book.objects.all()) == [emma]


@pytest.mark.parametrize(
    ("method", "rest"),
    [
        (ddp.add_book, None),
        (ddp.rename_book, ["Eden"]),
        (ddp.reprice_book, ["1.00"]),
        (ddp.remove_book, []),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
@pytest.mark.parametrize("key", ["999999999", "9" * 40, "", "x", "1.5", "-1"])
def test_wrong_id(method: Any, rest: list[str] | None, key: str) -> None:
    """An id that no row has, or could have, is a 404 that repeats it."""
    params = ["Eden", key, 1959, "1.00"] if rest is None else [key, *rest]

    with pytest.raises(MeteorError) as caught:
        call(method, *params)

    assert caught.value.error == 404
    assert repr(key) in str(caught.value.reason)


@pytest.mark.parametrize(
    ("title", "published_year", "price", "field"),
    [
        ("", 1987, "1.00", "title"),
        ("   ", 1987, "1.00", "title"),
        ("x" * 201, 1987, "1.00", "title"),
        ("a\0b", 1987, "1.00", "title"),
        ("Fiasco", 2101, "1.00", "published"),
        ("Fiasco", "1987", "1.00", "published"),
        ("Fiasco", 1987, -1, "price"),
        ("Fiasco", 1987, "9.999", "price"),
        ("Fiasco", 1987, "1e9", "price"),
        ("Fiasco", 1987, "cheap", "price"),
        ("Fiasco", 1987, "NaN", "price"),
        ("Fiasco", 1987, None, "price"),
    ],
)
def test_invalid_book(lem: Author, title: Any, published_year: Any, price: Any, field: str) -> None:
    """Error 400, whose details name the field; nothing is stored."""
    with pytest.raises(MeteorError) as caught:
        call(ddp.add_book, title, str(lem.pk), published_year, price)

    assert caught.value.error == 400
    assert list(caught.value.details) == [field]
    assert not Book.objects.exists()


@pytest.mark.parametrize(
    ("name", "email", "field"),
    [("", "a@example.org", "name"), ("A", "a", "email"), ("A", "stanislaw.lem@example.org", "email")],
)
def test_invalid_author(lem: Author, name: str, email: str, field: str) -> None:
    """Error 400, whose details name the field; a taken e-mail is one."""
    with pytest.raises(MeteorError) as caught:
        call(ddp.add_author, name, email)

    assert caught.value.error == 400
    assert list(caught.value.details) == [field]


@pytest.mark.parametrize(
    ("method", "value", "field"), [(ddp.rename_book, "", "title"), (ddp.reprice_book, "-1", "price")]
)
def test_invalid_change(solaris: Book, method: Any, value: str, field: str) -> None:
    """Error 400, whose details name the field; the book stays as it was."""
    with pytest.raises(MeteorError) as caught:
        call(method, str(solaris.pk), value)

    assert list(caught.value.details) == [field]
    solaris.refresh_from_db()
    assert (solaris.title, solaris.price) == ("Solaris", Decimal("9.50"))
