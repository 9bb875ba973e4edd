"""A step on its way to sessions that lag while it is sent: each is told it once, and all are told."""

from __future__ import annotations

from dddp.changes import Key
from dddp.livequery.query import LiveQuery
from dddp.livequery.step import Step
from dddp.runtime.live import deliver
from dddp.runtime.outbox import Outbox
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
