"""What a feed reports: transactions, marks, gaps; and the snapshot that tells which of them a read has seen.

The vocabulary shared by ``feed`` (which produces it), ``orm`` (which decodes it) and ``livequery`` (which consumes
it). Nothing here knows PostgreSQL's NOTIFY: a durable log can stand behind the same words. Standard library only.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, NewType, TypeAlias

__all__ = [
    "Change",
    "FeedEvent",
    "Gap",
    "Key",
    "Kind",
    "Mark",
    "Row",
    "Snapshot",
    "Table",
    "Transaction",
    "Xid",
]

Table = NewType("Table", str)
"""A captured table, by its model's label in lower case: ``bookstore.book``."""

Key = NewType("Key", str)
"""The text of a row's primary key. Also the document's id before it is escaped for the wire."""

Xid = NewType("Xid", int)
"""A top-level 64-bit transaction id (``pg_current_xact_id``)."""

Row: TypeAlias = Mapping[str, Any]
"""Column name -> value. Fresh from the feed the values are PostgreSQL's text (or None); ``orm.rows`` makes them
what the ORM would have loaded."""


class Kind(enum.Enum):
    """What is known of a changed row at the end of its transaction."""

    ROW = "row"  #: the row as it is now
    GONE = "gone"  #: it does not exist any more
    KEY_ONLY = "key only"  #: it exists or not, its values are not in the feed; read it again


class Change(NamedTuple):
    """One row as one transaction left it: folded, so at most one per table and key in a transaction."""

    table: Table
    key: Key
    kind: Kind
    row: Row | None = None  #: for ``Kind.ROW`` only


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one committed transaction did to the captured tables we listen to. Arrives in the order of commits."""

    xid: Xid
    changes: tuple[Change, ...] = ()
    tables: frozenset[Table] = frozenset()  #: tables changed as a whole: too many keys, TRUNCATE, lost notes
    marks: tuple[str, ...] = ()  #: tokens the writer left at its end (the write fence)


@dataclass(frozen=True, slots=True)
class Mark:
    """A token we put into the feed has come back: everything committed before it has been reported."""

    token: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Changes may have been lost (connection cut, feed restarted). Everything known must be read again."""

    reason: str = ""


FeedEvent: TypeAlias = Transaction | Mark | Gap


@dataclass(frozen=True, slots=True)
class Snapshot:
    """PostgreSQL's ``pg_snapshot``: which transactions a read has seen."""

    xmin: int  #: every xid below it had ended
    xmax: int  #: no xid from here on had ended
    in_progress: frozenset[int] = frozenset()  #: those between that were still running

    @classmethod
    def parse(cls, text: str) -> Snapshot:
        """Read PostgreSQL's text form, ``xmin:xmax:xip,xip``.

        Raises:
            ValueError: the text is not a snapshot.
        """
        xmin, xmax, running = text.split(":")
        return cls(int(xmin), int(xmax), frozenset(int(xid) for xid in running.split(",") if xid))

    def shows(self, xid: int) -> bool:
        """Whether a read with this snapshot sees what the committed transaction ``xid`` did."""
        if xid < self.xmin:
            return True
        return xid < self.xmax and xid not in self.in_progress
