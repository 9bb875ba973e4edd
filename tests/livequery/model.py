"""A model of design section 5: writers, a feed, reads and dispatch as events in random order; nothing real.

The database is a list of committed states. Transactions commit in the order in which the feed reports them; a
snapshot is a set of committed transactions; a read reports its snapshot, its rows and its token at any later time.
The invariants checked after every event:

* position: a settled query shows exactly its result after the last dispatched transaction;
* strict: what a client is told starts from what it has;
* forwards: no client sees an older state of a document after a newer one;
* no leak: no client is shown a state of a document that its query never contained.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from dddp.changes import Change, Gap, Key, Kind, Mark, Row, Snapshot, Table, Transaction, Xid
from dddp.livequery.effects import Deliver, Effect, Failed, Fired, Settled
from dddp.livequery.fences import Fence
from dddp.livequery.predicate import (
    ALWAYS,
    Column,
    Compare,
    In,
    InSet,
    Predicate,
    SetSpec,
    all_of,
    any_of,
    negate,
)
from dddp.livequery.query import LiveQuery
from dddp.livequery.read import Read, Related
from dddp.livequery.router import Router
from dddp.livequery.setuse import uses_of
from dddp.livequery.spec import Fields, QuerySpec
from dddp.livequery.window import Order, Window

BOOK = Table("shop.book")
AUTHOR = Table("shop.author")
COUNTRY = Table("shop.country")
State = dict[Table, dict[Key, Row]]
Result = dict[Key, Fields]


class BookShape:
    """Books as documents: value, author, and ``n``, the number of the write that made the row."""

    name = "book"
    table = BOOK

    def document(self, row: Row) -> Fields | None:
        return {name: b"%d" % row[name] for name in ("value", "author", "n")}


class LoadedBookShape(BookShape):
    """The same documents, but only a read can make them."""

    name = "loaded"

    def document(self, row: Row) -> Fields | None:
        return None


BOOKS, LOADED = BookShape(), LoadedBookShape()


def books_where(state: State, test: Callable[[Row], bool]) -> dict[Key, Row]:
    return {key: row for key, row in state[BOOK].items() if test(row)}


everything = Predicate(ALWAYS)
is_even = Predicate(In(Column("value"), frozenset({0, 2, 4})))
GOOD_AUTHORS = SetSpec(AUTHOR, Compare(Column("good"), "=", True), Column("id"))
by_good = Predicate(InSet(Column("author"), GOOD_AUTHORS))
not_by_good = Predicate(negate(InSet(Column("author"), GOOD_AUTHORS)))
even_or_by_good = Predicate(any_of([is_even.expression, by_good.expression]))
FREE_COUNTRIES = SetSpec(COUNTRY, Compare(Column("free"), "=", True), Column("id"))
FREE_AUTHORS = SetSpec(AUTHOR, InSet(Column("country"), FREE_COUNTRIES), Column("id"))
by_free = Predicate(InSet(Column("author"), FREE_AUTHORS))
not_by_free = Predicate(negate(InSet(Column("author"), FREE_AUTHORS)))
even_by_free_or_good = Predicate(
    any_of([all_of([is_even.expression, by_free.expression]), by_good.expression])
)
dear_by_good = Predicate(all_of([Compare(Column("value"), ">", 2), by_good.expression]))


def is_by_good(state: State, row: Row) -> bool:
    return bool(state[AUTHOR][Key(str(row["author"]))]["good"])


def is_by_free(state: State, row: Row) -> bool:
    author = state[AUTHOR][Key(str(row["author"]))]
    return bool(state[COUNTRY][Key(str(author["country"]))]["free"])


def by_good_author(state: State) -> dict[Key, Row]:
    good = {int(key) for key, row in state[AUTHOR].items() if row["good"]}
    return books_where(state, lambda row: row["author"] in good)


def ranked(
    rows: dict[Key, Row], start: int = 0, stop: int | None = None, *, youngest: bool = False
) -> dict[Key, Row]:
    """A slice of the rows by value, those of equal value by id."""
    sign = -1 if youngest else 1
    ordered = sorted(rows.items(), key=lambda item: (item[1]["value"], sign * item[1]["id"]))
    return dict(ordered[start:stop])


def window_order(window: Window, row: Row) -> tuple[int, int]:
    """Where a row of a window is read."""
    sign = -1 if window.orders[0].descending else 1
    return sign * row["value"], sign * row["id"]


def cheapest(state: State) -> dict[Key, Row]:
    return ranked(state[BOOK], stop=3)


def dearest(state: State) -> dict[Key, Row]:
    return ranked(state[BOOK], start=max(0, len(state[BOOK]) - 2))


BY_VALUE, BY_ID = Order(Column("value")), Order(Column("id"))
BY_LOADED = Order(Column("value", lambda value: min(value, 2)), strange=frozenset({2}))
BY_UNKNOWN = Order(Column("value"), ordered=False)

WINDOWS = {
    "cheapest, by place": Window([BY_VALUE, BY_ID], 0, 3, total=True),
    "cheapest, ties unknown": Window([BY_VALUE], 0, 3, total=False),
    "cheapest, order unknown": Window([BY_UNKNOWN, BY_ID], 0, 3, total=True),
    "cheapest, order and ties unknown": Window([BY_UNKNOWN], 0, 3, total=False),
    "cheapest, some value strange": Window([BY_LOADED, BY_ID], 0, 3, total=True),
    "dearest, by place": Window(
        [replace(BY_VALUE, descending=True), replace(BY_ID, descending=True)], 0, 2, total=True
    ),
    "middle, by place": Window([BY_VALUE, BY_ID], 1, 3, total=True),
    "middle, ties unknown": Window([BY_VALUE], 1, 3, total=False),
    "all but the cheapest, by place": Window([BY_VALUE, BY_ID], 2, None, total=True),
    "cheapest even, by place": Window([BY_VALUE, BY_ID], 0, 2, total=True),
    "cheapest by good author, by place": Window([BY_VALUE, BY_ID], 0, 2, total=True),
}
"""The windows among the queries."""

QUERIES: dict[str, tuple[BookShape, set[Table], Predicate | None, Callable[[State], dict[Key, Row]]]] = {
    "all": (BOOKS, {BOOK}, everything, lambda state: dict(state[BOOK])),
    "by good author, joined": (BOOKS, {BOOK, AUTHOR}, by_good, by_good_author),
    "not by good author, joined": (
        BOOKS,
        {BOOK, AUTHOR},
        not_by_good,
        lambda state: books_where(state, lambda row: not is_by_good(state, row)),
    ),
    "even or by good author, joined": (
        BOOKS,
        {BOOK, AUTHOR},
        even_or_by_good,
        lambda state: books_where(state, lambda row: is_even(row) or is_by_good(state, row)),
    ),
    "dear by good author, joined": (
        BOOKS,
        {BOOK, AUTHOR},
        dear_by_good,
        lambda state: books_where(state, lambda row: row["value"] > 2 and is_by_good(state, row)),
    ),
    "by free author, joined twice": (
        BOOKS,
        {BOOK, AUTHOR, COUNTRY},
        by_free,
        lambda state: books_where(state, lambda row: is_by_free(state, row)),
    ),
    "not by free author, joined twice": (
        BOOKS,
        {BOOK, AUTHOR, COUNTRY},
        not_by_free,
        lambda state: books_where(state, lambda row: not is_by_free(state, row)),
    ),
    "even by free or by good author": (
        BOOKS,
        {BOOK, AUTHOR, COUNTRY},
        even_by_free_or_good,
        lambda state: books_where(
            state, lambda row: (is_even(row) and is_by_free(state, row)) or is_by_good(state, row)
        ),
    ),
    "even, by predicate": (BOOKS, {BOOK}, is_even, lambda state: books_where(state, is_even)),
    "even, by re-run": (BOOKS, {BOOK}, None, lambda state: books_where(state, is_even)),
    "even, by re-run, asked for by row": (
        BOOKS,
        {BOOK},
        None,
        lambda state: books_where(state, is_even),
    ),
    "by good author": (BOOKS, {BOOK, AUTHOR}, None, by_good_author),
    "cheapest": (BOOKS, {BOOK}, None, cheapest),
    "cheapest, by place": (BOOKS, {BOOK}, everything, cheapest),
    "cheapest, ties unknown": (
        BOOKS,
        {BOOK},
        everything,
        lambda state: ranked(state[BOOK], stop=3, youngest=True),
    ),
    "cheapest, order unknown": (BOOKS, {BOOK}, everything, cheapest),
    "cheapest, order and ties unknown": (BOOKS, {BOOK}, everything, cheapest),
    "cheapest, some value strange": (BOOKS, {BOOK}, everything, cheapest),
    "dearest, by place": (BOOKS, {BOOK}, everything, dearest),
    "middle, by place": (BOOKS, {BOOK}, everything, lambda state: ranked(state[BOOK], 1, 3)),
    "middle, ties unknown": (
        BOOKS,
        {BOOK},
        everything,
        lambda state: ranked(state[BOOK], 1, 3, youngest=True),
    ),
    "all but the cheapest, by place": (BOOKS, {BOOK}, everything, lambda state: ranked(state[BOOK], 2)),
    "cheapest even, by place": (
        BOOKS,
        {BOOK},
        is_even,
        lambda state: ranked(books_where(state, is_even), stop=2),
    ),
    "cheapest by good author, by place": (
        BOOKS,
        {BOOK, AUTHOR},
        by_good,
        lambda state: ranked(by_good_author(state), stop=2),
    ),
    "loaded": (LOADED, {BOOK}, None, lambda state: dict(state[BOOK])),
}


ROW_BY_ROW = {"all", "even, by predicate", "even, by re-run, asked for by row", "by good author", "loaded"}
"""Queries that may be asked for changed rows alone: all that do not order rows, but those of which it is not said."""

PER_ROW = {"all", "even, by predicate", "even, by re-run", "even, by re-run, asked for by row", "loaded"}
"""Queries whose answer for one row depends on that row alone."""


@dataclass
class Writer:
    """An open transaction: its xid, and what it will do at its commit."""

    xid: int
    rows: dict[tuple[Table, Key], Row | None] = field(default_factory=dict)


@dataclass
class ReadRun:
    """A read on its way: the snapshot is taken, parts of its report may have been delivered."""

    read: Read
    snapshot: Snapshot
    state: State
    told_snapshot: bool = False


def sets_of(predicate: Predicate | None) -> dict[SetSpec, None]:
    """The sets that a predicate uses, and those that these use."""
    found: dict[SetSpec, None] = {}
    waiting = [] if predicate is None else [predicate.expression]
    while waiting:
        for use in uses_of(waiting.pop()):
            found[use.values] = None
            waiting.append(use.values.where)
    return found


class Client:
    """One subscriber; strict about what it is told."""

    def __init__(self, model: Model, name: str, query: LiveQuery) -> None:
        self.model = model
        self.name = name
        self.query = query
        self.documents: Result = {}
        self.attached = False
        self.since = model.clock
        self.newest: dict[Key, int] = {}

    def attach(self) -> None:
        self.attached = True
        for key in self.query.keys:
            version = self.query.shown(key)
            assert version is not None
            self.show(key, version.fields)

    def show(self, key: Key, fields: Fields) -> None:
        n = int(fields["n"])
        assert n >= self.newest.get(key, 0), f"{self.name}: {key} went backwards"
        assert (key, n) in self.model.ever[self.name], f"{self.name}: leak of {key} at write {n}"
        self.newest[key] = n
        self.documents[key] = fields

    def apply(self, effect: Deliver) -> None:
        for key, (before, after) in effect.step.transitions.get(self.query, {}).items():
            assert self.documents.get(key) == (before.fields if before else None), f"{self.name}: not strict"
            assert before is not None or after is not None
            if after is None:
                del self.documents[key]
            else:
                self.show(key, after.fields)


class Model:
    """One random run. Everything it does follows from the seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.router = Router()
        self.state: State = {
            BOOK: {},
            AUTHOR: {
                Key("1"): {"id": 1, "good": True, "country": 1},
                Key("2"): {"id": 2, "good": False, "country": 2},
            },
            COUNTRY: {Key("1"): {"id": 1, "free": True}, Key("2"): {"id": 2, "free": False}},
        }
        self.xids = 100
        self.writes = 0
        self.open: dict[int, Writer] = {}
        self.queue: list[tuple[Transaction | Mark, State]] = []  # committed or sent, not yet dispatched
        self.position = self.copy()
        self.clients: list[Client] = []
        self.runs: list[ReadRun] = []
        self.fences: dict[Fence, tuple[dict[Key, int], int]] = {}  # what was written, and when it committed
        self.clock = 0
        self.fired: list[Fence] = []
        self.ever: dict[str, set[tuple[Key, int]]] = {name: set() for name in QUERIES}
        self.specs = {
            name: QuerySpec(
                (name,),
                shape,
                frozenset(reads),
                predicate=predicate,
                sets=sets_of(predicate),
                window=WINDOWS.get(name),
                row_by_row=name in ROW_BY_ROW,
            )
            for name, (shape, reads, predicate, _) in QUERIES.items()
        }

    # --- the database

    def copy(self) -> State:
        return {table: dict(rows) for table, rows in self.state.items()}

    def result(self, name: str, state: State) -> Result:
        shape, _, _, run = QUERIES[name]
        return {key: BookShape.document(shape, row) or {} for key, row in run(state).items()}

    def begin_writer(self) -> None:
        self.xids += 1
        self.open[self.xids] = Writer(self.xids)

    def write(self) -> None:
        if not self.open:
            return self.begin_writer()
        writer = self.random.choice(list(self.open.values()))
        self.writes += 1
        if self.random.random() < 0.25:
            author = self.random.randint(1, 2)
            country, good = self.random.randint(1, 2), self.random.random() < 0.5
            writer.rows[AUTHOR, Key(str(author))] = {"id": author, "good": good, "country": country}
            return None
        if self.random.random() < 0.15:
            country = self.random.randint(1, 2)
            writer.rows[COUNTRY, Key(str(country))] = {"id": country, "free": self.random.random() < 0.5}
            return None
        key = Key(str(self.random.randint(1, 5)))
        values = {"value": self.random.randint(0, 4), "author": self.random.randint(1, 2), "n": self.writes}
        values["id"] = int(key)
        writer.rows[BOOK, key] = None if self.random.random() < 0.25 else values
        return None

    def commit(self) -> None:
        if not self.open:
            return
        writer = self.open.pop(self.random.choice(list(self.open)))
        if not writer.rows or self.random.random() < 0.1:
            return  # nothing noted, or rolled back
        written: dict[Key, int] = {}
        for (table, key), row in writer.rows.items():
            n = self.number()
            if table == BOOK:
                written[key] = n
            if row is None:
                self.state[table].pop(key, None)
            else:
                self.state[table][key] = row | ({"n": n} if table == BOOK else {})
        fence = self.raise_fence(writer) if self.random.random() < 0.2 else None
        transaction = self.transaction(writer, fence)
        self.queue.append((transaction, self.copy()))
        for name in QUERIES:
            self.ever[name] |= {(key, int(f["n"])) for key, f in self.result(name, self.state).items()}
        if fence is not None:
            self.fences[fence] = (written, self.clock)
            self.perform(self.router.fences.arm(fence))

    def number(self) -> int:
        """Numbers follow the order of commits, as the versions a client may see do."""
        self.writes += 1
        return self.writes

    def raise_fence(self, writer: Writer) -> Fence:
        return self.router.raise_fence(f"fence {writer.xid}", lambda: [c.query for c in self.clients])

    def transaction(self, writer: Writer, fence: Fence | None) -> Transaction:
        marks = (fence.token,) if fence else ()
        if self.random.random() < 0.07:
            return Transaction(Xid(writer.xid), (), frozenset(table for table, _ in writer.rows), marks)
        changes = tuple(self.change(table, key) for table, key in writer.rows)
        return Transaction(Xid(writer.xid), changes, frozenset(), marks)

    def change(self, table: Table, key: Key) -> Change:
        row = self.state[table].get(key)
        if self.random.random() < 0.1:
            return Change(table, key, Kind.KEY_ONLY)
        return Change(table, key, Kind.GONE if row is None else Kind.ROW, row)

    # --- the process

    def subscribe(self) -> None:
        name = self.random.choice(list(QUERIES))
        query, new = self.router.open(self.specs[name])
        client = Client(self, name, query)
        self.clients.append(client)
        if new:
            self.router.begin(query)
        elif query.settled:
            client.attach()

    def leave(self) -> None:
        if self.clients:
            client = self.clients.pop(self.random.randrange(len(self.clients)))
            self.perform(self.router.close(client.query))

    def start_read(self) -> None:
        read = self.router.next_read(self.random.randint(1, 3))
        if read is not None:
            running = frozenset(self.open)
            snapshot = Snapshot(min(running, default=self.xids + 1), self.xids + 1, running)
            self.runs.append(ReadRun(read, snapshot, self.copy()))

    def report(self) -> None:
        if not self.runs:
            return None
        run = self.random.choice(self.runs)
        if not run.told_snapshot:
            run.told_snapshot = True
            return self.perform(self.router.snapshot_taken(run.read, run.snapshot))
        self.runs.remove(run)
        if self.random.random() < 0.03:
            spec = self.random.choice([None, *run.read.specs])
            return self.perform(self.router.read_failed(run.read, spec, RuntimeError("the database said no")))
        self.queue.append((Mark(run.read.token), self.copy()))
        specs = run.read.specs
        in_time = specs if self.random.random() < 0.8 else specs[: self.random.randint(1, 3)]
        rows = {spec: self.asked(run.read, spec, run.state) for spec in in_time}
        return self.perform(self.router.rows_read(run.read, rows, self.related(run)))

    def asked(self, read: Read, spec: QuerySpec, state: State) -> Result:
        """The rows of a query, or those that the read asks for."""
        keys = read.keys.get(spec)
        found = self.result(spec.identity[0], state)
        return found if keys is None else {key: fields for key, fields in found.items() if key in keys}

    def related(self, run: ReadRun) -> Related:
        """What the read found besides documents, in its snapshot."""
        sets = {values: self.members(values, run.state) for values in run.read.sets}
        links = {spec: self.links(spec, run.state) for spec in run.read.specs}
        entered = {
            question: {
                key: (row, BookShape.document(BOOKS, row) or {})
                for key, row in run.state[BOOK].items()
                if row[question.column] in question.values
            }
            for question in run.read.move_ins
        }
        return Related(sets, links, entered)

    def members(self, values: SetSpec, state: State) -> dict[Key, int]:
        """The rows of a live set."""
        test = {
            GOOD_AUTHORS: lambda row: row["good"],
            FREE_COUNTRIES: lambda row: row["free"],
            FREE_AUTHORS: lambda row: state[COUNTRY][Key(str(row["country"]))]["free"],
        }[values]
        return {key: row["id"] for key, row in state[values.table].items() if test(row)}

    def links(self, spec: QuerySpec, state: State) -> dict[Key, Row]:
        """The rows that a query is followed by: its own; those of a window in their order, and those before it."""
        rows = QUERIES[spec.identity[0]][3](state)
        window = spec.window
        if window is None:
            return rows if spec.sets else {}
        if window.start:
            return ranked(state[BOOK], 0, window.stop, youngest=not window.total)
        return dict(sorted(rows.items(), key=lambda item: window_order(window, item[1])))

    def dispatch(self) -> None:
        if self.queue:
            event, _ = self.queue.pop(0)
            self.perform(self.router.receive(event))

    def gap(self) -> None:
        """The feed loses what it had not reported yet."""
        if self.random.random() < 0.1:
            self.queue.clear()
            self.perform(self.router.receive(Gap("cut")))

    def perform(self, effects: Iterator[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Deliver):
                for client in self.clients:
                    if client.attached:
                        client.apply(effect)
            elif isinstance(effect, Settled):
                for client in [c for c in self.clients if c.query is effect.query]:
                    if not client.attached:
                        client.attach()
            elif isinstance(effect, Failed):
                for client in [c for c in self.clients if c.query is effect.query]:
                    self.clients.remove(client)
                    self.perform(self.router.close(client.query))
            elif isinstance(effect, Fired):
                self.check_fence(effect.fence)

    # --- the invariants

    def check_fence(self, fence: Fence) -> None:
        """What the fenced transaction wrote has reached every client that was there before it."""
        assert fence not in self.fired, "a fence fired twice"
        self.fired.append(fence)
        written, committed_at = self.fences[fence]
        for client in self.clients:
            if client.attached and client.since < committed_at:
                for key, n in written.items():
                    self.check_reached(client, key, n)

    def check_reached(self, client: Client, key: Key, n: int) -> None:
        shown = client.documents.get(key)
        if shown is not None:
            assert int(shown["n"]) >= n, f"{client.name}: updated came before write {n} of {key}"
        elif self.state[BOOK].get(key, {}).get("n") == n and client.name in PER_ROW:
            assert key not in self.result(client.name, self.state), (
                f"{client.name}: {key} is missing at updated"
            )

    def check_settled(self) -> None:
        """A settled query shows its result at the position: the state after the last dispatched transaction."""
        self.clock += 1
        position = self.dispatched_state()
        for query in self.router.queries:
            if query.settled:
                shown = {key: version.fields for key in query.keys if (version := query.shown(key))}
                assert shown == self.result(query.spec.identity[0], position), query.spec.identity

    def dispatched_state(self) -> State:
        """The state before the first event that the router has not dispatched."""
        waiting = [event for event in self.router._backlog if isinstance(event, Transaction)]
        if waiting:
            return self.before[waiting[0].xid]
        for event, _ in self.queue:
            if isinstance(event, Transaction):
                return self.before[event.xid]
        return self.state

    @property
    def before(self) -> dict[int, State]:
        return self._before

    # --- a run

    def run(self, events: int) -> None:
        self._before: dict[int, State] = {}
        actions = [
            (self.begin_writer, 2),
            (self.write, 8),
            (self.tracked_commit, 5),
            (self.dispatch, 9),
            (self.subscribe, 3),
            (self.leave, 1),
            (self.start_read, 5),
            (self.report, 9),
            (self.gap, 1),
        ]
        choices, weights = zip(*actions, strict=True)
        for action in self.random.choices(choices, weights, k=events):
            action()
            self.check_settled()
        self.quiesce()

    def tracked_commit(self) -> None:
        before = self.copy()
        known = len(self.queue)
        self.commit()
        for event, _ in self.queue[known:]:
            if isinstance(event, Transaction):
                self._before[event.xid] = before

    def quiesce(self) -> None:
        """Let everything finish; then every client equals its query, run now, and every fence has fired."""
        self.open.clear()
        for _ in range(1000):
            self.start_read()
            self.report()
            self.dispatch()
            self.check_settled()
            if not self.queue and not self.runs and all(query.settled for query in self.router.queries):
                break
        for client in self.clients:
            assert client.attached
            expected = self.result(client.name, self.state)
            assert client.documents == expected, f"{client.name}: {client.documents} is not {expected}"
        assert set(self.fences) == set(self.fired)
        while self.clients:
            self.leave()
        assert not len(self.router.documents)
        assert not self.router.tables
        assert not len(self.router.sets)
