"""The listener on a link that goes silent, breaks, or leads somewhere else."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

from dddp.errors import FeedUnavailable
from dddp.feed import listener as listening
from tests.faults.proxy import Proxy, proxy_to_postgres, through
from tests.feed.conftest import BOOK
from tests.feed.listening import PATIENCE, RecordingListener, eventually, kill
from tests.feed.recording import run
from tests.feed.test_capture import insert_book

book = BOOK.table
HEARTBEAT = 0.3  # seconds


@pytest.fixture
def proxy(dsn: str) -> Iterator[Proxy]:
    with proxy_to_postgres(dsn) as proxy:
        yield proxy


@pytest.fixture
def listener(shop: Any, dsn: str, proxy: Proxy) -> Iterator[RecordingListener]:
    """Listens to the books, through the proxy."""
    listener = RecordingListener(through(proxy, dsn), HEARTBEAT)
    listener.start()
    listener.listen([book])
    yield listener
    listener.stop()


@pytest.fixture
def at_once(monkeypatch) -> None:
    """Attempts to connect that fail soon and are repeated soon."""
    monkeypatch.setattr(listening, "CONNECT_TIMEOUT", 0.5)
    monkeypatch.setattr(listening, "RETRY_MOST", 0.1)


def test_silent_network_is_noticed_within_two_heartbeats(listener, proxy):
    """No end, no error: only the answer is missing."""
    proxy.freeze()
    started = time.monotonic()

    eventually(lambda: not listener.connected)

    assert time.monotonic() - started < 2 * HEARTBEAT + 2  # the machine may be busy


def test_frozen_for_long_nothing_is_lost(listener, proxy, writer, at_once):
    """Attempts to connect fail meanwhile; what was written is in the Gap."""
    proxy.freeze()
    eventually(lambda: not listener.connected)
    run(writer, insert_book(1))
    gevent.sleep(1.2)  # several attempts

    proxy.resume()

    listener.until(lambda events: listener.gaps())
    run(writer, insert_book(2))
    listener.until(lambda events: "2" in listener.written())
    assert len(listener.gaps()) == 1


def test_network_silent_for_less_than_a_heartbeat_is_no_gap(shop, dsn, proxy, writer):
    listener = RecordingListener(through(proxy, dsn), heartbeat=PATIENCE)
    listener.start()
    listener.listen([book])

    proxy.freeze()
    run(writer, insert_book(1))
    gevent.sleep(0.3)
    proxy.resume()

    listener.until(len)
    assert (listener.written(), listener.gaps()) == (["1"], [])
    listener.stop()


def test_cut_link_is_a_gap(listener, proxy, writer):
    proxy.cut()

    listener.until(lambda events: listener.gaps())
    run(writer, insert_book(1))
    listener.until(lambda events: "1" in listener.written())


def test_server_that_refuses_is_tried_again(listener, proxy, writer, at_once, caplog):
    proxy.refuse()
    eventually(lambda: "no connection for the change feed yet" in caplog.text)
    proxy.accept()

    listener.until(lambda events: listener.gaps())


def test_slow_network_is_no_gap(shop, dsn, proxy, writer):
    listener = RecordingListener(through(proxy, dsn), heartbeat=1.0)
    proxy.delay = 0.05
    listener.start()
    listener.listen([book])

    for number in range(5):
        run(writer, insert_book(number))
    listener.until(lambda events: len(listener.written()) == 5)

    assert listener.gaps() == []
    listener.stop()


def test_idle_connection_is_asked_and_stays(listener, writer):
    """Many heartbeats without a notification."""
    before = listener._heard
    eventually(lambda: listener._heard > before + 3 * HEARTBEAT)

    run(writer, insert_book(1))
    listener.until(len)
    assert listener.gaps() == []


def test_heartbeat_uses_no_transaction_id_and_wakes_nobody(listener, connect, shop):
    """It costs an idle database a query that only reads."""
    other = connect(autocommit=True)
    run(other, f'LISTEN "{listener.channel}"')
    before, heard = _next_xid(shop), listener._heard

    eventually(lambda: listener._heard > heard + 3 * HEARTBEAT)

    other.poll()
    assert other.notifies == []
    assert _next_xid(shop) - before < 3  # the server's own maintenance may use one


def _next_xid(shop: Any) -> int:
    with shop.cursor() as cursor:
        cursor.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
        return int(cursor.fetchone()[0])


def test_busy_process_does_not_take_its_own_silence_for_the_networks(listener):
    """The event loop stands still for longer than the heartbeat, again and again."""
    for _ in range(4):
        time.sleep(1.5 * HEARTBEAT)
        gevent.sleep(0)
    gevent.sleep(HEARTBEAT)

    assert listener.connected
    assert listener.gaps() == []


def test_session_that_has_stopped_listening_is_a_gap(listener, monkeypatch, writer):
    """As behind a pooler that gives the connection another session: the answer comes, but from somebody else."""
    listener._execute("UNLISTEN {}", [listener.channel])

    listener.until(lambda events: listener.gaps())

    assert "does not listen any more" in listener.gaps()[0].reason


def test_full_notification_queue_is_warned_about_with_who_keeps_it(
    listener, connect, monkeypatch, caplog, writer
):
    """Really filled a little, and the first warning is set below that."""
    monkeypatch.setattr(listening, "QUEUE_WARNINGS", (1e-9,))
    monkeypatch.setattr(listening, "HOLDING_UP", listening.HOLDING_UP.replace("5 s", "0 s"))
    holder = connect(application_name="careless")
    run(holder, 'LISTEN "something"')
    with holder.cursor() as cursor:
        cursor.execute("SELECT 1")

    for number in range(4):  # the queue is measured in pages of 8 kB
        run(writer, *(f"SELECT pg_notify('nobody', '{number} {n} {'x' * 7000}')" for n in range(5)))

    eventually(lambda: "notification queue is" in caplog.text)
    assert listener.queue_usage > 0
    assert "(careless, in a transaction for" in caplog.text


def test_warnings_of_the_queue_come_once_for_each_step(shop, dsn, caplog):
    listener = RecordingListener(dsn)
    listener.start()

    with caplog.at_level(logging.WARNING):
        for usage in (0.05, 0.11, 0.12, 0.3, 0.2, 0.3, 0.0):
            listener._watch_queue(usage)

    assert [record.args[0] for record in caplog.records] == [pytest.approx(share) for share in (11, 30, 30)]
    listener.stop()


def test_killed_session_is_noticed_at_once(listener, connect):
    started = time.monotonic()
    kill(connect, listener)

    listener.until(lambda events: listener.gaps())

    assert time.monotonic() - started < 2


def test_start_on_a_silent_network_says_so(dsn, proxy, at_once):
    proxy.freeze()

    with pytest.raises(FeedUnavailable, match="timeout expired"):
        RecordingListener(through(proxy, dsn)).start()
