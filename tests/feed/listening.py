"""A listener that keeps what it is told."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import gevent
from gevent.event import Event

from dddp.changes import FeedEvent, Gap, Transaction
from dddp.feed.listener import HEARTBEAT, Listener
from tests.feed.recording import run

PATIENCE = 20.0  # seconds
ids = (f"t{number}" for number in itertools.count())


class RecordingListener(Listener):
    """Keeps what it is told; ``until`` waits for it."""

    def __init__(self, dsn: str, heartbeat: float = HEARTBEAT) -> None:
        super().__init__(dsn, next(ids), self.record, heartbeat)
        self.events: list[FeedEvent] = []
        self._more = Event()

    def record(self, batch: list[FeedEvent]) -> None:
        self.events += batch
        self._more.set()

    def until(self, enough: Callable[[list[FeedEvent]], Any]) -> list[FeedEvent]:
        with gevent.Timeout(PATIENCE):
            while not enough(self.events):
                self._more.clear()
                self._more.wait()
        return self.events

    def written(self) -> list[str]:
        return [c.key for event in self.events if isinstance(event, Transaction) for c in event.changes]

    def gaps(self) -> list[Gap]:
        return [event for event in self.events if isinstance(event, Gap)]


def kill(connect: Any, listener: RecordingListener) -> None:
    """End the listener's server session."""
    run(
        connect(),
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        f"WHERE application_name = 'dddp {listener.channel.removeprefix('dddp.@')}'",
    )


def eventually(condition: Callable[[], Any]) -> None:
    """Wait, giving way to other greenlets, until it is so."""
    with gevent.Timeout(PATIENCE):
        while not condition():
            gevent.sleep(0.01)
