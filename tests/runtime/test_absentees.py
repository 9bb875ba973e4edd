"""Sessions without a client, on their own: time, number, addresses."""

from __future__ import annotations

from typing import Any

import gevent
import pytest

from dddp.protocol.messages import Method, Sub, Unsub
from dddp.runtime.resumption import Absentees, Return


class Session:
    """As much of a connection as absentees need."""

    def __init__(self, id: str, address: str | None = "1.1.1.1", fails: bool = False) -> None:
        self.id = id
        self.client_address = address
        self.fails = fails
        self.ended = False

    def finish(self) -> None:
        self.ended = True
        if self.fails:
            raise ZeroDivisionError("a defect")


def added(absentees: Absentees, *sessions: Any) -> None:
    for session in sessions:
        absentees.add(session)


def test_session_that_comes_back_is_kept() -> None:
    absentees, session = Absentees(0.01, 10, None), Session("a")
    added(absentees, session)
    absentees.discard(session)  # type: ignore[arg-type]
    gevent.sleep(0.05)

    assert not session.ended and len(absentees) == 0


def test_sessions_end_in_the_order_in_which_they_left() -> None:
    absentees, sessions = Absentees(60, 2, None), [Session(str(number)) for number in range(4)]
    added(absentees, *sessions)

    assert [session.ended for session in sessions] == [True, True, False, False]


def test_failure_of_one_end_does_not_keep_the_others(caplog: pytest.LogCaptureFixture) -> None:
    absentees, sessions = Absentees(0.01, 10, None), [Session("bad", fails=True), Session("good")]
    added(absentees, *sessions)
    gevent.sleep(0.05)

    assert sessions[1].ended and len(absentees) == 0
    assert "the end of session bad failed" in caplog.text


def test_sweeper_sleeps_and_wakes_again() -> None:
    absentees, first, second = Absentees(0.01, 10, None), Session("a"), Session("b")
    added(absentees, first)
    gevent.sleep(0.05)
    added(absentees, second)
    gevent.sleep(0.05)

    assert first.ended and second.ended


def test_room_of_an_address() -> None:
    absentees, session = Absentees(60, 10, 1), Session("a")
    assert absentees.has_room("1.1.1.1")
    added(absentees, session)

    assert not absentees.has_room("1.1.1.1") and absentees.has_room("2.2.2.2") and absentees.has_room(None)
    absentees.discard(session)  # type: ignore[arg-type]
    absentees.discard(session)  # type: ignore[arg-type]
    assert absentees.has_room("1.1.1.1")


def test_return_repeats_what_is_settled_once() -> None:
    returned = Return({(Method, "1"), (Sub, "1")}, set())

    assert [returned.repeats(Method("1", "m")) for _ in range(2)] == [True, False]
    assert [returned.repeats(Sub("1", "p")) for _ in range(2)] == [True, False]
    assert not returned.repeats(Unsub("1"))


def test_return_gives_up_what_is_not_claimed_beside_others() -> None:
    returned = Return(set(), {"kept", "lost"})

    assert returned.repeats(Sub("kept", "p"))
    assert [returned.tick() for _ in range(3)] == [set(), {"lost"}, set()]


def test_return_without_claims_gives_up_nothing() -> None:
    returned = Return(set(), {"kept"})

    assert [returned.tick() for _ in range(3)] == [set()] * 3
