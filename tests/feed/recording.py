"""Characters of the feed's tests: who listens, and who writes."""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Iterable
from typing import Any

from dddp.changes import Change, FeedEvent, Kind, Mark, Table, Transaction
from dddp.feed.capture import CapturedTable
from dddp.feed.channels import process_channel, table_channel
from dddp.feed.envelope import Assembler

PATIENCE = 10.0  # seconds


def captured(label: str, relation: str, *columns: str, key: str = "id") -> CapturedTable:
    return CapturedTable(Table(label), relation, key, columns)


def run(pgconn: Any, *statements: str) -> None:
    """Execute statements and commit."""
    with pgconn.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
    if not pgconn.autocommit:
        pgconn.commit()


class RecordingFeed:
    """Listens without a greenlet; ``events`` waits for a token of its own, so nothing is left on the way."""

    def __init__(self, pgconn: Any, tables: Iterable[Table], process_id: str = "recording") -> None:
        self.pgconn = pgconn
        self.payloads: list[tuple[str, str]] = []  #: channel, payload
        self._tokens = itertools.count()
        self._channel = process_channel(process_id)
        self._assembler = Assembler(time.monotonic)
        channels = {table_channel(table) for table in tables} | {self._channel}
        for channel in channels:
            run(pgconn, f'LISTEN "{channel}"')
        self._assembler.listen_to(channels)

    def events(self) -> list[FeedEvent]:
        """What has been committed since the last call."""
        token = f"recording {next(self._tokens)}"
        run(self.pgconn, f"""NOTIFY "{self._channel}", '{token}'""")
        events: list[FeedEvent] = []
        deadline = time.monotonic() + PATIENCE
        while Mark(token) not in events:
            assert time.monotonic() < deadline, "the token did not come back"
            self.pgconn.poll()
            events += self._receive() or self._wait()
        return events[:-1]

    def transactions(self) -> list[Transaction]:
        return [event for event in self.events() if isinstance(event, Transaction)]

    def transaction(self) -> Transaction:
        """The only transaction since the last call."""
        (transaction,) = self.transactions()
        return transaction

    def changes(self) -> list[Change]:
        """The changes of the only transaction since the last call, by table and key."""
        return sorted(self.transaction().changes, key=lambda change: (change.table, change.key))

    def _wait(self) -> list[FeedEvent]:
        select.select([self.pgconn], [], [], 0.1)
        return []

    def _receive(self) -> list[FeedEvent]:
        arrived = self.pgconn.notifies[:]
        del self.pgconn.notifies[:]
        self.payloads += [(each.channel, each.payload) for each in arrived if each.payload.startswith("{")]
        return [event for each in arrived for event in self._assembler.receive(each.channel, each.payload)]


def row(table: Table, key: int | str, **columns: str | None) -> Change:
    return Change(table, str(key), Kind.ROW, {"id": str(key), **columns})  # type: ignore[arg-type]


def gone(table: Table, key: int | str) -> Change:
    return Change(table, str(key), Kind.GONE)  # type: ignore[arg-type]


def key_only(table: Table, key: int | str) -> Change:
    return Change(table, str(key), Kind.KEY_ONLY)  # type: ignore[arg-type]
