"""sub, unsub, ready and nosub (ddp-wire 4.1, 4.2, 4.6), of the real server with a real database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project, serve
from tests.strict import Message, RemoteError


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    with project.client() as client:
        yield client


def kinds(client: StrictClient) -> list[str]:
    """The kinds of messages the client got for what it asked for: greeting and automatic publications left out."""
    return [message["msg"] for message in asked_for(client)]


def asked_for(client: StrictClient) -> list[Message]:
    return [message for message in client.received() if not comes_unasked(message)]


def comes_unasked(message: Message) -> bool:
    automatic = message.get("collection") in ("everybody", "badges")
    return automatic or "server_id" in message or message["msg"] == "connected" or is_universal_nosub(message)


def is_universal_nosub(message: Message) -> bool:
    return message["msg"] == "nosub" and "id" not in message


def titles(client: StrictClient, collection: str = "shop.book") -> set[str]:
    return {fields["title"] for fields in client.documents(collection).values()}


def refusal(client: StrictClient, name: str, *params: Any) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        client.subscribed(name, *params)
    return caught.value


# --- the life of a subscription


def test_second_sub_of_an_active_id_is_ignored(project: Project, client: StrictClient) -> None:
    """During a reconnect that makes re-sent subscriptions harmless: no ready, no nosub."""
    project.add_book("Emma")
    client.wait_ready(client.subscribe("Books", id="s1"))
    client.subscribe("Books", id="s1")
    client.subscribe("Shop", id="s1")
    client.call("nothing")

    assert kinds(client) == ["added", "ready", "updated", "result"]


def test_id_is_free_again_after_unsub(project: Project, client: StrictClient) -> None:
    project.add_book("Emma")
    client.unsubscribe(client.wait_ready(client.subscribe("Books", id="s1")))
    client.wait_ready(client.subscribe("Books", id="s1"))

    assert kinds(client) == ["added", "ready", "removed", "nosub", "added", "ready"]


def test_id_is_free_again_after_an_error(client: StrictClient) -> None:
    refusal(client, "Raising", "meteor")
    client.subscribe("Raising", "meteor", id="x")
    client.wait(lambda view: view.subscriptions["x"].ended)
    client.wait_ready(client.subscribe("Books", id="x"))


def test_unsub_removes_documents_then_tells_nosub(project: Project, client: StrictClient) -> None:
    project.add_book("Emma")
    project.add_book("Persuasion")
    client.unsubscribe(client.subscribed("Books"))

    assert kinds(client) == ["added", "added", "ready", "removed", "removed", "nosub"]


def test_unsub_behind_a_running_handler_waits_for_it(project: Project, client: StrictClient) -> None:
    project.add_author("Austen")
    client.subscribe("Gated", "unsub", id="s1")
    client.send({"msg": "unsub", "id": "s1"})
    with project.client() as other:
        other.call("arrival", "unsub")
        client.ping()
        assert kinds(client) == ["pong"]
        other.call("open", "unsub")
    client.wait(lambda view: view.subscriptions["s1"].ended)

    assert kinds(client) == ["pong", "added", "ready", "removed", "nosub"]


def test_sub_blocks_the_queue_until_it_is_ready(project: Project, client: StrictClient) -> None:
    client.subscribe("Gated", "queue", id="s1")
    call = client.invoke("nothing")
    with project.client() as other:
        other.call("arrival", "queue")
        other.call("open", "queue")
    client.wait_done(call)

    assert kinds(client) == ["ready", "updated", "result"]


def test_unblock_lets_the_next_message_start(project: Project, client: StrictClient) -> None:
    subscription = client.subscribe("Unblocked", "unblocked sub")
    client.call("nothing")
    assert not subscription.ready
    client.call("open", "unblocked sub")
    client.wait_ready(subscription)


def test_unblock_of_a_subscription_does_not_end_a_login_early(project: Project, client: StrictClient) -> None:
    client.call("open", "unblocked login")
    client.subscribed("Unblocked", "unblocked login")
    client.subscribed("GatedForUser", "unblocked user")
    call = client.invoke("log_in", "jane")
    later = client.invoke("who")
    with project.client() as other:
        other.call("arrival", "unblocked user")
        client.ping()
        assert not call.answered and not later.answered
        other.call("open", "unblocked user")
    assert client.wait_done(later) is not None


def test_too_many_subscriptions_are_refused(project: Project, client: StrictClient) -> None:
    for number in range(20):
        client.subscribe("Nothing", id=f"n{number}")
    assert refusal(client, "Nothing").error == "too-many-subscriptions"
    client.unsubscribe(client.view.subscriptions["n3"])
    client.subscribed("Nothing")


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"SUBSCRIPTIONS_LIMIT": 20, "QUERY_TIME_LIMIT": 2, "RESUMPTION_TIME_LIMIT": 0}


# --- querysets


def test_changes_by_other_programs_arrive(project: Project, client: StrictClient) -> None:
    emma = project.add_book("Emma", 3)
    client.subscribed("Books")
    persuasion = project.add_book("Persuasion", 4)
    project.execute("UPDATE shop_book SET price = 5 WHERE id = %s", emma)
    client.wait(lambda view: view.documents("shop.book").get(emma, {}).get("price") == 5)
    project.execute("DELETE FROM shop_book WHERE id = %s", persuasion)
    client.wait(lambda view: persuasion not in view.documents("shop.book"))

    assert client.documents("shop.book") == {emma: {"title": "Emma", "price": 5, "author_id": None}}
    assert client.received("changed")[-1]["fields"] == {"price": 5}


def test_row_that_leaves_and_enters_the_query(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 5)
    client.subscribed("BooksFrom", 5)
    project.execute("UPDATE shop_book SET price = 1 WHERE id = %s", book)
    client.wait(lambda view: not view.documents("shop.book"))
    project.execute("UPDATE shop_book SET price = 6 WHERE id = %s", book)
    client.wait(lambda view: view.documents("shop.book"))

    assert kinds(client) == ["added", "ready", "removed", "added"]


def test_several_querysets_make_one_ready(project: Project, client: StrictClient) -> None:
    project.add_book("Emma")
    project.add_author("Austen")
    client.subscribed("Shop")

    assert (titles(client), len(client.documents("shop.author"))) == ({"Emma"}, 1)
    assert kinds(client) == ["added", "added", "ready"]


def test_same_collection_twice_publishes_the_union(project: Project, client: StrictClient) -> None:
    for price in (1, 5, 9):
        project.add_book(str(price), price)
    client.subscribed("BooksBetween", 5, 5)
    assert titles(client) == {"1", "5", "9"}
    project.execute("UPDATE shop_book SET price = 9 WHERE price = 5")
    client.wait(lambda view: all(book["price"] != 5 for book in view.documents("shop.book").values()))
    client.ping()

    assert titles(client) == {"1", "5", "9"}
    assert len(client.received("added", "removed")) == 4  # three and "everybody"


def test_pair_names_the_collection(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 3)
    client.subscribed("AsPlain")

    assert client.documents("plain") == {book: {"title": "Emma"}}
    assert client.documents("shop.book") == {}


@pytest.mark.parametrize("name", ["Nothing", "NoRows"])
def test_nothing_to_publish_is_ready_at_once(project: Project, client: StrictClient, name: str) -> None:
    project.add_book("Emma")
    client.subscribed(name)

    assert kinds(client) == ["ready"]


def test_only_restricts_the_published_fields(project: Project, client: StrictClient) -> None:
    book = project.add_book("Emma", 3)
    client.subscribed("Titles")
    project.execute("UPDATE shop_book SET price = 4 WHERE id = %s", book)
    project.execute("UPDATE shop_book SET title = 'Emma!' WHERE id = %s", book)
    client.wait(lambda view: view.documents("shop.book")[book]["title"] == "Emma!")

    assert client.documents("shop.book") == {book: {"title": "Emma!"}}
    assert len(client.received("changed")) == 1


def test_annotation_filters_and_is_not_published(project: Project, client: StrictClient) -> None:
    project.add_book("cheap", 9)
    project.add_book("dear", 10)
    client.subscribed("Doubled")

    assert [set(fields) for fields in client.documents("shop.book").values()] == [
        {"title", "price", "author_id"}
    ]
    assert titles(client) == {"dear"}


def test_slice_keeps_its_window(project: Project, client: StrictClient) -> None:
    for price in (3, 4, 5):
        project.add_book(str(price), price)
    client.subscribed("Cheapest", 2)
    project.add_book("1", 1)
    client.wait(lambda view: {each["title"] for each in view.documents("shop.book").values()} == {"1", "3"})
    project.execute("DELETE FROM shop_book WHERE price <= 3")
    client.wait(lambda view: {each["title"] for each in view.documents("shop.book").values()} == {"4", "5"})


def test_second_database_is_live_too(project: Project, client: StrictClient) -> None:
    client.subscribed("Records")
    project.execute("INSERT INTO shop_record (text) VALUES ('old')", archive=True)
    client.wait(lambda view: view.documents("shop.record"))


# --- refusals and failures


@pytest.mark.parametrize(
    ("kind", "code", "reason", "details"),
    [
        ("meteor", "closed", "We are closed", {"until": "Monday"}),
        ("denied", 403, "Permission denied", None),
        ("zero", 500, "Internal server error", None),
        ("timeout", 500, "Internal server error", None),
    ],
)
def test_raising_handler_is_a_nosub(
    client: StrictClient, kind: str, code: Any, reason: str, details: Any
) -> None:
    error = refusal(client, "Raising", kind)

    assert (error.error, error.reason, error.details) == (code, reason, details)
    assert kinds(client) == ["nosub"]


def test_traceback_is_in_the_log_and_not_on_the_wire(project: Project, client: StrictClient) -> None:
    since = len(project.server.log)
    refusal(client, "Raising", "zero")
    project.server.wait_for_log("publication Raising failed", since=since)
    project.server.wait_for_log("ZeroDivisionError: a secret", since=since)

    assert "secret" not in str(client.received())


def test_publication_that_cannot_be_made_is_a_nosub(client: StrictClient) -> None:
    assert refusal(client, "RaisingInit").error == 500
    client.subscribed("Nothing")


@pytest.mark.parametrize("params", [[], ["x"], [1, 2], [None]])
def test_wrong_parameters_are_a_400(client: StrictClient, params: list[Any]) -> None:
    error = refusal(client, "BooksFrom", *params)

    assert (error.error, error.reason) == (400, "Match failed")


def test_something_that_is_no_queryset_is_a_500(project: Project, client: StrictClient) -> None:
    project.add_book("Emma")
    assert refusal(client, "NotAQueryset").error == 500
    assert kinds(client) == ["nosub"]


def test_table_that_is_not_captured_is_refused_with_the_setting(
    project: Project, client: StrictClient
) -> None:
    since = len(project.server.log)
    assert refusal(client, "Reviewed").error == 500
    line = project.server.wait_for_log("CAPTURE_MODELS", since=since)

    assert "shop.Review" in line or "shop.review" in line


def test_login_required_is_a_403_without_login(client: StrictClient) -> None:
    error = refusal(client, "Members")
    assert (error.error, error.reason) == (403, "You must be logged in")
    client.call("log_in", "jane")
    client.subscribed("Members")


def test_permission_required_names_the_permission(client: StrictClient) -> None:
    assert refusal(client, "Staff").reason == "You must be logged in"
    client.call("log_in", "jane")
    assert refusal(client, "Staff").reason == "You need the permission shop.change_book"


def test_query_that_fails_when_read_is_a_nosub(project: Project, client: StrictClient) -> None:
    project.add_book("free", 0)
    assert refusal(client, "DividedBooks").error == 500
    client.subscribed("Books")


def test_query_that_fails_later_takes_its_documents_back(project: Project, client: StrictClient) -> None:
    """Other subscriptions, of this client and of others, do not notice."""
    project.add_book("dear", 10)
    with project.client() as other:
        other.subscribed("Books")
        subscription = client.subscribed("DividedBooks")
        client.subscribed("Titles")
        project.add_book("free", 0)
        client.wait(lambda view: subscription.ended)
        client.wait(lambda view: len(view.documents("shop.book")) == 2)
        other.wait(lambda view: len(view.documents("shop.book")) == 2)

    assert subscription.error and subscription.error.error == 500
    assert [set(fields) for fields in client.documents("shop.book").values()] == [{"title"}, {"title"}]


def test_failure_of_a_shared_query_is_two_lines(templates: tuple[str, str]) -> None:
    """A query that fails may have thousands of subscribers: one traceback, and one line for their publication."""
    with serve(templates) as project:
        project.add_book("dear", 10)
        clients = [project.client() for _ in range(5)]
        for client in clients:
            client.subscribed("DividedBooks")
        project.add_book("free", 0)
        for client in clients:
            client.wait(lambda view: view.subscriptions["s1"].ended)
            client.close()
        project.server.wait_for_log("publication DividedBooks")
        errors, warnings = (
            [line for line in project.server.log if f" {level} " in line] for level in ("ERROR", "WARNING")
        )

    assert len(errors) == 1 and "The live query of collection shop.book failed" in errors[0]
    assert len(warnings) == 1 and "publication DividedBooks" in warnings[0]


def test_query_past_its_time_limit_ends_with_nosub(project: Project, client: StrictClient) -> None:
    """QUERY_TIME_LIMIT is 2 s here; each row takes 1 s."""
    since = len(project.server.log)
    project.add_book("slow", 3)
    with project.client() as other:
        other.subscribed("Books")
        subscription = client.subscribed("SlowBooks", 3)
        assert titles(client) == {"slow"}
        for _ in range(3):
            project.add_book("slow", 3)
        client.wait(lambda view: subscription.ended)
        other.wait(lambda view: len(view.documents("shop.book")) == 4)

    assert client.documents("shop.book") == {}
    assert subscription.error and subscription.error.error == 503
    project.server.wait_for_log("statement timeout", since=since)


# --- by hand


def script(client: StrictClient, *steps: list[Any]) -> Any:
    """Subscribe to what does these steps; wait until its handler has been through."""
    subscription = client.subscribe("Script", list(steps))
    client.call("nothing")
    return subscription


def test_added_changed_removed(client: StrictClient) -> None:
    script(
        client,
        ["added", "things", "a", {"x": 1, "y": [1]}],
        ["changed", "things", "a", {"x": 2}],
        ["clear", "things", "a", "y"],
        ["ready"],
        ["added", "things", "b", {"x": 3}],
        ["removed", "things", "a"],
    )

    assert kinds(client) == ["added", "changed", "changed", "ready", "added", "removed", "updated", "result"]
    assert client.documents("things") == {"b": {"x": 3}}


def test_handler_that_never_calls_ready_leaves_the_subscription_open(client: StrictClient) -> None:
    subscription = script(client, ["added", "things", "a", {"x": 1}])

    assert not subscription.ready
    client.unsubscribe(subscription)
    assert client.documents("things") == {}


def test_only_the_first_ready_counts(client: StrictClient) -> None:
    script(client, ["ready"], ["ready"])

    assert kinds(client) == ["ready", "updated", "result"]


def test_added_again_tells_what_is_new(client: StrictClient) -> None:
    script(client, ["added", "things", "a", {"x": 1}], ["added", "things", "a", {"x": 2, "y": 3}], ["ready"])

    assert client.documents("things") == {"a": {"x": 2, "y": 3}}


def test_change_to_the_same_is_not_sent(client: StrictClient) -> None:
    script(client, ["added", "things", "a", {"x": 1}], ["changed", "things", "a", {"x": 1}], ["ready"])

    assert kinds(client) == ["added", "ready", "updated", "result"]


def test_error_takes_documents_back_and_what_follows_is_nothing(client: StrictClient) -> None:
    subscription = script(
        client,
        ["added", "things", "a", {"x": 1}],
        ["ready"],
        ["error", "full", "No room"],
        ["added", "things", "b", {"x": 1}],
        ["ready"],
        ["stop"],
        ["error", "again", "No"],
    )

    assert kinds(client) == ["added", "ready", "removed", "nosub", "updated", "result"]
    assert (subscription.error.error, subscription.error.reason) == ("full", "No room")


def test_stop_takes_documents_back_without_an_error(client: StrictClient) -> None:
    subscription = script(client, ["added", "things", "a", {"x": 1}], ["ready"], ["stop"])

    assert kinds(client) == ["added", "ready", "removed", "nosub", "updated", "result"]
    assert subscription.ended and subscription.error is None


def test_handler_that_raises_after_adding_takes_documents_back(client: StrictClient) -> None:
    subscription = script(client, ["added", "things", "a", {"x": 1}], ["raise"])

    assert kinds(client) == ["added", "removed", "nosub", "updated", "result"]
    assert subscription.error.error == 500


@pytest.mark.parametrize("step", [["changed", "things", "z", {"x": 1}], ["removed", "things", "z"]])
def test_change_of_a_document_not_added_is_an_error(
    project: Project, client: StrictClient, step: list[Any]
) -> None:
    since = len(project.server.log)
    assert script(client, step).error.error == 500
    project.server.wait_for_log("call added\\(\\) first", since=since)


def test_stop_then_querysets_is_not_ready(project: Project, client: StrictClient) -> None:
    """A subscription that has ended itself is told nothing more."""
    project.add_author("Austen")
    subscription = client.subscribe("StopThenQueries")
    client.call("nothing")

    assert kinds(client) == ["nosub", "updated", "result"]
    assert subscription.ended


def test_hand_published_documents_beside_querysets(project: Project, client: StrictClient) -> None:
    project.add_author("Austen")
    client.unsubscribe(client.subscribed("HandAndQueries"))

    assert kinds(client) == ["added", "added", "ready", "removed", "removed", "nosub"]


def test_greenlet_of_a_publication_goes_on_after_the_handler(project: Project, client: StrictClient) -> None:
    subscription = client.subscribed("Ticker", "later")
    client.call("open", "later change")
    client.wait(lambda view: view.documents("things")["later"] == {"n": 1})
    client.call("open", "later end")
    client.wait(lambda view: subscription.ended)
    client.call("arrival", "later end")
    client.call("wait", "later done")

    assert client.documents("things") == {}
    ends = [message for message in asked_for(client) if message["msg"] == "nosub"]
    assert ends == [{"msg": "nosub", "id": subscription.id}]


@pytest.mark.parametrize("end", ["unsub", "close", "drop"])
def test_on_stop_is_called_however_it_ends(project: Project, end: str) -> None:
    with project.client() as watcher:
        client = project.client()
        subscription = client.subscribed("Ticker", end)
        if end == "unsub":
            client.unsubscribe(subscription)
        elif end == "close":
            client.close()
        else:
            client.drop()
        watcher.call("wait", f"{end} stopped")
        if end == "unsub":
            client.close()


# --- automatic


def test_automatic_publication_reaches_everybody(client: StrictClient) -> None:
    client.wait(lambda view: view.documents("everybody"))

    assert client.documents("everybody") == {"welcome": {"user": "nobody"}}
    assert client.received("ready") == []


def test_automatic_publication_runs_again_for_each_user(client: StrictClient) -> None:
    client.call("log_in", "jane")
    assert client.documents("everybody")["welcome"]["user"] == client.call("who")
    client.call("log_out")
    assert client.documents("everybody")["welcome"]["user"] == "nobody"


def test_automatic_publication_for_members_starts_with_the_login(client: StrictClient) -> None:
    """It was refused to the anonymous client, and is there as soon as somebody has logged in."""
    client.call("log_in", "jane")
    assert client.documents("badges") == {"badge": {"of": "jane"}}
    client.call("log_out")
    assert client.documents("badges") == {}
    client.call("log_in", "john")
    assert client.documents("badges") == {"badge": {"of": "john"}}


# --- several clients


def test_equal_queries_are_equal_for_every_client(project: Project) -> None:
    project.add_book("Emma", 1)
    clients = [project.client() for _ in range(5)]
    for client in clients:
        client.subscribed("Books")
    book = project.add_book("Persuasion", 2)
    for client in clients:
        client.wait(lambda view: book in view.documents("shop.book"))
    assert all(client.documents("shop.book") == clients[0].documents("shop.book") for client in clients)
    for client in clients:
        client.close()


def test_rows_of_one_user_reach_nobody_else(project: Project) -> None:
    with project.client() as jane, project.client() as john, project.client() as nobody:
        for client in (jane, john, nobody):
            client.subscribed("Letters")
        jane.call("log_in", "jane")
        john.call("log_in", "john")
        letter = jane.call("send_letter", "Dear diary")
        assert jane.documents("shop.letter")[str(letter)]["text"] == "Dear diary"
        for client in (john, nobody):
            client.call("read_books")
            assert client.documents("shop.letter") == {}
        project.execute("UPDATE shop_letter SET owner_id = %s", john.call("who"))
        john.wait(lambda view: view.documents("shop.letter"))
        jane.wait(lambda view: not view.documents("shop.letter"))
