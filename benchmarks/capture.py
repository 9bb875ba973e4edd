"""What capture costs a writer: saves and statements on a bare table against the same on a captured one.

Run: ``python -m benchmarks.capture [rounds]``, on the PostgreSQL of ``DATABASE_URL`` or an embedded one, in a database
of its own, with nobody listening. The two variants take turns of a few milliseconds, so that what else the machine does
meets both; medians and their ratios are printed beside the targets.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from django.conf import settings
from psycopg2.extensions import make_dsn, parse_dsn

from tests import postgres

DATABASE = f"dddp_benchmark_{os.getpid()}"
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": DATABASE,
            "OPTIONS": parse_dsn(make_dsn(postgres.url(), dbname=DATABASE)),
        }
    }
)

import django  # noqa: E402 -- models need settings

django.setup()

from django.db import connection, models, transaction  # noqa: E402
from django.db.models.signals import post_save  # noqa: E402

from dddp.changes import Table  # noqa: E402
from dddp.feed import capture  # noqa: E402
from dddp.feed.signals import SignalCapture  # noqa: E402


class Book(models.Model):
    title = models.CharField(max_length=100)
    author_id = models.BigIntegerField(db_index=True)
    published = models.IntegerField()
    language = models.CharField(max_length=10)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    added = models.DateTimeField(auto_now_add=True)

    class Meta:
        app_label = "benchmark"
        abstract = True


class Bare(Book):
    class Meta(Book.Meta):
        db_table = "bare"


class Triggered(Book):
    class Meta(Book.Meta):
        db_table = "triggered"


class Noted(Book):
    class Meta(Book.Meta):
        db_table = "noted"


INSERT = "INSERT INTO {} (title, author_id, published, language, price, added) "
VALUES = "VALUES ('Emma', 1, 1815, 'en', 9.5, now())"
BULK = "SELECT 'Title ' || n, n % 100, 1900, 'en', 9.5, now() FROM generate_series(1, 10000) n"

Work = Callable[[type[Book]], None]


def save(model: type[Book]) -> None:
    model(title="Emma", author_id=1, published=1815, language="en", price="9.5").save()


def save_in_atomic(model: type[Book]) -> None:
    with transaction.atomic():
        save(model)


def update(model: type[Book]) -> None:
    model(1, "Emma", 1, 1815, "en", "9.5", "2026-01-01T00:00:00Z").save(force_update=True)


def saves(count: int) -> Work:
    def work(model: type[Book]) -> None:
        with transaction.atomic():
            for _ in range(count):
                save(model)

    return work


def statement(sql: str) -> Work:
    def work(model: type[Book]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(sql.format(model._meta.db_table))

    return work


TURN = 5  #: repetitions, at most

#: name, work, the captured variant, repetitions in a round, target ratio if there is one
CASES: list[tuple[str, Work, type[Book], int, float | None]] = [
    ("triggers: save", save, Triggered, 100, 1.4),
    ("triggers: save of an existing row", update, Triggered, 100, 1.4),
    ("triggers: 200 saves, one transaction", saves(200), Triggered, 3, 1.6),
    ("triggers: 1,000 saves, one transaction", saves(1_000), Triggered, 1, 1.6),
    ("triggers: raw INSERT", statement(INSERT + VALUES), Triggered, 100, None),
    ("triggers: INSERT of 10,000 rows", statement(INSERT + BULK), Triggered, 1, 2.5),
    ("signals: save", save, Noted, 100, 2.0),
    ("signals: save in atomic", save_in_atomic, Noted, 100, 2.0),
]


def main(rounds: int = 15) -> None:
    with database():
        connection.ensure_connection()
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
        print(f"PostgreSQL {connection.pg_version / 10_000:.2f}, psycopg2 {psycopg2.__version__.split()[0]}")
        print(f"{'':40}{'bare ms':>10}{'captured':>10}{'ratio':>8}{'target':>8}")
        for name, work, model, repetitions, target in CASES:
            bare, captured = measure(work, model, repetitions, rounds)
            print(f"{name:40}{bare:10.2f}{captured:10.2f}{captured / bare:8.2f}{target or '':>8}")


def measure(work: Work, captured: type[Book], repetitions: int, rounds: int) -> tuple[float, float]:
    """Median milliseconds of one repetition: bare, captured."""
    times: dict[type[Book], list[float]] = {Bare: [], captured: []}
    turn = min(repetitions, TURN)
    turns = repetitions // turn
    for _ in range((rounds + 1) * turns):
        for model, taken in times.items():
            started = time.perf_counter()
            for _ in range(turn):
                work(model)
            taken.append((time.perf_counter() - started) / turn * 1_000)
    # The first round fills caches.
    return statistics.median(times[Bare][turns:]), statistics.median(times[captured][turns:])


@contextmanager
def database() -> Iterator[None]:
    """A database with the three tables: one bare, one with our triggers, one whose saves a signal handler notes."""
    server: Any = psycopg2.connect(postgres.url())
    server.autocommit = True
    server.cursor().execute(f"CREATE DATABASE {DATABASE}")
    try:
        install()
        yield
    finally:
        connection.close()
        server.cursor().execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")
        server.close()


def install() -> None:
    capture.create(connection)
    with connection.schema_editor() as editor:
        for model in (Bare, Triggered, Noted):
            editor.create_model(model)
    capture.install(connection, [captured(Triggered), captured(Noted)], triggers=True)
    with connection.cursor() as cursor:
        for name in ("insert", "update", "delete", "truncate"):
            cursor.execute(f"DROP TRIGGER dddp_capture_{name}_v1 ON noted")
        for model in (Bare, Triggered, Noted):
            cursor.execute((INSERT + BULK).format(model._meta.db_table))
    post_save.connect(SignalCapture([Table("benchmark.noted")]).saved, sender=Noted, weak=False)


def captured(model: type[Book]) -> capture.CapturedTable:
    columns = tuple(field.column for field in model._meta.concrete_fields)
    return capture.CapturedTable(Table(model._meta.label_lower), model._meta.db_table, "id", columns)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
