"""Tokens of reads and of writers."""

from __future__ import annotations

from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from dddp.changes import Mark
from dddp.feed.channels import process_channel
from dddp.feed.token import note_token, send_token
from tests.feed.recording import RecordingFeed, run
from tests.feed.test_capture import book, insert_book

channel = process_channel("recording")


def test_token_of_a_read_only_transaction_comes_back(writer, feed):
    writer.set_session(readonly=True, isolation_level=ISOLATION_LEVEL_REPEATABLE_READ)
    with writer.cursor() as cursor:
        cursor.execute("SELECT 1")
        send_token(cursor, channel, "read 1")
    writer.commit()

    assert feed.events() == [Mark("read 1")]


def test_token_of_a_writer_comes_with_the_end_of_its_transaction(writer, feed):
    with writer.cursor() as cursor:
        cursor.execute(insert_book(7))
    assert note_token(writer, channel, "fence 1")
    with writer.cursor() as cursor:
        cursor.execute(insert_book(8))
    writer.commit()

    transaction = feed.transaction()
    assert transaction.marks == ("fence 1",)
    assert len(transaction.changes) == 2
    assert feed.payloads[-1][0] == channel


def test_token_of_a_writer_comes_although_only_other_tables_changed(writer, feed):
    run(writer, "CREATE TABLE shop.other (id int)")
    with writer.cursor() as cursor:
        cursor.execute("INSERT INTO shop.other VALUES (1)")
    assert note_token(writer, channel, "fence 1")
    writer.commit()

    transaction = feed.transaction()
    assert (transaction.changes, transaction.marks) == ((), ("fence 1",))


def test_token_is_noted_after_a_write_within_a_savepoint(writer, feed):
    run_in = writer.cursor()
    run_in.execute("SAVEPOINT a")
    run_in.execute(insert_book(7))

    assert note_token(writer, channel, "fence 1")


def test_token_of_a_transaction_that_wrote_nothing_is_not_noted(writer, feed):
    with writer.cursor() as cursor:
        cursor.execute("SELECT 1")

    assert not note_token(writer, channel, "fence 1")
    with writer.cursor() as cursor:
        cursor.execute("SELECT pg_current_xact_id_if_assigned()")
        assert cursor.fetchone() == (None,)


def test_token_of_a_rolled_back_writer_never_comes(writer, feed):
    with writer.cursor() as cursor:
        cursor.execute(insert_book(7))
    note_token(writer, channel, "fence 1")
    writer.rollback()

    assert feed.events() == []


def test_token_reaches_only_its_process(writer, feed, connect):
    other = RecordingFeed(connect(autocommit=True), [book], "other")
    with writer.cursor() as cursor:
        cursor.execute(insert_book(7))
    note_token(writer, channel, "fence 1")
    writer.commit()

    assert other.transaction().marks == ()
    assert feed.transaction().marks == ("fence 1",)
