"""What capture costs a writer: plain tables against the same tables with our triggers, or with a signal's note.

Run: ``python -m benchmarks.capture [rounds]``, on the PostgreSQL of ``DATABASE_URL`` or an embedded one, in a database
of its own. Rounds alternate between the variants; the medians and their ratios are printed.
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
from psycopg2.extensions import make_dsn, parse_dsn

from tests import postgres

TABLE = """
CREATE TABLE {name} (
    id bigserial PRIMARY KEY, title text NOT NULL, author_id bigint, published int, language text,
    price numeric(8, 2), added timestamptz DEFAULT now());
CREATE INDEX ON {name} (author_id);
"""
COLUMNS = ("id", "title", "author_id", "published", "language", "price", "added")
INSERT = (
    "INSERT INTO {table} (title, author_id, published, language, price) VALUES ('Emma', 1, 1815, 'en', 9.5)"
)
UPDATE = "UPDATE {table} SET price = price + 1 WHERE id = %s"
BULK = (
    "INSERT INTO {table} (title, author_id, published, language, price) "
    "SELECT 'Title ' || n, n % 100, 1900, 'en', 9.5 FROM generate_series(1, 10000) n"
)

Work = Callable[[Any, str], None]


def one_insert(pgconn: Any, table: str) -> None:
    with pgconn.cursor() as cursor:
        cursor.execute(INSERT.format(table=table))
    pgconn.commit()


def many_inserts(count: int) -> Work:
    def work(pgconn: Any, table: str) -> None:
        with pgconn.cursor() as cursor:
            for _ in range(count):
                cursor.execute(INSERT.format(table=table))
        pgconn.commit()

    return work


def one_update(pgconn: Any, table: str) -> None:
    with pgconn.cursor() as cursor:
        cursor.execute(UPDATE.format(table=table), (1,))
    pgconn.commit()


def many_updates(pgconn: Any, table: str) -> None:
    with pgconn.cursor() as cursor:
        for key in range(1, 201):
            cursor.execute(UPDATE.format(table=table), (key,))
    pgconn.commit()


def bulk_insert(pgconn: Any, table: str) -> None:
    with pgconn.cursor() as cursor:
        cursor.execute(BULK.format(table=table))
    pgconn.commit()


def noted_insert(pgconn: Any, table: str) -> None:
    """A save with the signal capture: the row and its note in one transaction."""
    with pgconn.cursor() as cursor:
        cursor.execute(INSERT.format(table=table) + " RETURNING id")
        (key,) = cursor.fetchone()
        if table == "noted":
            cursor.execute("SELECT dddp_note('b.noted', %s)", ([str(key)],))
    pgconn.commit()


#: name, work, variants, repetitions in a round, target ratio
CASES: list[tuple[str, Work, tuple[str, str], int, float]] = [
    ("one INSERT", one_insert, ("bare", "captured"), 200, 1.4),
    ("one UPDATE", one_update, ("bare", "captured"), 200, 1.4),
    ("one INSERT, signal's note", noted_insert, ("bare", "noted"), 200, 2.0),
    ("200 INSERTs in a transaction", many_inserts(200), ("bare", "captured"), 3, 1.6),
    ("1,000 INSERTs in a transaction", many_inserts(1_000), ("bare", "captured"), 1, 1.6),
    ("200 UPDATEs in a transaction", many_updates, ("bare", "captured"), 3, 1.6),
    ("10,000 rows in an INSERT", bulk_insert, ("bare", "captured"), 1, 2.5),
]


def main(rounds: int = 15) -> None:
    with database() as dsn:
        pgconn = psycopg2.connect(dsn)
        print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, ", end="")
        print(
            f"PostgreSQL {pgconn.info.server_version / 10_000:.2f}, psycopg2 {psycopg2.__version__.split()[0]}"
        )
        print(f"{'':34}{'bare ms':>10}{'captured':>10}{'ratio':>8}{'target':>8}")
        for name, work, variants, repetitions, target in CASES:
            bare, captured = measure(pgconn, work, variants, repetitions, rounds)
            print(f"{name:34}{bare:10.2f}{captured:10.2f}{captured / bare:8.2f}{target:8.1f}")
        pgconn.close()


def measure(
    pgconn: Any, work: Work, variants: tuple[str, str], repetitions: int, rounds: int
) -> tuple[float, float]:
    """Median milliseconds of one repetition, for both variants."""
    times: dict[str, list[float]] = {variant: [] for variant in variants}
    for _ in range(rounds + 1):
        for variant in variants:
            started = time.perf_counter()
            for _ in range(repetitions):
                work(pgconn, variant)
            times[variant].append((time.perf_counter() - started) / repetitions * 1_000)
    # The first round fills caches.
    bare, captured = (statistics.median(times[variant][1:]) for variant in variants)
    return bare, captured


@contextmanager
def database() -> Iterator[str]:
    """A database with a bare table, a captured one and one that is noted by hand."""
    from django.conf import settings
    from django.db import connections
    from django.db.backends.postgresql.base import DatabaseWrapper

    settings.configure(DATABASES={"default": {"ENGINE": "django.db.backends.postgresql"}})
    name = f"dddp_benchmark_{os.getpid()}"
    server = psycopg2.connect(postgres.url())
    server.autocommit = True
    server.cursor().execute(f"CREATE DATABASE {name}")
    dsn = make_dsn(postgres.url(), dbname=name)
    there = connections["default"].settings_dict | {"NAME": name, "OPTIONS": parse_dsn(dsn)}
    connections["benchmark"] = DatabaseWrapper(there, "benchmark")
    try:
        install(connections["benchmark"])
        yield dsn
    finally:
        connections["benchmark"].close()
        server.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
        server.close()


def install(connection: Any) -> None:
    from dddp.changes import Table
    from dddp.feed import capture

    capture.create(connection)
    with connection.cursor() as cursor:
        for table in ("bare", "captured", "noted"):
            cursor.execute(TABLE.format(name=table))
            cursor.execute(BULK.format(table=table))
    tables = [
        capture.CapturedTable(Table(f"b.{name}"), name, "id", COLUMNS) for name in ("captured", "noted")
    ]
    capture.install(connection, tables, triggers=True)
    with connection.cursor() as cursor:
        # Noted by hand, as the signal handlers do.
        cursor.execute("ALTER TABLE noted DISABLE TRIGGER USER")


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
