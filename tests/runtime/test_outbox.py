"""The outbox on a channel that loses what it likes: what a client that comes back gets, and what is refused."""

from __future__ import annotations

import itertools
import json
from typing import Any

import gevent
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dddp.changes import Key
from dddp.livequery.query import LiveQuery
from dddp.livequery.step import Step
from dddp.protocol import messages
from dddp.protocol.messages import Method
from dddp.runtime.outbox import Outbox
from dddp.runtime.replay import Entry, ReplayLog
from dddp.transport.contract import Batch
from tests.test_mergebox import World

ROOM = 1_000_000
CONNECTED = messages.connected("s" * 17)


class LossyChannel:
    """Takes messages; its client has received as many of them as the test says."""

    remote_address = ""

    def __init__(self, buffered: int = 0) -> None:
        self.messages: list[bytes] = []
        self.buffered = buffered
        self.closed: tuple[int, str] | None = None

    def send(self, message: bytes) -> None:
        if self.closed is None:
            self.messages.append(message)

    def send_batch(self, batch: Batch) -> None:
        for message in batch.messages:
            self.send(message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    def pause(self) -> None: ...

    def resume(self) -> None: ...


class Client:
    """A client that counts: what it has received of one session, over all its channels."""

    def __init__(self) -> None:
        self.channel = LossyChannel()
        self.outbox = Outbox(self.channel, ROOM, ROOM)
        self.counted: list[bytes] = []
        self.ended = False
        self.outbox.send_at_once(CONNECTED)

    def receive(self, count: int | None = None) -> None:
        """Receive so many of the messages on their way; all of them by default."""
        taken = self.channel.messages[:count]
        del self.channel.messages[:count]
        self.counted += [message for message in taken if messages.is_counted(message)]

    def be_cut_off(self, limit: int = ROOM) -> bool:
        self.channel.messages.clear()
        return self.outbox.detach(limit, self._end)

    def _end(self) -> None:
        self.ended = True

    def come_back(self, buffered: int = 0) -> bool:
        """Say how much was received; whether the session goes on."""
        received = len(self.counted)
        missing = self.outbox.missing(received)
        if missing is None:
            return False
        self.channel = LossyChannel(buffered)
        self.outbox.attach(self.channel, ROOM, missing, ReplayLog(received, ROOM))
        self.outbox.send_at_once(CONNECTED)
        self.outbox.pump()
        return True

    @property
    def documents(self) -> list[bytes]:
        return [message for message in self.counted if message != CONNECTED]


def document(number: int) -> bytes:
    return messages.added("things", str(number), ())


def test_client_that_has_received_all_goes_on_with_what_waited() -> None:
    client = Client()
    client.outbox.send(document(1))
    client.receive()
    client.be_cut_off()
    client.outbox.send(document(2))
    client.outbox.send_batch(Batch([document(3), document(4)]))

    assert client.come_back()
    client.receive()
    assert client.documents == [document(number) for number in (1, 2, 3, 4)]


def test_client_that_has_lost_something_cannot_go_on_the_first_time() -> None:
    """Nothing is kept of what clients were sent that may never come back."""
    client = Client()
    client.outbox.send(document(1))
    client.receive(1)
    client.be_cut_off()

    assert not client.come_back()


def test_client_that_claims_more_than_was_sent_cannot_go_on() -> None:
    client = Client()
    client.receive()
    client.counted.append(document(0))
    client.be_cut_off()

    assert not client.come_back()


def test_client_that_has_come_back_once_may_lose_something() -> None:
    client = Client()
    client.receive()
    client.be_cut_off()
    client.come_back()
    client.outbox.send_batch(Batch([document(1), document(2), document(3)]))
    client.receive(3)  # connected and two of the three
    client.be_cut_off()
    client.outbox.send(document(4))

    assert client.come_back()
    client.receive()
    assert client.documents == [document(number) for number in (1, 2, 3, 4)]


def test_pong_lets_the_log_forget() -> None:
    client = Client()
    client.receive()
    client.be_cut_off()
    client.come_back()
    client.outbox.send(document(1))
    client.outbox.pinged()
    client.outbox.send(document(2))
    client.outbox.ponged()
    client.receive(2)
    client.be_cut_off()

    assert client.outbox.missing(1) is None
    assert client.come_back()
    client.receive()
    assert client.documents == [document(1), document(2)]


def test_log_keeps_no_more_than_its_limit() -> None:
    log = ReplayLog(5, 100)
    for _ in range(1000):
        log.add(Entry(Batch([b"x" * 30, b"y" * 20])))

    assert len(log) == 2
    assert log.after(2000) is None
    assert [entry.batch.messages for entry in log.after(2002) or ()] == [
        (b"y" * 20,),
        (b"x" * 30, b"y" * 20),
    ]


def test_what_waits_for_an_absent_client_is_limited() -> None:
    client = Client()
    client.receive()

    assert client.be_cut_off(limit=100)
    for number in range(10):
        client.outbox.send(document(number))
    assert not client.ended  # a send must not end the session it is for
    gevent.sleep(0)

    assert client.ended
    assert client.outbox.missing(1) is None


def test_first_batch_that_is_on_its_way_is_limited_too() -> None:
    client = Client()
    client.channel.buffered = 1
    client.outbox.send_first([Batch([b"x" * 60_000])] * 3)

    assert not client.be_cut_off(limit=100_000)


def test_closed_outbox_keeps_nothing() -> None:
    client = Client()
    client.outbox.close(4008, "enough")

    assert client.channel.closed == (4008, "enough")
    assert not client.be_cut_off()


def test_slow_client_is_closed_past_its_limit() -> None:
    channel = LossyChannel(buffered=1)
    outbox = Outbox(channel, 1000, ROOM)
    outbox.send_first([Batch([b"x" * 2000]), Batch([b"y" * 2000])])
    assert channel.closed is None
    outbox.send_batch(Batch([b"z" * 1001]))

    assert channel.closed is not None and channel.closed[0] == 1013


def test_what_is_held_back_counts_on_another_channel_too() -> None:
    """A client that changes its channel while it lags is held to its limit all the same."""
    (outbox, _, world, query), channel = lagging(1000), LossyChannel()
    for key in "12":
        hold_back(outbox, world, query, key)
    outbox.attach(channel, 1000, [], ReplayLog(1, ROOM))
    for key in "34":
        hold_back(outbox, world, query, key)

    assert channel.closed is not None


@pytest.mark.parametrize(("size", "fits"), [(3000, True), (3700, False)])
def test_what_was_held_back_counts_by_its_messages_once_they_are_made(size: int, fits: bool) -> None:
    """Ten documents: 3,200 bytes while they are held back, about 600 as messages."""
    outbox, channel, world, query = lagging(4000)
    for number in range(10):
        hold_back(outbox, world, query, str(number))
    outbox.box.flush()
    outbox.send(b"x" * size)

    assert (channel.closed is None) is fits


def lagging(limit: int) -> tuple[Outbox, LossyChannel, World, LiveQuery]:
    """A session of one query whose client lags."""
    world, channel = World(), LossyChannel(buffered=2)
    query = world.query("q")
    outbox = Outbox(channel, limit, threshold=1)
    outbox.box.replace([], [query])
    outbox.send_batch(Batch([document(0)]))
    return outbox, channel, world, query


def test_client_that_lags_time_and_again_has_its_whole_limit_and_no_more() -> None:
    outbox, channel, world, query = lagging(1000)
    for lag in range(5):
        for number in range(2):
            hold_back(outbox, world, query, f"{lag}-{number}")
        channel.buffered = 0
        outbox.pump()
        channel.buffered = 2
        outbox.send_batch(Batch([document(0)]))
    assert channel.closed is None
    for number in range(4):
        hold_back(outbox, world, query, f"last-{number}")

    assert channel.closed is not None


def test_what_is_held_back_for_a_client_that_is_cut_off_is_limited() -> None:
    outbox, _, world, query = lagging(1000)
    for key in "12":
        hold_back(outbox, world, query, key)

    assert not outbox.detach(100, lambda: None)


def hold_back(outbox: Outbox, world: World, query: LiveQuery, key: str) -> None:
    """A document enters the query while the client lags."""
    step = Step()
    world.enter(query, Key(key), step)
    assert outbox.box.apply(step, [query]) == []


def test_first_batches_go_out_as_the_socket_takes_them_and_what_follows_behind() -> None:
    channel = LossyChannel(buffered=1)
    outbox = Outbox(channel, 1000, ROOM)
    outbox.send_first([Batch([b"1"]), Batch([b"2"])])
    outbox.send(b"3")
    outbox.send_at_once(messages.pong())
    outbox.send_first([Batch([b"4"]), Batch([b"5"])])
    assert channel.messages == [messages.pong()]
    channel.buffered = 0
    outbox.pump()

    assert channel.messages[1:] == [b"1", b"2", b"3", b"4", b"5"]


def test_what_waits_says_what_it_settles() -> None:
    client = Client()
    client.receive()
    client.be_cut_off()
    client.outbox.send(messages.result("7", 1), (Method, "7"))
    client.outbox.send(document(1))

    assert list(client.outbox.unsettled()) == [(Method, "7")]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("send"), st.integers(1, 4)),
        st.tuples(st.just("first"), st.integers(1, 4)),
        st.tuples(st.just("ping"), st.just(0)),
        st.tuples(st.just("drain"), st.just(0)),
        st.tuples(st.just("receive"), st.integers(0, 6)),
        st.tuples(st.just("cut"), st.integers(0, 6)),
        st.tuples(st.just("back"), st.integers(0, 1)),
    ),
    max_size=40,
)


@settings(max_examples=500, deadline=None)
@given(steps)
def test_nothing_is_lost_or_comes_twice_whatever_is_cut(steps: list[tuple[str, int]]) -> None:
    """Against the plain model: one list of all that was sent."""
    client, sent, numbers = Client(), [], itertools.count()
    client.receive()
    client.be_cut_off()
    client.come_back()  # from now on a log is kept, and every cut can be mended
    away = False
    for step, count in steps:
        if step in ("send", "first"):
            batches = [Batch([document(next(numbers)) for _ in range(count)]) for _ in range(count)]
            sent += [message for batch in batches for message in batch.messages]
            if step == "first":
                client.outbox.send_first(batches)
            else:
                for batch in batches:
                    client.outbox.send_batch(batch)
        elif step == "receive" and not away:
            client.receive(count)
        elif step == "ping" and not away:
            client.outbox.pinged()
            client.receive()
            client.outbox.ponged()
        elif step == "drain" and not away:
            client.channel.buffered = 0
            client.outbox.pump()
        elif step == "cut" and not away:
            client.receive(count)
            away = client.be_cut_off()
        elif step == "back":
            assert client.come_back(buffered=count)  # also where the server has not noticed the cut
            away = False
    if away:
        assert client.come_back()
    client.channel.buffered = 0
    client.outbox.pump()
    client.receive()

    assert client.documents == sent


def test_only_what_clients_count_is_counted() -> None:
    counted = [
        CONNECTED,
        messages.failed("1"),
        messages.error("Bad request"),
        document(1),
        messages.ready(["1"]),
        messages.nosub("ping"),
        messages.result("ping"),
    ]

    assert all(map(messages.is_counted, counted))
    assert not any(map(messages.is_counted, [messages.greeting(), messages.ping(), messages.pong("x")]))


@pytest.mark.parametrize("message", [{"msg": "pong"}, {"msg": "ping", "id": "1"}, {"server_id": "0"}])
def test_uncounted_messages_as_clients_read_them(message: dict[str, Any]) -> None:
    assert not messages.is_counted(json.dumps(message, separators=(",", ":")).encode())
