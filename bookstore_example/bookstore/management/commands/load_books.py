"""``manage.py load_books``: the shop's authors and books, from two CSV files into the database.

Rows are saved one by one, not in bulk: each save is a change that a running server shows to its clients.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from bookstore.models import Author, Book

__all__ = ["DATA", "Command"]

DATA = Path(__file__).resolve().parents[2] / "data"

Columns = Mapping[str, Callable[[str], Any]]
"""Column name -> what reads its text; raises ``ValueError`` or ``ValidationError``."""


class Command(BaseCommand):
    help = "Add the bookstore's authors and books. Running it again adds only what is missing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--reset", action="store_true", help="set listed rows back to the files' values")
        parser.add_argument(
            "--directory", type=Path, default=DATA, help="where authors.csv and books.csv are"
        )

    def handle(self, *args: str, directory: Path, reset: bool, **options: Any) -> None:
        with transaction.atomic():
            authors, author_outcomes = load_authors(directory / "authors.csv", reset)
            book_outcomes = load_books(directory / "books.csv", reset, authors)
        self.report("authors", author_outcomes)
        self.report("books", book_outcomes)

    def report(self, what: str, outcomes: Counter[str]) -> None:
        counts = ", ".join(f"{outcomes[word]} {word}" for word in ("created", "reset", "kept"))
        self.stdout.write(f"{what}: {counts}")


def load_authors(path: Path, reset: bool) -> tuple[dict[str, Author], Counter[str]]:
    """Load the file; answer its authors, by the name they have there, and how many rows had which outcome."""
    known = {author.email: author for author in Author.objects.all()}
    authors: dict[str, Author] = {}
    outcomes: Counter[str] = Counter()
    for fields in read(path, model_columns(Author, "name", "email", "born")):
        author = authors[fields["name"]] = known.get(fields["email"]) or Author()
        outcomes[place(author, fields, reset)] += 1
    return authors, outcomes


def load_books(path: Path, reset: bool, authors: Mapping[str, Author]) -> Counter[str]:
    """Load the file; answer how many rows had which outcome."""

    def author(name: str) -> Author:
        if name not in authors:
            raise ValueError(f"{name!r} is not in authors.csv")
        return authors[name]

    known = {(book.author_id, book.title): book for book in Book.objects.select_related("author")}
    columns = {"author": author, **model_columns(Book, "title", "published", "language", "price")}
    outcomes: Counter[str] = Counter()
    for fields in read(path, columns):
        book = known.get((fields["author"].pk, fields["title"])) or Book()
        outcomes[place(book, fields, reset)] += 1
    return outcomes


def place(row: Author | Book, fields: Mapping[str, Any], reset: bool) -> str:
    """Save a new row, or with ``reset`` what differs in an old one; answer what was done."""
    new = row.pk is None
    changed = {name: value for name, value in fields.items() if new or getattr(row, name) != value}
    if not new and not (reset and changed):
        return "kept"
    for name, value in changed.items():
        setattr(row, name, value)
    row.save(update_fields=None if new else changed)
    return "created" if new else "reset"


def model_columns(model: type[Author | Book], *names: str) -> Columns:
    """Columns that hold what the model's fields of the same name accept; an empty text is null."""
    fields = {name: model._meta.get_field(name) for name in names}
    return {name: lambda text, field=field: field.clean(text or None, None) for name, field in fields.items()}


def read(path: Path, columns: Columns) -> Iterator[dict[str, Any]]:
    """The rows of a CSV file with these columns, as values.

    Raises:
        CommandError: the file or a row cannot be read; names the file, the line and the column.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            for row in lines:
                yield parse(row, columns, f"{path}, line {lines.line_num}")
    except (OSError, UnicodeError, csv.Error) as error:
        raise CommandError(f"{path}: {error}") from error


def parse(row: Mapping[str, str], columns: Columns, where: str) -> dict[str, Any]:
    if row.keys() != columns.keys():
        raise CommandError(f"{where}: the columns must be {', '.join(columns)}")
    values = {}
    for name, value in columns.items():
        try:
            values[name] = value(row[name])
        except (ValueError, ValidationError) as error:
            reason = " ".join(error.messages) if isinstance(error, ValidationError) else error
            raise CommandError(f"{where}, {name}: {reason}") from error
    return values
