"""The pool: jobs in order, in turns, and not for ever."""

from __future__ import annotations

import contextlib
import logging
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from gevent.event import Event

from dddp.runtime.lane import Lane
from dddp.runtime.pool import Pool
from tests.transport.peers import until


@pytest.fixture
def gate() -> Iterator[Event]:
    gate = Event()
    yield gate
    gate.set()


@pytest.fixture
def pools() -> Iterator[Callable[..., Pool]]:
    made: list[Pool] = []

    def make(size: int = 1, patience: float = float("inf")) -> Pool:
        made.append(Pool("test", size, patience=patience))
        made[-1].start()
        return made[-1]

    yield make
    for pool in made:
        pool.stop()


def test_jobs_of_one_are_done_in_order(pools: Callable[..., Pool]) -> None:
    pool, done = pools(), []
    for number in range(5):
        pool.submit(lambda number=number: done.append(number))
    until(lambda: pool.idle)

    assert done == [0, 1, 2, 3, 4]


def test_who_has_one_job_does_not_wait_for_who_has_many(pools: Callable[..., Pool], gate: Event) -> None:
    pool, done = pools(), []
    pool.submit(gate.wait)
    for _ in range(100):
        pool.submit(lambda: done.append("many"), whose="many")
    pool.submit(lambda: done.append("one"), whose="one")
    gate.set()
    until(lambda: pool.idle)

    assert done.index("one") < 2
    assert len(done) == 101


def test_job_that_no_greenlet_is_free_for_in_time_is_given_up(
    pools: Callable[..., Pool], gate: Event
) -> None:
    pool, done = pools(patience=0.05), []
    pool.submit(gate.wait)
    gevent.sleep(0)
    for number in range(3):
        pool.submit(lambda: done.append("done"), lambda number=number: done.append(number))
    until(lambda: len(done) == 3)
    gate.set()
    until(lambda: pool.idle)

    assert done == [0, 1, 2]


def test_job_that_has_begun_is_not_given_up(pools: Callable[..., Pool], gate: Event) -> None:
    pool, done = pools(patience=0.05), []
    pool.submit(gate.wait, lambda: done.append("late"))
    gevent.sleep(0.2)

    assert done == []
    assert pool.busy == 1


def test_job_that_must_be_done_waits_longer(pools: Callable[..., Pool], gate: Event) -> None:
    pool, done = pools(patience=0.05), []
    pool.submit(gate.wait)
    gevent.sleep(0)
    pool.submit(lambda: done.append("must"))
    pool.submit(lambda: done.append("done"), lambda: done.append("late"))
    until(lambda: done)
    gate.set()
    until(lambda: pool.idle)

    assert done == ["late", "must"]


def test_pool_goes_on_after_it_gave_jobs_up(pools: Callable[..., Pool], gate: Event) -> None:
    pool, done = pools(size=2, patience=0.05), []
    for _ in range(2):
        pool.submit(gate.wait)
    gevent.sleep(0)
    for _ in range(10):
        pool.submit(lambda: None, lambda: done.append("late"))
    until(lambda: len(done) == 10)
    gate.set()
    for number in range(5):
        pool.submit(lambda number=number: done.append(number), lambda: done.append("late"))
    until(lambda: pool.idle)

    assert done[10:] == [0, 1, 2, 3, 4]


def test_flood_of_late_jobs_is_one_line_in_the_log(
    pools: Callable[..., Pool], gate: Event, caplog: pytest.LogCaptureFixture
) -> None:
    pool, done = pools(patience=0.05), []
    pool.submit(gate.wait)
    gevent.sleep(0)
    with caplog.at_level(logging.WARNING, "dddp.runtime.pool"):
        for _ in range(50):
            pool.submit(lambda: None, lambda: done.append("late"))
        until(lambda: len(done) == 50)

    assert [record.getMessage() for record in caplog.records] == [
        "! all 1 of the test pool are busy for 0.05 s"
    ]


def test_late_job_makes_room_in_its_lane(pools: Callable[..., Pool], gate: Event) -> None:
    pool, done = pools(patience=0.05), []
    pool.submit(gate.wait)
    gevent.sleep(0)
    lane = Lane(pool, 1)
    jobs: list[Any] = ["first", "second"]
    for name in jobs:
        lane.submit(lambda: done.append("done"), lambda name=name: done.append(name))
    until(lambda: len(done) == 2)

    assert done == ["first", "second"]


def test_stop_ends_a_job_that_turns_its_exit_into_an_error(pools: Callable[..., Pool]) -> None:
    """As a database cursor does that cannot be closed any more."""

    def stubborn() -> None:
        for _ in range(2):
            with contextlib.suppress(gevent.GreenletExit):
                gevent.sleep(60)
        raise OSError("connection already closed")

    pool = pools()
    pool.submit(stubborn)
    until(lambda: pool.busy)

    with gevent.Timeout(10):
        pool.stop()
    assert pool.idle


def test_job_that_is_done_is_not_kept(pools: Callable[..., Pool], gate: Event) -> None:
    """Nor what was to be done if it had been late: both know the client."""
    pool = pools(patience=60)
    pool.submit(gate.wait)
    client = _Client()
    kept = weakref.ref(client)
    pool.submit(client.work, client.give_up)
    del client
    gevent.sleep(0.01)  # whether it is late has been looked at
    gate.set()
    until(lambda: kept() is None)


class _Client:
    def work(self) -> None: ...

    def give_up(self) -> None: ...


def test_one_job_at_a_time_is_done_by_one_greenlet(pools: Callable[..., Pool]) -> None:
    """So it takes one database connection, however many greenlets there are."""
    pool, done = pools(size=5), []
    gevent.sleep(0)  # all are free from here on
    for _ in range(5):
        pool.submit(lambda: done.append(gevent.getcurrent()))
        until(lambda: pool.idle)

    assert len(done) == 5
    assert len(set(done)) == 1


def test_jobs_at_a_time_are_done_by_as_many_greenlets(pools: Callable[..., Pool], gate: Event) -> None:
    pool = pools(size=3)
    for _ in range(3):
        pool.submit(gate.wait)
    until(lambda: pool.busy == 3)
    gate.set()
    until(lambda: pool.idle)
