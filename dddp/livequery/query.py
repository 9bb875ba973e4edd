"""One live query: the keys it contains, and how far its clients have been told.

Only the router writes here; the two audience sets belong to the merge boxes of the sessions.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Hashable, Iterable
from typing import TYPE_CHECKING, Any

from dddp.changes import Change, Key, Kind, Row, Transaction
from dddp.livequery.document import Documents, Version
from dddp.livequery.setuse import SetUse, uses_of
from dddp.livequery.spec import QuerySpec
from dddp.livequery.window import Ranking

if TYPE_CHECKING:
    from dddp.livequery.read import Read
    from dddp.livequery.step import FirstMessages

__all__ = ["NO_KEYS", "LiveQuery", "Moving", "Phase"]

NO_KEYS: frozenset[Key] = frozenset()

MAX_ROUNDS = 4
"""Reads of sets and rows after which a query that still waits for more of them is run as a whole."""

MAX_DIRTY = 1000
"""Changed rows that are asked for by their keys; with more of them the whole query is run."""


class Phase(enum.Enum):
    """Where a live query is."""

    STARTING = "starting"  #: never read yet; nobody can be attached
    SETTLED = "settled"  #: shows the process's position of the feed
    PENDING = "pending"  #: waits for a read; what it shows is its last settled state
    CLOSED = "closed"  #: it failed, or nobody wants it any more: nothing reaches it


class Moving:
    """What a query waits for whose predicate decides all but rows that nobody here has seen.

    A value has entered one of its live sets: the rows that have it are read, for all queries that wait together. Where
    a set is out of date, since one that its own condition uses has changed, it is read first.
    """

    __slots__ = ("asked", "changes", "rounds", "values")

    def __init__(self) -> None:
        self.rounds = 0  #: reads that did not tell enough
        self.asked: dict[str, dict[Any, None]] = {}  #: as ``values``, of the read that is on its way
        #: Column -> the values whose rows are not asked for yet.
        self.values: dict[str, dict[Any, None]] = {}
        #: What has happened to rows of the table since it waits, the last of each.
        self.changes: dict[Key, Change] = {}

    def want(self, column: str, values: Iterable[Any]) -> None:
        """Rows with one of these values may have entered the query."""
        self.values.setdefault(column, {}).update(dict.fromkeys(values))

    def ask(self) -> dict[str, dict[Any, None]]:
        """The values whose rows are asked for now."""
        self.asked, self.values = self.values, {}
        return self.asked

    def ask_again(self) -> bool:
        """The read did not tell enough. Returns whether it is worth another one of the same kind."""
        for column, values in self.asked.items():
            self.want(column, values)
        self.rounds += 1
        return self.rounds < MAX_ROUNDS


class LiveQuery:
    """A query with its members. Equal queries are one object, whoever subscribed."""

    __slots__ = (
        "alone",
        "collection",
        "dirty",
        "documents",
        "fences",
        "first_messages",
        "keys",
        "links",
        "moving",
        "phase",
        "ranking",
        "reading",
        "refreshed",
        "sets",
        "shared",
        "spec",
        "stale",
        "users",
        "uses",
        "whose",
    )

    def __init__(self, spec: QuerySpec, documents: Documents[LiveQuery], whose: Hashable = None) -> None:
        self.spec = spec
        self.whose = whose  #: who asked for it, to take turns by; its identity once several did
        self.collection = spec.shape.name  #: its name on the wire
        self.documents = documents
        self.keys: set[Key] = set()
        #: Keys withheld since the last settled state -> the version last shown through this query.
        self.stale: dict[Key, Version] = {}
        self.sets = tuple(spec.sets)
        predicate = spec.predicate
        self.uses: tuple[SetUse, ...] = (
            tuple(uses_of(predicate.expression)) if predicate and spec.sets else ()
        )
        #: If a live set may let members in or out: of each, the columns that its predicate needs.
        self.links: dict[Key, Row] = {}
        #: The rows to ask for when it is read again; None: all.
        self.dirty: frozenset[Key] | None = None
        #: Documents that another query's read has brought to their present state since this one waits: its own read
        #: does not contradict, or two that never agree (a ``serialize`` may tell the time) would read for ever.
        self.refreshed: frozenset[Key] = NO_KEYS
        self.ranking: Ranking | None = None  #: if it is a window: the places of its rows
        self.moving: Moving | None = None
        self.phase = Phase.STARTING
        self.reading: Read | None = None
        self.users = 0  #: subscriptions that opened it and have not closed it
        self.fences: list[Any] = []
        #: What a client that joins now is told, once somebody has; forgotten at the next change.
        self.first_messages: FirstMessages | None = None
        #: Merge boxes for which this is the only source of its collection -> their send function.
        self.alone: dict[Any, Callable[[Any], None]] = {}
        #: Merge boxes that have other sources of the collection too.
        self.shared: dict[Any, None] = {}

    @property
    def settled(self) -> bool:
        """Whether it shows the process's position of the feed."""
        return self.phase is Phase.SETTLED

    def shown(self, key: Key) -> Version | None:
        """The version of a document that clients of this query have been told; None if it is not a member."""
        if key not in self.keys:
            return None
        withheld = self.stale.get(key)
        return withheld if withheld is not None else self.documents.current(self.collection, key)

    @property
    def is_linked(self) -> bool:
        """Whether its members are judged again when a live set changes; a window is read again instead."""
        return bool(self.sets) and self.spec.window is None

    def forget_dirty(self) -> None:
        """It shows its result: only rows that change from here on have to be asked for."""
        self.dirty = NO_KEYS if self.spec.row_by_row and not self.sets else None

    def soil(self, keys: Collection[Key]) -> None:
        """These rows have changed in a way that a read has to tell, or while one is awaited."""
        if self.dirty is not None:
            dirty = self.dirty.union(keys)
            self.dirty = dirty if len(dirty) <= MAX_DIRTY else None

    def link(self, row: Row) -> Row:
        """Of a row, the columns that the predicate needs when a live set changes."""
        predicate = self.spec.predicate
        return {} if predicate is None else {name: row[name] for name in predicate.columns}

    def reads_of(self, transaction: Transaction) -> bool:
        """Whether the transaction touched a table this query reads."""
        reads = self.spec.reads
        return not reads.isdisjoint(transaction.tables) or any(
            change.table in reads for change in transaction.changes
        )

    def decides(self, transaction: Transaction) -> bool:
        """Whether the predicate alone can tell what the transaction did to this query."""
        if self.spec.predicate is None or not self.spec.reads.isdisjoint(transaction.tables):
            return False
        return all(
            change.kind is not Kind.KEY_ONLY
            for change in transaction.changes
            if change.table in self.spec.reads
        )
