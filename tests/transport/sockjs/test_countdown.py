"""One timer for any number of items."""

from __future__ import annotations

import gevent

from dddp.transport.sockjs.countdown import PER_TURN, Countdown
from tests.transport.peers import until


def test_items_are_told_in_the_order_of_their_starts() -> None:
    told: list[str] = []
    countdown = Countdown(0.01, told.append)
    countdown.start("a")
    countdown.start("b")
    countdown.start("a")

    until(lambda: len(told) == 2)
    assert told == ["b", "a"]
    assert "a" not in countdown


def test_a_stopped_item_is_not_told() -> None:
    told: list[str] = []
    countdown = Countdown(0.01, told.append)
    countdown.start("a")
    countdown.start("b")
    countdown.stop("a")
    countdown.stop("nothing")

    until(lambda: told)
    assert told == ["b"]


def test_a_told_item_may_start_again() -> None:
    told: list[str] = []

    def again(item: str) -> None:
        told.append(item)
        countdown.start(item)

    countdown = Countdown(0.01, again)
    countdown.start("a")

    until(lambda: len(told) == 3)
    countdown.stop("a")


def test_nothing_is_told_before_its_time() -> None:
    told: list[str] = []
    countdown = Countdown(60, told.append)
    countdown.start("a")
    gevent.sleep(0)

    assert told == []
    assert "a" in countdown
    countdown.stop("a")


def test_many_items_do_not_hold_the_loop() -> None:
    """Others have a turn in between."""
    told: list[int] = []
    seen: list[int] = []
    countdown = Countdown(0.001, told.append)
    for item in range(PER_TURN * 3):
        countdown.start(item)

    while len(told) < PER_TURN * 3:
        seen.append(len(told))
        gevent.sleep(0)
    assert told == list(range(PER_TURN * 3))
    assert PER_TURN in seen
