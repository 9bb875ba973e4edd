"""What migrate installs, and what says that it has yet to."""

from __future__ import annotations

from types import SimpleNamespace

from dddp.feed import capture
from dddp.feed.capture import Status
from tests.feed.conftest import AUTHOR, BOOK
from tests.feed.recording import captured, key_only, run

book, author = BOOK.table, AUTHOR.table
BOTH = [BOOK, AUTHOR]


def test_installed_capture_is_ready(shop):
    assert capture.status(shop, BOTH, triggers=True).ready


def test_install_that_changes_nothing_takes_no_lock(shop, writer):
    """A writer in the middle of its transaction does not hold up a migrate."""
    with writer.cursor() as cursor:
        cursor.execute("INSERT INTO shop.book VALUES (1)")
    with shop.cursor() as cursor:
        cursor.execute("SET lock_timeout = '100ms'")

    capture.install(shop, BOTH, triggers=True)

    with shop.cursor() as cursor:
        cursor.execute("RESET lock_timeout")


def test_install_without_triggers_takes_them_away(shop):
    capture.install(shop, BOTH, triggers=False)

    with shop.cursor() as cursor:
        assert capture.triggered_tables(cursor) == frozenset()
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'dddp\\_capture%'")
        assert cursor.fetchone() == (0,)
    assert capture.status(shop, BOTH, triggers=True).tables == (author, book)


def test_install_knows_the_tables_with_triggers(shop):
    with shop.cursor() as cursor:
        assert capture.triggered_tables(cursor) == {book, author}


def test_table_captured_no_more_loses_its_triggers_and_its_registration(shop, writer, feed):
    assert capture.status(shop, [AUTHOR], triggers=True).tables == (book,)
    capture.install(shop, [AUTHOR], triggers=True)

    run(writer, "INSERT INTO shop.book VALUES (1)")

    assert feed.events() == []


def test_further_column_is_carried_after_install(shop, writer, feed):
    wider = captured("bookstore.book", "shop.book", "title", "secret")
    assert capture.status(shop, [wider, AUTHOR], triggers=True).tables == (book,)
    capture.install(shop, [wider, AUTHOR], triggers=True)

    run(writer, "INSERT INTO shop.book VALUES (1, 'Emma', NULL, 'x')")

    assert feed.changes()[0].row == {"id": "1", "title": "Emma", "secret": "x"}


def test_disabled_trigger_is_mended(shop, writer):
    run(writer, "ALTER TABLE shop.book DISABLE TRIGGER USER")

    assert capture.status(shop, BOTH, triggers=True).tables == (book,)
    capture.install(shop, BOTH, triggers=True)
    assert capture.status(shop, BOTH, triggers=True).ready


def test_changed_key_column_is_followed(shop, writer, feed):
    run(writer, "ALTER TABLE shop.book RENAME id TO number")
    renamed = captured("bookstore.book", "shop.book", "title", key="number")
    capture.install(shop, [renamed, AUTHOR], triggers=True)

    run(writer, "INSERT INTO shop.book VALUES (1, 'Emma')")

    assert feed.changes()[0].row == {"number": "1", "title": "Emma"}


def test_odd_names_are_quoted(shop, writer, connect, feed):
    odd = captured("odd.table", '"odd; schema"."odd "" table"', 'odd " column', key='odd; "key')
    run(
        writer,
        'DROP SCHEMA IF EXISTS "odd; schema" CASCADE',
        'CREATE SCHEMA "odd; schema"',
        'CREATE TABLE "odd; schema"."odd "" table" ("odd; ""key" text PRIMARY KEY, "odd "" column" text)',
    )
    capture.install(shop, [odd], triggers=True)
    listener = type(feed)(connect(autocommit=True), [odd.table])

    run(writer, """INSERT INTO "odd; schema"."odd "" table" VALUES ('a''"\\{},', 'b')""")

    (change,) = listener.changes()
    assert change.key == "a'\"\\{},"
    assert change.row == {'odd; "key': "a'\"\\{},", 'odd " column': "b"}
    run(writer, 'DROP SCHEMA "odd; schema" CASCADE')


def test_table_that_does_not_exist_is_left_out(shop):
    missing = captured("no.table", "shop.nothing", "title")

    capture.install(shop, [*BOTH, missing], triggers=True)

    assert capture.status(shop, BOTH, triggers=True).ready


def test_view_is_not_given_triggers(shop, writer):
    run(writer, "CREATE VIEW shop.titles AS SELECT id, title FROM shop.book")
    titles = captured("shop.titles", "shop.titles", "title")

    capture.install(shop, [*BOTH, titles], triggers=True)

    assert capture.status(shop, [*BOTH, titles], triggers=True).ready


def test_status_of_a_database_without_dddp_says_migrate(shop):
    capture.drop(shop)
    try:
        assert "manage.py migrate" in str(capture.status(shop, BOTH, triggers=True))
        capture.install(shop, BOTH, triggers=True)
        with shop.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_proc WHERE proname LIKE 'dddp\\_%'")
            assert cursor.fetchone() == (0,)
    finally:
        capture.create(shop)


def test_other_databases_are_left_alone():
    sqlite = SimpleNamespace(vendor="sqlite")

    for do in (capture.create, capture.drop):
        do(sqlite)
    capture.install(sqlite, BOTH, triggers=True)
    assert capture.status(sqlite, BOTH, triggers=True) == Status(supported=False)


def test_status_names_the_tables_and_the_mend():
    assert str(Status(tables=(book,))) == "capture is out of date for bookstore.book; run: manage.py migrate"
    assert str(Status()) == "ready"


def test_signals_in_a_database_without_registration_give_keys_only(shop, writer, feed):
    capture.install(shop, [], triggers=False)

    run(writer, "SELECT dddp_note('bookstore.book', ARRAY['1'])")

    assert feed.changes() == [key_only(book, 1)]
