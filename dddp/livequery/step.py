"""What one transaction, or one applied read, did to the clients' documents; and the messages that tell it.

A step is whole: a session is sent all of it before anything of the next one. A frame that many sessions share is
encoded once (``messages``), whatever their number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from dddp.changes import Key
from dddp.livequery.document import Version
from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import Fields
from dddp.protocol import messages as ddp

__all__ = ["FirstMessages", "Step", "Transition", "difference", "narrow", "restrict"]

Transition: TypeAlias = tuple[Version | None, Version | None]
"""(before, after) of one document in one query; None where the query does not contain it."""


class FirstMessages(list[bytes]):
    """What clients that join a query are told: one object for all of them, until the next change."""

    __slots__ = ("batches",)

    def __init__(self, messages: Iterable[bytes]) -> None:
        super().__init__(messages)
        self.batches: Any = None  #: what the edge makes of them to send, once somebody has joined


class Step:
    """Transitions of documents, by live query, in the order in which they are told."""

    __slots__ = ("_encoded", "_published", "transitions")

    def __init__(self) -> None:
        self.transitions: dict[LiveQuery, dict[Key, Transition]] = {}
        self._encoded: dict[tuple[object, ...], bytes | None] = {}
        self._published: dict[LiveQuery, Mapping[Key, Transition]] = {}

    def __bool__(self) -> bool:
        return bool(self.transitions)

    def add(self, query: LiveQuery, key: Key, before: Version | None, after: Version | None) -> None:
        """Note that a document changed, entered (before is None) or left (after is None) a query."""
        if before is not after:
            query.first_messages = None
            self.transitions.setdefault(query, {})[key] = (before, after)

    def published(self, query: LiveQuery) -> Mapping[Key, Transition]:
        """The transitions of a query that has some, of the fields that it publishes; made once for all sessions."""
        if query not in self._published:
            fields = query.spec.fields
            moved = self.transitions[query].items()
            self._published[query] = {
                key: (narrow(before, fields), narrow(after, fields)) for key, (before, after) in moved
            }
        return self._published[query]

    def messages(self, query: LiveQuery) -> list[bytes]:
        """The messages for a session whose only source of the collection is this query."""
        return list(self._messages(query))

    def _messages(self, query: LiveQuery) -> Iterator[bytes]:
        published = query.spec.fields
        for key, (before, after) in self.transitions.get(query, {}).items():
            # Identities suffice: the versions live as long as the step does.
            memo = (query.collection, key, id(before), id(after), published)
            if memo not in self._encoded:
                self._encoded[memo] = difference(
                    query.collection, key, restrict(before, published), restrict(after, published)
                )
            message = self._encoded[memo]
            if message is not None:
                yield message


def restrict(version: Version | None, published: frozenset[str] | None) -> Fields | None:
    """The published fields of a version; None stays None."""
    if version is None:
        return None
    if published is None:
        return version.fields
    return {name: member for name, member in version.fields.items() if name in published}


def narrow(version: Version | None, published: frozenset[str] | None) -> Version | None:
    """The version with its published fields only."""
    if version is None or published is None:
        return version
    return Version(version.clock, restrict(version, published) or {})


def difference(
    collection: str, key: Key, before: Mapping[str, bytes] | None, after: Mapping[str, bytes] | None
) -> bytes | None:
    """The one message that takes a client from ``before`` to ``after``; None when there is nothing to tell."""
    if before is None:
        return None if after is None else ddp.added(collection, key, after.values())
    if after is None:
        return ddp.removed(collection, key)
    changed = [member for name, member in after.items() if before.get(name) != member]
    cleared = [name for name in before if name not in after]
    if not changed and not cleared:
        return None
    return ddp.changed(collection, key, changed, cleared)
