"""Races on purpose: the server is held at the point where a commit would hurt, and the promises are judged as in
the oracle test.

What holds it is an advisory lock that a query asks for: the read has taken its snapshot then, and has no rows yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import polling
from tests.properties.scripts import Step, play
from tests.properties.stage import Stage

LIMIT = 10.0  # seconds
READ_POOL_SIZE = 4


@pytest.fixture(autouse=True)
def example(library: Stage) -> Iterator[None]:
    """Begin each test with the same few books; end it with a quiet moment, if it has not failed."""
    library.reset()
    yield
    library.clear()


@contextlib.contextmanager
def closed(library: Stage, gate: int = 1) -> Iterator[None]:
    """No read of a publication with this gate returns meanwhile."""
    library.close(gate)
    yield
    library.open(gate)


def until(condition: Callable[[], Any]) -> None:
    polling.until(condition, LIMIT)


def query(library: Stage, statement: str) -> list[tuple[Any, ...]]:
    with library.pgconn.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def reads_waiting(library: Stage) -> int:
    """How many of the server's reads wait for a lock."""
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    return int(query(library, waiting)[0][0])


def kill(library: Stage, application: str) -> int:
    """Cut the server's connections of this name; how many."""
    killed = query(
        library,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        f" AND backend_type = 'client backend' AND application_name LIKE '{application}'",
    )
    return len(killed)


def keep_readers_busy(library: Stage) -> None:
    for number in range(1, READ_POOL_SIZE + 1):
        library.reader().subscribe("Gated", 1, -number, wait=False)
        until(lambda number=number: reads_waiting(library) == number)


def test_commits_before_the_snapshot_of_a_subscription(library: Stage) -> None:
    """Its tables are listened to, all readers are busy: it is read after the commits, and told them once."""
    with closed(library):
        keep_readers_busy(library)
        library.reader().subscribe("ByValue", 0, 9, wait=False)
        library.reader().subscribe("Titles", wait=False)
        library.write(0, "transact", ["revalue", 1, 5], ["remove_book", 2])
        library.write(0, "transact", ["put_book", 4, 1, 4])
    library.quiet()


def test_commits_between_the_snapshot_and_the_rows_of_a_subscription(library: Stage) -> None:
    """The read does not show them, the feed has reported them: the subscription starts with them all the same."""
    with closed(library):
        library.reader().subscribe("Gated", 1, 1, wait=False)
        until(lambda: reads_waiting(library))
        library.write(0, "transact", ["revalue", 1, 5], ["remove_book", 2])
        library.write(2, "transact", ["put_book", 4, 1, 4])
        library.watcher.client.wait(lambda view: "4" in view.documents("library.book"))
    library.quiet()


def test_commits_between_the_snapshot_and_the_rows_of_a_query_by_rows(library: Stage) -> None:
    """In one read with a query that is held: the commits are laid over its rows."""
    with closed(library, 2):
        with closed(library, 1):
            keep_readers_busy(library)
            library.reader().subscribe("Titles", wait=False)
            library.reader().subscribe("Gated", 2, 1, wait=False)
            library.reader().client.ping()
        until(lambda: reads_waiting(library) == 1)
        library.write(0, "transact", ["retitle", 1, 5], ["remove_book", 2])
        library.write(0, "transact", ["retitle", 1, 6], ["put_book", 4, 1, 2])
        library.watcher.client.wait(lambda view: "4" in view.documents("library.book"))
    library.quiet()


def test_writes_while_a_query_is_run_again(library: Stage) -> None:
    library.reader().subscribe("Gated", 1, 1)
    library.quiet()
    with closed(library):
        library.write(0, "transact", ["revalue", 1, 5])
        until(lambda: reads_waiting(library))
        for value in range(5):
            library.write(value % 3, "transact", ["revalue", 1, value], ["remove_and_put", 2, 1, value])
    library.quiet()


@pytest.mark.parametrize("publication", ["Gated", "GatedShelf"])
def test_a_row_that_left_a_query_that_is_run_again(library: Stage, publication: str) -> None:
    """What is written to it after it left is never shown, though the query knows only later that it left."""
    library.reader().subscribe(publication, 1, 1)
    library.quiet()
    with closed(library):
        library.write(0, "transact", ["revalue", 1, 0])
        until(lambda: reads_waiting(library))
        library.write(0, "transact", ["retitle", 1, 9])
        library.write(2, "transact", ["enlarge", 1, 1])
        library.watcher.client.wait(lambda view: view.documents("library.book")["1"]["pad"])
    library.quiet()


def test_a_row_that_leaves_and_comes_back(library: Stage) -> None:
    reader = library.reader()
    reader.subscribe("ByGoodAuthor")
    reader.subscribe("ByValue", 0, 3)
    for good in (False, True) * 10:
        library.submit(0, "transact", ["judge", 2, good])
        library.submit(2, "transact", ["revalue", 1, 1 if good else 8])
    library.quiet()


def test_a_row_deleted_right_after_its_insert(library: Stage) -> None:
    reader = library.reader()
    reader.subscribe("ByValue", 0, 9)
    reader.subscribe("ByGoodAuthor")
    for _ in range(20):
        library.submit(0, "transact", ["put_book", 5, 1, 1])
        library.submit(0, "transact", ["remove_book", 5])
    library.quiet()


@pytest.mark.parametrize(
    "writes",
    [
        [("transact", 0, [["revalue", 1, 5], ["revalue", 1, 6]], True)],
        [("transact", 0, [["revalue", 1, 5]], True), ("transact", 1, [["revalue", 1, 6]], True)],
        [("transact", 0, [["there_and_back", 1, 5]], True)],
        [("transact", 0, [["put_and_remove", 5, 1, 1]], True)],
        [("transact", 0, [["remove_and_put", 1, 2, 1]], True)],
        [
            ("begin", 0),
            ("write", 0, [["retitle", 1, 1]]),
            ("begin", 0),
            ("write", 0, [["retitle", 2, 2]]),
            ("undo", 0),
        ],
    ],
    ids=[
        "two updates in one transaction",
        "two updates in two transactions",
        "A, B, A",
        "insert, delete",
        "delete, insert",
        "a savepoint undone",
    ],
)
def test_one_row_written_twice(library: Stage, writes: list[Step]) -> None:
    library.clear()
    subscriptions: list[Step] = [
        ("subscribe", 0, ("All",), True),
        ("subscribe", 1, ("ByValue", 0, 5), True),
        ("subscribe", 2, ("OnShelf", 0), True),
    ]
    play([*subscriptions, ("quiet",), *writes], library)


def test_a_row_of_an_older_transaction_that_commits_later(library: Stage) -> None:
    """Its id is the lower one: the snapshot's list of running transactions must be looked at, not its bounds."""
    library.write(0, "begin")
    library.write(0, "write", ["revalue", 1, 7])
    library.write(2, "transact", ["revalue", 2, 7])
    with closed(library):
        library.reader().subscribe("Gated", 1, 0, wait=False)
        until(lambda: reads_waiting(library))
        library.write(0, "commit")
        library.watcher.client.wait(lambda view: view.documents("library.book")["1"]["value"] == 7)
    library.quiet()


def test_the_connection_of_the_feed_is_cut_during_writes(library: Stage) -> None:
    reader = library.reader()
    reader.subscribe("All")
    reader.subscribe("ByGoodAuthor")
    for number in range(5):
        library.submit(0, "transact", ["revalue", 1, number], ["judge", 2, bool(number % 2)])
        assert kill(library, "dddp %") <= 1
        library.submit(2, "transact", ["remove_and_put", 2, 1, number])
        reader.subscribe("ByValue", 0, number, wait=False)
        reader.call("write", [["retitle", 3, number]], wait=False)
    library.interrupted = True
    library.quiet()
    library.write(0, "transact", ["revalue", 1, 9])
    library.quiet()


def test_the_connections_of_reads_and_methods_are_cut(library: Stage) -> None:
    """Reads are repeated; a method may fail, and says so."""
    reader = library.reader()
    reader.subscribe("Gated", 1, 0)
    with closed(library):
        library.write(0, "transact", ["revalue", 1, 5])
        until(lambda: reads_waiting(library))
        assert kill(library, "") >= 1
    reader.subscribe("ByGoodAuthor", wait=False)
    library.write(0, "transact", ["judge", 2, False])
    library.quiet()


def test_a_client_that_does_not_read(library: Stage) -> None:
    """Megabytes wait for it; the others do not, and it has everything once it reads."""
    slow = library.reader()
    slow.subscribe("All")
    library.quiet()
    with slow.client._changed:  # its reader stops at the next message
        for number in range(8):
            library.write(0, "transact", *(["enlarge", key, 500 + number] for key in (1, 2, 3)))
        library.write(0, "transact", ["retitle", 1, 9])
        library.watcher.client.wait(lambda view: view.documents("library.book")["1"]["title"] == "title 9")
    library.quiet()


def test_a_row_that_leaves_one_query_while_another_is_run_again(library: Stage) -> None:
    """The other query still shows what the row was before: the client, who knows better, is not taken back to it."""
    reader = library.reader()
    reader.subscribe("Gated", 1, 0)
    reader.subscribe("ByValue", 0, 3)
    library.quiet()
    with closed(library):
        library.write(0, "transact", ["revalue", 1, 2])
        until(lambda: reads_waiting(library))
        library.write(0, "transact", ["revalue", 1, 8])
        library.watcher.client.wait(lambda view: view.documents("library.book")["1"]["value"] == 8)
    library.quiet()
