"""Authors and books: what they accept and how they show themselves."""

from __future__ import annotations

from typing import Any

import pytest
from bookstore.models import Author, Book
from django.core.exceptions import ValidationError

pytestmark = pytest.mark.django_db


@pytest.fixture
def lem() -> Author:
    return Author.objects.create(name="Stanisław Lem", email="stanislaw.lem@example.org", born=1921)


def solaris(author: Author, **fields: Any) -> Book:
    return Book(**{"title": "Solaris", "author": author, "published": 1961, "price": "9.50", **fields})


def test_str(lem: Author) -> None:
    assert str(lem) == "Stanisław Lem"
    assert str(solaris(lem)) == "Solaris"


def test_books_of_an_author(lem: Author) -> None:
    """Books come by title, and by key where titles are equal."""
    for title in ("The Cyberiad", "Solaris", "Solaris"):
        solaris(lem, title=title).save()

    books = list(lem.books.all())

    assert [book.title for book in books] == ["Solaris", "Solaris", "The Cyberiad"]
    assert books[0].pk < books[1].pk


@pytest.mark.parametrize("published", [-3000, -472, 1961, 2100])
def test_year_in_range(lem: Author, published: int) -> None:
    """Years before Christ are negative."""
    solaris(lem, published=published).full_clean()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", ""),
        ("title", "x" * 201),
        ("title", "Sola\0ris"),
        ("published", -3001),
        ("published", 2101),
        ("published", None),
        ("price", "-0.01"),
        ("price", "9.505"),
        ("price", "100000"),
        ("price", "NaN"),
        ("price", "cheap"),
        ("language", ""),
    ],
)
def test_invalid_book(lem: Author, field: str, value: Any) -> None:
    """The error is filed under the field."""
    with pytest.raises(ValidationError) as caught:
        solaris(lem, **{field: value}).full_clean()

    assert list(caught.value.message_dict) == [field]


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", ""), ("email", "lem"), ("email", "stanislaw.lem@example.org"), ("born", -3001), ("born", 2101)],
)
def test_invalid_author(lem: Author, field: str, value: Any) -> None:
    """The error is filed under the field; a taken e-mail is one."""
    fields = {"name": "S. Lem", "email": "s.lem@example.org", field: value}

    with pytest.raises(ValidationError) as caught:
        Author(**fields).full_clean()

    assert list(caught.value.message_dict) == [field]
