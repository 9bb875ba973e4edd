"""The router: takes what the feed reports and what reads find, and says what every live query's clients are told.

Its law (design, section 5): everything shown is the state after some transaction of the feed. A read is held until
the feed has caught up with its snapshot; transactions dispatched meanwhile that the snapshot does not show are laid
over it, or, where no predicate can tell what they did, the read is repeated with dispatch held.

No I/O, no clock, no Django. Its inputs are generators of effects: each is to be done when it is yielded, since the
router's state is then exactly the one it speaks of, and a generator must be run to its end. One greenlet does so at
a time, without giving way to another in between.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Set
from itertools import chain
from typing import Any

from dddp.changes import Change, FeedEvent, Gap, Key, Kind, Mark, Row, Snapshot, Table, Transaction
from dddp.livequery.dependents import Concern, Dependents
from dddp.livequery.document import Documents, Version
from dddp.livequery.effects import Closed, Deliver, Effect, Failed, Settled
from dddp.livequery.fences import Fence, Fences
from dddp.livequery.liveset import Delta, LiveSet, LiveSets
from dddp.livequery.predicate import SetSpec
from dddp.livequery.query import NO_KEYS, LiveQuery, Moving, Phase
from dddp.livequery.read import NOTHING, MoveIn, Read, Related, Rows
from dddp.livequery.spec import Fields, Identity, QuerySpec
from dddp.livequery.step import Step
from dddp.livequery.turns import Turns
from dddp.livequery.window import Place, Ranking, Window

__all__ = ["Router"]


class Router:
    """All live queries of one database, at one position of its feed."""

    def __init__(self) -> None:
        self.documents: Documents[LiveQuery] = Documents()
        self.sets = LiveSets()
        self.fences = Fences()
        self.epoch = 0  #: grows with every gap; a token of an older epoch may never come
        self.runs = 0  #: queries run, for the metrics; first runs among them
        self.reruns = 0  #: those run again
        self.holds = 0  #: reads that had to hold dispatch
        self.move_ins = 0  #: reads of rows that entered through a live set
        self._clock = 0
        self._tokens = 0
        self._queries: dict[Identity, LiveQuery] = {}
        self._dependents: dict[Table, Dependents] = {}
        self._due = Turns()  #: to be read
        self._moving: dict[LiveQuery, None] = {}  #: to be told the rows that have entered through a live set
        self._repeat = Turns()  #: to be read again with dispatch held
        self._reads: dict[str, Read] = {}  #: in flight, by token
        self._holding: Read | None = None
        self._backlog: deque[FeedEvent] = deque()

    # --- queries

    @property
    def queries(self) -> Iterable[LiveQuery]:
        """Every live query, in the order of opening."""
        return self._queries.values()

    @property
    def tables(self) -> frozenset[Table]:
        """Every table some live query reads."""
        return frozenset(self._dependents)

    def living(self, identity: Identity) -> QuerySpec | None:
        """The spec of the live query with an identity, if there is one."""
        query = self._queries.get(identity)
        return None if query is None else query.spec

    def open(self, spec: QuerySpec, whose: Hashable = None) -> tuple[LiveQuery, bool]:
        """The live query for ``spec``, and whether it is new: then ``begin`` it once its tables are listened to.

        Each ``open`` is one use, given back by ``close``.

        Args:
            whose: who asks, such as a client's address. Reads serve all who ask in turn.
        """
        query = self._queries.get(spec.identity)
        new = query is None
        if query is None:
            query = self._queries[spec.identity] = LiveQuery(spec, self.documents, whose)
            for table in spec.reads:
                self._dependents.setdefault(table, Dependents(table)).add(query)
            for values in query.sets:
                self.sets.use(values, query)
        elif query.whose not in (whose, spec.identity):
            self._share(query)
        query.users += 1
        return query, new

    def _share(self, query: LiveQuery) -> None:
        """Several ask for a query: it waits behind no other, in a turn of its own."""
        query.whose = query.spec.identity
        for waiting in (self._due, self._repeat):
            if query in waiting:
                waiting.discard(query)
                waiting.add(query)

    def begin(self, query: LiveQuery) -> None:
        """The feed reports the query's tables from here on: it may be read."""
        if query.phase is Phase.STARTING:
            self._due.add(query)

    def fail(self, query: LiveQuery, error: Exception) -> Iterator[Effect]:
        """The query cannot be kept live: it is closed, and its like will be a new one."""
        if query.phase is not Phase.CLOSED:
            self._withdraw(query)
            yield Failed(query, error)
            yield from self.fences.release(query)

    def close(self, query: LiveQuery) -> Iterator[Effect]:
        """Give one use back; the last one takes the query and what only it held along (``Closed``)."""
        query.users -= 1
        if query.users:
            return
        if query.phase is not Phase.CLOSED:
            self._withdraw(query)
        for key in query.keys:
            self.documents.release(query.collection, key, query)
        query.keys.clear()
        query.stale.clear()
        query.links.clear()
        query.ranking = None
        yield Closed(query)
        yield from self.fences.release(query)

    def _withdraw(self, query: LiveQuery) -> None:
        """Take the query out of all indexes; nothing reaches it any more, and its like is a new query."""
        query.phase = Phase.CLOSED
        query.reading = None
        del self._queries[query.spec.identity]
        self._due.discard(query)
        self._repeat.discard(query)
        self._moving.pop(query, None)
        for values in query.sets:
            self.sets.leave(values, query)
        for table in query.spec.reads:
            dependents = self._dependents[table]
            dependents.remove(query)
            if not dependents.queries:
                del self._dependents[table]

    # --- reads

    def next_read(self, limit: int = 50) -> Read | None:
        """The next read to run, of at most ``limit`` queries; None when nothing is due.

        Ask only when it can be started at once: transactions dispatched from here on are kept for it.
        """
        if self._repeat and self._holding is None:
            self._holding = self._start_read(self._repeat, limit, holding=True)
            self.holds += 1
            return self._holding
        if self._moving:
            return self._start_move_in()
        if self._due:
            return self._start_read(self._due, limit, holding=False)
        return None

    def _start_read(self, due: Turns, limit: int, *, holding: bool) -> Read:
        queries = due.take(limit)
        sets = self._sets_to_read(queries)
        self.runs += len(queries)
        self.reruns += sum(query.phase is Phase.PENDING for query in queries)
        return self._begin_read(Read(queries, self._new_token(), self._clock, holding=holding, sets=sets))

    def _start_move_in(self) -> Read:
        """One read for all that queries wait for because live sets have changed."""
        self.move_ins += 1
        behind = tuple(query for query in self._moving if self._missing_sets(query))
        return self._start_set_read(behind) if behind else self._start_row_read()

    def _missing_sets(self, query: LiveQuery) -> list[SetSpec]:
        return [values for values in query.sets if not self.sets[values].loaded]

    def _sets_to_read(self, queries: Iterable[LiveQuery]) -> dict[SetSpec, Any]:
        """The live sets of queries that are out of date, each with what the edge runs for it."""
        return {values: query.spec.sets[values] for query in queries for values in self._missing_sets(query)}

    def _start_set_read(self, queries: tuple[LiveQuery, ...]) -> Read:
        """One read of all live sets that are out of date."""
        for query in queries:
            assert query.moving is not None
            del self._moving[query]
            query.moving.asked = {}
        sets = self._sets_to_read(queries)
        return self._begin_read(Read(queries, self._new_token(), self._clock, sets=sets, sets_only=True))

    def _start_row_read(self) -> Read:
        """One read of all rows that may have entered a query because a value has entered a live set."""
        queries, self._moving = tuple(self._moving), {}
        wanted: dict[tuple[str, str], dict[Any, None]] = {}
        columns: dict[str, frozenset[str]] = {}
        shapes = {query.collection: query.spec.shape for query in queries}
        for query in queries:
            assert query.moving is not None
            assert query.spec.predicate is not None
            name = query.collection
            columns[name] = columns.get(name, frozenset()) | query.spec.predicate.columns
            for column, values in query.moving.ask().items():
                wanted.setdefault((name, column), {}).update(values)
        move_ins = tuple(
            MoveIn(shapes[name], column, tuple(values), columns[name])
            for (name, column), values in wanted.items()
        )
        return self._begin_read(Read(queries, self._new_token(), self._clock, move_ins=move_ins))

    def _new_token(self) -> str:
        self._tokens += 1
        return f"read-{self.epoch}-{self._tokens}"

    def _begin_read(self, read: Read) -> Read:
        for query in read.queries:
            query.reading = read
        self._reads[read.token] = read
        return read

    def snapshot_taken(self, read: Read, snapshot: Snapshot) -> Iterator[Effect]:
        """A read reports its snapshot (before its rows)."""
        if self._reads.get(read.token) is read:
            read.snapshot = snapshot
            yield from self._drain()

    def rows_read(self, read: Read, rows: Rows, related: Related = NOTHING) -> Iterator[Effect]:
        """A read reports its rows; they are applied when the feed has caught up with its snapshot.

        A query without rows was left out, since others had taken the read's time: its turn comes again.
        """
        if self._reads.get(read.token) is read:
            read.rows = rows
            read.related = related
            self._put_back(read, rows)
            yield from self._apply_if_complete(read)
            yield from self._drain()

    def _put_back(self, read: Read, rows: Rows) -> None:
        """Have the queries read again that a read has left out."""
        if len(rows) == len(read.specs):
            return
        left_out = [query for query in read.queries if query.reading is read and query.spec not in rows]
        for query in left_out:
            query.reading = None
            self._end_moving(query)
        (self._repeat if read.holding else self._due).put_back(left_out)

    def read_failed(self, read: Read, spec: QuerySpec | None, error: Exception) -> Iterator[Effect]:
        """A read raised. ``spec`` names the query at fault, which is closed; None blames the database.

        The other queries of the read are due again.
        """
        if self._reads.get(read.token) is not read:
            return
        self._end(read)
        for query in read.queries:
            if query.reading is not read:
                continue
            query.reading = None
            if query.spec == spec:
                yield from self.fail(query, error)
            else:
                self._read_again(query, self._due)
        yield from self._drain()

    def _end(self, read: Read) -> None:
        del self._reads[read.token]
        if self._holding is read:
            self._holding = None

    def _apply_if_complete(self, read: Read) -> Iterator[Effect]:
        if not read.complete:
            return
        assert read.rows is not None
        self._end(read)
        step = Step()
        settled: list[LiveQuery] = []
        self._clock += 1
        for query in read.queries:
            if query.reading is not read:
                continue
            query.reading = None
            if self._settle(query, read, step):
                settled.append(query)
            elif query.moving is not None and query in self._moving:
                continue  # it has learned something, and waits for more
            else:
                if read.holding:  # what is asked for as a whole with dispatch held is told for sure
                    query.dirty = None
                self._read_again(query, self._repeat)
        if step:
            yield Deliver(step)
        for query in settled:
            if query.phase is Phase.SETTLED:
                yield Settled(query)
                yield from self.fences.release(query)

    def _read_again(self, query: LiveQuery, due: Turns) -> None:
        """Have the query read, whatever it waited for before."""
        self._end_moving(query)
        due.add(query)

    def _settle(self, query: LiveQuery, read: Read, step: Step) -> bool:
        """Make the query show the process's position; False when the read does not tell enough for that."""
        overlay = read.overlay(query)
        if not all(query.decides(transaction) for transaction in overlay):
            return False
        if not self._load_sets(query, read, overlay):
            return False
        if query.moving is not None:
            return self._settle_moving(query, read, query.moving, step)
        assert read.rows is not None
        touched = {
            change.key: change
            for transaction in overlay
            for change in transaction.changes
            if change.table == query.spec.shape.table
        }
        rows = {key: fields for key, fields in read.rows[query.spec].items() if key not in touched}
        scope = self._scope(query, read, touched)
        if scope is None:
            return False
        if query.spec.window is not None and not self._rank(query, query.spec.window, read, rows, touched):
            return False
        if any(self._newer(query, read, key, fields) for key, fields in rows.items()):
            return False
        result = {key: self._reconcile(query, key, fields) for key, fields in rows.items()}
        links = read.related.links.get(query.spec, {})
        query.links = {key: links[key] for key in rows} if query.is_linked else {}
        self._enter_changed(query, touched, result)
        self._replace(query, scope, result, step)
        return True

    def _scope(self, query: LiveQuery, read: Read, touched: Mapping[Key, Change]) -> Set[Key] | None:
        """The keys of which it is known whether they are members; None where only another read can tell of some."""
        asked = read.keys.get(query.spec)
        if asked is None:
            return query.keys
        told = asked | touched.keys()
        return told if query.dirty is not None and query.dirty <= told else None

    def _rank(
        self,
        query: LiveQuery,
        window: Window,
        read: Read,
        rows: dict[Key, Fields],
        touched: dict[Key, Change],
    ) -> bool:
        """Leave of the rows read, and of those changed meanwhile, what is in the window; False: it is not known."""
        links = read.related.links[query.spec]
        as_read = Ranking(window, {key: window.place(link) for key, link in links.items()})
        if touched:
            ranking = as_read.after(self._places(query, window, touched.values()))
            members = None if ranking is None else ranking.members()
            if ranking is None or members is None or not members <= rows.keys() | touched.keys():
                return False
            for found in (rows, touched):
                for key in [key for key in found if key not in members]:
                    del found[key]
            query.ranking = ranking
        else:
            query.ranking = as_read
        return True

    def _places(
        self, query: LiveQuery, window: Window, changes: Iterable[Change]
    ) -> Iterable[tuple[Key, Place | None]]:
        """Where changed rows stand in a query; None for those that it does not have."""
        for change in changes:
            row = change.row if change.kind is Kind.ROW else None
            accepted = row is not None and self._accepts(query, row)
            yield change.key, window.place(row) if accepted and row is not None else None

    def _load_sets(self, query: LiveQuery, read: Read, overlay: Iterable[Transaction]) -> bool:
        """Have the query's live sets at the process's position; False when the read does not tell them."""
        missing = self._missing_sets(query)
        if not missing and query.moving is not None:
            return True  # the rows it asks for are judged by the sets as they are now
        tables = {values.table for values in query.sets}
        if any(change.table in tables for transaction in overlay for change in transaction.changes):
            return False
        if not all(values in read.related.sets for values in missing):
            return False
        for values in missing:
            delta = self.sets.load(values, read.related.sets[values])
            for user in self.sets[values].users:
                if user.moving is not None:
                    self._want(user, user.moving, values, delta)
        return True

    def _want(self, query: LiveQuery, moving: Moving, values: SetSpec, delta: Delta) -> None:
        """A set that a waiting query uses has been read."""
        for use in query.uses:
            entering = delta.left if use.negated else delta.entered
            if use.values == values and entering:
                moving.want(use.column.name, entering)
        if query.reading is None:
            self._moving[query] = None

    def _settle_moving(self, query: LiveQuery, read: Read, moving: Moving, step: Step) -> bool:
        """Settle a query that has waited for rows: they, what it had, and what has changed since it waits."""
        self._moving.pop(query, None)
        if moving.values:  # more has entered its sets meanwhile
            if moving.ask_again():
                self._moving[query] = None
            return False
        entered = {
            key: found
            for question, rows in read.related.entered.items()
            if question.shape.name == query.collection
            for key, found in rows.items()
            if key not in moving.changes and key not in query.keys and self._accepts(query, found[0])
        }
        if any(self._newer(query, read, key, fields) for key, (_, fields) in entered.items()):
            return False
        result = {
            key: self.documents.current(query.collection, key)
            for key, link in query.links.items()
            if key not in moving.changes and self._accepts(query, link)
        }
        for key, (row, fields) in entered.items():
            result[key] = self._reconcile(query, key, fields)
            query.links[key] = query.link(row)
        self._enter_changed(query, moving.changes, result)
        query.links = {key: link for key, link in query.links.items() if key in result}
        self._end_moving(query)
        self._replace(query, query.keys, result, step)
        return True

    def _enter_changed(
        self, query: LiveQuery, changes: Mapping[Key, Change], result: dict[Key, Version]
    ) -> None:
        """Add the documents of changed rows that belong to the query."""
        for key, change in changes.items():
            version = self._entering(query, change)
            if version is not None:
                result[key] = version
                if query.is_linked and change.row is not None:
                    query.links[key] = query.link(change.row)

    def _accepts(self, query: LiveQuery, row: Row) -> bool:
        predicate = query.spec.predicate
        return predicate is not None and predicate(row, self.sets.members)

    def _newer(self, query: LiveQuery, read: Read, key: Key, fields: Fields) -> bool:
        """Whether the document differs from the row because something newer than the read changed it."""
        document = self.documents.get(query.collection, key)
        return (
            document is not None
            and document.current.clock > read.requested
            and document.current.fields != fields
            and not read.holding
        )

    def _reconcile(self, query: LiveQuery, key: Key, fields: Fields) -> Version:
        """The version of a row that no transaction has touched since its snapshot."""
        document = self.documents.get(query.collection, key)
        if document is None:
            return Version(self._clock, fields)
        if document.current.fields != fields and key not in query.refreshed:
            # A key-only change, a gap, or a write the feed never saw: the other holders have to look again.
            before = document.current
            document.current = Version(self._clock, fields)
            for holder in document.holders:
                holder.stale.setdefault(key, before)
                if holder is not query:
                    holder.soil((key,))
                    holder.refreshed |= {key}
                    self._end_moving(holder)
                    self._make_due(holder)
        return document.current

    def _entering(self, query: LiveQuery, change: Change) -> Version | None:
        """The version with which a changed row is in a query that a predicate decides; None if it is not."""
        if change.kind is Kind.GONE or change.row is None or not self._accepts(query, change.row):
            return None
        document = self.documents.get(query.collection, change.key)
        if document is not None:
            return document.current
        fields = query.spec.shape.document(change.row)
        assert fields is not None
        return Version(self._clock, fields)

    def _replace(self, query: LiveQuery, scope: Set[Key], result: Mapping[Key, Version], step: Step) -> None:
        """Give the query new members among the keys of a scope, and note what that changes for its clients."""
        for key in [key for key in scope if key in query.keys and key not in result]:
            step.add(query, key, query.shown(key), None)
            query.keys.discard(key)
            self.documents.release(query.collection, key, query)
        for key, version in result.items():
            before = query.shown(key)
            if before is None:
                query.keys.add(key)
                self.documents.hold(query.collection, key, version, query)
            after = self.documents.current(query.collection, key)
            step.add(query, key, before, after)
        query.stale.clear()
        query.forget_dirty()
        query.refreshed = NO_KEYS
        self._due.discard(query)
        query.phase = Phase.SETTLED

    # --- the feed

    def receive(self, event: FeedEvent) -> Iterator[Effect]:
        """Take the next event of the feed."""
        if isinstance(event, Gap):
            yield from self._gap()
        else:
            self._backlog.append(event)
            yield from self._drain()

    def _drain(self) -> Iterator[Effect]:
        while self._backlog:
            event = self._backlog[0]
            if self._held(event):
                read = self._holding
                if read is None or read.snapshot is None:
                    return
                # Transactions become visible in the order in which the feed reports them: the read sees all
                # those before this one, and none behind it.
                read.reached = True
                if not read.complete:
                    return
                yield from self._apply_if_complete(read)
            else:
                self._backlog.popleft()
                if isinstance(event, Transaction):
                    yield from self._dispatch(event)
                elif isinstance(event, Mark):
                    yield from self._mark(event.token)

    def _held(self, event: FeedEvent) -> bool:
        """Whether a holding read keeps the event back."""
        if self._holding is None:
            return False
        snapshot = self._holding.snapshot
        return snapshot is None or (isinstance(event, Transaction) and not snapshot.shows(event.xid))

    def _dispatch(self, transaction: Transaction) -> Iterator[Effect]:
        self._clock += 1
        for read in self._reads.values():
            read.unseen.append(transaction)
        previous = self._update_documents(transaction)
        step = Step()
        for query, concern in self._concerned(transaction).items():
            if query.phase is not Phase.SETTLED or not self._follow(query, concern, previous, step):
                self._withhold(query, concern, previous, transaction)
        if step:
            yield Deliver(step)
        for token in transaction.marks:
            yield from self.fences.token_came(token)

    def _concerned(self, transaction: Transaction) -> dict[LiveQuery, Concern]:
        """The queries that a transaction may matter to; all others it cannot have changed."""
        concerned: defaultdict[LiveQuery, Concern] = defaultdict(Concern)
        unknown = self._unknown_tables(transaction)
        self.sets.unload(unknown)
        for table in unknown:
            for query in self._dependents[table].queries:
                concern = concerned[query]
                concern.decided = False
                concern.whole |= table in transaction.tables or table != query.spec.shape.table
        for live_set, delta in self.sets.apply(transaction.changes).items():
            for query in live_set.users:
                self._consider_set(query, live_set, delta, concerned[query])
        for change in transaction.changes:
            dependents = self._dependents.get(change.table)
            if dependents is None:
                continue
            for query in dependents.undecided:
                concern = concerned[query]
                concern.decided = False
                concern.whole |= change.table != query.spec.shape.table
            for query in self._looking_at(change, dependents):
                concerned[query].changes.append(change)
        return concerned

    def _consider_set(self, query: LiveQuery, live_set: LiveSet, delta: Delta, concern: Concern) -> None:
        """What it means to a query that a live set it uses has changed."""
        if query.spec.window is not None:
            concern.decided = False
            return
        if self._missing_sets(query):
            concern.waits = True
        for use in query.uses:
            if use.values == live_set.spec:
                concern.judge_again = True
                entering = delta.left if use.negated else delta.entered
                if entering:
                    concern.wanted.setdefault(use.column.name, {}).update(entering)

    def _unknown_tables(self, transaction: Transaction) -> list[Table]:
        """The tables of which the transaction does not tell all: no predicate decides what it did to them."""
        whole = sorted(transaction.tables)
        in_part = (change.table for change in transaction.changes if change.kind is Kind.KEY_ONLY)
        return [table for table in dict.fromkeys([*whole, *in_part]) if table in self._dependents]

    def _looking_at(self, change: Change, dependents: Dependents) -> Iterable[LiveQuery]:
        """The queries that contain the changed row's document, and those that it may enter."""
        holders = (self.documents.holders(collection, change.key) for collection in dependents.shapes)
        entering: Iterable[LiveQuery] = ()
        if change.kind is Kind.ROW and change.row is not None:
            entering = dependents.index.candidates(change.row, self.sets.containing)
        return dict.fromkeys(chain(*holders, entering, dependents.moving, dependents.shifting))

    def _update_documents(self, transaction: Transaction) -> dict[tuple[str, Key], Version]:
        """Bring held documents to their new state. Returns the versions they had before."""
        previous: dict[tuple[str, Key], Version] = {}
        for change in transaction.changes:
            dependents = self._dependents.get(change.table)
            if dependents is None or change.kind is not Kind.ROW or change.row is None:
                continue
            for name, shape in dependents.shapes.items():
                document = self.documents.get(name, change.key)
                fields = shape.document(change.row) if document is not None else None
                if document is not None and fields is not None and fields != document.current.fields:
                    previous[name, change.key] = document.current
                    document.current = Version(self._clock, fields)
        return previous

    def _follow(
        self, query: LiveQuery, concern: Concern, previous: Mapping[tuple[str, Key], Version], step: Step
    ) -> bool:
        """Apply a transaction to a settled query; False where it takes a read."""
        if not concern.decided or concern.wanted or concern.waits:
            return False
        if query.spec.window is None:
            self._move(query, concern, previous, step)
        elif not self._move_in_window(query, query.spec.window, concern, previous, step):
            concern.decided = False
        return concern.decided

    def _move(
        self, query: LiveQuery, concern: Concern, previous: Mapping[tuple[str, Key], Version], step: Step
    ) -> None:
        """Apply a transaction to a query that a predicate decides."""
        for change in concern.changes:
            self._move_changed(query, change, self._entering(query, change), previous, step)
            if query.is_linked and change.row is not None and change.key in query.keys:
                query.links[change.key] = query.link(change.row)
        if concern.judge_again:
            for key in [key for key, link in query.links.items() if not self._accepts(query, link)]:
                self._move_one(query, key, query.shown(key), None, step)

    def _move_in_window(
        self,
        query: LiveQuery,
        window: Window,
        concern: Concern,
        previous: Mapping[tuple[str, Key], Version],
        step: Step,
    ) -> bool:
        """Apply a transaction to a window, as far as no row moves in that nobody here has seen."""
        assert query.ranking is not None
        ranking = query.ranking.after(self._places(query, window, concern.changes))
        members = query.keys if ranking is query.ranking else ranking.members() if ranking else None
        changed = {change.key: change for change in concern.changes}
        if members is None or not members <= query.keys | changed.keys():
            return False
        query.ranking = ranking
        for key, change in changed.items():
            after = self._entering(query, change) if key in members else None
            self._move_changed(query, change, after, previous, step)
        for key in query.keys - members:
            self._move_one(query, key, query.shown(key), None, step)
        return True

    def _move_changed(
        self,
        query: LiveQuery,
        change: Change,
        after: Version | None,
        previous: Mapping[tuple[str, Key], Version],
        step: Step,
    ) -> None:
        """Show a changed row's document as it is now."""
        key = change.key
        before = previous.get((query.collection, key)) if key in query.keys else None
        self._move_one(query, key, before or query.shown(key), after, step)

    def _move_one(
        self, query: LiveQuery, key: Key, before: Version | None, after: Version | None, step: Step
    ) -> None:
        step.add(query, key, before, after)
        if before is None and after is not None:
            query.keys.add(key)
            self.documents.hold(query.collection, key, after, query)
        elif before is not None and after is None:
            query.keys.discard(key)
            query.links.pop(key, None)
            self.documents.release(query.collection, key, query)

    def _withhold(
        self,
        query: LiveQuery,
        concern: Concern,
        previous: Mapping[tuple[str, Key], Version],
        transaction: Transaction,
    ) -> None:
        """Keep what a transaction touched from the query's clients until a read has settled it."""
        query.refreshed = NO_KEYS
        if concern.whole:
            query.dirty = None
        query.soil([change.key for change in transaction.changes if change.table == query.spec.shape.table])
        for change in concern.changes:
            if change.key in query.keys:
                key = (query.collection, change.key)
                shown = previous.get(key) or self.documents.current(*key)
                query.stale.setdefault(change.key, shown)
        if not concern.decided:
            self._end_moving(query)
            self._make_due(query)
        elif query.phase is Phase.SETTLED or query.moving is not None:
            self._await_rows(query, concern)

    def _await_rows(self, query: LiveQuery, concern: Concern) -> None:
        """Have the rows read that may have entered the query, and remember what else happens to it meanwhile."""
        query.phase = Phase.PENDING
        if query.moving is None:
            query.moving = Moving()
            self._dependents[query.spec.shape.table].moving[query] = None
        for change in concern.changes:
            query.moving.changes[change.key] = change
        for column, values in concern.wanted.items():
            query.moving.want(column, values)
        if query.reading is None:
            self._moving[query] = None

    def _end_moving(self, query: LiveQuery) -> None:
        """The query waits for rows no longer: it has them, or is to be read as a whole."""
        if query.moving is not None:
            query.moving = None
            query.reading = None
            self._moving.pop(query, None)
            self._dependents[query.spec.shape.table].moving.pop(query, None)

    def _make_due(self, query: LiveQuery) -> None:
        """The query has to be read. One that is being read learns from the read's own transactions."""
        if query.phase is Phase.SETTLED:
            query.phase = Phase.PENDING
        if query.phase is Phase.PENDING and query.reading is None and query not in self._repeat:
            self._due.add(query)

    def _mark(self, token: str) -> Iterator[Effect]:
        read = self._reads.get(token)
        if read is not None:
            read.reached = True
            yield from self._apply_if_complete(read)
        else:
            yield from self.fences.token_came(token)

    def _gap(self) -> Iterator[Effect]:
        """Changes may be lost: every query is read again, and what waited for the feed waits for that instead."""
        self.epoch += 1
        self._clock += 1
        self._backlog.clear()
        self._due = Turns([query for query in self._queries.values() if self._begun(query)])
        self._reads.clear()
        self._repeat = Turns()
        self._holding = None
        self.sets.unload()
        for query in self._due:
            query.dirty = None
            query.refreshed = NO_KEYS
            self._end_moving(query)
            query.reading = None
            if query.phase is Phase.SETTLED:
                query.phase = Phase.PENDING
        yield from self.fences.feed_was_cut()

    def _begun(self, query: LiveQuery) -> bool:
        """Whether the query's tables are listened to, so that it may be read."""
        return (
            query.phase is not Phase.STARTING
            or query.reading is not None
            or query in self._due
            or query in self._repeat
        )

    # --- the write fence

    def raise_fence(self, token: str, interest: Callable[[], Iterable[LiveQuery]]) -> Fence:
        """Make a fence for a transaction that is about to commit with ``token`` noted in it."""
        fence = Fence(token, self.epoch, interest)
        self.fences.add(fence)
        return fence
