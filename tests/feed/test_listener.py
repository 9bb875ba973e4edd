"""The listener on a real connection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from dddp.changes import FeedEvent, Gap, Mark, Transaction
from dddp.errors import FeedUnavailable
from tests.feed.conftest import AUTHOR, BOOK
from tests.feed.listening import PATIENCE, RecordingListener, kill
from tests.feed.recording import run
from tests.feed.test_capture import insert_book

book, author = BOOK.table, AUTHOR.table


@pytest.fixture
def listener(shop: Any, dsn: str) -> Iterator[RecordingListener]:
    listener = RecordingListener(dsn)
    listener.start()
    yield listener
    listener.stop()


def test_reports_transactions_of_the_tables_listened_to_in_order(listener, writer):
    listener.listen([book])
    for number in range(300):
        run(writer, insert_book(number))
    run(writer, "INSERT INTO shop.author VALUES (1, 'Jane', '')")

    listener.until(lambda events: len(events) >= 300)

    assert listener.written() == [str(number) for number in range(300)]


def test_change_committed_after_listen_returned_is_reported(listener, writer):
    """Twenty times over: listen, write, and the write is there."""
    for number in range(20):
        listener.listen([book])
        run(writer, insert_book(number))
        listener.until(lambda events, number=number: str(number) in listener.written())
        listener.unlisten([book])


def test_listen_during_an_unlisten_is_not_answered_by_what_is_being_undone(listener, writer):
    """The second LISTEN begins at all points of the UNLISTEN's round trip."""
    listener.listen([book])
    for number in range(40):
        listener.unlisten([book])
        gevent.sleep(number % 10 * 0.0001)
        listener.listen([book])
        run(writer, insert_book(number))
        listener.until(lambda events, number=number: str(number) in listener.written())


def test_token_comes_back_after_what_was_committed_before(listener, writer):
    listener.listen([book])
    run(writer, insert_book(1), insert_book(2))
    run(writer, f"""NOTIFY "{listener.channel}", 'read 1'""")

    events = listener.until(lambda events: Mark("read 1") in events)

    assert [type(event) for event in events] == [Transaction, Mark]


def test_listen_is_counted(listener, writer):
    listener.listen([book, author])
    listener.listen([book])
    listener.unlisten([book])
    run(writer, insert_book(1))
    listener.until(len)

    listener.unlisten([book])
    listener.listen([])  # answered after the UNLISTEN
    with gevent.Timeout(PATIENCE):
        while _channels(listener) != {listener.channel, "dddp.bookstore.author"}:
            gevent.sleep(0.01)
    assert listener.written() == ["1"]


def _channels(listener: RecordingListener) -> frozenset[str]:
    return listener._listening


def test_listen_by_many_greenlets_at_once(listener, writer):
    def need(table: Any) -> None:
        listener.listen([table], timeout=PATIENCE)

    greenlets = [gevent.spawn(need, table) for table in [book, author] * 50]
    gevent.joinall(greenlets, raise_error=True)
    run(writer, "INSERT INTO shop.author VALUES (1, 'Jane', '')", insert_book(7))

    listener.until(len)
    assert sorted(listener.written()) == ["1", "7"]


def test_listen_that_begins_between_the_channels_of_a_transaction_holds_nothing_up(listener, writer, connect):
    """Envelopes of half a transaction, by hand: its end on the channel of the authors never comes."""
    listener.listen([book, author])
    ends = '["dddp.bookstore.book","dddp.bookstore.author"]'
    half = '{"v":1,"x":"5","b":"1","i":0,"m":"bookstore.book","g":["1"],"e":' + ends + "}"
    with writer.cursor() as cursor:
        cursor.execute("SELECT pg_notify('dddp.bookstore.book', %s)", (half,))
    writer.commit()

    listener.until(len)

    assert listener.written() == ["1"]
    assert not [event for event in listener.events if isinstance(event, Mark)]


def test_listen_and_unlisten_under_a_stream_of_transactions_split_none(listener, connect, shop):
    """What is reported of two tables that always change together is both or the one listened to all the time."""
    listener.listen([book])
    stop = Event()

    def write() -> None:
        pgconn = connect()
        for number in itertools.count():
            if stop.is_set():
                return
            run(pgconn, f"INSERT INTO shop.author VALUES ({number}, '', '')", insert_book(number))
            gevent.sleep(0)

    greenlet = gevent.spawn(write)
    for _ in range(30):
        listener.listen([author], timeout=PATIENCE)
        gevent.sleep(0.005)
        listener.unlisten([author])
    stop.set()
    greenlet.join()
    last = max(int(key) for key in listener.written())
    listener.until(lambda events: listener.written().count(str(last)) >= 1)

    seen = [event for event in listener.events if isinstance(event, Transaction)]
    books = [change.key for event in seen for change in event.changes if change.table == book]
    assert books == [str(number) for number in range(len(books))]
    assert len({event.xid for event in seen}) == len(seen)


def test_killed_connection_is_a_gap_and_everything_is_listened_to_again(listener, connect, writer):
    listener.listen([book])
    run(writer, insert_book(1))
    listener.until(len)

    kill(connect, listener)
    listener.until(lambda events: [event for event in events if isinstance(event, Gap)])
    run(writer, insert_book(2))
    listener.until(lambda events: "2" in listener.written())

    assert [type(event) for event in listener.events] == [Transaction, Gap, Transaction]


def test_listen_while_the_connection_is_away_waits_for_it(listener, connect, writer):
    kill(connect, listener)
    while listener.connected:
        gevent.sleep(0)

    listener.listen([book], timeout=PATIENCE)
    run(writer, insert_book(1))

    listener.until(lambda events: "1" in listener.written())
    assert isinstance(listener.events[0], Gap)


def test_event_that_is_not_handled_is_a_gap(listener, writer):
    """The error is logged; everything is read again instead of going on in an unknown state."""
    failing = iter([True])
    record = listener.record

    def fail_once(batch: list[FeedEvent]) -> None:
        if next(failing, False):
            raise ZeroDivisionError
        record(batch)

    listener._on_batch = fail_once
    listener.listen([book])
    run(writer, insert_book(1))

    assert isinstance(listener.until(len)[0], Gap)


def test_database_that_cannot_be_reached_stops_the_start():
    listener = RecordingListener("host=127.0.0.1 port=1 dbname=x connect_timeout=1")

    with pytest.raises(FeedUnavailable, match="cannot LISTEN"):
        listener.start()


def test_listen_after_stop_is_refused(listener):
    listener.stop()

    with pytest.raises(FeedUnavailable, match="stopped"):
        listener.listen([book])
