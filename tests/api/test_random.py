"""Ids that client and server draw alike, in the greenlet of their invocation only."""

from __future__ import annotations

import gevent
import pytest

from dddp.api import random_id
from dddp.api.random import random_streams
from dddp.protocol.alea import RandomStreams

SEED = "abcdef0123456789abcd"


@pytest.fixture
def seeded():
    token = random_streams.set(RandomStreams(SEED))
    yield
    random_streams.reset(token)


def test_ids_are_the_clients_for_the_same_seed(seeded):
    """The row for this seed in ddp-wire 5.9."""
    assert [random_id("foo"), random_id("foo")] == ["bsdayd5PHxLCq9YdR", "73bEPBt4LRRinGKbq"]


def test_each_collection_has_ids_of_its_own(seeded):
    assert [random_id("bar"), random_id("foo")] == ["fehmtf83ysjcJFYkM", "bsdayd5PHxLCq9YdR"]


def test_outside_of_a_method_ids_are_random():
    ids = {random_id("foo") for _ in range(100)}

    assert len(ids) == 100
    assert {len(each) for each in ids} == {17}


def test_greenlets_do_not_share_their_streams():
    """What one method's greenlet sets, none that runs meanwhile or is started meanwhile sees."""

    def invocation(seed):
        random_streams.set(RandomStreams(seed))
        gevent.sleep(0)
        inner = gevent.spawn(random_streams.get)
        inner.join()
        return random_id("foo"), inner.value

    greenlets = [gevent.spawn(invocation, SEED) for _ in range(3)]
    gevent.joinall(greenlets)

    assert [greenlet.value for greenlet in greenlets] == [("bsdayd5PHxLCq9YdR", None)] * 3
    assert random_streams.get() is None
