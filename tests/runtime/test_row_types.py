"""A row of a table whose columns' types this process has not looked up yet must not end the feed."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg2
import pytest

from tests.polling import until
from tests.runtime.conftest import Project


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"READ_POOL_SIZE": 1}


def test_write_before_the_types_of_its_columns_are_known(project: Project) -> None:
    """One reader, and it waits for a locked table: the types of the other table's columns wait behind it."""
    listens = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'dddp %%'"
        " AND query LIKE '%%shop.book%%'"
    )
    locked = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    # As a replica: the check of the foreign key would wait for the lock too.
    insert = (
        "SET session_replication_role = replica; "
        "INSERT INTO shop_book (title, price) VALUES (%s, %s) RETURNING id"
    )
    with (
        contextlib.closing(psycopg2.connect(project.database)) as other,
        project.client() as first,
        project.client() as client,
    ):
        client.call("open", "gate")
        other.cursor().execute("LOCK TABLE shop_author IN ACCESS EXCLUSIVE MODE")
        authors = first.subscribe("Gated", "gate")
        until(lambda: project.execute(locked), 10)
        books = client.subscribe("BooksFrom", 5)  # price >= 5: an interval of the index
        until(lambda: project.execute(listens), 10)
        book = str(project.execute(insert, "Emma", 7)[0][0])
        project.execute(insert, "Persuasion", 3)
        client.ping()
        other.rollback()
        first.wait_ready(authors)
        client.wait_ready(books)
        assert list(client.documents("shop.book")) == [book]
    assert "was not handled" not in project.server.text()
