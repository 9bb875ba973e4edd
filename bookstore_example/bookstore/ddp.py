"""What the bookstore offers over DDP: two collections, four publications, five methods."""

from __future__ import annotations

from decimal import Decimal

from django.db.models import Model, QuerySet

from bookstore import models
from dddp.api import API, Call, Collection, MeteorError, Publication, method


class Author(Collection):
    model = models.Author


class Book(Collection):
    model = models.Book


class AllBooks(Publication):
    queries = [models.Author.objects.all(), models.Book.objects.all()]


class BooksByAuthorEmail(Publication):
    def get_queries(self, author_email: str) -> list[QuerySet]:
        return [
            models.Author.objects.filter(email=author_email),
            models.Book.objects.filter(author__email=author_email),
        ]


class BooksByLanguage(Publication):
    def get_queries(self, language: str) -> QuerySet:
        return models.Book.objects.filter(language=language)


class CheapestBooks(Publication):
    def get_queries(self, limit: int) -> QuerySet:
        if not 1 <= limit <= 100:
            raise MeteorError(400, "limit must be a whole number from 1 to 100")
        return models.Book.objects.order_by("price", "pk")[:limit]


@method("bookstore.add_author")
def add_author(call: Call, name: str, email: str) -> str:
    return store(models.Author(name=name.strip(), email=email.strip()))


@method("bookstore.add_book")
def add_book(call: Call, title: str, author_id: str, published: int, price: Decimal) -> str:
    author = find(models.Author, author_id)
    return store(models.Book(title=title.strip(), author=author, published=published, price=price))


@method("bookstore.rename_book")
def rename_book(call: Call, book_id: str, title: str) -> str:
    book = find(models.Book, book_id)
    book.title = title.strip()
    return store(book, "title")


@method("bookstore.reprice_book")
def reprice_book(call: Call, book_id: str, price: Decimal) -> str:
    book = find(models.Book, book_id)
    book.price = price
    return store(book, "price")


@method("bookstore.remove_book")
def remove_book(call: Call, book_id: str) -> str:
    find(models.Book, book_id).delete()
    return book_id


def find(model: type[Model], key: str) -> Model:
    """The row with this id, locked until the method's transaction ends; error 404 when there is none."""
    try:
        return model.objects.select_for_update(no_key=True).get(pk=key)
    except (model.DoesNotExist, ValueError):  # ValueError: the id is not even a number
        raise MeteorError(404, f"There is no {model._meta.verbose_name} with the id {key!r}") from None


def store(row: Model, *fields: str) -> str:
    """Check a row, save it (or only the named fields) and answer its id; error 400 names a wrong field."""
    row.full_clean()
    row.save(update_fields=fields or None)
    return str(row.pk)


API.register([Author, Book])
API.register([AllBooks, BooksByAuthorEmail, BooksByLanguage, CheapestBooks])
API.register([add_author, add_book, rename_book, reprice_book, remove_book])
