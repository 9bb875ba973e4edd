"""Notifications in, feed events out; no database."""

from __future__ import annotations

import json
from typing import Any

from dddp.changes import Gap, Kind, Mark, Table, Transaction
from dddp.feed.channels import table_channel
from dddp.feed.envelope import GAP_INTERVAL, Assembler
from tests.feed.recording import gone, key_only, row

BOOK, AUTHOR = Table("bookstore.book"), Table("bookstore.author")
BOOKS, AUTHORS = table_channel(BOOK), table_channel(AUTHOR)
PROCESS = "dddp.@me"


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def assembler(*channels: str, clock: Clock | None = None) -> Assembler:
    made = Assembler(clock or Clock())
    made.listen_to(channels)
    return made


def envelope(xid: int = 5, batch: int = 1, table: Table | None = BOOK, **parts: Any) -> str:
    opening = {"v": 1, "x": str(xid), "b": str(batch), "i": 0}
    return json.dumps(opening | ({"m": table} if table else {}) | parts)


def test_rows_gone_and_key_only_are_changes():
    parts = {"c": ["id", "title"], "r": [["1", "Emma"], ["2", None]], "g": ["3"], "k": ["4"], "e": [BOOKS]}

    (transaction,) = assembler(BOOKS).receive(BOOKS, envelope(**parts))

    changes = (row(BOOK, 1, title="Emma"), row(BOOK, 2, title=None), gone(BOOK, 3), key_only(BOOK, 4))
    assert transaction == Transaction(5, changes)


def test_whole_table_is_named():
    (transaction,) = assembler(BOOKS).receive(BOOKS, envelope(w=True, e=[BOOKS]))

    assert transaction == Transaction(5, tables=frozenset({BOOK}))


def test_transaction_waits_for_the_end_of_each_channel_it_uses():
    ours = assembler(BOOKS, AUTHORS)

    assert ours.receive(AUTHORS, envelope(table=AUTHOR, g=["1"], e=[BOOKS, AUTHORS])) == []
    assert ours.receive(BOOKS, envelope(g=["1"])) == []
    assert ours.open
    (transaction,) = ours.receive(BOOKS, envelope(g=["2"], e=[BOOKS, AUTHORS]))
    assert transaction.changes == (gone(AUTHOR, 1), gone(BOOK, 1), gone(BOOK, 2))
    assert not ours.open


def test_transaction_does_not_wait_for_channels_nobody_listens_to():
    (transaction,) = assembler(BOOKS).receive(BOOKS, envelope(g=["2"], e=[BOOKS, AUTHORS]))

    assert transaction.changes == (gone(BOOK, 2),)


def test_token_of_a_writer_comes_with_its_transaction():
    ours = assembler(BOOKS, PROCESS)
    ours.receive(BOOKS, envelope(g=["2"], e=[BOOKS, PROCESS]))

    (transaction,) = ours.receive(PROCESS, envelope(table=None, t=["fence"], e=[BOOKS, PROCESS]))

    assert (transaction.changes, transaction.marks) == ((gone(BOOK, 2),), ("fence",))


def test_bare_token_is_a_mark():
    assert assembler(PROCESS).receive(PROCESS, "read 1") == [Mark("read 1")]


def test_mark_closes_what_is_open():
    """Our LISTEN to the authors began in the middle of the transaction: their end never comes."""
    ours = assembler(BOOKS, AUTHORS, PROCESS)
    ours.receive(BOOKS, envelope(g=["1"], e=[BOOKS, AUTHORS]))

    assert ours.receive(PROCESS, "read 1") == [Transaction(5, (gone(BOOK, 1),)), Mark("read 1")]


def test_next_transaction_closes_what_is_open():
    ours = assembler(BOOKS, AUTHORS)
    ours.receive(BOOKS, envelope(g=["1"], e=[BOOKS, AUTHORS]))

    events = ours.receive(BOOKS, envelope(xid=6, batch=2, g=["2"], e=[BOOKS]))

    assert events == [Transaction(5, (gone(BOOK, 1),)), Transaction(6, (gone(BOOK, 2),))]


def test_second_batch_of_a_transaction_is_one_of_its_own():
    ours = assembler(BOOKS)
    ours.receive(BOOKS, envelope(batch=1, g=["1"]))

    events = ours.receive(BOOKS, envelope(batch=2, g=["2"], e=[BOOKS]))

    assert events == [Transaction(5, (gone(BOOK, 1),)), Transaction(5, (gone(BOOK, 2),))]


def test_ends_too_many_to_list_leave_the_transaction_open():
    ours = assembler(BOOKS)

    assert ours.receive(BOOKS, envelope(g=["1"], e=None)) == []
    assert ours.open


def test_unlisten_completes_what_waited_for_its_end():
    ours = assembler(BOOKS, AUTHORS)
    ours.receive(BOOKS, envelope(g=["1"], e=[BOOKS, AUTHORS]))

    assert ours.listen_to([BOOKS]) == [Transaction(5, (gone(BOOK, 1),))]


def test_reset_forgets_what_was_open():
    ours = assembler(BOOKS)
    ours.receive(BOOKS, envelope(g=["1"]))

    ours.reset()

    assert ours.receive(BOOKS, envelope(xid=6, g=["2"], e=[BOOKS])) == [Transaction(6, (gone(BOOK, 2),))]


UNREADABLE = [
    "{",
    "{}",
    '{"v":1}',
    '{"v":1,"x":"a","b":"1"}',
    '{"v":1,"x":"5","b":"1","m":7}',
    envelope(v=2),
    envelope(table=AUTHOR, g=["1"]),
    envelope(c=["id"], r=[["1", "2"]]),
    envelope(c=["id"], r=[[]]),
    envelope(r=5),
    envelope(e=5),
]


def test_payload_that_cannot_be_read_is_a_gap():
    for payload in UNREADABLE:
        ours = assembler(BOOKS)

        (gap,) = ours.receive(BOOKS, payload)

        assert isinstance(gap, Gap), payload
        assert ours.undecodable == 1


def test_gaps_for_unreadable_payloads_are_rate_limited_and_none_is_lost():
    clock = Clock()
    ours = assembler(BOOKS, clock=clock)
    ours.receive(BOOKS, "{")

    assert ours.receive(BOOKS, "{") == []
    assert ours.owes_gap
    clock.now = GAP_INTERVAL
    assert [type(event) for event in ours.pay_gap()] == [Gap]
    assert ours.pay_gap() == []


def test_transactions_go_on_while_a_gap_is_owed():
    ours = assembler(BOOKS)
    ours.receive(BOOKS, "{")
    ours.receive(BOOKS, "{")

    (transaction,) = ours.receive(BOOKS, envelope(g=["1"], e=[BOOKS]))

    assert transaction.changes[0].kind is Kind.GONE
