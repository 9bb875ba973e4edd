"""Which live queries a change of one table may matter to: those a predicate decides, by index; the others, all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dddp.changes import Change, Table
from dddp.livequery.index import Index
from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import Shape

__all__ = ["Concern", "Dependents"]


@dataclass(slots=True)
class Concern:
    """What a transaction is to one query."""

    changes: list[Change] = field(default_factory=list)  #: of rows that are its documents, or may be
    decided: bool = True  #: False: it takes a read to know what else it did
    whole: bool = False  #: that read has to be of all rows, not only of those that have changed
    waits: bool = False  #: a live set has to be read before it can be judged
    judge_again: bool = False  #: a live set has changed, so members may have to leave
    wanted: dict[str, dict[Any, None]] = field(default_factory=dict)  #: column -> values whose rows may enter


class Dependents:
    """The live queries that read one table."""

    __slots__ = ("_uses", "index", "moving", "queries", "shapes", "shifting", "table", "undecided")

    def __init__(self, table: Table) -> None:
        self.table = table
        self.queries: dict[LiveQuery, None] = {}  #: every one
        self.undecided: dict[LiveQuery, None] = {}  #: those that any change of the table may alter
        self.index: Index[LiveQuery] = (
            Index()
        )  #: those whose documents are the table's rows, and whose predicate decides
        self.moving: dict[
            LiveQuery, None
        ] = {}  #: those that wait for rows: any change of the table may matter
        self.shifting: dict[LiveQuery, None] = {}  #: windows that any change before them shifts
        self.shapes: dict[str, Shape] = {}  #: the collections whose documents are the table's rows
        self._uses: dict[str, int] = {}

    def add(self, query: LiveQuery) -> None:
        """A query has begun to read the table."""
        self.queries[query] = None
        spec = query.spec
        if spec.shape.table == self.table:
            self.shapes[query.collection] = spec.shape
            self._uses[query.collection] = self._uses.get(query.collection, 0) + 1
        if spec.predicate is None:
            self.undecided[query] = None
        elif spec.shape.table == self.table:
            self.index.add(query, spec.predicate)
            if spec.window is not None and spec.window.start:
                self.shifting[query] = None

    def remove(self, query: LiveQuery) -> None:
        """A query has ended."""
        del self.queries[query]
        self.moving.pop(query, None)
        self.shifting.pop(query, None)
        if query.spec.predicate is None:
            del self.undecided[query]
        elif query.spec.shape.table == self.table:
            self.index.remove(query)
        if query.spec.shape.table == self.table:
            self._uses[query.collection] -= 1
            if not self._uses[query.collection]:
                del self._uses[query.collection], self.shapes[query.collection]
