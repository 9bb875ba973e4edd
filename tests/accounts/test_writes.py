"""Meteor's own methods of a collection, by the rules of logged-in users, over real sockets; and watching."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.accounts.conftest import Accounts
from tests.accounts.test_login import refusal, since
from tests.client import StrictClient

SEED = "0123456789abcdef0123"


@pytest.fixture
def writer(accounts: Accounts, client: StrictClient) -> Iterator[StrictClient]:
    """Logged in as ann, and subscribed to her diary."""
    accounts.log_in(client)
    client.subscribed("Entries")
    yield client


def test_document_comes_before_updated(writer: StrictClient, ann: str) -> None:
    """So the page that has simulated the insert does not flicker; with the id that it has drawn."""
    key = writer.call("/entries/insert", {"text": "Dear diary", "owner_id": ann}, random_seed=SEED)

    assert writer.documents("entries") == {key: {"text": "Dear diary", "stars": 0, "owner_id": ann}}
    assert (len(key), key) == (17, writer_draws(SEED))


def writer_draws(seed: str) -> str:
    from dddp.protocol.alea import RandomStreams

    return RandomStreams(seed).stream("/collection/entries").id()


def test_update_and_remove(writer: StrictClient, ann: str) -> None:
    key = writer.call("/entries/insertAsync", {"_id": "mine", "text": "Dear diary", "owner_id": ann})
    told = since(writer, "/entries/update", {"_id": key}, {"$inc": {"stars": 2}}, {})

    names = [message["msg"] for message in told]
    assert told[names.index("changed")]["fields"] == {"stars": 2}
    assert names.index("changed") < names.index("updated")
    assert writer.call("/entries/removeAsync", {"_id": key}) == 1
    assert writer.documents("entries") == {}


def test_nothing_is_written_for_another_user(accounts: Accounts, writer: StrictClient, ann: str) -> None:
    writer.call("/entries/insert", {"_id": "mine", "text": "Dear diary", "owner_id": ann})
    with accounts.client() as bob:
        accounts.log_in(bob, "bob")

        assert bob.call("/entries/remove", {"_id": "mine"}) == 0
        assert bob.call("/entries/update", {"_id": "mine"}, {"$set": {"text": "!"}}, {}) == 0
        assert refusal(bob, "/entries/insert", {"text": "!", "owner_id": ann}) == (403, "Access denied")
    assert writer.documents("entries")["mine"]["text"] == "Dear diary"


def test_wrong_values_change_nothing(writer: StrictClient, ann: str) -> None:
    assert refusal(writer, "/entries/insert", {"text": "x" * 21, "owner_id": ann})[0] == 400
    assert refusal(writer, "/entries/insert", {"text": "x\0", "owner_id": ann})[0] == 400
    assert writer.documents("entries") == {}


def test_users_cannot_be_written(writer: StrictClient, ann: str) -> None:
    assert refusal(writer, "/users/update", {"_id": ann}, {"$set": {"profile": {}}}, {}) == (
        403,
        "Access denied",
    )


def test_publication_hears_what_it_watches(accounts: Accounts, writer: StrictClient, ann: str) -> None:
    """Rows of all users: no ``user_rel`` applies to the server itself."""
    writer.call("/entries/insert", {"_id": "one", "text": "Dear diary", "stars": 1, "owner_id": ann})
    with accounts.client() as anybody:
        watching = anybody.subscribed("Watched")

        def watched(view) -> object:
            return view.documents("watched")["entries"]["ids"]

        anybody.wait(lambda view: watched(view) == ["one"])
        writer.call("/entries/insert", {"_id": "two", "text": "Dear diary", "stars": 1, "owner_id": ann})
        anybody.wait(lambda view: watched(view) == ["one", "two"])
        writer.call("/entries/update", {"_id": "one"}, {"$set": {"stars": 0}}, {})
        anybody.wait(lambda view: watched(view) == ["two"])
        anybody.unsubscribe(watching)
        assert "entries" not in anybody.collections()
