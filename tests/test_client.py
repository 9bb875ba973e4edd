"""The strict client itself, against the real server."""

from __future__ import annotations

import pytest

from tests.client import Closed, IllegalMessage, RemoteError, StrictClient
from tests.server import DDDPServer


def test_a_subscription_comes_and_goes(bookstore: DDDPServer) -> None:
    with bookstore.client() as client:
        subscription = client.subscribed("CheapestBooks", 3)
        assert len(client.documents("bookstore.book")) == 3
        client.unsubscribe(subscription)

        assert client.collections() == {}


def test_errors_are_raised_as_the_server_gave_them(bookstore: DDDPServer) -> None:
    with bookstore.client() as client:
        with pytest.raises(RemoteError) as unknown:
            client.subscribed("Nothing")
        with pytest.raises(RemoteError) as missing:
            client.call("bookstore.remove_book", "0")

    assert (unknown.value.error, unknown.value.reason) == (404, "Subscription 'Nothing' not found")
    assert missing.value.error == 404


def test_versions_are_negotiated(bookstore: DDDPServer) -> None:
    """A version that is not spoken is answered with one that is, and the connection ends."""
    with bookstore.client(connect=False) as client:
        client.connect("pre3", ["pre3"])
        assert client.view.failed == "1"
        assert client.wait_closed().code == 1000


def test_malformed_messages_are_answered(bookstore: DDDPServer) -> None:
    with bookstore.client() as client:
        client.send_raw('{"msg":"sub"}')
        client.wait(lambda view: view.errors)

    assert client.view.errors[0]["reason"] == "Malformed subscription"


def test_a_ping_waits_for_what_was_sent_before(bookstore: DDDPServer) -> None:
    with bookstore.client() as client:
        client.ping("p1")

    assert client.received("pong") == [{"msg": "pong", "id": "p1"}]


def test_a_dropped_client_hurts_nobody(bookstore: DDDPServer) -> None:
    dropped = bookstore.client()
    dropped.subscribe("AllBooks")
    dropped.drop()

    with bookstore.client() as client:
        assert client.subscribed("CheapestBooks", 1).ready
    assert dropped.closed == Closed(1006)


def test_an_illegal_message_is_raised_at_the_next_call(bookstore: DDDPServer) -> None:
    """A subscription that the judge was not told of makes the server's answer illegal."""
    client = StrictClient(bookstore.url)
    client.send_raw('{"msg":"sub","id":"behind its back","name":"CheapestBooks","params":[1]}')

    with pytest.raises(IllegalMessage):
        client.wait(lambda view: False)
    with pytest.raises(IllegalMessage):
        client.close()


def test_a_wait_that_is_not_fulfilled_tells_the_last_messages(bookstore: DDDPServer) -> None:
    with bookstore.client() as client, pytest.raises(TimeoutError, match="connected"):
        client.wait(lambda view: False, time_limit=0.1)
