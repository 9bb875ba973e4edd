"""The catalogue: facts about the CSV files that can be checked without a library."""

from __future__ import annotations

import csv
import re
import unicodedata
from collections import Counter
from decimal import Decimal
from pathlib import Path

DATA = Path(__file__).resolve().parents[2] / "bookstore_example" / "bookstore" / "data"


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


AUTHORS = rows("authors.csv")
BOOKS = rows("books.csv")


def repeated(values: list) -> list:
    return [value for value, count in Counter(values).items() if count > 1]


def test_counts() -> None:
    """At least what the README promises."""
    assert len(AUTHORS) >= 120
    assert len(BOOKS) >= 400


def test_authors_are_distinct() -> None:
    assert repeated([author["name"] for author in AUTHORS]) == []
    assert repeated([author["email"] for author in AUTHORS]) == []


def test_titles_are_distinct_per_author() -> None:
    """Two authors may have a book of the same title (Bacon and Montaigne wrote Essays), one author may not."""
    assert repeated([(book["author"], book["title"].casefold()) for book in BOOKS]) == []


def test_every_book_has_a_listed_author_and_every_author_a_book() -> None:
    assert {book["author"] for book in BOOKS} == {author["name"] for author in AUTHORS}


def test_emails() -> None:
    """Nobody's real address: the domain is reserved for examples."""
    assert [a["email"] for a in AUTHORS if not re.fullmatch(r"[a-z.-]+@example\.org", a["email"])] == []


def test_years() -> None:
    """Nobody publishes before the age of ten, or is first printed two centuries after birth."""
    born = {author["name"]: int(author["born"]) for author in AUTHORS if author["born"]}
    ages = {
        book["title"]: int(book["published"]) - born[book["author"]]
        for book in BOOKS
        if book["author"] in born
    }

    assert {title: age for title, age in ages.items() if not 10 <= age <= 200} == {}
    assert [book for book in BOOKS if not -800 <= int(book["published"]) <= 2025] == []
    assert [book for book in BOOKS if int(book["published"]) == 0] == []


def test_prices() -> None:
    """Two decimals, nothing absurd, and varied enough to sort by."""
    prices = [book["price"] for book in BOOKS]

    assert [price for price in prices if not re.fullmatch(r"\d+\.\d\d", price)] == []
    assert [price for price in prices if not Decimal(3) <= Decimal(price) <= Decimal(100)] == []
    assert len(set(prices)) > 50


def test_text() -> None:
    """Composed Unicode without stray spaces, so that equal names compare equal."""
    texts = [text for row in [*AUTHORS, *BOOKS] for text in row.values()]

    assert [text for text in texts if text != unicodedata.normalize("NFC", text)] == []
    assert [text for text in texts if text != " ".join(text.split())] == []


def test_languages() -> None:
    """Many languages, each under one spelling that a subscriber of BooksByLanguage can guess."""
    languages = {book["language"] for book in BOOKS}

    assert len(languages) >= 20
    assert {"English", "French", "Spanish", "Japanese", "Latin"} <= languages
    assert [name for name in languages if not re.fullmatch(r"[A-Z][a-z]+([ -][A-Z][a-z]+)?", name)] == []
