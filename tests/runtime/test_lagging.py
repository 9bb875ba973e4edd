"""Clients that read slowly: bounded memory, the last state, and nobody else waits (promise 10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project
from tests.runtime.raw import RawClient

BOOKS = 20
PAD = "x" * 20_000
THRESHOLD = 64 * 1024


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"LAG_THRESHOLD": THRESHOLD, "OUTBOX_LIMIT": 4 * 1024 * 1024, "COMPRESSION_THRESHOLD": None}


@pytest.fixture
def slow(project: Project) -> Iterator[RawClient]:
    """A session that sees all books, and does not read."""
    project.execute("ALTER TABLE shop_book ALTER title TYPE text")
    with project.connected() as client:
        for number in range(BOOKS):
            project.add_book(f"book {number}", number)
        client.send_messages({"msg": "sub", "id": "s", "name": "Books", "params": []})
        while json.loads(client.receive())["msg"] != "ready":
            pass
        yield client


def rewrite(project: Project, rounds: int, start: int = 0) -> None:
    """Give every book a new long title, so many times: far more than any buffer takes."""
    for number in range(start, start + rounds):
        project.execute("UPDATE shop_book SET title = %s || price", f"{number} {PAD}")


def caught_up(project: Project) -> StrictClient:
    """Another client, which has seen everything: it may have come in before the last change was told."""
    client: StrictClient = project.client()
    client.subscribed("Books")
    titles = dict(project.execute("SELECT id::text, title FROM shop_book"))
    client.wait(
        lambda view: {key: book["title"] for key, book in view.documents("shop.book").items()} == titles
    )
    return client


def told(client: RawClient, until: str) -> list[dict[str, Any]]:
    """The backlog, read to the answer of a method."""
    messages = []
    while True:
        messages.append(json.loads(client.receive()))
        if messages[-1].get("msg") == "result" and messages[-1]["id"] == until:
            return messages


def documents(messages: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The books' last fields, of those that the messages tell."""
    books: dict[str, dict[str, Any]] = {}
    for message in messages:
        if message.get("collection") == "shop.book":
            if message["msg"] == "removed":
                books[message["id"]] = {}
            else:
                books.setdefault(message["id"], {}).update(message.get("fields", {}))
    return books


def test_client_that_does_not_read_is_told_the_last_state(project: Project, slow: RawClient) -> None:
    """20 books of 20 KB, 120 times: 48 MB for who reads, and less than the 4 MB limit for who does not."""
    rewrite(project, 120)
    with caught_up(project) as other:
        last = {key: fields["title"] for key, fields in other.documents("shop.book").items()}
    slow.send_messages({"msg": "method", "method": "echo", "id": "m", "params": [1]})
    messages = told(slow, "m")

    assert {key: fields["title"] for key, fields in documents(messages).items()} == last
    assert len([each for each in messages if each["msg"] == "changed"]) < BOOKS * 120 / 3


def test_rows_that_come_and_go_meanwhile_are_not_told(project: Project, slow: RawClient) -> None:
    rewrite(project, 20)
    for _ in range(5):
        project.add_book("passing", 99)
        project.execute("DELETE FROM shop_book WHERE price = 99")
    project.execute("DELETE FROM shop_book WHERE price = 0")
    slow.send_messages({"msg": "method", "method": "echo", "id": "m", "params": [1]})
    messages = told(slow, "m")

    kinds = [each["msg"] for each in messages if each.get("collection") == "shop.book"]
    assert (kinds.count("added"), kinds.count("removed")) == (0, 1)


def test_own_writes_come_before_updated_all_the_same(project: Project, slow: RawClient) -> None:
    rewrite(project, 20)
    slow.send_messages({"msg": "method", "method": "add_book", "id": "m", "params": ["Emma"]})
    rewrite(project, 20, start=20)
    with caught_up(project) as other:
        other.call("echo", 1)
    slow.send_messages({"msg": "method", "method": "echo", "id": "n", "params": [1]})
    messages = told(slow, "n")

    added = next(
        n for n, each in enumerate(messages) if each["msg"] == "added" and each["collection"] == "shop.book"
    )
    assert added < messages.index({"msg": "updated", "methods": ["m"]})


def test_subscription_made_meanwhile_fits(project: Project, slow: RawClient) -> None:
    """What it brings is told behind what was held back."""
    rewrite(project, 20)
    slow.send_messages(
        {"msg": "sub", "id": "t", "name": "BooksFrom", "params": [0]}, {"msg": "unsub", "id": "s"}
    )
    rewrite(project, 20, start=20)
    project.execute("DELETE FROM shop_book WHERE price = 1")
    with caught_up(project) as other:
        left = set(other.documents("shop.book"))
    slow.send_messages({"msg": "method", "method": "echo", "id": "m", "params": [1]})
    messages = told(slow, "m")

    assert {key for key, fields in documents(messages).items() if fields} == left


def test_nobody_waits_for_a_client_that_does_not_read(project: Project, slow: RawClient) -> None:
    with caught_up(project) as other:
        rewrite(project, 20)
        other.wait(
            lambda view: all(
                fields["title"].startswith("19 ") for fields in view.documents("shop.book").values()
            )
        )


def test_subscription_waits_until_a_client_has_taken_what_earlier_ones_brought(
    project: Project, slow: RawClient
) -> None:
    """First documents are not charged to the client's limit, so they must not pile up; nor does what is behind."""
    slow.send_messages({"msg": "unsub", "id": "s"})
    while json.loads(slow.receive())["msg"] != "nosub":
        pass
    project.execute("UPDATE shop_book SET title = %s", PAD * 50)
    slow.send_messages(
        {"msg": "sub", "id": "t", "name": "Books", "params": []},
        {"msg": "unsub", "id": "t"},
        {"msg": "sub", "id": "u", "name": "Books", "params": []},
        {"msg": "method", "method": "add_book", "id": "m", "params": ["Emma"]},
    )
    with caught_up(project) as other:
        other.call("echo", 1)
    written = "SELECT title FROM shop_book WHERE title = 'Emma'"
    assert project.execute(written) == []
    messages = told(slow, "m")

    assert project.execute(written) == [("Emma",)]
    assert [each["id"] for each in messages if each["msg"] == "nosub"] == ["t"]
