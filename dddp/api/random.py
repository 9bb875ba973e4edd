"""Ids that client and server draw alike: the random streams of the method that is running (ddp-wire 5.7, 5.8).

The one value found in the air instead of in an argument, because a model field's default takes none. The runtime
sets it for each invocation; under gevent every greenlet has a context of its own, so invocations never mix.
"""

from __future__ import annotations

from contextvars import ContextVar

from dddp.protocol import alea

__all__ = ["random_id", "random_streams"]

random_streams: ContextVar[alea.RandomStreams | None] = ContextVar("random_streams", default=None)
"""The streams of the current method invocation; None outside of one."""


def random_id(collection: str) -> str:
    """The next document id of a collection: the client's own when a method runs with its ``randomSeed``."""
    streams = random_streams.get()
    return streams.stream(f"/collection/{collection}").id() if streams else alea.random_id()
