"""Collections, publications and methods: one for each behaviour that the tests of the runtime look at."""

from __future__ import annotations

import datetime
from typing import Any

import gevent
from django.contrib.auth import get_user_model
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection, transaction
from django.db.models import F, Func, TextField, Value
from django.http import Http404

from dddp.api import (
    ABSENT,
    API,
    Collection,
    MeteorError,
    Method,
    Publication,
    method,
    publication,
    rate_limit,
)
from tests.runtime.project import counting, gates, models

# --- collections


class House(Collection):
    model = models.House


class Author(Collection):
    model = models.Author


class Book(Collection):
    model = models.Book


class Letter(Collection):
    model = models.Letter
    user_rel = "owner"


class Record(Collection):
    model = models.Record


class PlainBook(Collection):
    """A second collection of the same rows."""

    name = "plain"
    model = models.PlainBook
    fields = ["title"]


# --- publications of querysets


class Everybody(Publication):
    """What every client gets without asking."""

    auto = True

    def publish(self) -> None:
        self.added("everybody", "welcome", {"user": self.user_id or "nobody"})


class Badge(Publication):
    """What every user gets without asking; refused to anonymous clients."""

    auto = True
    login_required = True

    def publish(self) -> None:
        self.added("badges", "badge", {"of": self.user.username})


class Books(Publication):
    queries = models.Book.objects.all()


class BooksFrom(Publication):
    def get_queries(self, price: int) -> Any:
        return [models.Book.objects.filter(price__gte=price)]


class BooksBetween(Publication):
    """The same collection twice."""

    def get_queries(self, least: int, most: int) -> Any:
        return [models.Book.objects.filter(price__gte=least), models.Book.objects.filter(price__lte=most)]


class Shop(Publication):
    queries = [models.Author.objects.all(), models.Book.objects.all()]


class AsPlain(Publication):
    queries = [(models.Book.objects.all(), "plain")]


class Nothing(Publication):
    queries: list[Any] = []


class NoRows(Publication):
    queries = [models.Book.objects.none()]


class Titles(Publication):
    queries = [models.Book.objects.only("title")]


class Prices(Publication):
    queries = [models.Book.objects.only("price")]


class BooksOf(Publication):
    """Through the author and the author's house."""

    def get_queries(self, house: str) -> Any:
        return [models.Book.objects.filter(author__house__name=house)]


class BooksBy(Publication):
    """Through the author."""

    def get_queries(self, name: str) -> Any:
        return [models.Book.objects.filter(author__name=name)]


class Cheapest(Publication):
    def get_queries(self, count: int) -> Any:
        return [models.Book.objects.order_by("price", "pk")[:count]]


class Doubled(Publication):
    """Filtered by an annotation, which is not published."""

    queries = [models.Book.objects.annotate(double=F("price") * 2).filter(double__gte=20)]


class Letters(Publication):
    queries = [models.Letter.objects.all()]


class Records(Publication):
    queries = [models.Record.objects.all()]


class Members(Publication):
    login_required = True
    queries = [models.Author.objects.all()]


class Staff(Publication):
    permission_required = "shop.change_book"
    queries = [models.Author.objects.all()]


class Reviewed(Publication):
    """Reads a table that is not captured."""

    def get_queries(self) -> Any:
        return [models.Book.objects.filter(review__stars__gte=4)]


class NotAQueryset(Publication):
    def get_queries(self) -> Any:
        return [models.Book.objects.all(), 5]


class Raising(Publication):
    def get_queries(self, kind: str) -> Any:
        raise {
            "meteor": MeteorError("closed", "We are closed", {"until": "Monday"}),
            "denied": PermissionDenied(),
            "zero": ZeroDivisionError("a secret"),
            "timeout": gevent.Timeout(1),
        }[kind]


class RaisingInit(Publication):
    queries = models.Book.objects.all()

    def __init__(self, *args: Any) -> None:
        raise ZeroDivisionError("a secret")


class DividedBooks(Publication):
    """Its SQL fails as soon as a book costs nothing."""

    queries = [models.Book.objects.annotate(share=Value(100) / F("price")).filter(share__gte=0)]


class SlowBooks(Publication):
    """Takes a second for each book that costs ``price``."""

    def get_queries(self, price: int) -> Any:
        sleep = Func(Value(1.0), function="pg_sleep", output_field=TextField())
        return models.Book.objects.filter(price=price).alias(slept=sleep).filter(slept__isnull=False)


class Gated(Publication):
    """Its handler waits at a gate."""

    def get_queries(self, gate: str) -> Any:
        gates.wait_at(gate)
        return models.Author.objects.all()


class GatedForUser(Publication):
    """Once somebody has logged in, its handler waits at a gate."""

    def get_queries(self, gate: str) -> Any:
        if self.user_id is not None:
            gates.wait_at(gate)
        return models.Author.objects.all()


class GatedForNobody(Publication):
    """After a logout, its handler waits at a gate."""

    def get_queries(self, gate: str) -> Any:
        gates.wait_at(f"{'user' if self.user_id else 'nobody'} {gate}")
        return models.Author.objects.all()


# --- publications by hand


class Hand(Publication):
    """Adds one document and is ready."""

    def publish(self, id: str, fields: dict[str, Any]) -> None:
        self.added("things", id, fields)
        self.ready()


class HandBook(Publication):
    """Publishes by hand into a collection that has live queries."""

    def publish(self, id: str, fields: dict[str, Any]) -> None:
        self.added("shop.book", id, fields)
        self.ready()


class Script(Publication):
    """Does what the client says, step by step."""

    def publish(self, steps: list[list[Any]]) -> None:
        for name, *arguments in steps:
            self.step(name, *arguments)

    def step(self, name: str, *arguments: Any) -> None:
        if name == "error":
            self.error(MeteorError(*arguments))
        elif name == "raise":
            raise ZeroDivisionError("a secret")
        elif name == "clear":
            collection, id, field = arguments
            self.changed(collection, id, {field: ABSENT})
        else:
            getattr(self, name)(*arguments)


class StopThenQueries(Publication):
    """Ends itself, and returns querysets all the same."""

    def publish(self) -> Any:
        self.stop()
        return models.Author.objects.all()


class HandAndQueries(Publication):
    def publish(self) -> Any:
        self.added("things", "one", {"by": "hand"})
        return models.Author.objects.all()


class Ticker(Publication):
    """Goes on after its handler has returned, in a greenlet of its own; tells of its end at a gate."""

    def publish(self, gate: str) -> None:
        self.on_stop(lambda: gates.open_gate(f"{gate} stopped"))
        self.added("things", gate, {"n": 0})
        self.ready()
        gevent.spawn(self.tick, gate)

    def tick(self, gate: str) -> None:
        gates.wait_at(f"{gate} change")
        self.changed("things", gate, {"n": 1})
        gates.wait_at(f"{gate} end")
        self.removed("things", gate)
        self.stop()
        self.added("things", gate, {"n": 2})  # no one hears it
        gates.open_gate(f"{gate} done")


class Unblocked(Publication):
    """Lets the next message start, then waits at a gate."""

    def publish(self, gate: str) -> None:
        self.unblock()
        self.unblock()
        gates.wait_at(gate)
        self.added("things", gate, {})
        self.ready()


class Leaving(Publication):
    """Disconnects its client."""

    def publish(self, gate: str) -> None:
        self.connection.on_close(lambda: gates.open_gate(gate))
        self.connection.close()


class SelfStopping(Publication):
    """Ends itself when its gate opens; nothing else does when its user has changed."""

    def publish(self, gate: str) -> None:
        self.added("things", "mine", {"user": self.user_id or "nobody"})
        self.ready()
        if self.user_id is None:
            gevent.spawn(self.leave, gate)

    def leave(self, gate: str) -> None:
        gates.wait_at(gate)
        self.stop()


class Me2(Publication):
    """One document for everybody, with a field that tells the users apart."""

    def publish(self) -> None:
        self.added("things", "me", {"user": self.user_id or "nobody", "same": 1})
        self.ready()


class FailingForUser(Publication):
    """Refuses every user; the subscription of nobody ends itself when its gate opens."""

    def publish(self, gate: str) -> None:
        if self.user_id is not None:
            raise MeteorError("members-out", "No members")
        self.added("things", "mine", {"a": 1})
        self.ready()
        gevent.spawn(self.leave, gate)

    def leave(self, gate: str) -> None:
        gates.wait_at(gate)
        self.stop()
        gates.open_gate(f"{gate} done")


@rate_limit(1, 3600)
class Limited(Publication):
    queries: list[Any] = []


@publication("me", login_required=True)
def me(self: Publication) -> Any:
    self.added("users", self.user_id, {"username": self.user.username})
    self.ready()


# --- methods


@method
def echo(call: Any, value: Any = None) -> Any:
    return value


@method
@rate_limit(1, 3600)
def limited(call: Any) -> str:
    return "ran"


@method
def nothing(call: Any) -> None:
    pass


@method
def add(call: Any, left: int, right: int) -> int:
    return left + right


@method("wait")
def wait_at(call: Any, gate: str) -> str:
    gates.wait_at(gate)
    return gate


@method
def lock_then_add(call: Any, lock: int, title: str) -> int:
    """Add a book once the lock, a PostgreSQL advisory lock, is free."""
    gates.arrive(str(lock))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [lock])
    return models.Book.objects.create(title=title).pk


@method
def wait_then_add(call: Any, gate: str, title: str) -> int:
    gates.wait_at(gate)
    return models.Book.objects.create(title=title).pk


@method
def unblocked_wait(call: Any, gate: str) -> str:
    call.unblock()
    gates.wait_at(gate)
    return gate


@method("open")
def open_gate(call: Any, gate: str) -> None:
    gates.open_gate(gate)


@method
def arrival(call: Any, gate: str) -> None:
    call.unblock()
    gates.wait_for_arrival(gate)


@method
def raising(call: Any, kind: str) -> None:
    models.Book.objects.create(title="of a failed method")
    error: dict[str, Any] = {
        "meteor": MeteorError("closed", "We are closed", {"until": "Monday"}),
        "bare": MeteorError(418),
        "invalid": ValidationError({"title": ["Too long."], "price": ["Too much."]}),
        "denied": PermissionDenied("Not you"),
        "404": Http404("No such page"),
        "zero": ZeroDivisionError("a secret"),
        "timeout": gevent.Timeout(1),
        "exit": SystemExit(3),
    }
    if kind == "missing":
        models.Book.objects.get(pk=-1)
    raise error[kind]


@method
def now(call: Any) -> dict[str, Any]:
    return {"at": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC), "raw": b"\x00\xff"}


@method
def unencodable(call: Any) -> object:
    models.Book.objects.create(title="unencodable")
    return object()


@method
def ids(call: Any, collections: list[str]) -> list[str]:
    return [call.random_id(collection) for collection in collections]


@method
def who(call: Any) -> Any:
    return call.user_id


@method(login_required=True)
def secret(call: Any) -> str:
    return call.user.username


@method(permission_required="shop.change_book")
def staff_only(call: Any) -> str:
    return "staff"


@method
def add_book(call: Any, title: str, price: int = 0) -> int:
    return models.Book.objects.create(title=title, price=price).pk


@method
def set_prices(call: Any, price: int) -> None:
    for book in models.Book.objects.all():
        book.price = price
        book.save()


@method
def add_two_then_fail(call: Any) -> None:
    models.Book.objects.create(title="first")
    models.Book.objects.create(title="second")
    raise MeteorError("no", "After all not")


@method
def add_then_roll_back(call: Any) -> str:
    """Undoes its own transaction without an error, as a dry run does."""
    models.Book.objects.create(title="undone")
    transaction.set_rollback(True)
    return "would have added"


@method(atomic=False)
def add_two_then_fail_apart(call: Any) -> None:
    models.Book.objects.create(title="first")
    models.Book.objects.create(title="second")
    raise MeteorError("no", "After all not")


@method
def add_in_callback(call: Any, title: str) -> None:
    models.Author.objects.create(name=title)
    transaction.on_commit(lambda: models.Book.objects.create(title=title))


@method
def add_then_callback_fails(call: Any, title: str) -> None:
    models.Book.objects.create(title=title)
    transaction.on_commit(lambda: 1 / 0)


@method
def add_record(call: Any, text: str) -> int:
    return models.Record.objects.create(text=text).pk


@method
def add_everywhere(call: Any, text: str) -> None:
    models.Record.objects.create(text=text)
    models.Book.objects.create(title=text)


@method
def add_record_then_fail(call: Any, text: str) -> None:
    models.Record.objects.create(text=text)
    raise MeteorError("no", "After all not")


@method
def read_books(call: Any) -> int:
    return models.Book.objects.count()


@method
def log_in(call: Any, username: str) -> str:
    user, _ = get_user_model().objects.get_or_create(username=username)
    call.set_user_id(str(user.pk))
    return username


@method
def log_in_then_unblock(call: Any, username: str, gate: str) -> str:
    user, _ = get_user_model().objects.get_or_create(username=username)
    call.set_user_id(str(user.pk))
    call.unblock()
    gates.wait_at(gate)
    return username


@method
def log_in_late(call: Any) -> None:
    call.unblock()
    call.set_user_id("1")


@method
def log_in_and_fail(call: Any) -> None:
    call.set_user_id("1")
    raise MeteorError("no", "Wrong password")


@method
def catch_failed_login(call: Any) -> Any:
    """Goes on where a login within has failed."""
    try:
        call.apply("log_in_and_fail")
    except MeteorError:
        return call.user_id


@method
def log_in_as_number(call: Any) -> None:
    call.set_user_id(7)


@method
def log_out(call: Any) -> None:
    call.set_user_id(None)


@method
def leave(call: Any) -> None:
    call.connection.close()


@method
def wait_then_leave(call: Any, gate: str) -> None:
    gates.wait_at(gate)
    call.connection.close()


@method
def absent(call: Any) -> int:
    """How many sessions wait for their clients."""
    return len(call.connection._application.absentees)


@method
def lose_database(call: Any, text: str) -> None:
    """The connection is cut in the middle."""
    models.Book.objects.create(title=text)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")


@method
def counts(call: Any) -> dict[str, int]:
    """What the process holds for its clients: all of it must go when they have gone."""
    return counting.held(call.connection._application)


@method
def spent(call: Any) -> dict[str, int]:
    """The SQL that live queries have cost so far."""
    return counting.spent(call.connection._application)


@method
def send_letter(call: Any, text: str) -> int:
    return models.Letter.objects.create(text=text, owner_id=call.user_id).pk


@method
def caller(call: Any) -> dict[str, Any]:
    """Where the client is, as the server knows it."""
    assert call.connection is not None
    return {"address": call.connection.client_address, "headers": dict(call.connection.http_headers)}


@method
def open_at_end(call: Any, gate: str) -> None:
    """Open a gate when the connection has ended."""
    call.connection.on_close(lambda: gates.open_gate(gate))


@method("apply")
def apply_method(call: Any, name: str, params: list[Any]) -> Any:
    return call.apply(name, *params)


@method
def apply_seeds(call: Any, names: list[str], collection: str) -> list[str]:
    """The first random id of each inner call, then the outer call's own."""
    return [*(call.apply(name, [collection])[0] for name in names), call.random_id(collection)]


@method
def apply_and_catch(call: Any, name: str, title: str) -> str:
    """Its own write stays, that of the inner call does not."""
    models.Book.objects.create(title=title)
    try:
        call.apply(name)
    except MeteorError as error:
        return str(error)
    return "no error"


@method
def apply_unblock(call: Any, gate: str) -> str:
    return str(call.apply("unblocked_wait", gate))


@method
def apply_price(call: Any) -> Any:
    """What arrives of values that JSON does not know."""
    sent = [datetime.datetime(2020, 1, 2, 3, 4, 5, 678901, datetime.UTC), b"x", {"a": [1]}]
    return call.apply("echo", sent)


declared = list(globals().values())
API.register([House, Author, Book, Letter, Record, PlainBook])
API.register(
    each
    for each in declared
    if isinstance(each, type) and issubclass(each, Publication) and each is not Publication
)
API.register(each for each in declared if isinstance(each, Method))
