"""What PostgreSQL sends for a transaction, with statement triggers."""

from __future__ import annotations

import io
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from psycopg2.extensions import (
    ISOLATION_LEVEL_READ_COMMITTED,
    ISOLATION_LEVEL_REPEATABLE_READ,
    ISOLATION_LEVEL_SERIALIZABLE,
)

from dddp.changes import Kind
from dddp.feed import capture
from tests.feed.conftest import AUTHOR, BOOK
from tests.feed.recording import RecordingFeed, captured, gone, key_only, row, run

book, author = BOOK.table, AUTHOR.table
LIMIT = 7_999  # bytes, NOTIFY's


def insert_book(key: int, title: str = "Emma") -> str:
    return f"INSERT INTO shop.book VALUES ({key}, '{title}', NULL, 'sesame')"


# ------------------------------------------------------------------------------------------ folded, committed, whole


def test_insert_arrives_as_the_row(writer, feed):
    """The row as it is at commit: PostgreSQL's texts under the columns' names."""
    run(writer, insert_book(7))

    assert feed.changes() == [row(book, 7, title="Emma", author_id=None)]


def test_a_b_a_arrives_as_a(writer, feed):
    run(writer, insert_book(7))
    feed.events()

    run(writer, "UPDATE shop.book SET title = 'B'", "UPDATE shop.book SET title = 'Emma'")

    assert feed.changes() == [row(book, 7, title="Emma", author_id=None)]


def test_insert_then_delete_in_one_transaction_is_gone(writer, feed):
    run(writer, insert_book(7), "DELETE FROM shop.book")

    assert feed.changes() == [gone(book, 7)]


def test_changed_key_is_the_old_gone_and_the_new_row(writer, feed):
    run(writer, insert_book(7))
    feed.events()

    run(writer, "UPDATE shop.book SET id = 8")

    assert feed.changes() == [gone(book, 7), row(book, 8, title="Emma", author_id=None)]


def test_statement_that_touches_no_row_sends_nothing(writer, feed):
    run(writer, "UPDATE shop.book SET title = 'B' WHERE id = 1")

    assert feed.events() == []


def test_rolled_back_savepoint_is_left_out(writer, feed):
    run(writer, insert_book(1), "SAVEPOINT a", insert_book(2), "ROLLBACK TO a", insert_book(3))

    assert [change.key for change in feed.changes()] == ["1", "3"]


def test_savepoint_rolled_back_around_the_first_write_leaves_later_writes_noted(writer, feed):
    """The mark goes with the savepoint, and so does the memory of it."""
    run(writer, "SAVEPOINT a", insert_book(1), "ROLLBACK TO a", insert_book(2))

    assert [change.key for change in feed.changes()] == ["2"]


def test_rolled_back_transaction_is_never_seen(writer, feed):
    with writer.cursor() as cursor:
        cursor.execute(insert_book(1))
    writer.rollback()

    assert feed.events() == []


def test_two_tables_are_one_transaction(writer, feed):
    run(writer, "INSERT INTO shop.author VALUES (1, 'Jane', '')", insert_book(7))

    assert feed.changes() == [row(author, 1, name="Jane"), row(book, 7, title="Emma", author_id=None)]


def test_end_of_each_channel_names_the_channels_used(writer, feed):
    run(writer, "INSERT INTO shop.author VALUES (1, 'Jane', '')", insert_book(7))
    feed.events()

    envelopes = [json.loads(payload) for _, payload in feed.payloads]

    channels = ["dddp.bookstore.author", "dddp.bookstore.book"]
    assert [sorted(envelope["e"]) for envelope in envelopes] == [channels, channels]


def test_interleaved_writers_arrive_in_the_order_of_commits(shop, connect, feed):
    first, second = connect(), connect()
    with first.cursor() as one, second.cursor() as two:
        one.execute(insert_book(1))
        two.execute(insert_book(2))
        one.execute(insert_book(3))

    second.commit()
    first.commit()

    assert [sorted(c.key for c in each.changes) for each in feed.transactions()] == [["2"], ["1", "3"]]


def test_cascade_is_captured(writer, feed):
    run(
        writer,
        "INSERT INTO shop.author VALUES (1, 'Jane', '')",
        "INSERT INTO shop.book VALUES (7, 'Emma', 1, '')",
    )
    feed.events()

    run(writer, "DELETE FROM shop.author")

    assert feed.changes() == [gone(author, 1), gone(book, 7)]


def test_upsert_and_copy_are_captured(writer, feed):
    run(writer, insert_book(7))
    feed.events()

    with writer.cursor() as cursor:
        cursor.execute(
            "INSERT INTO shop.book VALUES (7, 'x') ON CONFLICT (id) DO UPDATE SET title = 'Persuasion'"
        )
        cursor.copy_expert("COPY shop.book (id, title) FROM STDIN", io.StringIO("8\tSanditon\n"))
    writer.commit()

    assert feed.changes() == [
        row(book, 7, title="Persuasion", author_id=None),
        row(book, 8, title="Sanditon", author_id=None),
    ]


def test_truncate_changes_the_table_as_a_whole(writer, feed):
    run(writer, "TRUNCATE shop.book")

    transaction = feed.transaction()
    assert (transaction.tables, transaction.changes) == (frozenset({book}), ())


def test_second_batch_by_a_later_deferred_trigger_counts_as_a_transaction_of_its_own(writer, feed):
    """A deferred trigger that writes after our flush: its writes follow under the same xid."""
    run(
        writer,
        "CREATE FUNCTION shop.late() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN INSERT INTO shop.author VALUES (NEW.id, 'late', ''); RETURN NULL; END$$",
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON shop.book DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION shop.late()",
    )

    run(writer, "INSERT INTO shop.author VALUES (1, 'Jane', '')", insert_book(7))

    first, second = feed.transactions()
    assert first.xid == second.xid
    assert second.changes == (row(author, 7, name="late"),)


# -------------------------------------------------------------------------------------------------------- envelopes


def test_private_columns_are_in_no_payload(writer, feed):
    run(writer, insert_book(7), "UPDATE shop.book SET secret = 'sesame 2'", "DELETE FROM shop.book")
    run(writer, insert_book(8))
    feed.events()

    assert feed.payloads
    assert not [payload for _, payload in feed.payloads if "sesame" in payload]


def test_payloads_are_limited_in_bytes_not_characters(writer, feed):
    """1,000 rows of text that takes 3 bytes a character: all arrive, no payload above the limit, no two equal."""
    run(
        writer,
        "INSERT INTO shop.book SELECT n, repeat('語', n % 300), NULL, '' FROM generate_series(1, 1000) n",
    )

    changes = feed.changes()

    assert {int(c.key): len(c.row["title"]) for c in changes} == {n: n % 300 for n in range(1, 1001)}
    sizes = [len(payload.encode()) for _, payload in feed.payloads]
    assert max(sizes) <= LIMIT
    assert len(set(feed.payloads)) == len(feed.payloads)


def test_payloads_are_packed(writer, feed):
    """As few envelopes as is simple: at least two thirds full."""
    run(writer, "INSERT INTO shop.book SELECT n, repeat('x', 50), NULL, '' FROM generate_series(1, 2000) n")
    feed.events()

    sizes = [len(payload) for _, payload in feed.payloads]

    assert sum(sizes) / len(sizes) > LIMIT * 2 / 3


@pytest.mark.parametrize("filler", ["x", "é", "語"])
def test_largest_row_that_fits_is_sent_to_the_byte(writer, feed, filler):
    """One byte more and it is key only."""
    run(writer, insert_book(7, ""))
    feed.events()
    spare = LIMIT - len(feed.payloads[-1][1].encode())
    exact = filler * (spare // len(filler.encode()))
    exact += "." * (spare - len(exact.encode()))

    # The xid and the mark's number have a digit more at times: measured anew each time.
    run(writer, f"UPDATE shop.book SET title = '{exact[:-9]}'")
    feed.events()
    exact = exact[:-9] + "." * (LIMIT - len(feed.payloads[-1][1].encode()))
    run(writer, f"UPDATE shop.book SET title = '{exact}'")
    assert feed.changes() == [row(book, 7, title=exact, author_id=None)]
    assert len(feed.payloads[-1][1].encode()) == LIMIT
    run(writer, f"UPDATE shop.book SET title = '{exact}.'")
    assert feed.changes() == [key_only(book, 7)]


def test_huge_row_among_small_ones_is_key_only(writer, feed):
    run(writer, insert_book(1), insert_book(2, "x" * 9_000), insert_book(3, "y" * 5_000))

    assert [(change.key, change.kind) for change in feed.changes()] == [
        ("1", Kind.ROW),
        ("2", Kind.KEY_ONLY),
        ("3", Kind.ROW),
    ]


@pytest.mark.parametrize(("rows", "whole"), [(10_000, False), (10_001, True)])
def test_past_ten_thousand_keys_the_table_changed_as_a_whole(writer, feed, rows, whole):
    run(writer, f"INSERT INTO shop.book SELECT n, 'x', NULL, '' FROM generate_series(1, {rows}) n")

    transaction = feed.transaction()

    assert (book in transaction.tables) == whole
    assert len(transaction.changes) == (0 if whole else rows)


def test_past_ten_thousand_keys_over_many_statements_the_table_changed_as_a_whole(writer, feed):
    for start in range(0, 12_000, 500):
        with writer.cursor() as cursor:
            cursor.execute(
                f"INSERT INTO shop.book SELECT {start} + n, '', NULL FROM generate_series(1, 500) n"
            )
    writer.commit()

    assert feed.transaction().tables == {book}


def test_many_statements_on_few_rows_are_folded_on_the_way(writer, feed):
    """More notes than the fold's first limit."""
    run(writer, "INSERT INTO shop.book SELECT n, 'x', NULL, '' FROM generate_series(1, 100) n")
    feed.events()

    with writer.cursor() as cursor:
        cursor.execute(
            "DO $$BEGIN FOR n IN 1 .. 5000 LOOP "
            "UPDATE shop.book SET title = n::text WHERE id = n % 100 + 1; END LOOP; END$$"
        )
        cursor.execute("SELECT octet_length(current_setting('dddp.notes'))")
        (noted,) = cursor.fetchone()
    writer.commit()

    assert noted < 65_536
    assert len(feed.changes()) == 100


def test_text_that_json_must_escape_arrives_whole(writer, feed):
    title = 'a"b\\c\nd\te\x01f\u2028g😀'
    with writer.cursor() as cursor:
        cursor.execute("INSERT INTO shop.book VALUES (1, %s)", (title,))
    writer.commit()

    assert feed.changes() == [row(book, 1, title=title, author_id=None)]


# -------------------------------------------------------------------------------------------- writers of every kind

HOSTILE = (
    "SET search_path = evil, pg_catalog; SET DateStyle = 'German, DMY'; SET TimeZone = 'Asia/Kathmandu';"
    "SET IntervalStyle = 'sql_standard'; SET bytea_output = 'escape'; SET extra_float_digits = -15;"
    "SET array_nulls = off; SET quote_all_identifiers = on; SET client_encoding = 'LATIN1';"
    "SET default_transaction_isolation = 'repeatable read'; SET standard_conforming_strings = on"
)

KINDS = """
CREATE TABLE shop.kind (
    id date PRIMARY KEY, at timestamptz, span interval, raw bytea, real double precision, exact numeric, doc jsonb);
INSERT INTO shop.kind VALUES ('2026-02-01', '2026-02-01 12:00:00.123456+00', '1 day 02:03:04', '\\xdeadbeef',
    0.1, 12345678901234567890.10, '{"a": 1.10}');
"""


def test_session_settings_of_the_writer_do_not_matter(shop, connect, feed):
    """Nor for the key, whose text is taken in the capture trigger."""
    kind = captured("shop.kind", "shop.kind", "at", "span", "raw", "real", "exact", "doc")
    run(connect(), KINDS)
    capture.install(shop, [BOOK, AUTHOR, kind], triggers=True)
    listener = type(feed)(connect(autocommit=True), [kind.table])
    writer = connect()
    run(
        writer,
        "CREATE SCHEMA IF NOT EXISTS evil",
        "CREATE OR REPLACE FUNCTION evil.current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT ''evil'''",
        HOSTILE,
    )

    run(writer, "UPDATE shop.kind SET exact = exact")

    assert listener.changes() == [
        row(
            kind.table,
            "2026-02-01",
            at="2026-02-01 12:00:00.123456+00",
            span="1 day 02:03:04",
            raw="\\xdeadbeef",
            real="0.1",
            exact="12345678901234567890.10",
            doc='{"a": 1.10}',
        )
    ]


def test_unprivileged_role_is_captured(writer, feed):
    run(
        writer,
        "DO $$BEGIN CREATE ROLE clerk; EXCEPTION WHEN duplicate_object THEN END$$",
        "GRANT USAGE ON SCHEMA shop TO clerk",
        "GRANT INSERT ON shop.book TO clerk",
    )

    run(writer, "SET LOCAL ROLE clerk", insert_book(7))

    assert feed.changes() == [row(book, 7, title="Emma", author_id=None)]


def test_replica_role_is_captured(writer, feed):
    """``session_replication_role`` switches off ordinary triggers; ours stay on, the mark's too."""
    run(writer, "SET session_replication_role = replica", insert_book(7))

    assert feed.changes() == [row(book, 7, title="Emma", author_id=None)]


def test_row_security_that_would_hide_rows_gives_keys_only(writer, feed):
    """The owner is bound by the policy: the flush is refused, which must not look like a row that is gone."""
    run(
        writer,
        "DO $$BEGIN CREATE ROLE keeper; EXCEPTION WHEN duplicate_object THEN END$$",
        "ALTER TABLE shop.book ENABLE ROW LEVEL SECURITY",
        "CREATE POLICY nothing ON shop.book FOR SELECT USING (false)",
        "GRANT ALL ON shop.book TO keeper",
        "GRANT USAGE ON SCHEMA shop TO keeper",
        "ALTER FUNCTION dddp_flush OWNER TO keeper",
        "GRANT ALL ON dddp_mark, dddp_table TO keeper",
    )
    try:
        run(writer, insert_book(7))
    finally:
        run(
            writer,
            "ALTER FUNCTION dddp_flush OWNER TO CURRENT_USER",
            "REVOKE ALL ON dddp_mark, dddp_table FROM keeper",
        )

    assert feed.changes() == [key_only(book, 7)]


def test_psql_is_captured(shop, dsn, feed):
    subprocess.run(["psql", "-qX", "-d", dsn, "-c", insert_book(7)], check=True, capture_output=True)

    assert feed.changes() == [row(book, 7, title="Emma", author_id=None)]


def test_partition_written_by_name_is_captured(shop, connect, feed):
    part = captured("shop.part", "shop.part", "day")
    run(
        connect(),
        "CREATE TABLE shop.part (id bigint, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)",
        "CREATE TABLE shop.part_2026 PARTITION OF shop.part FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')",
    )
    capture.install(shop, [part], triggers=True)
    listener = type(feed)(connect(autocommit=True), [part.table])

    run(
        connect(),
        "INSERT INTO shop.part VALUES (1, '2026-05-05')",
        "INSERT INTO shop.part_2026 VALUES (2, '2026-05-05')",
    )

    assert [change.key for change in listener.changes()] == ["1", "2"]


# ------------------------------------------------------------------------------------------------ traps on the way


@pytest.mark.parametrize("key", ["keys", "old_keys", "done", "found", "rows", "label", "locked"])
def test_columns_named_like_variables_of_ours_are_carried(shop, connect, key):
    columns = ", ".join(f"{name} text" for name in ("keys", "rows", "label", "locked", "done") if name != key)
    run(connect(), f"CREATE TABLE shop.odd ({key} bigint PRIMARY KEY, {columns}, title text)")
    odd = captured("shop.odd", "shop.odd", "title", key=key)
    capture.install(shop, [odd], triggers=True)
    feed = RecordingFeed(connect(autocommit=True), [odd.table])

    run(connect(), f"INSERT INTO shop.odd ({key}, title) VALUES (1, 'Emma'), (2, 'Persuasion')")
    run(connect(), f"UPDATE shop.odd SET title = 'Lady Susan' WHERE {key} = 1")
    run(connect(), f"DELETE FROM shop.odd WHERE {key} = 2")

    changes = [change for transaction in feed.transactions() for change in transaction.changes]
    assert [(change.kind, change.row) for change in changes] == [
        (Kind.ROW, {key: "1", "title": "Emma"}),
        (Kind.ROW, {key: "2", "title": "Persuasion"}),
        (Kind.ROW, {key: "1", "title": "Lady Susan"}),
        (Kind.GONE, None),
    ]


def test_constraints_made_immediate_show_no_intermediate_state(writer, feed):
    """What loaddata does: the flush must not fire there, nor be lost."""
    run(writer, insert_book(7, "A"), "SET CONSTRAINTS ALL IMMEDIATE", "UPDATE shop.book SET title = 'B'")

    assert feed.changes() == [row(book, 7, title="B", author_id=None)]


def test_constraints_made_immediate_and_deferred_again_and_again(writer, feed):
    again = ["SET CONSTRAINTS ALL IMMEDIATE", "SET CONSTRAINTS ALL DEFERRED"] * 2
    run(writer, insert_book(7, "A"), *again, insert_book(8), *again, "UPDATE shop.book SET title = 'B'")

    assert feed.changes() == [
        row(book, 7, title="B", author_id=None),
        row(book, 8, title="B", author_id=None),
    ]


def test_constraints_made_immediate_before_the_first_write(writer, feed):
    run(writer, "SET CONSTRAINTS ALL IMMEDIATE", insert_book(7, "A"), "UPDATE shop.book SET title = 'B'")

    assert feed.changes() == [row(book, 7, title="B", author_id=None)]


def test_constraints_made_immediate_in_a_savepoint_that_is_rolled_back(writer, feed):
    run(
        writer,
        insert_book(7, "A"),
        "SAVEPOINT a",
        "SET CONSTRAINTS ALL IMMEDIATE",
        insert_book(8),
        "ROLLBACK TO a",
        "UPDATE shop.book SET title = 'B'",
    )

    assert feed.changes() == [row(book, 7, title="B", author_id=None)]


def test_nothing_is_left_in_the_mark_table(writer, feed):
    run(writer, insert_book(7), "SET CONSTRAINTS ALL IMMEDIATE", "RESET ALL", insert_book(8))
    run(writer, "SET CONSTRAINTS ALL IMMEDIATE", insert_book(9))

    with writer.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM dddp_mark")
        assert cursor.fetchone() == (0,)


def test_reset_all_says_that_all_captured_tables_changed(writer, feed):
    run(writer, insert_book(7), "RESET ALL")

    assert feed.transaction().tables == {book, author}


def test_reset_all_keeps_what_is_noted_after_it(writer, feed):
    run(writer, insert_book(7), "RESET ALL", insert_book(8))

    lost, kept = feed.transactions()
    assert lost.tables == {book, author}
    assert [change.key for change in kept.changes] == ["8"]


def test_reset_all_before_constraints_made_immediate(writer, feed):
    run(writer, insert_book(7), "RESET ALL", "SET CONSTRAINTS ALL IMMEDIATE", insert_book(8))

    assert feed.transaction().tables == {book, author}


@pytest.mark.parametrize("junk", ["junk", '{"', ",[", "0 0 0 0"])
def test_settings_of_ours_set_by_the_session_break_no_write(writer, feed, junk):
    run(writer, f"SET dddp.mark = '{junk}'", f"SET dddp.notes = '{junk}'", insert_book(7))

    assert feed.changes() == [row(book, 7, title="Emma", author_id=None)]


def test_notes_spoilt_within_the_transaction_say_that_all_captured_tables_changed(writer, feed):
    run(writer, insert_book(7), "SET LOCAL dddp.notes = 'junk'")

    assert feed.transaction().tables == {book, author}


def test_table_dropped_in_the_same_transaction_changed_as_a_whole(writer, feed):
    run(writer, insert_book(7), "SET CONSTRAINTS ALL IMMEDIATE", "DROP TABLE shop.book")

    assert feed.transaction().tables == {book}


@pytest.mark.parametrize("column", ["title", "id"])
def test_column_renamed_in_the_same_transaction_changed_the_table_as_a_whole(writer, feed, column):
    run(
        writer,
        insert_book(7),
        f"ALTER TABLE shop.book RENAME {column} TO renamed",
        "INSERT INTO shop.book VALUES (8)",
    )

    assert feed.transaction().tables == {book}


def test_key_type_changed_in_the_same_transaction_changed_the_table_as_a_whole(writer, feed):
    run(writer, insert_book(7), "SET CONSTRAINTS ALL IMMEDIATE", "ALTER TABLE shop.book ALTER id TYPE text")

    assert feed.transaction().tables == {book}


@pytest.mark.parametrize("level", [ISOLATION_LEVEL_READ_COMMITTED, ISOLATION_LEVEL_REPEATABLE_READ])
def test_isolation_level_gives_the_row(writer, feed, level):
    writer.set_session(isolation_level=level)
    run(writer, insert_book(7))

    assert feed.changes() == [row(book, 7, title="Emma", author_id=None)]


def test_serializable_gives_keys_only(writer, feed):
    writer.set_session(isolation_level=ISOLATION_LEVEL_SERIALIZABLE)
    run(writer, insert_book(7))

    assert feed.changes() == [key_only(book, 7)]


@pytest.mark.parametrize("before", ["SELECT 1", "SET CONSTRAINTS ALL IMMEDIATE"])
def test_serializable_writers_of_unrelated_rows_do_not_collide(shop, connect, feed, before):
    """20 pairs of transactions that overlap from the first statement to the commit: none fails."""
    run(connect(), "INSERT INTO shop.book SELECT n, 'x', NULL, '' FROM generate_series(1, 1000) n")
    pairs = [(connect(), connect()) for _ in range(20)]
    failed = 0
    for number, pair in enumerate(pairs):
        for place, pgconn in enumerate(pair):
            pgconn.set_session(isolation_level=ISOLATION_LEVEL_SERIALIZABLE)
            with pgconn.cursor() as cursor:
                cursor.execute("SET enable_seqscan = off")
                cursor.execute(before)
                cursor.execute("UPDATE shop.book SET title = 'y' WHERE id = %s", (1 + number + 500 * place,))
        for pgconn in pair:
            try:
                pgconn.commit()
            except psycopg2.errors.SerializationFailure:
                failed += 1

    assert failed == 0


def test_concurrent_writers_lose_nothing(shop, connect, feed):
    def write(first: int) -> None:
        pgconn = connect()
        for number in range(25):
            run(pgconn, insert_book(first + number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, [0, 100, 200, 300]))

    keys = [int(change.key) for each in feed.transactions() for change in each.changes]
    assert sorted(keys) == [first + number for first in (0, 100, 200, 300) for number in range(25)]
