"""One DDP session: what it answers, what it reports, when it gives up."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dddp.protocol.messages import ABSENT
from dddp.protocol.session import (
    Close,
    Connected,
    Invoke,
    Pinged,
    Ponged,
    Resume,
    Session,
    State,
    Subscribe,
    Unsubscribe,
)

CONNECT = '{"msg":"connect","version":"1","support":["1","pre2","pre1"]}'
CLOSE = Close(1000, "Normal closure")


class Peer:
    """A client across from a session: says things and reads the answers."""

    def __init__(self, version: str | None = None) -> None:
        self.session = Session(greeting=False)
        if version:
            self.say(msg="connect", version=version, support=[version])
            self.read()

    def say(self, **message: Any) -> list[Any]:
        return list(self.session.receive(json.dumps(message)))

    def read(self) -> list[Any]:
        return [json.loads(data) for data in self.session.data_to_send()]


def test_greeting() -> None:
    """It comes before everything and only once."""
    session = Session()

    assert session.data_to_send() == [b'{"server_id":"0"}']
    assert session.data_to_send() == []


def test_greeting_switched_off() -> None:
    assert Session(greeting=False).data_to_send() == []


# -- Negotiation


@pytest.mark.parametrize(
    ("version", "support"),
    [("1", ["1", "pre2", "pre1"]), ("pre1", ["pre1", "1"]), ("pre2", ["x", "pre2", "1"]), ("1", ["1"])],
)
def test_connect(version: str, support: list[str]) -> None:
    peer = Peer()
    [connected] = peer.say(msg="connect", version=version, support=support, session="old", more=1)

    assert connected == Connected(peer.session.id, version)
    assert len(connected.session) == 17
    assert peer.read() == [{"msg": "connected", "session": connected.session}]
    assert peer.session.version == version


@pytest.mark.parametrize(
    ("members", "best"),
    [
        ({"version": "1", "support": ["pre1"]}, "1"),
        ({"version": "pre1", "support": ["1", "pre1"]}, "1"),
        ({"version": "1", "support": ["pre1", "1"]}, "pre1"),
        ({"version": "_", "support": ["_"]}, "1"),
        ({"version": "_", "support": ["_", "pre2"]}, "pre2"),
        ({"version": "1"}, "1"),
        ({"support": ["1"]}, "1"),
        ({"support": ["pre1"]}, "1"),
        ({"version": 1, "support": [1]}, "1"),
        ({"version": "1", "support": "1"}, "1"),
        ({"version": "1", "support": ["1", 5]}, "1"),
        ({"version": None, "support": []}, "1"),
    ],
)
def test_connect_without_a_common_version(members: dict[str, Any], best: str) -> None:
    """It fails, names the version to come back with, and whatever follows is ignored."""
    peer = Peer()

    assert peer.say(msg="connect", **members) == [CLOSE]
    assert peer.read() == [{"msg": "failed", "version": best}]
    assert peer.session.receive(CONNECT) == ()
    assert peer.session.receive("{") == ()
    assert peer.read() == []


def test_sessions_have_ids_of_their_own() -> None:
    assert Peer("1").session.id != Peer("1").session.id


# -- What is out of place or malformed


@pytest.mark.parametrize(
    "text",
    [
        '{"msg":"ping"}',
        '{"msg":"pong"}',
        '{"msg":"sub"}',
        '{"msg":"unsub","id":5}',
        '{"msg":"method","id":"1","method":"m","params":[{"$date":1}]}',
        '{"msg":"disconnect"}',
        '{"msg":"nope"}',
        '{"msg":5}',
    ],
)
def test_before_connect(text: str) -> None:
    peer = Peer()

    assert peer.session.receive(text) == ()
    expected = {"msg": "error", "reason": "Must connect first", "offendingMessage": json.loads(text)}
    assert peer.read() == [expected]
    assert peer.session.state is State.AWAITING_CONNECT


@pytest.mark.parametrize("version", [None, "1", "pre1"])
@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("", {"reason": "Bad request"}),
        ("{}", {"reason": "Bad request", "offendingMessage": {}}),
        ('{"msg":"sub","params":[{"$binary":5}]}', {"reason": "Parse error"}),
    ],
)
def test_unreadable_in_any_state(version: str | None, text: str, answer: dict[str, Any]) -> None:
    peer = Peer(version)

    assert peer.session.receive(text) == ()
    assert peer.read() == [{"msg": "error", **answer}]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ({"msg": "connect", "version": "1", "support": ["1"]}, "Already connected"),
        ({"msg": "connect"}, "Already connected"),
        ({"msg": "sub", "id": "1"}, "Malformed subscription"),
        ({"msg": "method", "id": "1"}, "Malformed method invocation"),
        ({"msg": "connected"}, "Bad request"),
        ({"msg": "unsub", "id": 5}, "Bad request"),
    ],
)
def test_refused_when_connected(message: dict[str, Any], reason: str) -> None:
    """The answer echoes the message; the session goes on."""
    peer = Peer("1")

    assert peer.say(**message) == []
    assert peer.read() == [{"msg": "error", "reason": reason, "offendingMessage": message}]
    assert peer.say(msg="sub", id="1", name="books") == [Subscribe("1", "books")]


# -- What the runtime has to do


def test_events() -> None:
    peer = Peer("1")

    assert peer.say(msg="sub", id="1", name="books", params=[1]) == [Subscribe("1", "books", (1,))]
    assert peer.say(msg="unsub", id="1") == [Unsubscribe("1")]
    assert peer.say(msg="unsub") == [Unsubscribe(ABSENT)]
    assert peer.say(msg="method", id="2", method="m", randomSeed="s") == [Invoke("2", "m", (), "s")]
    assert peer.read() == []


@pytest.mark.parametrize("version", ["1", "pre1"])
def test_disconnect(version: str) -> None:
    """A client that says good-bye gets no error and is not heard again."""
    peer = Peer(version)

    assert peer.say(msg="disconnect") == [CLOSE]
    assert peer.say(msg="ping") == []
    assert peer.read() == []


def test_close() -> None:
    peer = Peer("1")

    assert peer.session.close() == (CLOSE,)
    assert peer.say(msg="sub", id="1", name="books") == []


# -- Resumption


def resuming(**members: Any) -> dict[str, Any]:
    return {"msg": "connect", "version": "1", "support": ["1"], **members}


def test_resume_is_asked_of_the_owner() -> None:
    session = Session(greeting=False, resumption=True)
    message = json.dumps(resuming(session="s" * 17, receivedCount=7))

    assert session.receive(message) == (Resume("s" * 17, 7, "1"),)
    assert (session.state, session.data_to_send()) == (State.AWAITING_CONNECT, [])
    [connected] = session.open("1")
    assert connected == Connected(session.id, "1")
    assert session.state is State.CONNECTED


@pytest.mark.parametrize(
    "members",
    [
        {"session": "old"},
        {"receivedCount": 7},
        {"session": "old", "receivedCount": "7"},
        {"session": "old", "receivedCount": True},
        {"session": "old", "receivedCount": 7.5},
        {"session": 5, "receivedCount": 7},
        {},
    ],
)
def test_client_that_does_not_count_gets_a_new_session(members: dict[str, Any]) -> None:
    [event] = Session(resumption=True).receive(json.dumps(resuming(**members)))

    assert isinstance(event, Connected) and event.session != "old"


def test_resumption_switched_off() -> None:
    [event] = Session().receive(json.dumps(resuming(session="old", receivedCount=7)))

    assert isinstance(event, Connected)


def test_resume_tells_the_same_id_and_pings_an_idle_client_again() -> None:
    peer = Peer("1")
    id = peer.session.id
    peer.session.tick()
    peer.read()
    peer.session.resume()

    assert peer.read() == [{"msg": "connected", "session": id}]
    assert peer.session.tick() == (Pinged(),)


# -- Heartbeats


@pytest.mark.parametrize("members", [{}, {"id": "a"}, {"id": ""}])
def test_ping(members: dict[str, Any]) -> None:
    peer = Peer("pre2")

    assert peer.say(msg="ping", **members) == []
    assert peer.read() == [{"msg": "pong", **members}]


@pytest.mark.parametrize("kind", ["ping", "pong"])
def test_ping_in_pre1(kind: str) -> None:
    peer = Peer("pre1")

    assert peer.say(msg=kind) == []
    assert peer.read() == [{"msg": "error", "reason": "Bad request", "offendingMessage": {"msg": kind}}]


def test_pong() -> None:
    assert Peer("1").say(msg="pong") == [Ponged()]


def test_tick_for_an_idle_client() -> None:
    """The first one pings, since connect is no sign of life; the next one closes."""
    peer = Peer("1")

    assert peer.session.tick() == (Pinged(),)
    assert peer.read() == [{"msg": "ping"}]
    assert peer.session.tick() == (CLOSE,)
    assert peer.session.tick() == ()


@pytest.mark.parametrize("text", ['{"msg":"pong"}', '{"msg":"unsub"}', "garbage"])
def test_tick_after_any_message(text: str) -> None:
    """Whatever came since the last tick is life: no ping now, one after a silent interval."""
    peer = Peer("1")
    for _ in range(3):
        peer.session.tick()
        assert peer.read() == [{"msg": "ping"}]
        peer.session.receive(text)
        peer.read()
        assert peer.session.tick() == ()
        assert peer.read() == []


def test_tick_in_pre1() -> None:
    peer = Peer("pre1")

    assert [peer.session.tick() for _ in range(5)] == [()] * 5
    assert peer.read() == []


def test_tick_before_connect() -> None:
    """A connection that never becomes a session is closed after three intervals, unpinged."""
    peer = Peer()

    assert [peer.session.tick() for _ in range(4)] == [(), (), (CLOSE,), ()]
    assert peer.read() == []


def test_message_that_nests_more_than_it_may() -> None:
    session = Session(greeting=False, depth=5)
    session.receive('{"msg":"connect","version":"1","support":["1"],"a":[[[[]]]]}')
    session.receive('{"msg":"ping","a":[[[[[]]]]]}')

    assert [json.loads(data)["msg"] for data in session.data_to_send()] == ["connected", "error"]


def test_message_that_has_more_containers_than_it_may() -> None:
    session = Session(greeting=False, containers=5)
    session.receive('{"msg":"connect","version":"1","support":["1"],"a":[[],[],"[{"]}')
    session.receive('{"msg":"ping","a":[[],[],[],[],[]]}')

    assert [json.loads(data)["msg"] for data in session.data_to_send()] == ["connected", "error"]


@given(
    st.lists(st.sampled_from(["tick", CONNECT, '{"msg":"ping"}', '{"msg":"disconnect"}', "{"]) | st.text())
)
def test_any_conversation(inputs: list[str]) -> None:
    """Never an exception; at most one Connected, one Close, and nothing after the Close."""
    session = Session()
    log: list[str] = []
    for each in inputs:
        log += [
            type(event).__name__ for event in (session.tick() if each == "tick" else session.receive(each))
        ]
        log += [json.loads(data).get("msg", "greeting") for data in session.data_to_send()]
        if session.state is State.CLOSED:
            break
    assert log.count("Connected") <= 1
    assert log.count("Close") <= 1
    assert session.state is State.CLOSED or "Close" not in log
    assert session.state is not State.CLOSED or (session.receive(CONNECT), session.data_to_send()) == ((), [])
