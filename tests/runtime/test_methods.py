"""Methods of the real server: order, arguments, errors, results, transactions and the write fence (ddp-wire 5)."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project, error_of
from tests.strict import Message, RemoteError

VECTORS = json.loads((Path(__file__).parent.parent / "vectors.json").read_text())


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    with project.client() as client:
        client.wait(lambda view: view.documents("everybody"))
        yield client


@pytest.fixture
def watching(client: StrictClient) -> StrictClient:
    """A client that is subscribed to the rows of both databases."""
    client.subscribed("Shop")
    client.subscribed("Records")
    return client


def since_call(client: StrictClient, name: str, *params: Any) -> list[Message]:
    """Call a method; the messages from then on, until its result and its updated are there."""
    before = len(client.received())
    with contextlib.suppress(RemoteError):
        client.call(name, *params)
    client.ping()
    return [message for message in client.received()[before:] if message["msg"] != "pong"]


def kinds(messages: list[Message]) -> list[str]:
    return [message["msg"] for message in messages]


def titles(client: StrictClient) -> set[str]:
    return {book["title"] for book in client.documents("shop.book").values()}


# --- order


def test_methods_run_one_after_another(project: Project, client: StrictClient) -> None:
    first = client.invoke("wait", "in order")
    second = client.invoke("echo", 2)
    with project.client() as other:
        other.call("arrival", "in order")
        client.ping()
        assert not first.answered and not second.answered
        other.call("open", "in order")
    client.wait_done(second)

    assert [message["id"] for message in client.received("result")] == [first.id, second.id]


def test_ping_is_answered_while_a_method_runs(project: Project, client: StrictClient) -> None:
    call = client.invoke("wait", "ping")
    client.ping("now")
    assert not call.answered
    with project.client() as other:
        other.call("open", "ping")
    client.wait_done(call)


def test_unblock_lets_the_next_message_start(client: StrictClient) -> None:
    first = client.invoke("unblocked_wait", "unblocked")
    client.call("open", "unblocked")
    client.wait_done(first)


def test_unblock_lets_a_subscription_start(client: StrictClient) -> None:
    first = client.invoke("unblocked_wait", "unblocked by sub")
    client.subscribed("Nothing")
    assert not first.answered
    client.call("open", "unblocked by sub")
    client.wait_done(first)


def test_too_many_waiting_messages_end_the_connection(project: Project) -> None:
    client = project.client()
    client.send({"msg": "method", "id": "w", "method": "wait", "params": ["flood"]})
    for number in range(60):
        client.send({"msg": "method", "id": str(number), "method": "nothing"})
    assert client.wait_closed().code == 4008
    with project.client() as other:
        other.call("open", "flood")


@pytest.mark.parametrize("title", ["a\0b", "a\ud800b"])
def test_text_that_the_database_cannot_hold_is_a_400(client: StrictClient, title: str) -> None:
    error = error_of(client, "add_book", title)

    assert error.error == 400
    assert error_of(client, "add_book", 7).error == 400  # the connection goes on


def test_many_slow_methods_of_one_client_delay_no_other(project: Project, client: StrictClient) -> None:
    """More of them than the pool has greenlets; they run in turns of half the pool."""
    calls = [client.invoke("unblocked_wait", "many slow") for _ in range(10)]
    client.ping()
    with project.client() as other:
        assert other.call("echo", 1) == 1
        other.call("open", "many slow")
    for call in calls:
        client.wait_done(call)


def test_many_slow_subscriptions_of_one_login_delay_no_other(project: Project, client: StrictClient) -> None:
    for number in range(10):
        client.subscribed("GatedForUser", f"slow login {number}")
    call = client.invoke("log_in", "jane")
    with project.client() as other:
        other.call("arrival", "slow login 0")
        for number in range(10):
            other.call("open", f"slow login {number}")
    client.wait_done(call)


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"METHOD_QUEUE_LIMIT": 50, "HANDLER_POOL_SIZE": 6}


def test_pool_survives_methods_that_raise_no_exception(client: StrictClient) -> None:
    """gevent.Timeout and SystemExit are none; more of them than the pool has greenlets."""
    for _ in range(8):
        assert error_of(client, "raising", "timeout").error == 500
        assert error_of(client, "raising", "exit").error == 500


# --- arguments and errors


def test_arguments_are_passed(client: StrictClient) -> None:
    assert client.call("add", 2, 3) == 5


@pytest.mark.parametrize("params", [[], [1], [1, 2, 3], ["1", 2], [1.5, 2], [True, 2], [None, 2]])
def test_arguments_that_do_not_fit_are_a_400(client: StrictClient, params: list[Any]) -> None:
    error = error_of(client, "add", *params)

    assert (error.error, error.reason) == (400, "Match failed")


@pytest.mark.parametrize(
    ("kind", "code", "reason", "details"),
    [
        ("meteor", "closed", "We are closed", {"until": "Monday"}),
        ("bare", 418, None, None),
        (
            "invalid",
            400,
            "title: Too long. price: Too much.",
            {"title": ["Too long."], "price": ["Too much."]},
        ),
        ("denied", 403, "Not you", None),
        ("missing", 404, "Book matching query does not exist.", None),
        ("404", 404, "No such page", None),
        ("zero", 500, "Internal server error", None),
    ],
)
def test_errors_become_what_the_client_may_know(
    project: Project, client: StrictClient, kind: str, code: Any, reason: str | None, details: Any
) -> None:
    error = error_of(client, "raising", kind)

    assert (error.error, error.reason, error.details) == (code, reason, details)
    assert project.execute("SELECT count(*) FROM shop_book") == [(0,)]


def test_traceback_is_in_the_log_and_not_on_the_wire(project: Project, client: StrictClient) -> None:
    since = len(project.server.log)
    error_of(client, "raising", "zero")
    project.server.wait_for_log("method raising failed", since=since)
    project.server.wait_for_log("ZeroDivisionError: a secret", since=since)

    assert "secret" not in str(client.received())


def test_login_required(client: StrictClient) -> None:
    assert error_of(client, "secret").error == 403
    client.call("log_in", "jane")
    assert client.call("secret") == "jane"


def test_permission_required(client: StrictClient) -> None:
    client.call("log_in", "jane")
    assert error_of(client, "staff_only").reason == "You need the permission shop.change_book"


# --- results and ids


@pytest.mark.parametrize(
    "value", [0, False, "", [], {}, {"$date": "x"}, {"a": [1, {"b": None}]}, "☃😀", 2**53]
)
def test_values_come_back_as_they_went(client: StrictClient, value: Any) -> None:
    assert client.call("echo", value) == value


def test_none_is_absent(client: StrictClient) -> None:
    client.call("nothing")

    assert "result" not in client.received("result")[0]


def test_dates_and_bytes_are_ejson(client: StrictClient) -> None:
    client.call("now")
    at = datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC)

    assert client.received("result")[0]["result"] == {
        "at": {"$date": int(at.timestamp() * 1000)},
        "raw": {"$binary": "AP8="},
    }


def test_unencodable_result_is_a_500_and_undoes_the_writes(project: Project, watching: StrictClient) -> None:
    assert error_of(watching, "unencodable").error == 500
    assert project.execute("SELECT count(*) FROM shop_book") == [(0,)]
    assert watching.received("added")[1:] == []


@pytest.mark.parametrize("row", VECTORS["randomStream"], ids=lambda row: row["randomSeed"])
def test_random_ids_equal_the_clients(client: StrictClient, row: Any) -> None:
    drawn = [call for call in row["calls"] if call[0].startswith("/collection/") and call[1] == "id"]
    collections = [stream.removeprefix("/collection/") for stream, _, _ in drawn]

    assert client.call("ids", collections, random_seed=row["randomSeed"]) == [id for _, _, id in drawn]


def test_random_ids_differ_without_a_seed(client: StrictClient) -> None:
    ids = {*client.call("ids", ["foo", "foo"]), *client.call("ids", ["foo", "foo"])}

    assert len(ids) == 4


# --- transactions


def test_failed_method_leaves_nothing(project: Project, watching: StrictClient) -> None:
    messages = since_call(watching, "add_two_then_fail")

    assert sorted(kinds(messages)) == ["result", "updated"]
    assert project.execute("SELECT count(*) FROM shop_book") == [(0,)]


def test_transaction_rolled_back_on_purpose_is_no_error(project: Project, watching: StrictClient) -> None:
    """``transaction.set_rollback(True)``: the answer stays, the writes do not."""
    assert watching.call("add_then_roll_back") == "would have added"
    assert project.execute("SELECT count(*) FROM shop_book") == [(0,)]
    assert watching.received("added")[1:] == []


def test_failed_method_without_a_transaction_keeps_what_it_wrote(watching: StrictClient) -> None:
    messages = since_call(watching, "add_two_then_fail_apart")

    assert titles(watching) == {"first", "second"}
    assert kinds(messages).index("updated") > 1


def test_lost_connection_is_a_stated_error(project: Project, client: StrictClient) -> None:
    error = error_of(client, "lose_database", "lost")
    assert error.error == 503
    assert "may or may not" in str(error.reason)
    client.subscribed("Books")
    assert client.call("add_book", "found") and titles(client) == {"found"}


def test_methods_work_at_once_after_the_database_was_gone(project: Project, client: StrictClient) -> None:
    """The pool's connections are dead; that is noticed before a method uses one, and costs no error."""
    for number in range(12):
        client.call("add_book", f"before {number}")
    since = len(project.server.log)
    project.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    project.server.wait_for_log("the change feed is back", since=since)
    for number in range(12):
        client.call("add_book", f"after {number}")


# --- the write fence


def test_method_that_writes_nothing_is_updated_before_its_result(watching: StrictClient) -> None:
    assert kinds(since_call(watching, "echo", 1)) == ["updated", "result"]


def test_method_that_only_reads_is_updated_before_its_result(watching: StrictClient) -> None:
    assert kinds(since_call(watching, "read_books")) == ["updated", "result"]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("add_book", 1),
        ("add_in_callback", 2),
        ("add_then_callback_fails", 1),
        ("add_record", 1),
        ("add_everywhere", 2),
        ("add_record_then_fail", 1),
    ],
)
def test_updated_comes_once_and_after_the_data(watching: StrictClient, name: str, data: int) -> None:
    """Whatever the transaction, the callback or the database in which it wrote; repeated, since it is a race."""
    for number in range(10):
        told = kinds(since_call(watching, name, f"{name} {number}"))

        assert sorted(told) == ["added"] * data + ["result", "updated"]
        assert told.index("updated") > max(at for at, kind in enumerate(told) if kind == "added")


def test_updated_comes_after_many_changes(project: Project, watching: StrictClient) -> None:
    for number in range(50):
        project.add_book(str(number))
    watching.wait(lambda view: len(view.documents("shop.book")) == 50)
    for price in range(1, 6):
        told = kinds(since_call(watching, "set_prices", price))
        assert told.count("changed") == 50
        assert told.index("updated") > max(at for at, kind in enumerate(told) if kind == "changed")


def test_updated_waits_for_a_query_that_has_to_be_read_again(project: Project, client: StrictClient) -> None:
    for price in range(5):
        project.add_book(str(price), price + 10)
    client.subscribed("Cheapest", 3)
    for price in range(9, 0, -1):
        told = kinds(since_call(client, "add_book", "cheap", price))
        assert sorted(told) == ["added", "removed", "result", "updated"]
        assert told.index("updated") > max(told.index("added"), told.index("removed"))


def test_updated_waits_for_a_subscription_that_is_starting(project: Project, client: StrictClient) -> None:
    """The method is called behind an unblocked one, right after the subscription."""
    for number in range(10):
        client.subscribe("BooksFrom", -number)
        book = client.call("add_book", str(number))
        assert str(book) in client.documents("shop.book")


def test_concurrent_clients_each_see_their_own_writes_first(project: Project) -> None:
    clients = [project.client() for _ in range(6)]
    for client in clients:
        client.subscribed("Books")
    for turn in range(10):
        calls = [client.invoke("add_book", f"{turn} {n}") for n, client in enumerate(clients)]
        for client, call in zip(clients, calls, strict=True):
            book = str(client.wait_done(call))
            told = client.received("added", "updated")
            at_added = next(at for at, message in enumerate(told) if message.get("id") == book)
            at_updated = next(at for at, message in enumerate(told) if message.get("methods") == [call.id])
            assert at_added < at_updated
    for client in clients:
        client.wait(lambda view: len(view.documents("shop.book")) == 60)
        client.close()


def test_every_updated_comes_once(project: Project) -> None:
    """The strict client raises on a second one."""
    with project.client() as client:
        client.subscribed("Books")
        calls = [client.invoke("add_book", str(number)) for number in range(30)]
        for call in calls:
            client.wait_done(call)
        client.ping()
        assert len(client.received("updated")) == 30


def test_updated_comes_after_the_data_though_the_feed_is_cut(
    project: Project, watching: StrictClient
) -> None:
    """Before, at and after the commit: what the gap has read stands for the token that may be lost."""
    with project.client() as other:
        for number in range(6):
            gate = f"cut {number}"
            call = watching.invoke("wait_then_add", gate, gate)
            other.call("arrival", gate)
            since = len(project.server.log)
            if number % 2:
                cut_the_feed(project)
                project.server.wait_for_log("interrupted", since=since)
                other.invoke("open", gate)
            else:
                other.invoke("open", gate)
                cut_the_feed(project)
            book = watching.wait_done(call)
            assert str(book) in watching.documents("shop.book")
            project.server.wait_for_log("the change feed is back", since=since)


def cut_the_feed(project: Project) -> None:
    project.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name LIKE 'dddp %%' AND pid <> pg_backend_pid()",
    )
