"""The documents a process holds: each once, whatever the number of queries and clients that contain it.

A document is here exactly as long as some live query holds its key. It knows no snapshot and no client.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from dddp.changes import Key
from dddp.livequery.spec import Fields

__all__ = ["Document", "Documents", "Version"]

Q = TypeVar("Q")


@dataclass(slots=True, eq=False)  # not frozen: that would take three times as long to make
class Version:
    """One state of one document, never changed. ``clock`` orders its versions: the higher is the newer."""

    clock: int
    fields: Fields


@dataclass(slots=True, eq=False)
class Document(Generic[Q]):
    """The current version, and the live queries that contain it."""

    current: Version
    holders: dict[Q, None] = field(default_factory=dict)


class Documents(Generic[Q]):
    """All documents of one database, by collection and key."""

    __slots__ = ("_documents",)

    def __init__(self) -> None:
        self._documents: dict[tuple[str, Key], Document[Q]] = {}

    def __len__(self) -> int:
        return len(self._documents)

    def get(self, collection: str, key: Key) -> Document[Q] | None:
        """The document, if some query holds it."""
        return self._documents.get((collection, key))

    def holders(self, collection: str, key: Key) -> Collection[Q]:
        """The queries that contain a document."""
        document = self._documents.get((collection, key))
        return document.holders if document is not None else ()

    def current(self, collection: str, key: Key) -> Version:
        """The current version of a document that is held.

        Raises:
            KeyError: no query holds it.
        """
        return self._documents[collection, key].current

    def hold(self, collection: str, key: Key, version: Version, holder: Q) -> None:
        """One more query contains the document; ``version`` is its state if nobody held it."""
        document = self._documents.get((collection, key))
        if document is None:
            document = self._documents[collection, key] = Document(version)
        document.holders[holder] = None

    def release(self, collection: str, key: Key, holder: Q) -> None:
        """One query less contains the document; the last one takes it along."""
        document = self._documents[collection, key]
        document.holders.pop(holder, None)
        if not document.holders:
            del self._documents[collection, key]
