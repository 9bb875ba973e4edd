"""What a live query is, said without SQL or Django: the contract between ``orm`` (which makes it) and ``router``.

A document travels as *members*: for each field the bytes of one JSON object member, name included
(``b'"title":"Emma"'``). A value is encoded once per process and change; comparing two values is comparing bytes,
and a frame is a join.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from dddp.changes import Row, Table
from dddp.livequery.predicate import Predicate, SetSpec
from dddp.livequery.window import Window

__all__ = ["Fields", "Identity", "QuerySpec", "Shape"]

Fields: TypeAlias = Mapping[str, bytes]
"""Field name -> its encoded member, the name included: ``{"title": b'"title":"Emma"'}``."""


Identity: TypeAlias = tuple[Any, ...]
"""What two queries have in common that would always give the same documents: database, collection, what stands for SQL
and parameters, published fields. Hashable."""


class Shape(Protocol):
    """How the rows of one collection become documents."""

    @property
    def name(self) -> str:
        """The collection's name on the wire."""

    @property
    def table(self) -> Table:
        """The table whose rows the documents are."""

    def document(self, row: Row) -> Fields | None:
        """The document of a decoded row; None when it takes a read to make one (relations, ``serialize``)."""


@dataclass(frozen=True, slots=True, eq=False)
class QuerySpec:
    """One query to keep live. Two specs are equal when they would always give the same documents."""

    identity: Identity
    shape: Shape
    reads: frozenset[Table]  #: every table whose changes may change the result, ``shape.table`` included
    fields: frozenset[str] | None = None  #: the published fields; None publishes all
    #: Gives PostgreSQL's answer for every row; None: the query is kept by running it again.
    predicate: Predicate | None = None
    reason: str | None = None  #: why there is no predicate
    #: Whether a row belongs to it whatever the other rows of its table are: then changed rows can be asked for alone.
    row_by_row: bool = False
    #: Which of the rows that the predicate accepts it has; None: all of them.
    window: Window | None = None
    #: The live sets that the predicate uses, and those that these use -> what the reader runs for each.
    sets: Mapping[SetSpec, Any] = field(default_factory=dict, repr=False)
    source: Any = field(default=None, repr=False)  #: what the reader runs; opaque here

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QuerySpec) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)
