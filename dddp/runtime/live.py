"""One database's live queries in one process: the feed's listener, the router, and the reads it asks for.

Who may change what: ``receive`` runs in the listener's greenlet, reads report from the read pool, subscriptions open
and close from any greenlet. All of them meet in the router, and none gives way to another greenlet between a change
of the router's state and the frames for it. No database work happens here but in the read pool.
"""

from __future__ import annotations

import functools
import logging
import random
from collections.abc import Callable, Hashable, Iterable, Mapping

import gevent
from django.db import connections

from dddp.api.registry import Registry
from dddp.changes import Change, FeedEvent, Gap, Kind, Snapshot, Table, Transaction
from dddp.errors import FeedUnavailable, QueryFailed
from dddp.feed.listener import Listener
from dddp.livequery.effects import Closed, Deliver, Effect, Failed, Fired, Settled
from dddp.livequery.fences import Fence
from dddp.livequery.query import LiveQuery, Phase
from dddp.livequery.read import Read
from dddp.livequery.router import Router
from dddp.livequery.spec import QuerySpec
from dddp.livequery.step import Step
from dddp.mergebox import MergeBox
from dddp.orm.columns import column_types, retyped
from dddp.orm.failures import first_line, is_away, is_overtime, mend
from dddp.orm.reads import ReadFailed, read
from dddp.orm.rows import RowType, ValueUndecodable
from dddp.orm.tables import model_of
from dddp.runtime.failurelog import failure_log
from dddp.runtime.pool import FAILURES, Pool
from dddp.runtime.specs import Specs
from dddp.transport.contract import Batch

__all__ = ["LiveDatabase", "OnQuery"]

logger = logging.getLogger(__name__)

OnQuery = Callable[[LiveQuery, Exception | None], None]
"""Hears of a query that has settled (no error), or has failed."""

RETRY = (0.2, 1.0)  # seconds before a read is tried again that the database, not its query, made fail


class LiveDatabase:
    """The live queries of one database.

    Args:
        alias: Django's name of the database.
        registry: says which columns of which tables the feed carries.
        process_id: of this process; its tokens come back on a channel of that name.
        readers: the pool for reads.
        time_limit: seconds for one query.
        heartbeat: seconds of silence after which the feed's connection is asked for a sign of life.
    """

    def __init__(
        self,
        alias: str,
        registry: Registry,
        process_id: str,
        readers: Pool,
        time_limit: float,
        heartbeat: float,
    ) -> None:
        self.alias = alias
        self.captured = {table.table: table for table in registry.captured_tables(alias)}
        self.columns = {table: captured.columns for table, captured in self.captured.items()}
        self.router = Router()
        self.specs = Specs(alias, self.columns, self.router.living)
        self.pools = [readers]  #: whose connections are not trusted after an interruption of the feed
        self.interrupted: Callable[[], None] = _nothing  #: called after each; it must not wait
        self._readers = readers
        self._free = readers.size
        self._time_limit_ms = int(time_limit * 1000)
        self._row_types: dict[Table, RowType] = {}
        self._outdated = False  #: a type has changed: what was concluded from types may be wrong
        self._rekeyed: set[Table] = set()  #: tables whose keys have another type than the code goes by
        self._suspects: set[Table] = set()  #: tables whose types are to be looked at again
        self._subscribers: dict[LiveQuery, dict[OnQuery, None]] = {}
        self._listening: dict[LiveQuery, None] = {}  #: queries for which the listener was asked
        self._fences: dict[Fence, Callable[[], None]] = {}
        self._tokens = 0
        self._complained: set[tuple[str, str]] = set()
        parameters = connections[alias].get_connection_params()
        dsn = {name: value for name, value in parameters.items() if name != "cursor_factory"}
        self.listener = Listener(dsn, process_id, self.receive, heartbeat)

    @property
    def channel(self) -> str:
        """Where this process's tokens come back."""
        return self.listener.channel

    def start(self) -> None:
        """Connect the listener.

        Raises:
            FeedUnavailable: the database cannot be reached, or does not notify.
        """
        self.listener.start()

    def stop(self) -> None:
        """Close the listener's connection."""
        self.listener.stop()

    # --- subscriptions

    def open(self, spec: QuerySpec, subscriber: OnQuery, whose: Hashable = None) -> LiveQuery:
        """Use the live query for ``spec``. The subscriber is called each time it settles, and if it fails.

        Args:
            whose: the client address: by it reads take turns.
        """
        query, new = self.router.open(spec, whose)
        self._subscribers.setdefault(query, {})[subscriber] = None
        if new:
            gevent.spawn(self._begin, query)
        return query

    def close(self, query: LiveQuery, subscriber: OnQuery) -> None:
        """Use the query no longer."""
        self._subscribers[query].pop(subscriber, None)
        self._perform(self.router.close(query))

    def _begin(self, query: LiveQuery) -> None:
        """Have the query read as soon as its tables are listened to."""
        if query.phase is Phase.CLOSED:
            return
        self._listening[query] = None
        try:
            self.listener.listen(query.spec.reads)
        except FeedUnavailable as error:
            self._perform(self.router.fail(query, error))
            return
        tables = {query.spec.shape.table, *(values.table for values in query.sets)}
        if tables <= self._row_types.keys():
            self._begin_read(query)
        else:
            self._readers.submit(functools.partial(self._begin_with_row_types, query, tables))

    def _begin_with_row_types(self, query: LiveQuery, tables: set[Table]) -> None:
        """Look up what is not known yet of the tables' columns; in a greenlet of the read pool."""
        if query.phase is Phase.CLOSED:
            return
        try:
            for table in tables - self._row_types.keys():
                self._row_types[table] = self._row_type(table)
                self._compare_types(table)
        except FAILURES as error:
            self._not_begun(query, tables, error)
        else:
            self._begin_read(query)

    def _row_type(self, table: Table) -> RowType:
        # What queries have concluded from must be remembered, so that a change is noticed.
        column_types(model_of(table), self.alias)
        row_type = RowType(model_of(table), self.captured[table].columns, database=self.alias)
        before = self._row_types.get(table)
        if row_type.lacks and (before is None or before.lacks != row_type.lacks):
            logger.warning(
                "! %s. Until then rows of %s that change are read again, and queries that need what is missing fail",
                row_type.lacks,
                table,
            )
        return row_type

    def _not_begun(self, query: LiveQuery, tables: set[Table], error: BaseException) -> None:
        """Have the types looked up again if the database was away, as reads are done again; else close the query."""
        what = f"The live query of collection {query.collection}"
        if is_away(error):
            failure_log.tell(logging.WARNING, f"{what} failed: {first_line(error)}; it is begun again")
            gevent.sleep(random.uniform(*RETRY))
            self._readers.submit(functools.partial(self._begin_with_row_types, query, tables))
        else:
            failure_log.tell(logging.ERROR, f"{what} failed: {first_line(error)}{mend(error)}", error)
            self._perform(self.router.fail(query, _as_failure(error)))

    # --- types that change

    def _suspect(self, tables: Iterable[Table]) -> None:
        """Have the types of tables looked at again that changed as a whole, as ``migrate`` says of all of them."""
        suspects = self._row_types.keys() & tables
        if suspects and not self._suspects:
            self._readers.submit(self._look_at_suspects)
        self._suspects |= suspects

    def _look_at_suspects(self) -> None:
        """In a greenlet of the read pool. A table that cannot be looked at keeps nobody from looking at the others."""
        suspects, self._suspects = self._suspects, set()
        again: set[Table] = set()
        for table in sorted(suspects):
            try:
                self._look_at(table)
            except FAILURES as error:
                self._tell_not_looked_at(table, error)
                if is_away(error):  # one after the other they would wait for it
                    again = suspects
                    break
                if is_overtime(error):
                    again.add(table)
        if again:  # without a reader that waits for it
            gevent.spawn_later(random.uniform(*RETRY), self._suspect, again)

    def _look_at(self, table: Table) -> None:
        self._compare_types(table)
        if self._row_types[table].lacks:
            self._row_types[table] = self._row_type(table)

    def _tell_not_looked_at(self, table: Table, error: BaseException) -> None:
        what = f"the types of {table}'s columns cannot be looked up: {first_line(error)}"
        if is_away(error) or is_overtime(error):
            failure_log.tell(logging.WARNING, f"{what}; they are tried again")
        else:
            failure_log.tell(logging.ERROR, f"{what}{mend(error)}", error)

    def _compare_types(self, table: Table) -> None:
        captured = self.captured[table]
        names = dict.fromkeys((captured.key_column, *captured.columns))
        changed = retyped(model_of(table), self.alias, names)
        if captured.key_column in changed:
            self._rekeyed.add(table)
        if changed and not self._outdated:
            self._become_outdated(f"the type of {', '.join(changed)} of {table} has changed")

    def _become_outdated(self, reason: str) -> None:
        """Conclude nothing from values any more: PostgreSQL is asked about each change, whatever its table."""
        self._outdated = True
        logger.error("! %s: restart the server. Until then it reads all again that changes", reason)
        self._perform(self.router.receive(Gap(reason)))
        self._start_reads()

    # --- reads begin

    def _begin_read(self, query: LiveQuery) -> None:
        self.router.begin(query)
        self._start_reads()

    # --- the write fence

    def new_token(self) -> str:
        """A token that no other has had in this process."""
        self._tokens += 1
        return f"fence-{self._tokens}"

    def raise_fence(
        self, token: str, interest: Callable[[], Iterable[LiveQuery]], fired: Callable[[], None]
    ) -> Fence:
        """Make a fence that calls ``fired`` once all that came before its token has been told."""
        fence = self.router.raise_fence(token, interest)
        self._fences[fence] = fired
        return fence

    @property
    def fenced(self) -> bool:
        """Whether some method's writes have not been told to its client yet."""
        return bool(self._fences)

    def arm(self, fence: Fence) -> None:
        """The fence's transaction has committed."""
        self._perform(self.router.fences.arm(fence))

    def drop_fence(self, fence: Fence) -> None:
        """The fence's transaction has not committed."""
        self._fences.pop(fence, None)
        self.router.fences.drop(fence)

    # --- the feed

    def receive(self, events: list[FeedEvent]) -> None:
        """Take what the feed brought; runs in the listener's greenlet."""
        for event in events:
            if isinstance(event, Gap):
                for pool in self.pools:
                    pool.renew()
                self.interrupted()
                self._suspect(self._row_types)
            known = self._decoded(event) if isinstance(event, Transaction) else event
            self._perform(self.router.receive(known))
            if isinstance(event, Transaction) and event.tables:
                self._suspect(event.tables)
        self._start_reads()

    def _decoded(self, event: Transaction) -> Transaction:
        """The same with Python's values. A table of which some key is not known for sure has changed as a whole."""
        changes, whole = [], set(event.tables)
        for change in event.changes:
            known = self._known(change)
            if known is None:
                whole.add(change.table)
            else:
                changes.append(known)
        return Transaction(event.xid, tuple(changes), frozenset(whole), event.marks)

    def _known(self, change: Change) -> Change | None:
        """The change as far as its values can be read; None if not even the key can be used."""
        if change.table in self._rekeyed:  # its queries cannot look rows up by such keys
            return None
        try:
            return self._decode(change)
        except ValueUndecodable as error:
            self._complain(error)
            return None if error.key is None else Change(change.table, error.key, Kind.KEY_ONLY)

    def _decode(self, change: Change) -> Change:
        """The change with Python's values; its key alone while nothing here knows the types of columns for sure."""
        row_type = self._row_types.get(change.table)
        if row_type is None:
            return Change(change.table, change.key, Kind.KEY_ONLY)
        if self._outdated:
            return Change(change.table, row_type.document_id(change.key), Kind.KEY_ONLY)
        return row_type.decode(change)

    def _complain(self, error: ValueUndecodable) -> None:
        kind = (error.table, error.column)
        if kind not in self._complained:
            self._complained.add(kind)
            logger.error("! %s Such rows are read again instead; this is said once.", error, exc_info=error)
            self._suspect([error.table])

    # --- reads

    def _start_reads(self) -> None:
        while self._free:
            due = self.router.next_read()
            if due is None:
                return
            self._free -= 1
            self._readers.submit(functools.partial(self._run_read, due))

    def _run_read(self, due: Read) -> None:
        """Run one read; in a greenlet of the read pool."""
        try:
            self._read(due)
        finally:
            self._free += 1
        self._start_reads()

    def _read(self, due: Read) -> None:
        try:
            result = read(
                self.alias,
                due.specs,
                due.token,
                self.channel,
                self._time_limit_ms,
                functools.partial(self._snapshot_taken, due),
                keys=due.keys,
                sets=due.sets,
                move_ins=due.move_ins,
            )
        except ReadFailed as error:
            self._read_failed(due, error)
        except FAILURES as error:  # what a serialize() raised that is no Exception, or a defect of ours
            logger.exception("! a read failed unexpectedly")
            self._abandon(due, error)
        else:
            self._perform(self.router.rows_read(due, result.rows, result.related))

    def _snapshot_taken(self, due: Read, snapshot: Snapshot) -> None:
        self._perform(self.router.snapshot_taken(due, snapshot))

    def _read_failed(self, due: Read, error: ReadFailed) -> None:
        if error.spec is None or is_away(error.cause):
            logger.warning("! %s; it is read again", error)
            gevent.sleep(random.uniform(*RETRY))
            self._perform(self.router.read_failed(due, None, error))
        else:
            failure_log.tell(logging.ERROR, str(error), error)
            self._perform(self.router.read_failed(due, error.spec, error))

    def _abandon(self, due: Read, error: BaseException) -> None:
        """Close every query of a read that failed for a reason that blames none of them."""
        failure = _as_failure(error)
        for query in due.queries:
            if query.reading is due:
                self._perform(self.router.fail(query, failure))
        self._perform(self.router.read_failed(due, None, failure))

    # --- effects

    def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Deliver(step):
                    deliver(step)
                case Settled(query):
                    self._tell_subscribers(query, None)
                case Failed(query, error):
                    self._tell_subscribers(query, error)
                case Closed(query):
                    del self._subscribers[query]
                    if query in self._listening:
                        del self._listening[query]
                        self.listener.unlisten(query.spec.reads)
                case Fired(fence):
                    self._fences.pop(fence, _nothing)()

    def _tell_subscribers(self, query: LiveQuery, error: Exception | None) -> None:
        for subscriber in list(self._subscribers.get(query, ())):
            subscriber(query, error)


def _as_failure(error: BaseException) -> Exception:
    """What a query ends with: its subscribers' exception, whatever was raised."""
    return error if isinstance(error, Exception) else QueryFailed(f"{type(error).__name__}: {error}")


def _nothing() -> None:
    """What a fence does that has been dropped, and who is not interested in interruptions."""


def deliver(step: Step) -> None:
    """Send a step to every session of its queries: shared frames where they fit, else what the session's box says."""
    boxes: dict[MergeBox[Batch], list[LiveQuery]] = {}
    for query in step.transitions:
        # A session may begin to lag by what it is sent here: it is moved to the shared ones, and has been told.
        alone, shared = list(query.alone.values()), list(query.shared)
        messages = step.messages(query) if alone else None
        if messages:
            batch = Batch(messages)
            for send in alone:
                send(batch)
        for box in shared:
            boxes.setdefault(box, []).append(query)
    _deliver_merged(step, boxes)


def _deliver_merged(step: Step, boxes: Mapping[MergeBox[Batch], list[LiveQuery]]) -> None:
    """Send a step to sessions that have several sources of a collection; equal views share their frames."""
    batches: dict[tuple[LiveQuery, ...], Batch] = {}
    for box, queries in boxes.items():
        view = box.view(queries)
        batch = batches.get(view) if view is not None else None
        if batch is None:
            batch = Batch(box.apply(step, queries))
            if view is not None:
                batches[view] = batch
        if batch.messages:
            box.send(batch)
