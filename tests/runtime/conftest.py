"""The real server on the project of this folder: one process and two databases per test module."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg2
import pytest

from tests.client import StrictClient
from tests.postgres import url as postgres_url
from tests.runtime.raw import RawClient
from tests.server import ROOT, DDDPServer, fresh_database, run_django
from tests.strict import RemoteError

SETTINGS = "tests.runtime.project.settings"
PATH = (ROOT, ROOT / "bookstore_example")


class Project:
    """The served project: its server, and both databases as another program would write to them."""

    def __init__(self, server: DDDPServer, database: str, archive: str) -> None:
        self.server = server
        self.database = database
        self.archive = archive

    def client(self, **options: Any) -> Any:
        return self.server.client(**options)

    def raw(self) -> RawClient:
        """A raw connection; nothing has been sent or received on it."""
        return RawClient(self.server.url)

    def connected(self) -> RawClient:
        """A raw connection with its session open and the automatic publication received."""
        client = self.raw()
        client.connect()
        return client

    def execute(self, sql: str, *parameters: Any, archive: bool = False) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own; the rows it returns."""
        url = self.archive if archive else self.database
        with contextlib.closing(psycopg2.connect(url)) as pgconn, pgconn, pgconn.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def clear(self) -> None:
        """Delete all rows, as another program."""
        self.execute(
            "DELETE FROM shop_review; DELETE FROM shop_letter; DELETE FROM shop_book; DELETE FROM shop_author;"
            "DELETE FROM shop_house"
        )
        self.execute("DELETE FROM shop_record", archive=True)

    def add_book(self, title: str, price: int = 0) -> str:
        """Insert a book, as another program; its document id."""
        sql = "INSERT INTO shop_book (title, price) VALUES (%s, %s) RETURNING id"
        return str(self.execute(sql, title, price)[0][0])

    def add_author(self, name: str) -> str:
        sql = "INSERT INTO shop_author (name) VALUES (%s) RETURNING id"
        return str(self.execute(sql, name)[0][0])


def error_of(client: StrictClient, method: str, *params: Any) -> RemoteError:
    """The error that a call ends with."""
    with pytest.raises(RemoteError) as caught:
        client.call(method, *params)
    return caught.value


def environment(database: str, archive: str, **settings: Any) -> dict[str, str]:
    settings = {"CAPTURE": "triggers", **settings}
    return {"DATABASE_URL": database, "ARCHIVE_URL": archive, "DDDP": json.dumps(settings)}


@contextlib.contextmanager
def serve(templates: tuple[str, str], *, migrate: bool = False, **settings: Any) -> Iterator[Project]:
    """The project with these DDDP settings, on copies of the migrated databases; migrated again if asked to."""
    with copied(templates[0]) as database, copied(templates[1]) as archive:
        env = environment(database, archive, **settings)
        if migrate:
            migrate_both(env)
        with DDDPServer(SETTINGS, env, path=PATH) as server:
            yield Project(server, database, archive)


def migrate_both(env: dict[str, str]) -> None:
    for alias in ("default", "archive"):
        options = ("--run-syncdb", f"--database={alias}", "--verbosity=0")
        run_django("migrate", *options, settings_module=SETTINGS, env=env)


@contextlib.contextmanager
def copied(template: str) -> Iterator[str]:
    name, source = f"runtime_{secrets.token_hex(4)}", urlsplit(template).path.lstrip("/")
    _execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"')
    try:
        yield urlunsplit(urlsplit(template)._replace(path=f"/{name}"))
    finally:
        _execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def _execute(sql: str) -> None:
    with contextlib.closing(psycopg2.connect(postgres_url())) as pgconn:
        pgconn.autocommit = True
        pgconn.cursor().execute(sql)


@pytest.fixture(scope="session")
def templates() -> Iterator[tuple[str, str]]:
    """Two databases, migrated, with triggers; nobody is connected to them."""
    with fresh_database("runtime_default") as database, fresh_database("runtime_archive") as archive:
        migrate_both(environment(database, archive))
        yield database, archive


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """The server's DDDP settings; a module may override this."""
    return {}


@pytest.fixture(scope="module")
def served(templates: tuple[str, str], settings: dict[str, Any]) -> Iterator[Project]:
    with serve(templates, **settings) as project:
        yield project


@pytest.fixture
def project(served: Project) -> Project:
    """The served project, without rows."""
    served.clear()
    return served
