"""The router, one situation at a time: what the random model visits by chance is told here as a story."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from dddp.changes import Change, FeedEvent, Gap, Key, Kind, Mark, Row, Snapshot, Transaction, Xid
from dddp.livequery.effects import Closed, Deliver, Effect, Failed, Fired, Settled
from dddp.livequery.fences import Fence
from dddp.livequery.predicate import Column, In, Predicate
from dddp.livequery.query import LiveQuery, Phase
from dddp.livequery.read import NOTHING, Read, Related
from dddp.livequery.router import Router
from dddp.livequery.spec import Fields, QuerySpec
from tests.livequery.model import AUTHOR, BOOK, BOOKS, GOOD_AUTHORS, by_good

A, B = Key("a"), Key("b")


def row(value: int, author: int = 1) -> Row:
    return {"value": value, "author": author, "n": value}


def document(value: int) -> Fields:
    fields = BOOKS.document(row(value))
    assert fields is not None
    return fields


def spec(name: str = "books", **options: object) -> QuerySpec:
    return QuerySpec((name,), BOOKS, frozenset({BOOK}), **options)  # type: ignore[arg-type]


def by_predicate(name: str = "even") -> QuerySpec:
    return spec(name, predicate=Predicate(In(Column("value"), frozenset(range(0, 100, 2)))))


def write(xid: int, *marks: str, **rows: int | None) -> Transaction:
    """A transaction that left these books with these values; None deleted one."""
    changes = [
        Change(BOOK, Key(key), Kind.GONE) if value is None else Change(BOOK, Key(key), Kind.ROW, row(value))
        for key, value in rows.items()
    ]
    return Transaction(Xid(xid), tuple(changes), marks=marks)


def before(xid: int) -> Snapshot:
    """A snapshot that shows every transaction below ``xid``."""
    return Snapshot(xid, xid)


class Edge:
    """Drives a router as the runtime does, and keeps what it was told to do."""

    def __init__(self) -> None:
        self.router = Router()
        self.told: list[Effect] = []

    def do(self, effects: Iterable[Effect]) -> list[Effect]:
        """Perform effects at once; those of this step."""
        now = []
        for effect in effects:
            self.told.append(effect)
            now.append(effect)
            if isinstance(effect, Failed):
                self.close(effect.query)
        return now

    def receive(self, *events: FeedEvent) -> list[Effect]:
        return [effect for event in events for effect in self.do(self.router.receive(event))]

    def open(self, spec: QuerySpec, whose: str | None = None) -> LiveQuery:
        query, new = self.router.open(spec, whose)
        if new:
            self.router.begin(query)
        return query

    def close(self, query: LiveQuery) -> list[Effect]:
        return self.do(self.router.close(query))

    def start_read(self) -> Read:
        read = self.router.next_read()
        assert read is not None
        return read

    def snapshot(self, read: Read, snapshot: Snapshot) -> list[Effect]:
        return self.do(self.router.snapshot_taken(read, snapshot))

    def rows(self, read: Read, **rows: int) -> list[Effect]:
        found = {Key(key): document(value) for key, value in rows.items()}
        return self.do(self.router.rows_read(read, dict.fromkeys(read.specs, found)))

    def fail(self, read: Read, spec: QuerySpec | None) -> list[Effect]:
        return self.do(self.router.read_failed(read, spec, RuntimeError("no")))

    def read(self, snapshot: Snapshot, **rows: int) -> Read:
        """A whole read, its token included."""
        read = self.start_read()
        self.snapshot(read, snapshot)
        self.rows(read, **rows)
        self.receive(Mark(read.token))
        return read

    def settled(self, spec: QuerySpec, **rows: int) -> LiveQuery:
        """A query that shows these rows, read before transaction 100."""
        query = self.open(spec)
        self.read(before(100), **rows)
        assert query.settled
        return query


@pytest.fixture
def edge() -> Edge:
    return Edge()


def shown(query: LiveQuery) -> Mapping[Key, Fields]:
    return {key: version.fields for key in query.keys if (version := query.shown(key))}


# --- the first read


def test_rows_are_held_until_the_token_comes_back(edge: Edge) -> None:
    query = edge.open(spec())
    read = edge.start_read()
    edge.snapshot(read, before(100))

    assert edge.rows(read, a=1) == []
    assert not query.settled
    assert [type(effect) for effect in edge.receive(Mark(read.token))] == [Deliver, Settled]
    assert shown(query) == {A: document(1)}


def test_token_before_the_rows_waits_for_them(edge: Edge) -> None:
    query = edge.open(spec())
    read = edge.start_read()
    edge.snapshot(read, before(100))
    assert edge.receive(Mark(read.token)) == []
    edge.rows(read, a=1)

    assert shown(query) == {A: document(1)}


def test_empty_result_settles_without_a_step(edge: Edge) -> None:
    edge.open(spec())
    read = edge.start_read()
    edge.snapshot(read, before(100))
    edge.rows(read)

    assert [type(effect) for effect in edge.receive(Mark(read.token))] == [Settled]


def test_equal_queries_are_one(edge: Edge) -> None:
    first = edge.settled(spec(), a=1)
    second, new = edge.router.open(spec())

    assert second is first and not new
    assert edge.router.next_read() is None


def test_query_that_has_not_begun_is_not_read(edge: Edge) -> None:
    edge.router.open(spec())

    assert edge.router.next_read() is None


def test_one_read_takes_several_queries(edge: Edge) -> None:
    queries = [edge.open(spec(name)) for name in "xyz"]
    read = edge.start_read()

    assert read.queries == tuple(queries)
    assert edge.router.next_read() is None


def test_transaction_that_the_snapshot_shows_is_not_applied_twice(edge: Edge) -> None:
    query = edge.open(by_predicate())
    read = edge.start_read()
    edge.receive(write(50, a=4))
    edge.snapshot(read, before(100))
    edge.rows(read, a=6)  # 60 has written once more, and is shown too
    edge.receive(write(60, a=6), Mark(read.token))

    assert shown(query) == {A: document(6)}


def test_transaction_that_the_snapshot_does_not_show_is_laid_over(edge: Edge) -> None:
    query = edge.open(by_predicate())
    read = edge.start_read()
    edge.receive(write(150, a=8, b=None))
    edge.snapshot(read, before(100))
    edge.rows(read, a=4, b=2)
    edge.receive(Mark(read.token))

    assert shown(query) == {A: document(8)}


def test_in_progress_list_of_the_snapshot_counts(edge: Edge) -> None:
    query = edge.open(by_predicate())
    read = edge.start_read()
    edge.snapshot(read, Snapshot(50, 100, frozenset({50})))
    edge.rows(read, a=4)
    edge.receive(write(50, a=8), Mark(read.token))

    assert shown(query) == {A: document(8)}


# --- progress under constant writes


def test_first_repeat_holds_dispatch_and_settles(edge: Edge) -> None:
    """What no predicate can decide is read again, once, however fast the writers are."""
    query = edge.open(spec())
    read = edge.start_read()
    edge.snapshot(read, before(100))
    edge.rows(read, a=1)
    edge.receive(write(150, a=2), Mark(read.token))
    assert not query.settled

    again = edge.start_read()
    assert again.holding
    edge.receive(write(200, a=3))  # dispatched or kept back: unknown until the snapshot is
    edge.snapshot(again, before(200))
    edge.receive(write(201, a=4), write(202, a=5))
    edge.rows(again, a=2)

    assert edge.router.holds == 1
    # It settled at position 150; the three that waited are then dispatched, and make it due again.
    assert [type(effect) for effect in edge.told] == [Deliver, Settled]
    assert shown(query) == {A: document(2)}
    assert query.phase is Phase.PENDING


def test_query_under_constant_writes_keeps_settling(edge: Edge) -> None:
    """For every two reads it settles at least once; each time nearer to now."""
    query = edge.open(spec())
    position = 100
    for _ in range(20):
        while (read := edge.router.next_read()) is not None:
            edge.snapshot(read, before(position))
            value = position
            position += 1
            edge.receive(write(position - 1, a=position))  # a writer that commits during every read
            edge.rows(read, a=value)
            edge.receive(Mark(read.token))
            if edge.router.holds > 10:
                break
    settled = [effect for effect in edge.told if isinstance(effect, Settled)]

    assert len(settled) >= 10
    versions = [
        after.fields["value"]
        for effect in edge.told
        if isinstance(effect, Deliver)
        for _, after in effect.step.transitions[query].values()
        if after is not None
    ]
    assert versions == sorted(versions, key=int)


def test_holding_read_keeps_back_only_what_it_does_not_show(edge: Edge) -> None:
    watching = edge.settled(by_predicate(), a=4)
    edge.open(spec())
    edge.read(before(100), a=4)
    holding = hold(edge)
    edge.snapshot(holding, before(300))
    edge.receive(write(250, b=2), write(300, b=None))

    assert shown(watching) == {A: document(2), B: document(2)}


def hold(edge: Edge) -> Read:
    """Bring the one settled query to a read that holds dispatch."""
    edge.receive(write(150, a=2))
    read = edge.start_read()
    edge.snapshot(read, before(150))
    edge.receive(write(160, a=2))
    edge.rows(read, a=2)
    edge.receive(Mark(read.token))
    holding = edge.start_read()
    assert holding.holding
    return holding


def test_dispatch_waits_for_a_holding_read(edge: Edge) -> None:
    """Also of what concerns other queries: a process shows one position of the feed."""
    watching = edge.settled(by_predicate(), a=4)
    edge.open(spec())
    edge.read(before(100), a=4)
    holding = hold(edge)
    assert edge.receive(write(500, b=6)) == []
    edge.snapshot(holding, before(400))
    assert B not in watching.keys
    edge.rows(holding, a=2)

    assert B in watching.keys


def test_query_that_a_read_has_left_out_is_due_again(edge: Edge) -> None:
    first, second = edge.open(spec("first")), edge.open(spec("second"))
    read = edge.start_read()
    edge.snapshot(read, before(100))
    edge.do(edge.router.rows_read(read, {first.spec: {A: document(1)}}))
    edge.receive(Mark(read.token))
    assert first.settled and not second.settled

    again = edge.start_read()
    assert again.queries == (second,) and not again.holding


def test_clients_take_turns_in_what_is_read(edge: Edge) -> None:
    first, second = edge.open(spec("first"), "a"), edge.open(spec("second"), "a")
    other = edge.open(spec("other"), "b")

    read = edge.start_read()

    assert read.queries == (first, other, second)


def test_query_that_several_clients_use_has_a_turn_of_its_own(edge: Edge) -> None:
    first, second = edge.open(spec("first"), "a"), edge.open(spec("second"), "a")
    third = edge.open(spec("third"), "a")
    edge.open(third.spec, "b")

    read = edge.start_read()

    assert read.queries == (first, third, second)


def test_dispatch_goes_on_between_the_queries_that_a_holding_read_has_left_out(edge: Edge) -> None:
    watching = edge.settled(by_predicate(), a=4)
    first, second = edge.open(spec("first")), edge.open(spec("second"))
    read = edge.start_read()
    edge.snapshot(read, before(100))
    edge.rows(read, a=4)
    edge.receive(write(150, a=6), Mark(read.token))
    holding = edge.start_read()
    assert holding.holding and holding.queries == (first, second)
    edge.snapshot(holding, before(200))
    edge.receive(write(200, b=8))
    assert B not in watching.keys

    edge.do(edge.router.rows_read(holding, {first.spec: {A: document(6)}}))

    assert B in watching.keys
    again = edge.start_read()
    assert again.queries == (second,) and again.holding


def test_failure_of_a_holding_read_lets_dispatch_go_on(edge: Edge) -> None:
    watching = edge.settled(by_predicate(), a=4)
    failing = edge.open(spec())
    edge.read(before(100), a=4)
    holding = hold(edge)
    edge.receive(write(500, b=6))
    effects = edge.fail(holding, failing.spec)

    assert any(isinstance(effect, Failed) and effect.query is failing for effect in effects)
    assert B in watching.keys


def test_failure_that_blames_the_database_reads_again_without_holding(edge: Edge) -> None:
    query = edge.settled(spec(), a=1)
    holding = hold(edge)
    edge.receive(write(500, b=6))
    edge.fail(holding, None)
    again = edge.start_read()

    assert again.queries == (query,) and not again.holding
    edge.snapshot(again, before(600))
    edge.rows(again, a=2, b=6)
    edge.receive(Mark(again.token))
    assert shown(query) == {A: document(2), B: document(6)}


def test_closing_the_held_query_lets_dispatch_go_on_with_the_read(edge: Edge) -> None:
    """Its rows are thrown away; what waited for them is dispatched."""
    watching = edge.settled(by_predicate(), a=4)
    closing = edge.open(spec())
    edge.read(before(100), a=4)
    holding = hold(edge)
    edge.receive(write(500, b=6))
    edge.close(closing)
    edge.snapshot(holding, before(400))
    edge.rows(holding, a=2)

    assert B in watching.keys


# --- gaps


def test_gap_while_holding_voids_the_read_and_the_backlog(edge: Edge) -> None:
    query = edge.settled(spec(), a=1)
    holding = hold(edge)
    edge.receive(write(500, b=6), Gap("cut"))
    assert edge.snapshot(holding, before(400)) == []
    assert edge.rows(holding, a=2) == []
    again = edge.start_read()
    edge.snapshot(again, before(600))
    edge.rows(again, b=7)
    edge.receive(Mark(again.token))

    assert shown(query) == {B: document(7)}


def test_gap_reads_every_query_again(edge: Edge) -> None:
    queries = [edge.open(spec(name)) for name in "xy"]
    edge.read(before(100), a=1)
    edge.receive(Gap("cut"))

    assert edge.start_read().queries == tuple(queries)
    assert [query.phase for query in queries] == [Phase.PENDING] * 2


def test_gap_does_not_begin_what_is_not_listened_to(edge: Edge) -> None:
    edge.router.open(spec())
    edge.receive(Gap("cut"))

    assert edge.router.next_read() is None


def test_gap_during_the_first_read_starts_it_again(edge: Edge) -> None:
    query = edge.open(spec())
    old = edge.start_read()
    edge.receive(Gap("cut"))
    edge.snapshot(old, before(100))
    edge.rows(old, a=1)
    edge.receive(Mark(old.token))
    assert not query.settled
    edge.read(before(200), a=2)

    assert shown(query) == {A: document(2)}


def test_failure_of_a_read_from_before_the_gap_changes_nothing(edge: Edge) -> None:
    query = edge.open(spec())
    old = edge.start_read()
    edge.receive(Gap("cut"))
    assert edge.fail(old, query.spec) == []
    edge.read(before(200), a=2)

    assert query.settled


def test_result_that_a_gap_did_not_change_is_not_told(edge: Edge) -> None:
    edge.settled(spec(), a=1)
    edge.receive(Gap("cut"))
    told = len(edge.told)
    edge.read(before(200), a=1)

    assert [type(effect) for effect in edge.told[told:]] == [Settled]


# --- closing


def test_last_close_forgets_the_documents(edge: Edge) -> None:
    query = edge.settled(spec(), a=1)
    edge.router.open(spec())
    assert edge.close(query) == []
    assert edge.close(query) == [Closed(query)]

    assert (len(edge.router.documents), list(edge.router.queries), edge.router.tables) == (0, [], frozenset())


def test_document_stays_as_long_as_some_query_holds_it(edge: Edge) -> None:
    first, second = edge.open(spec("x")), edge.open(spec("y"))
    edge.read(before(100), a=1)
    edge.close(first)
    assert len(edge.router.documents) == 1
    edge.close(second)
    assert len(edge.router.documents) == 0


def test_close_during_a_read_spares_the_others_of_the_read(edge: Edge) -> None:
    leaving, staying = edge.open(spec("x")), edge.open(spec("y"))
    read = edge.start_read()
    edge.close(leaving)
    edge.snapshot(read, before(100))
    edge.rows(read, a=1)
    edge.receive(Mark(read.token))

    assert shown(staying) == {A: document(1)}
    assert shown(leaving) == {}
    edge.close(staying)
    assert len(edge.router.documents) == 0


def test_query_opened_again_during_its_read_is_read_anew(edge: Edge) -> None:
    first = edge.open(spec())
    old = edge.start_read()
    edge.close(first)
    second = edge.open(spec())
    edge.snapshot(old, before(100))
    edge.rows(old, a=1)
    edge.receive(Mark(old.token))
    assert second is not first and not second.settled
    edge.read(before(200), a=2)

    assert shown(second) == {A: document(2)}


def test_failed_query_closes_and_its_like_is_new(edge: Edge) -> None:
    query = edge.settled(spec(), a=1)
    edge.receive(write(150, a=2))
    read = edge.start_read()
    effects = edge.fail(read, query.spec)

    assert [type(effect) for effect in effects] == [Failed]
    assert Closed(query) in edge.told
    assert edge.router.open(spec())[1]
    assert len(edge.router.documents) == 0


def test_failing_query_spares_the_others_of_its_read(edge: Edge) -> None:
    failing, staying = edge.open(spec("x")), edge.open(spec("y"))
    edge.fail(edge.start_read(), failing.spec)
    again = edge.start_read()

    assert again.queries == (staying,)


# --- fences


def interested(edge: Edge, *queries: LiveQuery) -> Fence:
    return edge.router.raise_fence("fence", lambda: queries)


def test_fence_fires_when_it_is_armed_and_its_token_has_come(edge: Edge) -> None:
    fence = interested(edge)
    assert edge.receive(write(150, "fence", a=1)) == []
    assert edge.do(edge.router.fences.arm(fence)) == [Fired(fence)]


def test_fence_that_is_armed_first_fires_with_its_token(edge: Edge) -> None:
    fence = interested(edge)
    assert edge.do(edge.router.fences.arm(fence)) == []
    assert edge.receive(Mark("fence")) == [Fired(fence)]


def test_fence_fires_after_the_step_of_its_own_transaction(edge: Edge) -> None:
    query = edge.settled(by_predicate(), a=4)
    fence = interested(edge, query)
    edge.do(edge.router.fences.arm(fence))

    assert [type(effect) for effect in edge.receive(write(150, "fence", a=6))] == [Deliver, Fired]


def test_fence_waits_for_the_reads_its_transaction_caused(edge: Edge) -> None:
    query = edge.settled(spec(), a=1)
    fence = interested(edge, query)
    edge.do(edge.router.fences.arm(fence))
    assert edge.receive(write(150, "fence", a=2)) == []
    edge.read(before(200), a=2)

    assert [type(effect) for effect in edge.told[-3:]] == [Deliver, Settled, Fired]


def test_fence_does_not_wait_for_the_queries_of_others(edge: Edge) -> None:
    edge.settled(spec(), a=1)
    fence = interested(edge)
    edge.do(edge.router.fences.arm(fence))

    assert edge.receive(write(150, "fence", a=2)) == [Fired(fence)]


@pytest.mark.parametrize("end", ["close", "fail"])
def test_fence_does_not_wait_for_a_query_that_has_ended(edge: Edge, end: str) -> None:
    query = edge.settled(spec(), a=1)
    fence = interested(edge, query)
    edge.do(edge.router.fences.arm(fence))
    edge.receive(write(150, "fence", a=2))
    if end == "close":
        effects = edge.close(query)
    else:
        edge.fail(edge.start_read(), query.spec)
        effects = edge.told

    assert effects.count(Fired(fence)) == 1


def test_fence_waits_behind_a_holding_read(edge: Edge) -> None:
    query = edge.settled(spec(), a=1)
    holding = hold(edge)
    fence = interested(edge)
    edge.do(edge.router.fences.arm(fence))
    assert edge.receive(write(500, "fence", b=6)) == []
    edge.snapshot(holding, before(400))
    assert edge.rows(holding, a=2)[-1] == Fired(fence)
    assert not query.settled


def test_armed_fence_fires_after_a_gap_has_been_read_through(edge: Edge) -> None:
    """Its token may be lost; what the gap has read shows its writes."""
    query = edge.settled(by_predicate(), a=4)
    fence = interested(edge, query)
    edge.do(edge.router.fences.arm(fence))
    assert edge.receive(Gap("cut")) == []
    edge.read(before(200), a=6)

    assert edge.told[-1] == Fired(fence)


def test_fence_that_is_not_armed_at_a_gap_waits_for_a_new_token(edge: Edge) -> None:
    fence = interested(edge)
    edge.receive(Gap("cut"))
    assert fence.epoch != edge.router.epoch
    assert edge.do(edge.router.fences.arm(fence)) == []
    assert edge.receive(Mark("fence")) == [Fired(fence)]


def test_dropped_fence_never_fires(edge: Edge) -> None:
    fence = interested(edge)
    edge.router.fences.drop(fence)

    assert edge.receive(Mark("fence"), Gap("cut")) == []


# --- what touches a query


def test_table_changed_as_a_whole_makes_even_a_predicate_read(edge: Edge) -> None:
    query = edge.settled(by_predicate(), a=4)
    edge.receive(Transaction(Xid(150), tables=frozenset({BOOK})))
    assert query.phase is Phase.PENDING
    edge.read(before(200), b=6)

    assert shown(query) == {B: document(6)}


def test_key_only_change_is_read_again_and_reaches_every_holder(edge: Edge) -> None:
    queries = [edge.open(by_predicate("x")), edge.open(by_predicate("y"))]
    edge.read(before(100), a=4)
    edge.receive(Transaction(Xid(150), (Change(BOOK, A, Kind.KEY_ONLY),)))
    edge.read(before(200), a=6)

    assert [shown(query) for query in queries] == [{A: document(6)}] * 2


def test_change_of_another_table_touches_nothing(edge: Edge) -> None:
    query = edge.settled(spec(), a=1)

    assert edge.receive(Transaction(Xid(150), (Change(AUTHOR, A, Kind.GONE),))) == []
    assert query.settled


def test_key_that_a_pending_query_holds_shows_its_last_settled_version(edge: Edge) -> None:
    """A row that may have left the query shows nothing new to its clients until that is known."""
    pending = edge.settled(spec(), a=4)
    edge.receive(write(150, a=5))
    assert shown(pending) == {A: document(4)}
    edge.receive(write(160, a=6))
    assert shown(pending) == {A: document(4)}
    edge.read(before(200))

    assert shown(pending) == {}


def test_delete_right_after_an_insert_is_nothing(edge: Edge) -> None:
    edge.settled(by_predicate())

    assert edge.receive(write(150, a=None)) == []


def test_row_that_comes_and_goes_is_told_each_time(edge: Edge) -> None:
    query = edge.settled(by_predicate(), a=4)
    kinds = []
    for xid, value in ((150, 5), (151, 6), (152, None), (153, 8)):
        (effect,) = edge.receive(write(xid, a=value))
        assert isinstance(effect, Deliver)
        kinds += [message.split(b'"')[3].decode() for message in effect.step.messages(query)]

    assert kinds == ["removed", "added", "removed", "added"]


# --- reads of changed rows only


def row_by_row(name: str = "books") -> QuerySpec:
    return spec(name, row_by_row=True)


def test_query_that_judges_row_by_row_is_asked_for_the_changed_rows_alone(edge: Edge) -> None:
    query = edge.settled(row_by_row(), a=4, b=6)
    edge.receive(write(150, b=8))
    read = edge.read(before(200), b=8)

    assert read.keys == {query.spec: {B}}
    assert shown(query) == {A: document(4), B: document(8)}


def test_changed_row_that_is_not_found_has_left(edge: Edge) -> None:
    query = edge.settled(row_by_row(), a=4, b=6)
    edge.receive(write(150, b=7))
    edge.read(before(200))

    assert shown(query) == {A: document(4)}


def test_row_changed_before_the_snapshot_that_was_not_asked_for_is_asked_for_next(edge: Edge) -> None:
    """The read's rows are newer than what it was asked: it does not tell of a row that it sees changed."""
    query = edge.settled(row_by_row(), a=4, b=6)
    edge.receive(write(150, b=7))
    read = edge.start_read()
    edge.receive(write(160, a=5))
    edge.snapshot(read, before(200))
    edge.rows(read)
    edge.receive(Mark(read.token))
    assert not query.settled
    again = edge.read(before(200), a=5)

    assert again.keys == {query.spec: {A, B}}
    assert shown(query) == {A: document(5)}


def test_change_of_another_table_asks_for_all_rows(edge: Edge) -> None:
    edge.settled(QuerySpec(("joined",), BOOKS, frozenset({BOOK, AUTHOR}), row_by_row=True), a=4)
    edge.receive(Transaction(Xid(150), (Change(AUTHOR, A, Kind.GONE),)))

    assert edge.start_read().keys == {}


def test_very_many_changed_rows_ask_for_all(edge: Edge) -> None:
    edge.settled(row_by_row(), a=4)
    edge.receive(write(150, **{f"k{n}": n for n in range(1001)}))

    assert edge.start_read().keys == {}


def test_repeated_read_that_was_not_asked_enough_asks_for_all_rows(edge: Edge) -> None:
    """It holds dispatch, so the one after it must tell for sure."""
    query = edge.settled(row_by_row("one"), a=4, b=6)
    edge.receive(write(150, b=7))
    first = edge.start_read()
    edge.receive(write(160, b=9))
    edge.snapshot(first, before(155))
    edge.rows(first)
    edge.receive(Mark(first.token))
    edge.open(spec("two"))
    repeated, other = edge.start_read(), edge.start_read()
    edge.snapshot(repeated, before(200))
    edge.snapshot(other, before(200))
    edge.rows(other, a=5, b=9)
    edge.receive(Mark(other.token))
    edge.rows(repeated, b=9)
    edge.receive(Mark(repeated.token))

    assert (repeated.holding, repeated.keys) == (True, {query.spec: {B}})
    again = edge.start_read()
    assert (again.holding, again.keys) == (True, {})


def test_write_that_nobody_reported_has_the_other_holders_ask_for_that_row(edge: Edge) -> None:
    """Somebody else's read finds the document changed: whether it still belongs here has to be asked."""
    holder = edge.settled(row_by_row("one"), a=4, b=6)
    edge.open(spec("two"))
    edge.read(before(200), a=5, b=6)

    assert edge.start_read().keys == {holder.spec: {A}}


def test_write_that_nobody_reported_has_a_query_that_waits_for_rows_read_as_a_whole(edge: Edge) -> None:
    """Not told by the rows alone that it waits for, of which another read is on its way."""
    waiting = edge.open(
        QuerySpec(("good",), BOOKS, frozenset({BOOK, AUTHOR}), predicate=by_good, sets={GOOD_AUTHORS: None})
    )
    found, good = {A: document(4)}, {Key("1"): 1}
    tell(edge, edge.start_read(), found, Related({GOOD_AUTHORS: good}, {waiting.spec: {A: row(4)}}))
    edge.open(spec("two"))
    other = edge.start_read()
    edge.receive(Transaction(Xid(150), (Change(AUTHOR, Key("2"), Kind.ROW, {"id": 2, "good": True}),)))
    tell(edge, other, {A: document(5), B: document(6)})
    found, good = {A: document(5), B: document(6)}, {Key("1"): 1, Key("2"): 2}
    for read in list(iter(edge.router.next_read, None)):
        links = {A: row(5), B: row(6, author=2)}
        entered = {question: {B: (row(6, author=2), document(6))} for question in read.move_ins}
        tell(edge, read, found, Related(dict.fromkeys(read.sets, good), {waiting.spec: links}, entered))

    assert waiting.settled
    assert shown(waiting) == found


def test_documents_that_are_others_at_each_read_do_not_keep_queries_reading(edge: Edge) -> None:
    """A ``serialize`` may tell the time: what another query's read has just brought is not read against."""
    one = edge.settled(spec("one"), a=4)
    two = edge.open(spec("two"))
    edge.read(before(200), a=5)
    edge.read(before(200), a=6)

    assert edge.router.next_read() is None
    assert shown(one) == shown(two) == {A: document(5)}


def test_document_that_has_changed_again_since_another_query_read_it_is_taken(edge: Edge) -> None:
    one = edge.settled(spec("one"), a=4)
    edge.open(spec("two"))
    edge.read(before(200), a=5)
    edge.receive(Transaction(Xid(210), (Change(BOOK, A, Kind.KEY_ONLY),)))
    edge.read(before(220), a=6)

    assert one.settled
    assert shown(one) == {A: document(6)}


def tell(edge: Edge, read: Read, rows: Mapping[Key, Fields], related: Related = NOTHING) -> None:
    """A read of everything that was committed, its token included."""
    edge.snapshot(read, before(200))
    edge.do(edge.router.rows_read(read, dict.fromkeys(read.specs, rows), related))
    edge.receive(Mark(read.token))
