"""What writers do: small changes of the library by name, from any process. Needs Django, knows nothing of DDP.

Keys are small numbers, so that writers meet. An operation on a row that is not there does nothing.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import F

from tests.properties.library.models import Author, Book, Tag, Team

__all__ = ["BY_TRIGGERS", "OPERATIONS", "limit_lock_waits", "perform", "reset", "transaction_id"]


def perform(operation: Sequence[Any]) -> None:
    """Perform ``[name, *arguments]``."""
    name, *arguments = operation
    (OPERATIONS.get(name) or BY_TRIGGERS[name])(*arguments)


def limit_lock_waits() -> None:
    """Let this transaction fail rather than wait for one that a test holds open."""
    _execute("SET LOCAL lock_timeout = '200ms'")


def reset() -> None:
    """The state that every example begins with."""
    for model in (Book, Author, Tag, Team):
        for row in model.objects.all():
            row.delete()
    for team in (1, 2):
        Team(pk=team, name=f"team {team}").save()
        Team.objects.get(pk=team).members.set([team])
    for key in (1, 2, 3):
        Tag(pk=key, name=f"tag {key}").save()
    for key in (1, 2):
        put_author(key, key)
    for key in (1, 2, 3):
        put_book(key, 1 + key % 2, key)


def transaction_id() -> int | None:
    """The id of this transaction; None while it has written nothing."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id_if_assigned()::text::bigint")
        return cursor.fetchone()[0]


def _a_book(key: int, author: int, value: int) -> Book:
    return Book(
        pk=key,
        author_id=author,
        title=f"title {value % 3}",
        value=value,
        price=Decimal(value) / 4,
        data={"value": value, "deep": [{"of": author}]},
        published=datetime.date(2000, 1, 1 + value),
    )


def put_book(key: int, author: int, value: int) -> None:
    if Author.objects.filter(pk=author).exists():
        _a_book(key, author, value).save()


def _change(key: int, **fields: Any) -> None:
    book = Book.objects.filter(pk=key).first()
    if book is not None:
        for name, value in fields.items():
            setattr(book, name, value)
        book.save(update_fields=list(fields))


def revalue(key: int, value: int) -> None:
    _change(key, value=value, data={"value": value})


def retitle(key: int, number: int) -> None:
    _change(key, title=f"title {number}")


def enlarge(key: int, kilobytes: int) -> None:
    """Past eight kilobytes a row does not fit into a notification."""
    _change(key, pad="ü" * 512 * kilobytes)


def retarget(key: int, author: int) -> None:
    if Author.objects.filter(pk=author).exists():
        _change(key, author_id=author)


def own(key: int, user: int | None) -> None:
    _change(key, owner_id=user)


def share(key: int, team: int | None) -> None:
    if team is None or Team.objects.filter(pk=team).exists():
        _change(key, team_id=team)


def remove_book(key: int) -> None:
    Book.objects.filter(pk=key).delete()


def there_and_back(key: int, value: int) -> None:
    """A, B, A: the row is written, and is what it was."""
    book = Book.objects.filter(pk=key).first()
    if book is not None:
        before = book.value
        for step in (value, before):
            book.value = step
            book.save(update_fields=["value"])


def remove_and_put(key: int, author: int, value: int) -> None:
    remove_book(key)
    put_book(key, author, value)


def put_and_remove(key: int, author: int, value: int) -> None:
    put_book(key, author, value)
    remove_book(key)


def move_value(source: int, target: int, amount: int) -> None:
    """Take from one book what another is given, locking in the order of keys."""
    rows = {
        book.pk: book
        for book in Book.objects.filter(pk__in=[source, target]).order_by("pk").select_for_update()
    }
    if len(rows) == 2:
        rows[source].value -= amount
        rows[target].value += amount
        for key in sorted(rows):
            rows[key].save(update_fields=["value"])


def put_author(key: int, address: int) -> None:
    Author(pk=key, name=f"author {key}", email=f"{address}@example.org").save()


def readdress(key: int, address: int) -> None:
    author = Author.objects.filter(pk=key).first()
    if author is not None:
        author.email = f"{address}@example.org"
        author.save(update_fields=["email"])


def judge(key: int, good: bool) -> None:
    author = Author.objects.filter(pk=key).first()
    if author is not None:
        author.good = good
        author.save()


def remove_author(key: int) -> None:
    """With the author go the books."""
    for author in Author.objects.filter(pk=key):
        author.delete()


def tag(key: int, *tags: int) -> None:
    for book in Book.objects.filter(pk=key):
        book.tags.add(*tags)


def untag(key: int, *tags: int) -> None:
    for book in Book.objects.filter(pk=key):
        book.tags.remove(*tags)


def set_tags(key: int, *tags: int) -> None:
    for book in Book.objects.filter(pk=key):
        book.tags.set(tags)


def rename_tag(key: int, number: int) -> None:
    row = Tag.objects.filter(pk=key).first()
    if row is not None:
        row.name = f"tag {number}"
        row.save()


def join(team: int, user: int) -> None:
    for row in Team.objects.filter(pk=team):
        row.members.add(user)


def leave(team: int, user: int) -> None:
    for row in User.objects.filter(pk=user):
        row.teams.remove(team)


# What only triggers see.


def put_books(author: int, value: int, *keys: int) -> None:
    if Author.objects.filter(pk=author).exists():
        books = [_a_book(key, author, value) for key in dict.fromkeys(keys)]
        Book.objects.bulk_create(books, ignore_conflicts=True)


def revalue_all(below: int, amount: int) -> None:
    Book.objects.filter(value__lt=below).update(value=F("value") + amount)


def remove_team(key: int) -> None:
    """Sets the books' team to NULL, and forgets who was a member."""
    Team.objects.filter(pk=key).delete()


def put_team(key: int) -> None:
    Team(pk=key, name=f"team {key}").save()


def by_sql(key: int, value: int) -> None:
    _execute("UPDATE library_book SET value = %s WHERE id = %s", value, key)


def rekey(key: int, other: int) -> None:
    """The row leaves under one key and comes back under another."""
    if not Book.objects.filter(pk=other).exists():
        _execute("DELETE FROM library_book_tags WHERE book_id = %s", key)
        _execute("UPDATE library_book SET id = %s WHERE id = %s", other, key)


def truncate() -> None:
    _execute("TRUNCATE library_book CASCADE")


def _execute(statement: str, *parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


OPERATIONS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (
        put_book,
        revalue,
        retitle,
        enlarge,
        retarget,
        own,
        share,
        remove_book,
        there_and_back,
        remove_and_put,
        put_and_remove,
        move_value,
        put_author,
        readdress,
        judge,
        remove_author,
        tag,
        untag,
        set_tags,
        rename_tag,
        join,
        leave,
    )
}
BY_TRIGGERS: dict[str, Callable[..., None]] = {
    function.__name__: function
    for function in (put_books, revalue_all, remove_team, put_team, by_sql, rekey, truncate)
}
"""Operations that send no signals, or not all."""
