"""What migrate installs, and what says that it has yet to."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections
from django.db.backends.postgresql.base import DatabaseWrapper

from dddp.feed import capture
from dddp.feed.capture import Patience, Status, TableBusy
from tests import polling
from tests.feed.conftest import AUTHOR, BOOK
from tests.feed.recording import PATIENCE, RecordingFeed, captured, key_only, row, run

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
    assert capture.status(shop, [AUTHOR], triggers=True).differing == (book,)
    capture.install(shop, [AUTHOR], triggers=True)

    run(writer, "INSERT INTO shop.book VALUES (1)")

    assert feed.events() == []


def test_further_column_is_carried_after_install(shop, writer, feed):
    wider = captured("bookstore.book", "shop.book", "title", "secret")
    assert capture.status(shop, [wider, AUTHOR], triggers=True).differing == (book,)
    capture.install(shop, [wider, AUTHOR], triggers=True)

    run(writer, "INSERT INTO shop.book VALUES (1, 'Emma', NULL, 'x')")

    assert feed.changes()[0].row == {"id": "1", "title": "Emma", "secret": "x"}


@pytest.mark.parametrize(
    "newer",
    [
        [captured("bookstore.book", "shop.book", "title", "secret"), AUTHOR],
        [captured("bookstore.book", "shop.book"), AUTHOR],
        [*BOTH, captured("bookstore.shelf", "shop.shelf")],
    ],
    ids=["more columns", "fewer columns", "one more table"],
)
def test_what_a_newer_release_installed_tells_an_older_one_all_it_wants(shop, newer):
    """Its workers may still be replaced, between the migrate and the restart; so may all of it, when one goes back."""
    with shop.cursor() as cursor:
        cursor.execute("CREATE TABLE shop.shelf (id integer PRIMARY KEY)")
    capture.install(shop, newer, triggers=True)

    status = capture.status(shop, BOTH, triggers=True)

    assert status.tables == ()
    assert status.differing == (newer[-1 if len(newer) > 2 else 0].table,)
    assert not status.ready


@pytest.mark.parametrize(
    "newer",
    [
        [AUTHOR],
        [captured("bookstore.book", "shop.author", "title", "author_id"), AUTHOR],
        [replace(BOOK, key_column="author_id"), AUTHOR],
    ],
    ids=["not captured", "another relation", "another key"],
)
def test_what_a_newer_release_installed_may_hide_changes_from_an_older_one(shop, newer):
    capture.install(shop, newer, triggers=True)

    status = capture.status(shop, BOTH, triggers=True)

    assert status.tables == status.uncaptured == (book,)


def test_disabled_trigger_is_mended(shop, writer):
    run(writer, "ALTER TABLE shop.book DISABLE TRIGGER USER")

    assert capture.status(shop, BOTH, triggers=True).tables == (book,)
    capture.install(shop, BOTH, triggers=True)
    assert capture.status(shop, BOTH, triggers=True).ready


@pytest.mark.parametrize(
    "tampering",
    [
        "ALTER TABLE shop.book DISABLE TRIGGER dddp_capture_update_v1",
        "ALTER TABLE shop.book ENABLE TRIGGER dddp_capture_update_v1",
        "DROP TRIGGER dddp_capture_update_v1 ON shop.book",
        "CREATE OR REPLACE TRIGGER dddp_capture_update_v1 AFTER UPDATE ON shop.book "
        "REFERENCING OLD TABLE AS dddp_old NEW TABLE AS dddp_new FOR EACH STATEMENT WHEN (false) "
        "EXECUTE FUNCTION dddp_capture_id_6eb00b73_v1('bookstore.book')",
        "CREATE OR REPLACE TRIGGER dddp_capture_update_v1 AFTER UPDATE ON shop.book "
        "FOR EACH ROW EXECUTE FUNCTION dddp_capture_truncate('bookstore.book')",
        "CREATE OR REPLACE TRIGGER dddp_capture_update_v1 AFTER UPDATE ON shop.book "
        "REFERENCING OLD TABLE AS dddp_old NEW TABLE AS dddp_new FOR EACH STATEMENT "
        "EXECUTE FUNCTION dddp_capture_id_6eb00b73_v1('bookstore.author')",
    ],
)
def test_tampered_trigger_is_found_and_mended(shop, writer, feed, tampering):
    run(writer, tampering)

    found = capture.status(shop, BOTH, triggers=True)
    assert book in found.uncaptured
    assert [detail for detail in found.details if "trigger on shop.book is" in detail]
    capture.install(shop, BOTH, triggers=True)
    assert feed.transaction().tables == {book}

    run(writer, "INSERT INTO shop.book VALUES (1, 'A')", "UPDATE shop.book SET title = 'B'")
    assert capture.status(shop, BOTH, triggers=True).ready
    assert feed.changes() == [row(book, 1, title="B", author_id=None)]


def test_triggers_made_before_the_commit_of_a_writer_without_them_tell_of_its_rows(shop, connect, feed):
    """CREATE TRIGGER waits for it; who listens reads the table after both."""
    capture.install(shop, BOTH, triggers=False)
    writer = connect()
    with writer.cursor() as cursor:
        cursor.execute("INSERT INTO shop.book VALUES (1, 'A')")

    with ThreadPoolExecutor(1) as pool:
        installing = pool.submit(_in_a_thread, shop, lambda own: capture.install(own, BOTH, triggers=True))
        _until(lambda: _waits(shop))
        writer.commit()
        installing.result()

    assert [transaction.tables for transaction in feed.transactions()] == [{author}, {book}]


def test_install_without_triggers_says_of_no_table_that_it_changed(tables, connect):
    feed = RecordingFeed(connect(autocommit=True), [book, author])

    capture.install(tables, BOTH, triggers=False)

    assert feed.events() == []


SILENT = "LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"


@pytest.mark.parametrize(
    "tampering",
    [
        f"CREATE OR REPLACE FUNCTION dddp_flush() RETURNS trigger {SILENT}",
        f"CREATE OR REPLACE FUNCTION dddp_capture_id_6eb00b73_v1() RETURNS trigger {SILENT}",
        "CREATE OR REPLACE FUNCTION dddp_append(added text) RETURNS void LANGUAGE plpgsql AS 'BEGIN END'",
        "DROP FUNCTION dddp_append(text); "
        "CREATE FUNCTION dddp_append(added text) RETURNS text LANGUAGE sql AS 'SELECT added'",
        "CREATE FUNCTION dddp_outdated() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION dddp_flush() RESET search_path",
        "ALTER FUNCTION dddp_flush() SECURITY INVOKER",
        "DROP FUNCTION dddp_capture_id_6eb00b73_v1() CASCADE",
        "COMMENT ON TABLE dddp_table IS NULL",
        "COMMENT ON TABLE dddp_table IS 'dddp anotherrelease 0123'",
        "ALTER TABLE dddp_mark DISABLE TRIGGER dddp_flush",
        "DROP TRIGGER dddp_probe ON dddp_mark",
        "DROP TRIGGER dddp_flush ON dddp_mark; "
        "CREATE TRIGGER dddp_flush AFTER INSERT ON dddp_mark FOR EACH ROW EXECUTE FUNCTION dddp_flush()",
    ],
)
def test_tampered_function_is_found_and_mended(shop, writer, feed, tampering):
    """Also functions of another release: the comment on the registry says which scripts made them, and what of it."""
    run(writer, tampering)

    found = capture.status(shop, BOTH, triggers=True)
    assert not found.sound
    assert "run: manage.py migrate" in str(found)
    capture.install(shop, BOTH, triggers=True)
    feed.events()

    run(writer, "INSERT INTO shop.book VALUES (1, 'A')")
    assert capture.status(shop, BOTH, triggers=True).ready
    assert feed.changes() == [row(book, 1, title="A", author_id=None)]


def test_what_was_written_while_the_mark_had_no_triggers_is_told_when_they_are_mended(shop, writer, feed):
    run(writer, "ALTER TABLE dddp_mark DISABLE TRIGGER ALL")
    run(writer, "INSERT INTO shop.book VALUES (1, 'A')")
    assert feed.events() == []

    capture.install(shop, BOTH, triggers=True)

    assert feed.transaction().tables == {book, author}


def test_functions_are_mended_while_a_writer_is_at_work(shop, writer, feed):
    """An upgrade of dddp takes no lock on the project's tables."""
    run(writer, "COMMENT ON TABLE dddp_table IS 'dddp anotherrelease 0123'")
    with writer.cursor() as cursor:
        cursor.execute("INSERT INTO shop.book VALUES (1, 'A')")

    capture.install(shop, BOTH, triggers=True, patience=IMPATIENT)
    writer.commit()

    assert feed.changes() == [row(book, 1, title="A", author_id=None)]


@pytest.mark.parametrize("before", [[], BOTH], ids=["first", "later"])
def test_installs_at_the_same_time_take_turns(tables, connect, before):
    """Deployments that migrate at once, with the same in mind: none fails over what another has done."""
    capture.install(tables, before, triggers=False)

    def migrate(number: int) -> None:
        alias = f"install {number}"
        connections[alias] = DatabaseWrapper(tables.settings_dict, alias)
        try:
            capture.install(connections[alias], BOTH, triggers=True)
        finally:
            connections[alias].close()
            del connections[alias]

    holder = connect()
    holder.cursor().execute(capture.ONE_AT_A_TIME)
    with ThreadPoolExecutor(4) as pool:
        installs = [pool.submit(migrate, number) for number in range(4)]
        polling.until(lambda: waiting(tables) == 4, PATIENCE)
        holder.rollback()

    assert [each.result() for each in installs] == [None] * 4
    assert capture.status(tables, BOTH, triggers=True).ready


def waiting(connection: Any) -> int:
    """How many sessions wait for a lock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        return int(cursor.fetchone()[0])


# ------------------------------------------------------------------------------------------------------------ locks

IMPATIENT = Patience(lock_timeout=0.05, attempts=2)


@pytest.fixture
def busy(shop, connect):
    """Somebody writes books, and has not committed."""
    pgconn = connect(application_name="busy")
    with pgconn.cursor() as cursor:
        cursor.execute("INSERT INTO shop.book VALUES (1)")
    return pgconn


def test_busy_table_is_given_up_with_who_holds_it(shop, busy):
    with pytest.raises(
        TableBusy, match=r"shop.book stayed locked .* by session \d+ \(busy, idle in transaction"
    ):
        capture.install(shop, BOTH, triggers=False, patience=IMPATIENT)


def test_busy_table_leaves_the_others_done(shop, busy):
    with pytest.raises(TableBusy):
        capture.install(shop, BOTH, triggers=False, patience=IMPATIENT)

    assert capture.status(shop, BOTH, triggers=False).differing == (book,)


def test_busy_table_is_tried_again(shop, busy):
    with ThreadPoolExecutor(1) as pool:
        patience = Patience(lock_timeout=0.05, attempts=20)
        done = pool.submit(_in_a_thread, shop, lambda mine: capture.install(mine, BOTH, False, patience))
        _until(lambda: _waits(shop))
        busy.commit()
        done.result()

    assert capture.status(shop, BOTH, triggers=False).ready


def test_writers_wait_no_longer_than_the_lock_timeout(shop, busy, connect):
    """A reader or writer that comes behind our request for the lock is let through when we give up."""
    with ThreadPoolExecutor(1) as pool:
        patience = Patience(lock_timeout=0.2, attempts=3)
        done = pool.submit(_in_a_thread, shop, lambda mine: capture.install(mine, BOTH, False, patience))
        _until(lambda: _waits(shop))
        run(connect(options="-c statement_timeout=2000"), "INSERT INTO shop.book VALUES (2)")
        with pytest.raises(TableBusy):
            done.result()


def _in_a_thread(connection: Any, do: Callable[[Any], None]) -> None:
    """With a connection of the thread's own under the same alias."""
    alias = connection.alias
    connections[alias] = DatabaseWrapper(connection.settings_dict, alias)
    try:
        do(connections[alias])
    finally:
        connections[alias].close()


def _waits(connection: Any) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'shop.book'::regclass")
        return bool(cursor.fetchone()[0])


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline


# ------------------------------------------------------------------------------------------------------------ names


def test_changed_key_column_is_followed(shop, writer, feed):
    run(writer, "ALTER TABLE shop.book RENAME id TO number")
    renamed = captured("bookstore.book", "shop.book", "title", key="number")
    capture.install(shop, [renamed, AUTHOR], triggers=True)
    assert feed.transaction().tables == {book}

    run(writer, "INSERT INTO shop.book VALUES (1, 'Emma')")

    assert feed.changes()[0].row == {"number": "1", "title": "Emma"}


def test_announcement_says_that_all_captured_tables_changed(shop, feed):
    capture.announce(shop)

    assert feed.transaction().tables == {book, author}


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

    for do in (capture.create, capture.drop, capture.announce):
        do(sqlite)
    capture.install(sqlite, BOTH, triggers=True)
    assert capture.status(sqlite, BOTH, triggers=True) == Status(supported=False)


def test_status_names_the_tables_and_the_mend():
    assert str(Status(tables=(book,))) == "capture is out of date for bookstore.book; run: manage.py migrate"
    assert str(Status(differing=(book,))) == (
        "capture of bookstore.book is not what is declared, though it tells of every change; run: manage.py migrate"
    )
    assert str(Status()) == "ready"


def test_role_that_may_not_read_is_told_the_grant(shop, writer):
    """It looks by itself, without a right on dddp's tables but what everybody has."""
    run(
        writer,
        "DO $$BEGIN CREATE ROLE web; EXCEPTION WHEN duplicate_object THEN END$$",
        "GRANT USAGE ON SCHEMA shop TO web",
        "GRANT SELECT ON shop.author TO web",
    )
    with shop.cursor() as cursor:
        cursor.execute("SET ROLE web")
        status = capture.status(shop, BOTH, triggers=True)
        cursor.execute("RESET ROLE")

    assert not status.ready
    grant = "GRANT SELECT ON shop.book TO web"
    assert str(status) == f"the role web may not read bookstore.book; run as its owner: {grant}"
    assert status.consequence == "queries of what may not be read fail"


def test_role_that_may_not_use_the_schema_is_told_the_grant(shop, writer):
    """It sees none of dddp's tables, which are there."""
    run(
        writer,
        "DO $$BEGIN CREATE ROLE web; EXCEPTION WHEN duplicate_object THEN END$$",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    )
    try:
        with shop.cursor() as cursor:
            cursor.execute("SET ROLE web")
            status = capture.status(shop, BOTH, triggers=True)
            cursor.execute("RESET ROLE")
    finally:
        run(writer, "GRANT USAGE ON SCHEMA public TO PUBLIC")

    assert str(status) == (
        "the role web may not use the schema public, which has dddp's tables; "
        "run as its owner: GRANT USAGE ON SCHEMA public TO web"
    )
    assert status.consequence == "changes will not reach DDP clients"


@pytest.mark.parametrize(
    ("status", "consequence"),
    [
        (Status(created=False), "changes will not reach DDP clients"),
        (Status(tables=(book,)), "changes will not reach DDP clients"),
        (Status(tables=(book,), triggers=False), "changes cost more reads"),
        (Status(sound=False), "changes may not reach DDP clients"),
        (Status(differing=(book,)), "changes cost more reads"),
        (Status(differing=(book,), unreadable=("no",)), "queries of what may not be read fail"),
    ],
)
def test_status_says_what_is_the_matter_until_it_is_mended(status, consequence):
    assert status.consequence == consequence


def test_status_names_the_grant_beside_the_migration():
    status = Status(differing=(book,), unreadable=("run: GRANT",))

    assert str(status).endswith("run: manage.py migrate; run: GRANT")


def test_signals_in_a_database_without_registration_give_keys_only(shop, writer, feed):
    capture.install(shop, [], triggers=False)

    run(writer, "SELECT dddp_note('bookstore.book', ARRAY['1'])")

    assert feed.changes() == [key_only(book, 1)]
