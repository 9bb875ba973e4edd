"""A read in flight: some live queries, run in one snapshot, held until the feed has caught up with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from dddp.changes import Key, Snapshot, Transaction
from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import Fields, QuerySpec

__all__ = ["Read", "Rows"]

Rows: TypeAlias = Mapping[QuerySpec, Mapping[Key, Fields]]
"""What a read found: for each query its documents by key."""


class Read:
    """One read. The edge runs it: snapshot first, then the rows, then ``token`` through the feed.

    A *holding* read reports its snapshot before its rows, and dispatch stops at the first transaction the snapshot
    does not show until the rows have been applied: so it always succeeds.
    """

    __slots__ = ("holding", "queries", "reached", "requested", "rows", "snapshot", "token", "unseen")

    def __init__(self, queries: tuple[LiveQuery, ...], token: str, requested: int, *, holding: bool) -> None:
        self.queries = queries
        self.token = token
        self.requested = requested  #: the router's clock when the read was asked for
        self.holding = holding
        self.snapshot: Snapshot | None = None
        self.rows: Rows | None = None
        self.reached = False  #: every transaction the snapshot shows has been dispatched
        #: Transactions dispatched since the read was asked for; the snapshot tells later which of them it shows.
        self.unseen: list[Transaction] = []

    @property
    def specs(self) -> tuple[QuerySpec, ...]:
        """What the edge has to run."""
        return tuple(query.spec for query in self.queries)

    @property
    def complete(self) -> bool:
        """Whether the rows are here and the feed has caught up with them."""
        return self.reached and self.rows is not None

    def overlay(self, query: LiveQuery) -> list[Transaction]:
        """Transactions dispatched meanwhile that the snapshot does not show and that touch the query's tables."""
        assert self.snapshot is not None
        return [
            transaction
            for transaction in self.unseen
            if not self.snapshot.shows(transaction.xid) and query.reads_of(transaction)
        ]
