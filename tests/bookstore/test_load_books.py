"""manage.py load_books: loads once, keeps what users changed, names a bad row."""

from __future__ import annotations

from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from bookstore.models import Author, Book
from django.core.management import CommandError, call_command

pytestmark = pytest.mark.django_db

AUTHORS = "name,email,born\nStanisław Lem,stanislaw.lem@example.org,1921\nSaadi,saadi@example.org,\n"
BOOKS = (
    "title,author,published,language,price\n"
    "Solaris,Stanisław Lem,1961,Polish,9.50\n"
    '"Gulistan, or The Rose Garden",Saadi,1258,Persian,12.00\n'
)


def load(*arguments: str) -> list[str]:
    """What the command prints, line by line."""
    output = StringIO()
    call_command("load_books", *arguments, stdout=output)
    return output.getvalue().splitlines()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / "authors.csv").write_text(AUTHORS, encoding="utf-8")
    (tmp_path / "books.csv").write_text(BOOKS, encoding="utf-8")
    return tmp_path


def test_small_files(directory: Path) -> None:
    """Every column arrives, an empty year of birth as unknown."""
    assert load(f"--directory={directory}") == [
        "authors: 2 created, 0 reset, 0 kept",
        "books: 2 created, 0 reset, 0 kept",
    ]

    book = Book.objects.get(author__email="saadi@example.org")
    assert (book.title, book.published, book.language) == ("Gulistan, or The Rose Garden", 1258, "Persian")
    assert book.price == Decimal("12.00")
    assert book.author.born is None
    assert Author.objects.get(name="Stanisław Lem").born == 1921


def test_twice() -> None:
    """The second run of the real files changes nothing."""
    load()
    before = (Author.objects.in_bulk().keys(), list(Book.objects.values()))

    authors, books = load()

    assert authors == f"authors: 0 created, 0 reset, {Author.objects.count()} kept"
    assert books == f"books: 0 created, 0 reset, {Book.objects.count()} kept"
    assert (Author.objects.in_bulk().keys(), list(Book.objects.values())) == before


def test_changes_of_users_are_kept(directory: Path) -> None:
    """Prices, added books and removed ones: only what is missing comes back."""
    load(f"--directory={directory}")
    Book.objects.filter(title="Solaris").update(price="1.00")
    Book.objects.exclude(title="Solaris").delete()
    Author.objects.get(name="Saadi").books.create(title="Bustan", published=1257, price=8)

    _, books = load(f"--directory={directory}")

    assert books == "books: 1 created, 0 reset, 1 kept"
    assert Book.objects.get(title="Solaris").price == Decimal("1.00")
    assert Book.objects.filter(title="Bustan").exists()


def test_reset(directory: Path) -> None:
    """Listed rows get the files' values again, others stay."""
    load(f"--directory={directory}")
    Book.objects.filter(title="Solaris").update(price="1.00")
    Author.objects.filter(name="Saadi").update(born=1210)
    Author.objects.get(name="Saadi").books.create(title="Bustan", published=1257, price=8)

    assert load("--reset", f"--directory={directory}") == [
        "authors: 0 created, 1 reset, 1 kept",
        "books: 0 created, 1 reset, 1 kept",
    ]

    assert Book.objects.get(title="Solaris").price == Decimal("9.50")
    assert Author.objects.get(name="Saadi").born is None
    assert Book.objects.filter(title="Bustan").exists()


def test_title_that_a_user_added_twice(directory: Path) -> None:
    """Users may add the same title again; the loader takes either as present."""
    load(f"--directory={directory}")
    Author.objects.get(name="Stanisław Lem").books.create(title="Solaris", published=1961, price=3)

    _, books = load(f"--directory={directory}")

    assert books == "books: 0 created, 0 reset, 2 kept"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("Eden,Stanisław Lem,long ago,Polish,9.50", "published: “long ago” value must be an integer"),
        ("Eden,Stanisław Lem,,Polish,9.50", "published: This field cannot be null"),
        ("Eden,Stanisław Lem,1959,Polish,-1", "price: .*greater than or equal to 0"),
        ("Eden,Nobody,1959,Polish,9.50", "author: 'Nobody' is not in authors.csv"),
        ("Eden,Stanisław Lem,1959,Polish", "price: This field cannot be null"),
        ("Eden, the novel,Stanisław Lem,1959,Polish,9.50", "the columns must be"),
    ],
)
def test_bad_row(directory: Path, row: str, reason: str) -> None:
    """The error names file, line and column, and nothing of the files is loaded."""
    with (directory / "books.csv").open("a", encoding="utf-8") as file:
        file.write(row + "\n")

    with pytest.raises(CommandError, match=rf"books\.csv, line 4.*{reason}"):
        load(f"--directory={directory}")

    assert not Author.objects.exists()


def test_bad_header(directory: Path) -> None:
    """A renamed column is said, not guessed."""
    (directory / "authors.csv").write_text("name,mail,born\nSaadi,saadi@example.org,\n", encoding="utf-8")

    with pytest.raises(CommandError, match=r"authors\.csv, line 2: the columns must be name, email, born"):
        load(f"--directory={directory}")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"authors\.csv.*No such file"):
        load(f"--directory={tmp_path}")


def test_file_that_is_not_utf8(directory: Path) -> None:
    (directory / "authors.csv").write_bytes("name,email,born\nLönnrot,l@example.org,\n".encode("latin-1"))

    with pytest.raises(CommandError, match=r"authors\.csv.*utf-8"):
        load(f"--directory={directory}")
