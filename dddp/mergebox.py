"""The merge box: what one session has, derived from its sources (ddp-wire 4.3; design, section 7).

A source is a live query, or a publication that adds documents by hand. A client sees the union of its sources'
documents, each with the union of their fields. Nothing is copied: a document of a live query is asked for when it
is needed, and a session with one source of a collection needs nothing at all, since the query's frames are its own.

Only where a hand-published document stands in several sources can values differ. Then, as in Meteor, a field is
owned by the source that has had it longest; ``_order`` keeps that for such documents alone. Between live queries
values differ only while one of them is waiting for a read; the newer version wins. Pure: no I/O, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Generic, Protocol, TypeAlias, TypeVar

from dddp.changes import Key
from dddp.livequery.document import Version
from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import Fields
from dddp.livequery.step import FirstMessages, Step, difference, narrow

__all__ = ["Behind", "HandSource", "MergeBox", "Source"]

B = TypeVar("B")


class HandSource:
    """Documents that one subscription publishes by hand, by collection and key."""

    __slots__ = ("documents",)

    def __init__(self) -> None:
        self.documents: dict[str, dict[Key, dict[str, bytes]]] = {}

    def fields(self, collection: str, key: Key) -> Fields | None:
        """The fields this source publishes of a document; None if it does not publish it."""
        return self.documents.get(collection, {}).get(key)


Source: TypeAlias = LiveQuery | HandSource
Transitions: TypeAlias = Mapping[Source, tuple[Version | None, Version | None]]
Order: TypeAlias = dict[str, list[Source]]
"""Field -> the sources that have it, the owner first."""
Held: TypeAlias = dict[str, dict[Key, dict[Source, tuple[Version | None, Version | None]]]]
"""Collection -> key -> what happened to the document in each source."""

HELD_SIZE = 320
"""Bytes that one document that is held back takes besides the version that the client has (measured, CPython 3.11)."""


class Behind(Protocol):
    """Where what a session has not been told yet has its place among its messages."""

    def charge(self, size: int) -> None:
        """So many more bytes are held back for the session."""

    def fill(self, messages: Sequence[bytes]) -> None:
        """Put the messages that tell what was held back into that place."""


class MergeBox(Generic[B]):
    """One session's view.

    While its client lags, steps are held back: of each document the version that the client has and the one that it
    is to have, whatever was in between. What a source publishes otherwise is told after that.

    Args:
        send: takes what the edge makes of messages for this session; only handed on to ``LiveQuery.alone``.
    """

    __slots__ = ("_ahead", "_behind", "_hand", "_held", "_live", "_order", "send")

    def __init__(self, send: Callable[[B], None]) -> None:
        self.send = send
        self._live: dict[str, dict[LiveQuery, int]] = {}  #: collection -> attached queries -> times attached
        self._hand: dict[str, dict[HandSource, None]] = {}  #: collection -> sources with documents in it
        self._order: dict[tuple[str, Key], Order] = {}
        #: By collection: what the client was told of documents that only waiting queries have by now, and older.
        self._ahead: dict[str, dict[Key, Version]] = {}
        self._held: Held | None = None  # exists while steps are held back
        self._behind: Behind | None = None

    # --- a client that lags

    def hold_back(self, behind: Behind) -> None:
        """Tell no steps from now on, until ``catch_up``; a second call changes nothing."""
        if self._held is not None:
            return
        self._held, self._behind = {}, behind
        for collection in list(self._live):
            self._settle_audience(collection)

    def catch_up(self) -> list[bytes]:
        """The messages that tell what was held back, as one step; nothing is held back any more."""
        held, self._held, self._behind = self._held or {}, None, None
        messages = self._tell_all(held)
        for collection in list(self._live):
            self._settle_audience(collection)
        return messages

    def flush(self) -> None:
        """Have what is held back told before something else is."""
        behind = self._behind
        if behind is not None:
            behind.fill(self.catch_up())

    def _hold(self, step: Step, queries: Iterable[LiveQuery]) -> None:
        assert self._held is not None
        assert self._behind is not None
        size = 0
        for query in queries:
            of_collection = self._held.setdefault(query.collection, {})
            for key, (before, after) in step.published(query).items():
                moved = of_collection.setdefault(key, {})
                if query not in moved:
                    size += HELD_SIZE + (0 if before is None else sum(map(len, before.fields.values())))
                    moved[query] = (before, after)
                else:
                    moved[query] = (moved[query][0], after)
        self._behind.charge(size)

    # --- sources as a whole

    def replace(self, leaving: Iterable[Source], entering: Iterable[Source]) -> Sequence[bytes]:
        """Detach and attach sources in one step. Returns the messages that tell the difference.

        A live query may be attached several times; only its first attachment and last detachment show. Where it is
        all there is to tell, the messages are its ``FirstMessages``, which it shares with others.
        """
        self.flush()
        come = dict.fromkeys(source for source in entering if self._enter(source))
        gone = dict.fromkeys(source for source in leaving if self._leaves(source))
        for source in [source for source in gone if source in come]:
            del gone[source], come[source]
            self._forget(source)
        collections = dict.fromkeys(name for source in (*gone, *come) for name in _collections(source))
        told = [self._replace_in(name, gone, come) for name in collections]
        for source in gone:
            self._forget(source)
        for name in collections:
            self._settle_audience(name)
        return told[0] if len(told) == 1 else list(chain.from_iterable(told))

    def _enter(self, source: Source) -> bool:
        """Enter a source into the view; whether it was not in there before."""
        if isinstance(source, HandSource):
            for collection in source.documents:
                self._hand.setdefault(collection, {})[source] = None
            return True
        attached = self._live.setdefault(source.collection, {})
        attached[source] = attached.get(source, 0) + 1
        return attached[source] == 1

    def _leaves(self, source: Source) -> bool:
        """Take one use of a source back; whether that was the last."""
        if isinstance(source, HandSource):
            return True
        attached = self._live[source.collection]
        attached[source] -= 1
        return not attached[source]

    def _forget(self, source: Source) -> None:
        if isinstance(source, HandSource):
            for collection in list(source.documents):
                self._forget_hand(source, collection)
            return
        del self._live[source.collection][source]
        source.alone.pop(self, None)
        source.shared.pop(self, None)

    def _replace_in(
        self, collection: str, gone: Mapping[Source, None], come: Mapping[Source, None]
    ) -> Sequence[bytes]:
        if not gone and self._only_source(collection) in come:
            return _first_messages(next(iter(self._live[collection])))
        changes: dict[Key, dict[Source, tuple[Version | None, Version | None]]] = {}
        for source in gone:
            for key in _keys(source, collection):
                changes.setdefault(key, {})[source] = (_contribution(source, key, collection), None)
        for source in come:
            for key in _keys(source, collection):
                changes.setdefault(key, {})[source] = (None, _contribution(source, key, collection))
        return list(self._tell(collection, changes))

    def close(self) -> None:
        """The session has ended: no query reaches it any more."""
        for query in self.queries():
            query.alone.pop(self, None)
            query.shared.pop(self, None)
        self._live.clear()
        self._hand.clear()
        self._order.clear()
        self._ahead.clear()
        self._held = self._behind = None

    def queries(self) -> list[LiveQuery]:
        """The attached live queries."""
        return [query for attached in self._live.values() for query in attached]

    def _only_source(self, collection: str) -> LiveQuery | None:
        """The live query that is the collection's only source; None if there are others, or none."""
        attached = self._live.get(collection, {})
        return next(iter(attached)) if len(attached) == 1 and collection not in self._hand else None

    def _settle_audience(self, collection: str) -> None:
        """Enter this box where its queries find it: alone if there is but one source, else shared."""
        attached = self._live.get(collection, {})
        only = self._only_source(collection) is not None
        alone = only and collection not in self._ahead and self._held is None
        for query in attached:
            if alone:
                query.alone[self] = self.send
                query.shared.pop(self, None)
            else:
                query.shared[self] = None
                query.alone.pop(self, None)
        if not attached:
            self._live.pop(collection, None)

    def view(self, queries: Iterable[LiveQuery]) -> tuple[LiveQuery, ...] | None:
        """What decides how a step of some attached queries is told: boxes with equal views tell it alike.

        None where documents published by hand have a say, or what this client was told before: no other box tells
        it so.
        """
        if self._held is not None:
            return None
        collections = dict.fromkeys(query.collection for query in queries)
        if not (self._hand.keys().isdisjoint(collections) and self._ahead.keys().isdisjoint(collections)):
            return None
        view = tuple(query for name in collections for query in self._live[name])
        return None if any(query.stale for query in view) else view

    def apply(self, step: Step, queries: Iterable[LiveQuery]) -> list[bytes]:
        """The messages that tell a step, for the collections of which this session has several sources.

        Args:
            queries: those of the step that have this box among their ``shared`` ones.
        """
        if self._held is not None:
            self._hold(step, queries)
            return []
        changes: Held = {}
        for query in queries:
            of_collection = changes.setdefault(query.collection, {})
            for key, moved in step.published(query).items():
                of_collection.setdefault(key, {})[query] = moved
        return self._tell_all(changes)

    def _tell_all(self, changes: Held) -> list[bytes]:
        return [
            message
            for collection, of_collection in changes.items()
            for message in self._tell(collection, of_collection)
        ]

    # --- documents published by hand

    def added(self, source: HandSource, collection: str, key: Key, fields: Fields) -> list[bytes]:
        """The source publishes a document, or more fields of one that it publishes."""
        self.flush()
        present = source.fields(collection, key) or {}
        return self._publish(source, collection, key, {**present, **fields})

    def changed(
        self, source: HandSource, collection: str, key: Key, fields: Fields, cleared: Iterable[str] = ()
    ) -> list[bytes]:
        """The source changes fields of a document and takes others away.

        Raises:
            KeyError: the source does not publish the document.
        """
        self.flush()
        fields = {**source.documents[collection][key], **fields}
        dropped = set(cleared)
        kept = {name: member for name, member in fields.items() if name not in dropped}
        return self._publish(source, collection, key, kept)

    def removed(self, source: HandSource, collection: str, key: Key) -> list[bytes]:
        """The source takes a document back.

        Raises:
            KeyError: the source does not publish the document.
        """
        self.flush()
        before = source.documents[collection].pop(key)
        messages = list(self._tell(collection, {key: {source: (Version(0, before), None)}}))
        if not source.documents[collection]:
            del source.documents[collection]
            self._forget_hand(source, collection)
            self._settle_audience(collection)
        return messages

    def _publish(
        self, source: HandSource, collection: str, key: Key, fields: dict[str, bytes]
    ) -> list[bytes]:
        documents = source.documents.setdefault(collection, {})
        if source not in self._hand.setdefault(collection, {}):
            self._hand[collection][source] = None
            self._settle_audience(collection)
        present = documents.get(key)
        documents[key] = fields
        before = None if present is None else Version(0, present)
        return list(self._tell(collection, {key: {source: (before, Version(0, fields))}}))

    def _forget_hand(self, source: HandSource, collection: str) -> None:
        sources = self._hand[collection]
        del sources[source]
        if not sources:
            del self._hand[collection]

    # --- merging

    def _tell(self, collection: str, changes: Mapping[Key, Transitions]) -> Iterator[bytes]:
        sources: list[Source] = [*self._live.get(collection, {}), *self._hand.get(collection, {})]
        for key, moved in changes.items():
            before, after = self._around(sources, collection, key, moved)
            told = self._told(collection, key, before)
            order = self._reorder(collection, key, before, after, moved)
            fields = _merge(after, order)
            if fields is not None and told is not None and _is_older(after, told):
                # The newest version has left, and a query that waits for a read has an older one: promise 3.
                fields = {name: told.fields.get(name, member) for name, member in fields.items()}
                self._ahead.setdefault(collection, {})[key] = Version(told.clock, fields)
            message = difference(collection, key, None if told is None else told.fields, fields)
            if message is not None:
                yield message

    def _told(self, collection: str, key: Key, before: Mapping[Source, Version]) -> Version | None:
        """What the client was last told of a document."""
        ahead = self._ahead.get(collection, {})
        if key in ahead:
            told = ahead.pop(key)
            if not ahead:
                del self._ahead[collection]
            return told
        fields = _merge(before, self._order.get((collection, key)))
        return None if fields is None else Version(max(each.clock for each in before.values()), fields)

    def _around(
        self, sources: Iterable[Source], collection: str, key: Key, moved: Transitions
    ) -> tuple[dict[Source, Version], dict[Source, Version]]:
        """What each source contributed to a document before a change, and what it does after it."""
        before: dict[Source, Version] = {}
        after: dict[Source, Version] = {}
        for source in sources:
            if source in moved:
                old, new = moved[source]
            else:
                old = new = _contribution(source, key, collection)
            if old is not None:
                before[source] = old
            if new is not None:
                after[source] = new
        return before, after

    def _reorder(
        self,
        collection: str,
        key: Key,
        before: Mapping[Source, Version],
        after: Mapping[Source, Version],
        moved: Transitions,
    ) -> Order | None:
        """Keep the owners of a document's fields, as long as it takes owners to tell them."""
        known = self._order.pop((collection, key), None)
        if len(after) < 2 or not any(isinstance(source, HandSource) for source in after):
            return None
        order = known if known is not None else _initial_order(before)
        for source in moved:
            had = before[source].fields if source in before else {}
            has = after[source].fields if source in after else {}
            for name in had:
                if name not in has:
                    order[name].remove(source)
            for name in has:
                if name not in had:
                    order.setdefault(name, []).append(source)
        self._order[collection, key] = order
        return order


def _first_messages(query: LiveQuery) -> FirstMessages:
    """The ``added`` messages for a client that had nothing of the collection; shared by all who join meanwhile."""
    if query.first_messages is None:
        step = Step()
        for key in query.keys:
            step.add(query, key, None, query.shown(key))
        query.first_messages = FirstMessages(step.messages(query))
    return query.first_messages


def _collections(source: Source) -> Iterable[str]:
    return (source.collection,) if isinstance(source, LiveQuery) else tuple(source.documents)


def _keys(source: Source, collection: str) -> Iterable[Key]:
    """The keys of the documents that a source contains."""
    if isinstance(source, LiveQuery):
        return source.keys if source.collection == collection else ()
    return source.documents.get(collection, ())


def _contribution(source: Source, key: Key, collection: str) -> Version | None:
    """What a source contributes to a document now."""
    if isinstance(source, LiveQuery):
        return narrow(source.shown(key), source.spec.fields)
    fields = source.fields(collection, key)
    return None if fields is None else Version(0, fields)


def _initial_order(contributions: Mapping[Source, Version]) -> Order:
    order: Order = {}
    for source, version in contributions.items():
        for name in version.fields:
            order.setdefault(name, []).append(source)
    return order


def _merge(contributions: Mapping[Source, Version], order: Order | None) -> Fields | None:
    """The fields a client sees; None if no source contains the document."""
    if not contributions:
        return None
    if len(contributions) == 1:
        return next(iter(contributions.values())).fields
    if order is not None:
        return {name: _owned(name, owners, contributions) for name, owners in order.items() if owners}
    merged: dict[str, bytes] = {}
    for version in sorted(contributions.values(), key=lambda version: version.clock):
        merged.update(version.fields)
    return merged


def _is_older(contributions: Mapping[Source, Version], told: Version) -> bool:
    """Whether live queries alone are left with a document, none of them as new as what the client was told."""
    return all(
        isinstance(source, LiveQuery) and version.clock < told.clock
        for source, version in contributions.items()
    )


def _owned(name: str, owners: list[Source], contributions: Mapping[Source, Version]) -> bytes:
    """The value of a field: its owner's; among live queries, the newest one's."""
    if isinstance(owners[0], HandSource):
        return contributions[owners[0]].fields[name]
    live = (contributions[source] for source in owners if isinstance(source, LiveQuery))
    return max(live, key=lambda version: version.clock).fields[name]
