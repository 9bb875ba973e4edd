"""A read in flight: some live queries, run in one snapshot, held until the feed has caught up with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from dddp.changes import Key, Row, Snapshot, Transaction
from dddp.livequery.predicate import SetSpec
from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import Fields, QuerySpec, Shape

__all__ = ["MoveIn", "Read", "Related", "Rows"]

Rows: TypeAlias = Mapping[QuerySpec, Mapping[Key, Fields]]
"""What a read found: for each query its documents by key."""


@dataclass(frozen=True, slots=True)
class MoveIn:
    """A question for rows nobody here has seen: those of a collection's table with some values in a column."""

    shape: Shape
    column: str
    values: tuple[Any, ...]
    columns: frozenset[str]  #: those the answer must tell besides the documents


@dataclass(frozen=True, slots=True)
class Related:
    """What a read found besides documents, for predicates that use live sets."""

    sets: Mapping[SetSpec, Mapping[Key, Any]] = field(default_factory=dict)  #: key -> comparable value
    links: Mapping[QuerySpec, Mapping[Key, Row]] = field(default_factory=dict)
    entered: Mapping[MoveIn, Mapping[Key, tuple[Row, Fields]]] = field(default_factory=dict)


NOTHING = Related()


class Read:
    """One read. The edge runs it: snapshot first, then the rows, then ``token`` through the feed.

    A *holding* read reports its snapshot before its rows, and dispatch stops at the first transaction the snapshot
    does not show until the rows have been applied: so it always succeeds.
    """

    __slots__ = (
        "holding",
        "keys",
        "move_ins",
        "queries",
        "reached",
        "related",
        "requested",
        "rows",
        "sets",
        "sets_only",
        "snapshot",
        "token",
        "unseen",
    )

    def __init__(
        self,
        queries: tuple[LiveQuery, ...],
        token: str,
        requested: int,
        *,
        holding: bool = False,
        move_ins: tuple[MoveIn, ...] = (),
        sets: Mapping[SetSpec, Any] | None = None,
        sets_only: bool = False,
    ) -> None:
        self.queries = queries
        #: Queries of which only some rows are asked for -> their keys.
        self.keys = {query.spec: query.dirty for query in queries if query.dirty is not None}
        self.move_ins = move_ins  #: for queries that wait for these rows only; then the queries are not run
        self.sets_only = sets_only  #: the queries wait for these; they are not run
        self.sets = sets or {}  #: to be read with the queries -> what the edge runs for each
        self.token = token
        self.requested = requested  #: the router's clock when the read was asked for
        self.holding = holding
        self.snapshot: Snapshot | None = None
        self.rows: Rows | None = None
        self.related = NOTHING
        self.reached = False  #: every transaction the snapshot shows has been dispatched
        #: Transactions dispatched since the read was asked for; the snapshot tells later which of them it shows.
        self.unseen: list[Transaction] = []

    @property
    def specs(self) -> tuple[QuerySpec, ...]:
        """What the edge has to run."""
        return () if self.move_ins or self.sets_only else tuple(query.spec for query in self.queries)

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
