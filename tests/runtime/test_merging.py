"""One client, several publications of the same documents (ddp-wire 4.3, design.md section 7)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    with project.client() as client:
        yield client
        assert client.view.redundant == []


def test_fields_of_two_publications_are_united(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 3)
    titles = client.subscribed("Titles")
    prices = client.subscribed("Prices")
    assert client.documents("shop.book") == {book: {"title": "Emma", "price": 3}}
    client.unsubscribe(titles)
    assert client.documents("shop.book") == {book: {"price": 3}}
    client.unsubscribe(prices)
    assert client.documents("shop.book") == {}


def test_second_publication_of_the_same_fields_sends_nothing(project: Project, client: StrictClient) -> None:
    project.add_book("Emma", 3)
    client.subscribed("Books")
    other = client.subscribed("Cheapest", 5)
    assert len(client.received("added", "changed")) <= 2  # the book and "everybody"
    client.unsubscribe(other)
    assert len(client.documents("shop.book")) == 1


def test_change_reaches_every_field_once(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 3)
    client.subscribed("Titles")
    client.subscribed("Prices")
    client.subscribed("Books")
    for price in range(10, 15):
        project.execute("UPDATE shop_book SET price = %s, title = %s", price, str(price))
        client.wait(lambda view, price=price: view.documents("shop.book")[book]["price"] == price)
    client.ping()

    assert client.documents("shop.book") == {book: {"title": "14", "price": 14, "author_id": None}}


def test_row_leaves_one_publication_and_stays_in_the_other(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 9)
    client.subscribed("BooksFrom", 5)
    client.subscribed("Titles")
    project.execute("UPDATE shop_book SET price = 1")
    client.wait(lambda view: view.documents("shop.book") == {book: {"title": "Emma"}})
    project.execute("UPDATE shop_book SET price = 8")
    client.wait(lambda view: "price" in view.documents("shop.book")[book])
    project.execute("DELETE FROM shop_book")
    client.wait(lambda view: not view.documents("shop.book"))


def test_same_query_subscribed_twice(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 9)
    first, second = client.subscribed("Books"), client.subscribed("Books")
    client.unsubscribe(first)
    project.execute("UPDATE shop_book SET price = 1")
    client.wait(lambda view: view.documents("shop.book")[book]["price"] == 1)
    client.unsubscribe(second)

    assert client.documents("shop.book") == {}


def test_document_by_hand_over_a_live_one(project: Project, client: StrictClient) -> None:
    """Who had a field first keeps it; the other's value shows when that one leaves."""
    book = project.add_book("Emma", 3)
    live = client.subscribed("Titles")
    by_hand = client.subscribed("HandBook", book, {"title": "by hand", "extra": True})
    assert client.documents("shop.book") == {book: {"title": "Emma", "extra": True}}
    project.execute("UPDATE shop_book SET title = 'Persuasion'")
    client.wait(lambda view: view.documents("shop.book")[book]["title"] == "Persuasion")
    client.unsubscribe(live)
    assert client.documents("shop.book") == {book: {"title": "by hand", "extra": True}}
    client.unsubscribe(by_hand)
    assert client.documents("shop.book") == {}


def test_live_document_over_one_by_hand(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 3)
    by_hand = client.subscribed("HandBook", book, {"title": "by hand"})
    client.subscribed("Books")
    assert client.documents("shop.book")[book] == {"title": "by hand", "price": 3, "author_id": None}
    client.unsubscribe(by_hand)
    assert client.documents("shop.book")[book]["title"] == "Emma"
    project.execute("UPDATE shop_book SET title = 'Persuasion'")
    client.wait(lambda view: view.documents("shop.book")[book]["title"] == "Persuasion")


def test_deleted_row_stays_as_long_as_it_is_published_by_hand(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 3)
    client.subscribed("Books")
    by_hand = client.subscribed("HandBook", book, {"extra": True})
    project.execute("DELETE FROM shop_book")
    client.wait(lambda view: view.documents("shop.book") == {book: {"extra": True}})
    client.unsubscribe(by_hand)

    assert client.documents("shop.book") == {}


def test_two_publications_by_hand(client: StrictClient) -> None:
    first = client.subscribed("Hand", "a", {"foo": "bar", "baz": "quux"})
    second = client.subscribed("Hand", "a", {"foo": "baz"})
    assert client.documents("things") == {"a": {"foo": "bar", "baz": "quux"}}
    client.unsubscribe(first)
    assert client.documents("things") == {"a": {"foo": "baz"}}
    client.unsubscribe(second)
    assert client.documents("things") == {}


def test_one_step_for_one_transaction_over_two_publications(project: Project, client: StrictClient) -> None:
    """A row that moves from one publication to the other is changed, never removed and added."""
    book = project.add_book("Emma", 1)
    client.subscribed("BooksBetween", 5, 4)
    for price in (9, 1, 9):
        project.execute("UPDATE shop_book SET price = %s", price)
        client.wait(lambda view, price=price: view.documents("shop.book")[book]["price"] == price)

    assert client.received("removed") == []
