"""Schema changes under a running server: a newer release migrates while this one still serves.

Its envelopes carry columns that this one does not know, or lack some that it wants. The first are ignored, the second
read again; what cannot be read any more is an error to its subscribers, and nobody else's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper
from psycopg2.extensions import parse_dsn

from dddp.changes import Table
from dddp.feed import capture
from dddp.feed.capture import CapturedTable
from tests.client import StrictClient
from tests.runtime.conftest import Project, serve, templates

__all__ = ["templates"]

BOOK = Table("shop.book")


@pytest.fixture
def project(templates: tuple[str, str]) -> Iterator[Project]:
    """The served project, on databases that this test alone changes."""
    with serve(templates) as project:
        yield project


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    with project.client() as client:
        client.subscribed("Books")
        client.subscribed("Records")
        yield client


Migrate = Callable[[str, tuple[str, ...]], None]
"""What ``migrate`` of a newer release does: its migrations, then capture with these columns of the books."""


@pytest.fixture
def migrate(project: Project, django_db_blocker: Any) -> Iterator[Migrate]:
    parts = parse_dsn(project.database)
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    settings = connections["default"].settings_dict | {names[key]: value for key, value in parts.items()}
    connection = connections["newer"] = DatabaseWrapper(settings, "newer")

    def migrate(ddl: str, carried: tuple[str, ...]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(ddl)
            cursor.execute("SELECT label, relation, key_column, columns FROM dddp_table")
            declared = [
                CapturedTable(label, relation, key, carried if label == BOOK else tuple(columns))
                for label, relation, key, columns in cursor.fetchall()
            ]
        capture.install(connection, declared, triggers=True)
        capture.announce(connection)

    with django_db_blocker.unblock():
        yield migrate
        connection.close()
    del connections["newer"]


def add_record(project: Project) -> None:
    project.execute("INSERT INTO shop_record (text) VALUES ('kept')", archive=True)


def becomes(client: StrictClient, *expected: str) -> None:
    client.wait(
        lambda view: {each["title"] for each in view.documents("shop.book").values()} == set(expected)
    )


def test_column_added_by_a_newer_release_is_ignored(project, client, migrate):
    project.add_book("before")
    migrate("ALTER TABLE shop_book ADD isbn text DEFAULT '?'", ("title", "price", "author_id", "isbn"))

    project.execute("INSERT INTO shop_book (title, price, isbn) VALUES ('after', 0, '1-23')")
    project.execute("UPDATE shop_book SET isbn = '4-56', title = 'before!' WHERE title = 'before'")

    becomes(client, "before!", "after")
    assert not [document for document in client.documents("shop.book").values() if "isbn" in document]


def test_older_release_starts_again_on_what_a_newer_one_has_installed(project, client, migrate):
    """A worker is replaced before all have the new code, or the release is taken back."""
    project.add_book("before")
    migrate("ALTER TABLE shop_book ADD isbn text", ("title", "author_id", "isbn"))

    project.server.restart()
    project.server.wait_for_log("capture of shop.book is not what is declared")

    with project.client() as later:
        later.subscribed("Books")
        project.execute("UPDATE shop_book SET title = 'after', price = 4")
        becomes(later, "after")
        assert [document["price"] for document in later.documents("shop.book").values()] == [4]


def test_column_that_the_feed_carries_no_more_is_read_again(project, client, migrate):
    """The newer release has the column still, but publishes it no more."""
    project.add_book("before", 3)
    migrate("SELECT 1", ("title", "author_id"))

    project.execute("UPDATE shop_book SET title = 'after', price = 4")

    becomes(client, "after")
    assert [document["price"] for document in client.documents("shop.book").values()] == [4]


def test_column_dropped_is_an_error_to_its_subscribers_and_nobody_elses(project, client, migrate):
    """What this release cannot read any more; the process goes on, and so does every other query."""
    project.add_book("before")
    migrate("ALTER TABLE shop_book DROP price", ("title", "author_id"))

    project.execute("INSERT INTO shop_book (title) VALUES ('after')")
    add_record(project)

    client.wait(lambda view: view.documents("shop.record"))
    client.wait(lambda view: not view.documents("shop.book"))
    assert client.call("add", 4, 4) == 8


def test_column_whose_type_changed_goes_on(project, client, migrate):
    """The text of a bigint is read as an integer's was."""
    project.add_book("before", 3)
    migrate(
        "ALTER TABLE shop_book ALTER price TYPE bigint, ALTER title TYPE text",
        ("title", "price", "author_id"),
    )

    project.execute("UPDATE shop_book SET title = 'after', price = 3000000000")

    becomes(client, "after")
    assert [document["price"] for document in client.documents("shop.book").values()] == [3_000_000_000]


def test_values_changed_by_a_migration_alone_are_shown_at_its_end(project, client, migrate):
    """ALTER TABLE ... USING is no statement that a trigger sees."""
    project.add_book("before")
    becomes(client, "before")

    migrate(
        "ALTER TABLE shop_book ALTER title TYPE text USING upper(title)",
        ("title", "price", "author_id"),
    )

    becomes(client, "BEFORE")


def test_table_renamed_without_migrate_is_an_error_to_its_subscribers(project, client):
    project.add_book("before")
    project.execute("ALTER TABLE shop_book RENAME TO shop_tome; UPDATE shop_tome SET title = 'after'")

    client.wait(lambda view: not view.documents("shop.book"))
    add_record(project)
    client.wait(lambda view: view.documents("shop.record"))
