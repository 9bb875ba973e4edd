"""One subscription of one session: its publication, the live queries it uses, the documents it publishes by hand.

A subscription *runs* once for each user of its session: after a login it is run again for the new user, and the new
run takes the old one's place in one step (design, section 7). A run that is not shown yet only collects.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from dddp.api.publication import Publication, Selection
from dddp.api.sanitise import sanitise
from dddp.changes import Key
from dddp.errors import MeteorError, QueryRefused
from dddp.livequery.query import LiveQuery
from dddp.livequery.spec import QuerySpec
from dddp.mergebox import HandSource, Source
from dddp.orm.queries import database_of
from dddp.protocol.ejson import member
from dddp.protocol.messages import ABSENT
from dddp.runtime.failurelog import failure_log
from dddp.runtime.live import LiveDatabase
from dddp.runtime.pool import FAILURES, TOO_BUSY
from dddp.runtime.watch import Watch

if TYPE_CHECKING:
    from dddp.runtime.connection import Connection

__all__ = ["Run", "Subscription"]

logger = logging.getLogger(__name__)


class Subscription:
    """What a client subscribed to, under its own id; None for a publication that everybody gets."""

    __slots__ = ("ended", "id", "params", "publication", "run", "size")

    def __init__(
        self, id: str | None, publication: type[Publication], params: tuple[Any, ...], size: int = 0
    ) -> None:
        self.id = id
        self.publication = publication
        self.params = params
        self.size = size  #: characters of the message that it came by
        self.run: Run | None = None  #: the one whose documents the client has
        self.ended = False  #: the client has been told so


class Run:
    """One run of a publication for one user; what the publication calls ``Source``.

    Args:
        settled: called once, when everything asked for is there, or when the run has ended instead.
    """

    __slots__ = (
        "_callbacks",
        "_hand",
        "_queries",
        "_unsettled",
        "_watches",
        "active",
        "complete",
        "connection",
        "failure",
        "settled",
        "shown",
        "subscription",
        "told_ready",
    )

    def __init__(
        self, connection: Connection, subscription: Subscription, settled: Callable[[], None]
    ) -> None:
        self.connection = connection
        self.subscription = subscription
        self.settled: Callable[[], None] | None = settled
        self.active = True
        self.shown = False  #: its documents go to the client; before that they are collected
        self.complete = False  #: its first documents are all there
        self.told_ready = False
        self.failure: MeteorError | None = None  #: why it has ended, if by an error
        self._queries: dict[LiveQuery, LiveDatabase] = {}
        self._unsettled: dict[LiveQuery, None] = {}
        self._hand: HandSource | None = None
        self._callbacks: list[Callable[[], object]] = []
        self._watches: list[Watch] = []

    @property
    def queries(self) -> Mapping[LiveQuery, LiveDatabase]:
        """The live queries it uses, settled or not."""
        return self._queries

    @property
    def sources(self) -> list[Source]:
        """What it contributes to the session's view, as far as it is there."""
        sources: list[Source] = [query for query in self._queries if query not in self._unsettled]
        if self._hand is not None:
            sources.append(self._hand)
        return sources

    # --- running the publication; in a greenlet of the handler pool

    def start(self) -> None:
        """Run the publication's handler, then wait for its queries without holding the greenlet."""
        if not self.active:  # it has ended while it waited for a greenlet
            return
        subscription, connection = self.subscription, self.connection
        try:
            publication = subscription.publication(subscription.params, connection.user_id, connection, self)
            selections = publication.resolve()
            if selections is not None and self.active:
                self._use(selections)
        except FAILURES as error:  # error() logs it and tells the client
            self.error(error)
            return
        if not self.active:  # ended by its own handler, or meanwhile
            return
        if selections is None:
            self._settle()
        elif not self._unsettled:
            self._become_complete()

    def refuse(self) -> None:
        """End because no greenlet was free in time."""
        self.error(MeteorError(*TOO_BUSY))

    def _use(self, selections: Iterable[Selection]) -> None:
        specs = dict(self._specified(selection) for selection in selections)
        if not self.active:  # it has ended while the SQL was made
            return
        for spec, live in specs.items():
            query = live.open(spec, self._on_query, self.connection.client_address)
            self._queries[query] = live
            if not query.settled:
                self._unsettled[query] = None
        if self.shown:
            self._show([query for query in self._queries if query not in self._unsettled])

    def _specified(self, selection: Selection) -> tuple[QuerySpec, LiveDatabase]:
        alias = database_of(selection.queryset)
        live = self.connection.databases.get(alias)
        if live is None:
            raise QueryRefused(f"The database {alias!r} is not PostgreSQL: its rows cannot be kept live")
        return live.specs.spec(selection.queryset, selection.collection.shape), live

    # --- live queries

    def _on_query(self, query: LiveQuery, error: Exception | None) -> None:
        if not self.active:
            return
        if error is not None:
            # Its traceback has been logged once, for all who subscribed to the query.
            failure_log.tell(
                logging.WARNING, f"publication {self.subscription.publication.wire_name()}: {error}"
            )
            self._fail(error)
        elif query in self._unsettled:
            del self._unsettled[query]
            if self.shown:
                self._show([query])
            if not self._unsettled:
                self._become_complete()

    def _show(self, queries: Iterable[Source]) -> None:
        self.connection.send_first(self.connection.box.replace([], queries))

    def _become_complete(self) -> None:
        self.complete = True
        if self.shown:
            self._tell_ready()
        self._settle()

    def _settle(self) -> None:
        settled, self.settled = self.settled, None
        if settled is not None:
            settled()

    def _tell_ready(self) -> None:
        if not self.told_ready and self.subscription.id is not None:
            self.told_ready = True
            self.connection.send_ready([self.subscription.id])

    # --- what a publication may call (``dddp.api.publication.Source``)

    def added(self, collection: str, id: str, fields: Mapping[str, Any]) -> None:
        """Publish a document by hand, or more fields of one."""
        if not self.active:
            return
        hand = self._hand_source()
        encoded = _encoded(fields)
        if self.shown:
            self.connection.send_all(self.connection.box.added(hand, collection, Key(id), encoded))
        else:
            hand.documents.setdefault(collection, {}).setdefault(Key(id), {}).update(encoded)

    def changed(self, collection: str, id: str, fields: Mapping[str, Any]) -> None:
        """Change fields of a document published by hand; the value ``ABSENT`` clears a field.

        Raises:
            LookupError: this subscription does not publish the document.
        """
        if not self.active:
            return
        hand = self._hand_source()
        self._check_published(hand, collection, Key(id))
        cleared = [name for name, value in fields.items() if value is ABSENT]
        encoded = _encoded({name: value for name, value in fields.items() if value is not ABSENT})
        if self.shown:
            box = self.connection.box
            self.connection.send_all(box.changed(hand, collection, Key(id), encoded, cleared))
        else:
            document = hand.documents[collection][Key(id)]
            document.update(encoded)
            for name in cleared:
                document.pop(name, None)

    def removed(self, collection: str, id: str) -> None:
        """Take back a document published by hand.

        Raises:
            LookupError: this subscription does not publish the document.
        """
        if not self.active:
            return
        hand = self._hand_source()
        self._check_published(hand, collection, Key(id))
        if self.shown:
            self.connection.send_all(self.connection.box.removed(hand, collection, Key(id)))
        else:
            del hand.documents[collection][Key(id)]

    def ready(self) -> None:
        """The first documents are all there."""
        if self.active and not self.complete:
            self._become_complete()

    def unblock(self) -> None:
        """Let the client's next message start; in a run for the next user, the queue waits for the login."""
        if self.shown:
            self._settle()

    def error(self, exception: BaseException) -> None:
        """End with an error."""
        if self.active:
            failure_log.report(f"publication {self.subscription.publication.wire_name()}", exception)
            self._fail(exception)

    def _fail(self, exception: BaseException) -> None:
        self.failure = sanitise(exception)
        self.connection.end(self)

    def stop(self) -> None:
        """End without an error."""
        if self.active:
            self.connection.end(self)

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Have something called when the run has ended; at once if it has."""
        if self.active:
            self._callbacks.append(callback)
        else:
            callback()

    def watch(self, selection: Selection, callback: Callable[[frozenset[str]], object]) -> None:
        """Follow a query without publishing it."""
        spec, live = self._specified(selection)
        if self.active:
            whose, submit = self.connection.client_address, self.connection.handlers.submit
            self._watches.append(Watch(live, spec, whose, submit, callback, self.error))

    def _hand_source(self) -> HandSource:
        if self._hand is None:
            self._hand = HandSource()
        return self._hand

    def _check_published(self, hand: HandSource, collection: str, key: Key) -> None:
        if hand.fields(collection, key) is None:
            name = self.subscription.publication.wire_name()
            raise LookupError(f"publication {name} has not added {key!r} to {collection}; call added() first")

    # --- its end

    def finish(self) -> None:
        """Give everything back: called once by the connection, after it has taken the sources out of the view."""
        self.active = False
        for query, live in self._queries.items():
            live.close(query, self._on_query)
        self._queries.clear()
        self._unsettled.clear()
        for watch in self._watches:
            watch.close()
        self._watches.clear()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self.connection.handlers.submit(partial(self._call, callback))
        self._settle()

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except FAILURES:
            name = self.subscription.publication.wire_name()
            logger.exception("! an on_stop callback of publication %s failed", name)


def _encoded(fields: Mapping[str, Any]) -> dict[str, bytes]:
    return {name: member(name, value) for name, value in fields.items() if name != "_id"}
