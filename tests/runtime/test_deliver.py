"""A step on its way to sessions that lag while it is sent: each is told it once, and all are told."""

from __future__ import annotations

import json

import pytest

from dddp.changes import Key
from dddp.livequery.query import LiveQuery
from dddp.livequery.step import Step
from dddp.protocol import messages
from dddp.runtime.live import deliver
from dddp.runtime.outbox import Outbox
from dddp.transport.contract import Batch
from tests.runtime.test_outbox import LossyChannel
from tests.test_mergebox import Documented, World

THRESHOLD = 100


class FullChannel(LossyChannel):
    """A socket that takes nothing until it is told to."""

    def send(self, message: bytes) -> None:
        super().send(message)
        self.buffered += len(message)

    def drain(self, outbox: Outbox) -> None:
        while self.buffered:
            self.buffered = 0
            outbox.pump()


class Slow:
    """A session of some queries whose client reads only when it is told to."""

    def __init__(self, *queries: LiveQuery) -> None:
        self.channel = FullChannel()
        self.outbox = Outbox(self.channel, 1_000_000, THRESHOLD)
        self.client = Documented()
        self.outbox.send_first([])
        self.client.read(self.outbox.box.replace([], queries))

    def read(self) -> dict[str, dict[str, object]]:
        self.channel.drain(self.outbox)
        messages, self.channel.messages = self.channel.messages, []
        self.client.read(messages)
        return self.client.documents


def rewrite(world: World, *queries: LiveQuery, value: int) -> None:
    step = Step()
    world.update(Key("1"), step, *queries, a="x" * 2 * THRESHOLD, b=value)
    deliver(step)


def test_clients_that_begin_to_lag_at_a_step_are_told_it_once_and_stop_nobody() -> None:
    world = World()
    query = world.query("q", "1")
    sessions = [Slow(query) for _ in range(3)]
    for value in range(3):
        rewrite(world, query, value=value)

    for session in sessions:
        assert session.read() == {"1": {"a": "x" * 2 * THRESHOLD, "b": 2}}


def test_clients_of_several_queries_that_begin_to_lag_at_a_step_are_told_it_once() -> None:
    world = World()
    queries = [world.query("q", "1"), world.query("r", "1")]
    sessions = [Slow(*queries) for _ in range(3)]
    for value in range(3):
        rewrite(world, *queries, value=value)

    for session in sessions:
        assert session.read() == {"1": {"a": "x" * 2 * THRESHOLD, "b": 2}}


@pytest.mark.parametrize("flushed", [False, True], ids=["when the socket takes it", "for a new source"])
def test_what_is_held_back_is_told_before_an_answer_behind_it(flushed: bool) -> None:
    """So a method's ``updated`` comes after what the method did, whatever happens before the client reads on."""
    world = World()
    query, other = world.query("q", "1"), world.query("r", "2")
    session = Slow(query)
    for value in range(2):
        rewrite(world, query, value=value)
    session.outbox.send(messages.updated(["m"]))
    rewrite(world, query, value=2)
    if flushed:
        session.outbox.send_batch(Batch(session.outbox.box.replace([], [other])))
    session.channel.drain(session.outbox)

    told = [json.loads(message)["msg"] for message in session.channel.messages]
    assert told == ["changed", "changed", "updated", *["added"] * flushed]


def test_much_that_was_held_back_is_told_in_order() -> None:
    """In slices, as first documents are."""
    world = World()
    query = world.query("q", "1")
    session = Slow(query)
    rewrite(world, query, value=1)
    for key in "2345":
        step = Step()
        world.enter(query, Key(key), step, a="x" * 70_000)
        deliver(step)
    session.channel.drain(session.outbox)

    assert [json.loads(message)["id"] for message in session.channel.messages] == list("12345")


def test_first_documents_that_wait_are_counted_apart() -> None:
    session = Slow()
    session.channel.buffered = 1
    session.outbox.send_first([Batch([b"x" * 600_000])] * 2)
    assert session.outbox.is_loaded
    session.channel.drain(session.outbox)

    assert not session.outbox.is_loaded
