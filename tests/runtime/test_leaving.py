"""However a client leaves, nothing of it is left: no query, document, subscriber, LISTEN, nor any object."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project

Leave = Callable[[StrictClient], None]


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """A client that is cut off does not come back; what waits for those that may is in ``test_resumption``."""
    return {"RESUMPTION_TIME_LIMIT": 0}


@pytest.fixture
def watcher(project: Project) -> Iterator[StrictClient]:
    """A client that has subscribed to nothing, and asks."""
    with project.client() as client:
        client.call("counts")
        yield client


def wait_for(watcher: StrictClient, expected: dict[str, int]) -> None:
    """Ask until the counts are these: what ends, ends soon, but not at once."""
    end = time.monotonic() + 10
    while (counts := watcher.call("counts")) != expected:
        left = {name: (count, expected[name]) for name, count in counts.items() if count != expected[name]}
        assert time.monotonic() < end, left
        watcher.ping()


def close(client: StrictClient) -> None:
    client.close()


def drop(client: StrictClient) -> None:
    client.drop()


def be_closed(client: StrictClient) -> None:
    client.invoke("leave")
    client.wait_closed()


LEAVES = pytest.mark.parametrize("leave", [close, drop, be_closed])


@LEAVES
def test_client_with_subscriptions(project: Project, watcher: StrictClient, leave: Leave) -> None:
    idle = watcher.call("counts")
    project.add_book("Emma", 3)
    client = project.client()
    client.subscribed("Shop")
    client.subscribed("Records")
    client.subscribed("Titles")
    client.subscribed("Cheapest", 3)
    client.subscribed("HandBook", "1", {"by": "hand"})
    assert watcher.call("counts")["default queries"] == 4
    leave(client)
    wait_for(watcher, idle)


@LEAVES
def test_client_that_has_called_and_logged_in(project: Project, watcher: StrictClient, leave: Leave) -> None:
    idle = watcher.call("counts")
    client = project.client()
    client.subscribed("Books")
    client.subscribed("Letters")
    client.call("log_in", "jane")
    client.call("send_letter", "Dear diary")
    client.call("add_everywhere", "all")
    client.call("log_out")
    leave(client)
    wait_for(watcher, idle)


@pytest.mark.parametrize("leave", [close, drop])
def test_client_that_leaves_while_its_subscription_starts(
    project: Project, watcher: StrictClient, leave: Leave
) -> None:
    idle = watcher.call("counts")
    client = project.client()
    client.subscribe("Gated", f"starting {leave.__name__}")
    watcher.call("arrival", f"starting {leave.__name__}")
    leave(client)
    watcher.call("open", f"starting {leave.__name__}")
    wait_for(watcher, idle)


@pytest.mark.parametrize("leave", [close, drop])
def test_client_that_leaves_during_a_method(project: Project, watcher: StrictClient, leave: Leave) -> None:
    idle = watcher.call("counts")
    client = project.client()
    client.subscribed("Books")
    client.invoke("wait_then_add", f"method {leave.__name__}", "saved all the same")
    client.invoke("add_book", "never")
    watcher.call("arrival", f"method {leave.__name__}")
    leave(client)
    watcher.call("open", f"method {leave.__name__}")
    wait_for(watcher, idle)
    assert project.execute("SELECT title FROM shop_book") == [("saved all the same",)]


@pytest.mark.parametrize("leave", [close, drop])
def test_client_that_leaves_during_a_login(project: Project, watcher: StrictClient, leave: Leave) -> None:
    idle = watcher.call("counts")
    client = project.client()
    client.subscribed("Books")
    client.subscribed("GatedForUser", f"login {leave.__name__}")
    client.invoke("log_in", "jane")
    watcher.call("arrival", f"login {leave.__name__}")
    leave(client)
    watcher.call("open", f"login {leave.__name__}")
    wait_for(watcher, idle)


def test_clients_that_leave_at_once_after_subscribing(project: Project, watcher: StrictClient) -> None:
    """Before, during and after LISTEN, read and token: whenever it happens to be."""
    idle = watcher.call("counts")
    project.add_book("Emma", 3)
    for number in range(40):
        client = project.client()
        client.subscribe("BooksFrom", -number)
        client.subscribe("Records")
        client.invoke("add_book", "written")
        if number % 4 == 1:
            client.ping()
        client.drop()
    wait_for(watcher, idle)


def test_client_that_leaves_during_a_large_first_batch(project: Project, watcher: StrictClient) -> None:
    idle = watcher.call("counts")
    project.execute(
        "INSERT INTO shop_book (title, price) SELECT repeat('x', 80), n FROM generate_series(1, 8000) n"
    )
    for _ in range(3):
        client = project.client()
        client.subscribe("Books")
        client.wait(lambda view: view.documents("shop.book"))
        client.drop()
    wait_for(watcher, idle)


def test_unsubscribing_frees_as_much_as_leaving(project: Project, watcher: StrictClient) -> None:
    project.add_book("Emma")
    with project.client() as client:
        client.ping()
        idle = watcher.call("counts")
        for name in ("Books", "Titles", "Records", "HandAndQueries"):
            client.unsubscribe(client.subscribed(name))
        wait_for(watcher, idle)


def test_failed_subscriptions_free_everything(project: Project, watcher: StrictClient) -> None:
    project.add_book("free", 0)
    with project.client() as client:
        client.ping()
        idle = watcher.call("counts")
        for name in ("DividedBooks", "Reviewed", "Members", "NotAQueryset"):
            subscription = client.subscribe(name)
            client.wait(lambda view, subscription=subscription: subscription.ended)
        wait_for(watcher, idle)


def test_nothing_stays_behind_a_cut_of_the_feed(project: Project, watcher: StrictClient) -> None:
    idle = watcher.call("counts")
    project.add_book("Emma", 3)
    client = project.client()
    client.subscribed("Shop")
    since = len(project.server.log)
    project.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE 'dddp %%' AND pid <> pg_backend_pid()"
    )
    project.server.wait_for_log("the change feed is back", since=since)
    book = project.add_book("Persuasion", 3)
    client.wait(lambda view: book in view.documents("shop.book"))
    client.drop()
    wait_for(watcher, idle)
