"""A database of this folder's own, with two captured tables; writers are plain psycopg2 connections."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg2.extensions import make_dsn, parse_dsn

from dddp.feed import capture
from tests import postgres
from tests.feed.recording import RecordingFeed, captured

ALIAS = "feed"

TABLES = """
DROP SCHEMA IF EXISTS shop CASCADE;
CREATE SCHEMA shop;
CREATE TABLE shop.author (id bigint PRIMARY KEY, name text, secret text);
CREATE TABLE shop.book (
    id bigint PRIMARY KEY,
    title text,
    author_id bigint REFERENCES shop.author ON DELETE CASCADE ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    secret text,
    editor_id bigint REFERENCES shop.author ON DELETE SET NULL ON UPDATE CASCADE);
"""

BOOK = captured("bookstore.book", "shop.book", "title", "author_id")
AUTHOR = captured("bookstore.author", "shop.author", "name")


@pytest.fixture(scope="session")
def dsn() -> Iterator[str]:
    """A new database with dddp's functions in it."""
    name = f"dddp_feed_{os.getpid()}"
    with _autocommit(postgres.url()) as server, server.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield make_dsn(postgres.url(), dbname=name)
    with _autocommit(postgres.url()) as server, server.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def feed_connection(dsn: str, django_db_blocker: Any) -> Iterator[Any]:
    """Django's connection to that database, known as ``feed``; dddp is created there."""
    settings = connections["default"].settings_dict | {"NAME": parse_dsn(dsn)["dbname"]}
    connections[ALIAS] = DatabaseWrapper(settings, ALIAS)
    with django_db_blocker.unblock():
        capture.create(connections[ALIAS])
        yield connections[ALIAS]
        connections[ALIAS].close()
    del connections[ALIAS]


@pytest.fixture
def tables(feed_connection: Any, dsn: str) -> Any:
    """Empty tables, new ones."""
    with _autocommit(dsn) as pgconn, pgconn.cursor() as cursor:
        cursor.execute(TABLES)
    return feed_connection


@pytest.fixture
def shop(tables: Any) -> Any:
    """Empty tables, captured by triggers."""
    capture.install(tables, [BOOK, AUTHOR], triggers=True)
    return tables


@pytest.fixture
def connect(dsn: str) -> Iterator[Callable[..., Any]]:
    """Makes connections, in transaction mode unless ``autocommit``, and closes them."""
    opened: list[Any] = []

    def connect(autocommit: bool = False, **options: Any) -> Any:
        pgconn = psycopg2.connect(dsn, **options)
        pgconn.autocommit = autocommit
        opened.append(pgconn)
        return pgconn

    yield connect
    for pgconn in opened:
        pgconn.close()


@pytest.fixture
def writer(shop: Any, connect: Callable[..., Any]) -> Any:
    """A connection in transaction mode: nothing is seen before its commit."""
    return connect()


@pytest.fixture
def feed(shop: Any, connect: Callable[..., Any]) -> RecordingFeed:
    """Listens to both tables."""
    return RecordingFeed(connect(autocommit=True), [BOOK.table, AUTHOR.table])


class _autocommit:
    """``with`` a connection that commits each statement and is closed at the end."""

    def __init__(self, dsn: str) -> None:
        self._pgconn = psycopg2.connect(dsn)
        self._pgconn.autocommit = True

    def __enter__(self) -> Any:
        return self._pgconn

    def __exit__(self, *error: object) -> None:
        self._pgconn.close()
