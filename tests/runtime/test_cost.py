"""What live queries cost in SQL (promise 9): exact numbers, not bounds.

Each test counts from where it begins; what it writes is over when every client has it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project

MANY = 20


class Meter:
    """The SQL that live queries have cost since it was made."""

    def __init__(self, client: StrictClient) -> None:
        self._client = client
        self._before = client.call("spent")

    def read(self) -> tuple[int, int]:
        """(queries run, reads of rows that entered through a relation)."""
        now = self._client.call("spent")
        return now["runs"] - self._before["runs"], now["move_ins"] - self._before["move_ins"]


@pytest.fixture
def clients(project: Project) -> Iterator[list[StrictClient]]:
    with ExitStack() as stack:
        yield [stack.enter_context(project.client()) for _ in range(MANY)]


def wait_for_titles(client: StrictClient, *expected: str) -> None:
    client.wait(
        lambda view: sorted(b["title"] for b in view.documents("shop.book").values()) == sorted(expected)
    )


def test_equal_subscriptions_run_one_query(project: Project, clients: list[StrictClient]) -> None:
    """The first one's; whoever joins gets what is there."""
    project.add_book("Emma", 5)
    meter = Meter(clients[0])
    for client in clients:
        client.subscribed("BooksFrom", 3)

    assert meter.read() == (1, 0)


def test_change_of_a_filtered_query_runs_none(project: Project, clients: list[StrictClient]) -> None:
    """Rows that enter, change and leave are decided without SQL, whatever the number of queries."""
    for number, client in enumerate(clients):
        client.subscribed("BooksFrom", number)
    meter = Meter(clients[0])
    book = project.add_book("Emma", 5)
    wait_for_titles(clients[5], "Emma")
    project.execute("UPDATE shop_book SET price = 10 WHERE id = %s", book)
    wait_for_titles(clients[10], "Emma")
    project.execute("DELETE FROM shop_book")
    for client in clients:
        wait_for_titles(client)

    assert meter.read() == (0, 0)


def test_distinct_queries_run_once_each(project: Project, clients: list[StrictClient]) -> None:
    meter = Meter(clients[0])
    for number, client in enumerate(clients):
        client.subscribed("BooksBy", f"author {number}")

    assert meter.read() == (MANY, 0)


def test_row_that_leaves_through_its_author_runs_nothing(
    project: Project, clients: list[StrictClient]
) -> None:
    author = project.add_author("author 1")
    project.execute("INSERT INTO shop_book (title, price, author_id) VALUES ('Emma', 1, %s)", author)
    clients[1].subscribed("BooksBy", "author 1")
    meter = Meter(clients[0])
    project.execute("UPDATE shop_book SET title = 'Emma again'")
    wait_for_titles(clients[1], "Emma again")
    project.execute("UPDATE shop_author SET name = 'nobody'")
    wait_for_titles(clients[1])

    assert meter.read() == (0, 0)


def test_rows_that_enter_through_their_authors_cost_one_read_for_all_queries(
    project: Project, clients: list[StrictClient]
) -> None:
    """One transaction renames all authors: every query gets another one's books, by one read."""
    for number, client in enumerate(clients):
        author = project.add_author(f"author {number}")
        sql = "INSERT INTO shop_book (title, price, author_id) VALUES (%s, 1, %s)"
        project.execute(sql, f"book {number}", author)
        client.subscribed("BooksBy", f"author {number}")
    meter = Meter(clients[0])
    project.execute(
        "UPDATE shop_author SET name = 'author ' || ((substr(name, 8)::int + 1) %% %s)::text", MANY
    )
    for number, client in enumerate(clients):
        wait_for_titles(client, f"book {(number - 1) % MANY}")

    assert meter.read() == (0, 1)


def test_change_two_tables_away_costs_two_reads_for_all_queries(
    project: Project, clients: list[StrictClient]
) -> None:
    """One transaction renames all houses: their authors are read, then the books that enter, for all at once."""
    for number, client in enumerate(clients):
        house = project.execute("INSERT INTO shop_house (name) VALUES (%s) RETURNING id", f"house {number}")[
            0
        ][0]
        sql = "INSERT INTO shop_author (name, house_id) VALUES ('Austen', %s) RETURNING id"
        author = project.execute(sql, house)[0][0]
        sql = "INSERT INTO shop_book (title, price, author_id) VALUES (%s, 1, %s)"
        project.execute(sql, f"book {number}", author)
        client.subscribed("BooksOf", f"house {number}")
    meter = Meter(clients[0])
    project.execute("UPDATE shop_house SET name = 'house ' || ((substr(name, 7)::int + 1) %% %s)::text", MANY)
    for number, client in enumerate(clients):
        wait_for_titles(client, f"book {(number - 1) % MANY}")

    assert meter.read() == (0, 2)


def test_changes_in_a_slice_run_nothing(project: Project, clients: list[StrictClient]) -> None:
    """Rows that move in, within, or out as another one moves in, and whatever happens behind the last one."""
    for client in clients:
        client.subscribed("Cheapest", 2)
    meter = Meter(clients[0])
    for title, price in [("Emma", 5), ("Ulysses", 6), ("Persuasion", 4), ("Dubliners", 9)]:
        project.add_book(title, price)
    project.execute("UPDATE shop_book SET price = 8 WHERE title = 'Dubliners'")
    project.execute("UPDATE shop_book SET price = 1 WHERE title = 'Emma'")
    project.execute("DELETE FROM shop_book WHERE title = 'Ulysses'")
    project.execute("UPDATE shop_book SET title = 'The Dead', price = 0 WHERE title = 'Dubliners'")
    for client in clients:
        wait_for_titles(client, "Emma", "The Dead")

    assert meter.read() == (0, 0)


def test_row_that_moves_up_into_a_slice_is_read_once_for_all_who_see_it(
    project: Project, clients: list[StrictClient]
) -> None:
    for title, price in [("Emma", 5), ("Ulysses", 6), ("Persuasion", 7)]:
        project.add_book(title, price)
    for client in clients:
        client.subscribed("Cheapest", 2)
    meter = Meter(clients[0])
    project.execute("DELETE FROM shop_book WHERE title = 'Emma'")
    for client in clients:
        wait_for_titles(client, "Ulysses", "Persuasion")

    assert meter.read() == (1, 0)
