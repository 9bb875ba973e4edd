"""What becomes of live queries when the database's tables are not as the models say, or not to be read."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg2
import pytest

from tests.client import StrictClient
from tests.polling import until
from tests.runtime.conftest import SETTINGS, Project, environment, serve
from tests.server import run_django
from tests.strict import RemoteError


@pytest.fixture
def project(templates: tuple[str, str]) -> Iterator[Project]:
    """A server of its own: the types of columns are not known yet."""
    with serve(templates, READ_POOL_SIZE=1) as project:
        yield project


def error_of(project: Project, publication: str, *params: object) -> RemoteError:
    """The error that a subscription ends with."""
    with project.client() as client, pytest.raises(RemoteError) as caught:
        client.subscribed(publication, *params)
    return caught.value


def lines(project: Project, text: str) -> list[str]:
    return [line for line in project.server.log if text in line]


@pytest.mark.parametrize("known", [True, False], ids=["types known", "types not known"])
def test_dropped_column(project: Project, known: bool) -> None:
    """It costs the queries that need it alone; each of which is told in the log, with one traceback for all alike."""
    with project.client() as client:
        if known:
            client.subscribed("AsPlain")
        project.execute("ALTER TABLE shop_book DROP COLUMN price")
        errors = [error_of(project, "Books"), *(error_of(project, "BooksFrom", price) for price in range(5))]
        if not known:
            client.subscribed("AsPlain")
        sql = "INSERT INTO shop_book (title) VALUES ('Emma') RETURNING id"
        book = str(project.execute(sql)[0][0])
        client.wait(lambda view: book in view.documents("plain"))

    assert {(error.error, error.reason) for error in errors} == {(500, "Internal server error")}
    project.server.wait_for_log("publication BooksFrom")
    assert len(lines(project, "ERROR")) == 1
    assert "shop_book.price does not exist; run: manage.py migrate" in lines(project, "ERROR")[0]
    assert len(lines(project, "dddp.orm.reads.ReadFailed: ")) == 1  # the last line of a traceback
    assert len(lines(project, "publication BooksFrom")) == 1
    missing = lines(project, "the database has no column price of shop.book; run: manage.py migrate")
    assert len(missing) == (0 if known else 1)


def test_dropped_table(project: Project) -> None:
    project.execute("DROP TABLE shop_letter")

    assert error_of(project, "Letters").error == 500
    assert "ERROR" in project.server.wait_for_log('finds no table "shop_letter"; run: manage.py migrate')


def test_connection_lost_while_types_are_looked_up(project: Project) -> None:
    """It is done again, as reads are."""
    waiting = (
        "FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' "
        "AND query LIKE '%%LIMIT 0'"
    )
    with contextlib.closing(psycopg2.connect(project.database)) as other, project.client() as client:
        other.cursor().execute("LOCK TABLE shop_book IN ACCESS EXCLUSIVE MODE")
        books = client.subscribe("Books")
        until(lambda: project.execute(f"SELECT 1 {waiting}"), 10)
        project.execute(f"SELECT pg_terminate_backend(pid) {waiting}")
        project.server.wait_for_log("it is begun again")
        other.rollback()
        client.wait_ready(books)


def migrate(project: Project) -> None:
    """What it does when migrations have run."""
    project.execute("SELECT dddp_note_table(label) FROM dddp_table")


def test_type_that_has_changed(project: Project) -> None:
    """To ``char`` the space is none. Until a restart PostgreSQL is asked about each change, of whatever table."""
    with project.client() as client:
        author = project.add_author("Jane")
        client.subscribed("BooksBy", "Jane ")
        project.execute("ALTER TABLE shop_author ALTER name TYPE char(100)")
        migrate(project)
        project.server.wait_for_log("the type of name of shop.author has changed: restart the server")
        project.execute("UPDATE shop_author SET name = 'Ann'")
        insert = "INSERT INTO shop_book (title, price, author_id) VALUES ('Emma', 5, %s) RETURNING id"
        emma = str(project.execute(insert, author)[0][0])
        client.ping()
        project.execute("UPDATE shop_author SET name = 'Jane'")
        client.wait(lambda view: emma in view.documents("shop.book"))
        migrate(project)
        other = client.subscribe("BooksBy", "Ann  ")
        client.wait_ready(other)
        project.execute("UPDATE shop_author SET name = 'Mary'")
        client.wait(lambda view: not view.documents("shop.book"))
        project.execute("UPDATE shop_author SET name = 'Ann'")
        client.wait(lambda view: emma in view.documents("shop.book"))

    assert len(lines(project, "has changed: restart")) == 1


REKEY = """
ALTER TABLE {table} DROP CONSTRAINT {table}_pkey CASCADE, ALTER id DROP IDENTITY;
ALTER TABLE {table} ALTER id TYPE uuid USING gen_random_uuid(), ALTER id SET DEFAULT gen_random_uuid()
"""


def rekey(project: Project, *tables: str) -> None:
    """A migration that makes the keys of tables UUIDs, as this server's code does not know them yet."""
    project.execute(";".join(REKEY.format(table=table) for table in tables))
    env = environment(project.database, project.archive)
    run_django("ddp_triggers", "install", settings_module=SETTINGS, env=env)
    migrate(project)


def test_keys_of_two_tables_that_have_changed(project: Project) -> None:
    """Until the restart a change costs the queries that read its table, and keeps them alive."""
    with project.client() as client:
        client.subscribed("Shop")
        rekey(project, "shop_author", "shop_book")
        project.server.wait_for_log("of shop.author has changed: restart the server")
        jane = project.add_author("Jane")
        client.wait(lambda view: jane in view.documents("shop.author"))
        before = client.call("spent")["runs"]
        for number in range(5):
            book = project.add_book(f"Volume {number}")
            client.wait(lambda view, book=book: book in view.documents("shop.book"))
        assert client.call("spent")["runs"] - before <= 5  # those of all authors are none of them


def test_type_that_makes_no_difference(project: Project) -> None:
    with project.client() as client:
        client.subscribed("BooksFrom", 5)
        project.execute("ALTER TABLE shop_book ALTER price TYPE bigint, ALTER title TYPE text")
        migrate(project)
        emma = project.add_book("Emma", 5)
        client.wait(lambda view: emma in view.documents("shop.book"))

    assert not lines(project, "restart")


def test_column_that_comes_back(project: Project) -> None:
    """When ``migrate`` has said so its rows are followed by their values again."""
    with project.client() as client:
        project.execute("ALTER TABLE shop_book DROP COLUMN price")
        client.subscribed("AsPlain")
        project.execute("ALTER TABLE shop_book ADD COLUMN price integer NOT NULL DEFAULT 5")
        migrate(project)
        emma = project.add_book("Emma", 6)
        client.wait(lambda view: emma in view.documents("plain"))
        client.subscribed("BooksFrom", 6)
        assert list(client.documents("shop.book")) == [emma]


def test_table_that_cannot_be_looked_at(project: Project) -> None:
    """It keeps nobody from looking at those behind it, and is not tried for ever."""
    with project.client() as client:
        project.execute("ALTER TABLE shop_book DROP COLUMN price")
        client.subscribed("AsPlain")
        client.subscribed("Letters")
        project.execute("DROP TABLE shop_book CASCADE; ALTER TABLE shop_letter ALTER text TYPE char(100)")
        migrate(project)
        project.server.wait_for_log("the type of text of shop.letter has changed: restart the server")
        client.call("spent")

    (line,) = lines(project, "the types of shop.book's columns cannot be looked up")
    assert 'finds no table "shop_book"; run: manage.py migrate' in line
    assert not lines(project, "tried again")


def test_table_that_is_locked_while_it_is_looked_at(templates: tuple[str, str]) -> None:
    """It is looked at again, and those behind it meanwhile."""
    with serve(templates, READ_POOL_SIZE=1, QUERY_TIME_LIMIT=2) as project, project.client() as client:
        project.execute("ALTER TABLE shop_book DROP COLUMN price")
        client.subscribed("AsPlain")
        with contextlib.closing(psycopg2.connect(project.database)) as other:
            other.cursor().execute("LOCK TABLE shop_book IN ACCESS EXCLUSIVE MODE")
            other.cursor().execute("ALTER TABLE shop_book ADD COLUMN price integer NOT NULL DEFAULT 5")
            migrate(project)
            project.server.wait_for_log("cannot be looked up: .* they are tried again")
            other.commit()
        emma = project.add_book("Emma", 6)
        client.wait(lambda view: emma in view.documents("plain"))
        until(lambda: followed(project, client), 10)


def followed(project: Project, client: StrictClient) -> bool:
    """Whether a book is shown without that one is read."""
    before = client.call("spent")
    book = project.add_book("Persuasion", 5)
    client.wait(lambda view: book in view.documents("plain"))
    return bool(client.call("spent") == before)
