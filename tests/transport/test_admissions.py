"""How many sessions one client address may have, and who counts as one address."""

from __future__ import annotations

import pytest

from dddp.transport import Limits, Request
from dddp.transport.admissions import Admissions
from tests.transport.peers import UPGRADE, Client, RecordingApplication, close, serving, text, until

REFUSED = "HTTP/1.1 429 Too Many Requests"


def named(request: Request) -> str:
    return request.headers.get("x-forwarded-for", "")


def ask(client: Client, *headers: str) -> str:
    return client.request("GET /websocket HTTP/1.1", *UPGRADE, *headers)[0]


def test_session_beyond_the_limit_of_its_address_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    application = RecordingApplication()
    with serving(application, limits=Limits(sessions=2)) as server:
        clients = [Client(server) for _ in range(4)]
        answers = [ask(client) for client in clients]

        assert [answer == REFUSED for answer in answers] == [False, False, True, True]
        assert len(application.receivers) == 2
        for client in clients:
            client.disconnect()
    assert caplog.messages == ["! 127.0.0.1 has 2 sessions, no more are admitted"]


@pytest.mark.parametrize("end", ["close", "disconnect"])
def test_session_that_has_ended_makes_room(end: str) -> None:
    limits = Limits(sessions=1, closing=0.05)
    with (
        serving(RecordingApplication(), limits=limits) as server,
        Client(server) as client,
        Client(server) as other,
    ):
        client.upgrade()
        if end == "close":
            client.send(close(1000))
            client.read_close()
        client.disconnect()
        until(lambda: not server.channels)

        assert ask(other) != REFUSED


def test_addresses_are_counted_one_by_one() -> None:
    """A proxy's clients are not one client, where its word is taken."""
    limits = Limits(sessions=1)
    with (
        serving(RecordingApplication(), limits=limits, client_address=named) as server,
        Client(server) as one,
        Client(server) as two,
        Client(server) as one_again,
    ):
        one.upgrade("X-Forwarded-For: 192.0.2.1").send(text("a"))
        two.upgrade("X-Forwarded-For: 192.0.2.2").send(text("b"))

        assert (one.read()[1], two.read()[1]) == (b"a", b"b")
        assert ask(one_again, "X-Forwarded-For: 192.0.2.1") == REFUSED


def test_refused_handshakes_are_not_counted() -> None:
    with serving(RecordingApplication(), limits=Limits(sessions=1), accept=lambda request: False) as server:
        for _ in range(3):
            with Client(server) as client:
                assert ask(client) == "HTTP/1.1 403 Forbidden"


def test_no_limit_admits_any_number() -> None:
    admissions = Admissions(None)
    for _ in range(1000):
        assert admissions.admits("192.0.2.1")
        admissions.enter("192.0.2.1")


def test_addresses_without_sessions_are_forgotten() -> None:
    admissions = Admissions(1)
    admissions.enter("192.0.2.1")
    assert not admissions.admits("192.0.2.1")
    admissions.leave("192.0.2.1")

    assert not admissions._sessions
    assert not admissions._full
