"""The documents a process holds: each once, whatever the number of queries and clients that contain it.

A document is here exactly as long as some live query holds its key. It knows no snapshot and no client.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dddp.changes import Key
from dddp.livequery.spec import Fields

__all__ = ["ABSENT", "Document", "Documents", "Version"]


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """One state of one document. ``clock`` orders the versions of a document: the higher is the newer."""

    clock: int
    fields: Fields


ABSENT: Final = None
"""Stands where a version could: the query does not contain the document."""


@dataclass(slots=True, eq=False)
class Document:
    """The current version, and how many live queries contain it."""

    current: Version
    holders: int = 0


class Documents:
    """All documents of one database, by collection and key."""

    __slots__ = ("_documents",)

    def __init__(self) -> None:
        self._documents: dict[tuple[str, Key], Document] = {}

    def __len__(self) -> int:
        return len(self._documents)

    def get(self, collection: str, key: Key) -> Document | None:
        """The document, if some query holds it."""
        return self._documents.get((collection, key))

    def current(self, collection: str, key: Key) -> Version:
        """The current version of a document that is held.

        Raises:
            KeyError: no query holds it.
        """
        return self._documents[collection, key].current

    def hold(self, collection: str, key: Key, version: Version) -> None:
        """One more query contains the document; ``version`` is its state if nobody held it."""
        document = self._documents.get((collection, key))
        if document is None:
            document = self._documents[collection, key] = Document(version)
        document.holders += 1

    def release(self, collection: str, key: Key) -> None:
        """One query less contains the document; the last one takes it along."""
        document = self._documents[collection, key]
        document.holders -= 1
        if not document.holders:
            del self._documents[collection, key]
