"""set_user_id: which messages a login and a logout cause, and in which order (ddp-wire 4.5 and 9.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project
from tests.strict import Message, RemoteError

AUTOMATIC = ("everybody", "badges")


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    """A client; the users are there already, so that a login writes nothing and `updated` precedes its result."""
    with project.client() as other:
        for username in ("jane", "john", "allowed"):
            other.call("log_in", username)
    with project.client() as client:
        yield client


def since_call(client: StrictClient, name: str, *params: Any) -> list[Message]:
    """Call a method; the messages it caused, those of automatic publications left out."""
    client.ping()
    before = len(client.received())
    client.call(name, *params)
    client.ping()
    messages = [message for message in client.received()[before:] if message["msg"] != "pong"]
    return [message for message in messages if not comes_unasked(message)]


def comes_unasked(message: Message) -> bool:
    """Whether it is of an automatic publication; one that refuses the user says nosub without an id."""
    return message.get("collection") in AUTOMATIC or (message["msg"] == "nosub" and "id" not in message)


def kinds(messages: list[Message]) -> list[str]:
    return [message["msg"] for message in messages]


def logged_in(client: StrictClient, username: str) -> str:
    client.call("log_in", username)
    return str(client.call("who"))


def test_login_without_subscriptions_is_updated_then_answered(client: StrictClient) -> None:
    assert kinds(since_call(client, "log_in", "jane")) == ["updated", "result"]


def test_login_sends_the_difference_then_one_ready(project: Project, client: StrictClient) -> None:
    """Appendix C of ddp-wire: data, ready of all re-run subscriptions, updated, result."""
    jane = logged_in(client, "jane")
    letter = client.call("send_letter", "Dear diary")
    client.call("log_out")
    first = client.subscribed("Letters")
    second = client.subscribed("Nothing")
    told = since_call(client, "log_in", "jane")

    assert told[:2] == [
        {
            "msg": "added",
            "collection": "shop.letter",
            "id": str(letter),
            "fields": {"text": "Dear diary", "owner_id": jane},
        },
        {"msg": "ready", "subs": [first.id, second.id]},
    ]
    assert kinds(told[2:]) == ["updated", "result"]


def test_login_as_somebody_else_replaces_the_documents(project: Project, client: StrictClient) -> None:
    logged_in(client, "john")
    johns = client.call("send_letter", "of john")
    logged_in(client, "jane")
    janes = client.call("send_letter", "of jane")
    client.subscribed("Letters")
    told = since_call(client, "log_in", "john")

    assert [(message["msg"], message.get("id")) for message in told[:2]] == [
        ("removed", str(janes)),
        ("added", str(johns)),
    ]
    assert kinds(told[2:]) == ["ready", "updated", "result"]


def test_logout_takes_the_documents_away_first(client: StrictClient) -> None:
    logged_in(client, "jane")
    client.call("send_letter", "Dear diary")
    client.subscribed("Letters")

    assert kinds(since_call(client, "log_out")) == ["removed", "ready", "updated", "result"]
    assert "result" not in client.received("result")[-1]


def test_logout_does_not_wait_for_the_next_users_queries(project: Project, client: StrictClient) -> None:
    """What the old user may see is gone while the new subscriptions are still being made."""
    logged_in(client, "jane")
    client.call("send_letter", "Dear diary")
    client.subscribed("Letters")
    client.call("open", "user logout")
    client.subscribed("GatedForNobody", "logout")
    call = client.invoke("log_out")
    client.wait(lambda view: not view.documents("shop.letter"))
    assert not call.answered
    project.execute(
        "INSERT INTO shop_letter (text, owner_id) SELECT 'late', id FROM auth_user WHERE username = 'jane'"
    )
    with project.client() as other:
        other.call("arrival", "nobody logout")
        other.call("read_books")
        client.ping()
        assert client.documents("shop.letter") == {}
        other.call("open", "nobody logout")
    client.wait_done(call)


def test_login_keeps_sending_the_old_documents_until_the_new_are_ready(
    project: Project, client: StrictClient
) -> None:
    client.subscribed("Books")
    client.subscribed("GatedForUser", "overlap")
    call = client.invoke("log_in", "jane")
    with project.client() as other:
        other.call("arrival", "overlap")
        book = project.add_book("meanwhile")
        client.wait(lambda view: book in view.documents("shop.book"))
        assert not call.answered
        other.call("open", "overlap")
    client.wait_done(call)


def test_identical_queries_are_not_sent_again(project: Project, client: StrictClient) -> None:
    project.add_book("Emma")
    project.add_author("Austen")
    client.subscribed("Shop")

    assert kinds(since_call(client, "log_in", "jane")) == ["ready", "updated", "result"]
    assert kinds(since_call(client, "log_in", "jane")) == ["ready", "updated", "result"]
    assert client.view.redundant == []


def test_changes_arrive_after_a_login(project: Project, client: StrictClient) -> None:
    """Also through the queries that both users share."""
    book = project.add_book("Emma")
    client.subscribed("Books")
    client.call("log_in", "jane")
    project.execute("UPDATE shop_book SET price = 7")
    client.wait(lambda view: view.documents("shop.book")[book]["price"] == 7)
    client.call("log_out")
    project.execute("UPDATE shop_book SET price = 8")
    client.wait(lambda view: view.documents("shop.book")[book]["price"] == 8)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("log_in_and_fail", "Wrong password"),
        ("log_in_late", "Can't call set_user_id in a method after calling unblock"),
        ("log_in_as_number", "set_user_id takes the text of a user's key or None, not 7"),
    ],
)
def test_failing_login_changes_nothing(client: StrictClient, name: str, reason: str) -> None:
    jane = logged_in(client, "jane")
    client.call("send_letter", "Dear diary")
    client.subscribed("Letters")
    before = len(client.received())
    with pytest.raises(RemoteError, match=reason):
        client.call(name)

    assert kinds(client.received()[before:]) == ["updated", "result"]
    assert client.call("who") == jane


def test_subscriptions_that_fail_for_the_new_user_get_nosub_first(
    project: Project, client: StrictClient
) -> None:
    project.add_author("Austen")
    book = project.add_book("Emma")
    client.call("log_in", "jane")
    client.subscribed("Books")
    members = client.subscribed("Members")
    told = since_call(client, "log_out")

    # After a logout the documents go first; then what failed is told, then the others' are sent again.
    assert members.error and members.error.error == 403
    assert client.documents("shop.author") == {}
    assert list(client.documents("shop.book")) == [book]
    assert kinds(told)[-3:] == ["ready", "updated", "result"]
    assert "nosub" in kinds(told)
    client.wait_ready(client.subscribe("Nothing", id=members.id))


def test_subscription_that_fails_for_the_next_user_of_a_login(project: Project, client: StrictClient) -> None:
    project.add_author("Austen")
    client.call("log_in", "allowed")
    project.execute(
        "INSERT INTO auth_user_user_permissions (user_id, permission_id) "
        "SELECT u.id, p.id FROM auth_user u, auth_permission p "
        "WHERE username = 'allowed' AND codename = 'change_book'"
    )
    staff = client.subscribed("Staff")
    told = since_call(client, "log_in", "jane")

    assert kinds(told) == ["nosub", "removed", "updated", "result"]
    assert staff.ended


def test_subscription_right_behind_the_login_is_the_new_users(project: Project, client: StrictClient) -> None:
    jane = logged_in(client, "jane")
    letter = client.call("send_letter", "Dear diary")
    client.call("log_out")
    client.invoke("log_in", "jane")
    client.subscribed("Letters")

    assert client.documents("shop.letter") == {str(letter): {"text": "Dear diary", "owner_id": jane}}
    assert kinds(client.received("ready")) == ["ready"]


def test_next_message_waits_for_the_change_even_behind_unblock(
    project: Project, client: StrictClient
) -> None:
    """Two changes of the user must not overlap: unblock counts from the end of the first."""
    client.subscribed("Letters")
    first = client.invoke("log_in_then_unblock", "jane", "unblocked login")
    second = client.invoke("log_in", "john")
    with project.client() as other:
        other.call("arrival", "unblocked login")
        client.ping()
        assert not second.answered
        other.call("open", "unblocked login")
    client.wait_done(first)
    client.wait_done(second)
    letter = client.call("send_letter", "of john")

    assert list(client.documents("shop.letter")) == [str(letter)]


def test_unsub_during_a_login_waits_for_it(project: Project, client: StrictClient) -> None:
    project.add_author("Austen")
    subscription = client.subscribed("GatedForUser", "unsub in login")
    call = client.invoke("log_in", "jane")
    client.send({"msg": "unsub", "id": subscription.id})
    with project.client() as other:
        other.call("arrival", "unsub in login")
        client.ping()
        assert not subscription.ended
        other.call("open", "unsub in login")
    client.wait(lambda view: subscription.ended)

    assert call.done
    assert client.documents("shop.author") == {}


def test_subscription_that_stops_itself_during_a_login_stays_stopped(
    project: Project, client: StrictClient
) -> None:
    subscription = client.subscribed("SelfStopping", "stop in login")
    client.subscribed("GatedForUser", "stop in login 2")
    call = client.invoke("log_in", "jane")
    with project.client() as other:
        other.call("arrival", "stop in login 2")
        other.call("open", "stop in login")
        client.wait(lambda view: subscription.ended)
        other.call("open", "stop in login 2")
    client.wait_done(call)
    client.ping()

    assert client.documents("things") == {}


def test_subscription_that_failed_for_the_new_user_and_stops_for_the_old_is_told_once(
    project: Project,
) -> None:
    """The strict client raises on a second nosub."""
    client = project.client()
    subscription = client.subscribed("FailingForUser", "fail and stop")
    client.subscribed("GatedForUser", "fail and stop 2")
    call = client.invoke("log_in", "jane")
    with project.client() as other:
        other.call("arrival", "fail and stop 2")
        client.wait(lambda view: subscription.ended)
        other.call("open", "fail and stop")
        other.call("wait", "fail and stop done")
        other.call("open", "fail and stop 2")
    client.wait_done(call)

    assert client.documents("things") == {}


def test_disconnect_during_a_login_disturbs_nobody(project: Project) -> None:
    leaving = project.client()
    leaving.subscribed("GatedForUser", "leave in login")
    leaving.invoke("log_in", "jane")
    with project.client() as other:
        other.subscribed("Books")
        other.call("arrival", "leave in login")
        leaving.drop()
        other.call("open", "leave in login")
        assert str(other.call("add_book", "after")) in other.documents("shop.book")


def test_users_own_document_comes_with_the_login(client: StrictClient) -> None:
    """Clients of Meteor wait for it: it precedes updated (ddp-wire 9.2)."""
    client.subscribe("me")
    client.wait(lambda view: not view._lives["s1"])
    jane = logged_in(client, "jane")
    client.subscribed("me")
    told = since_call(client, "log_in", "john")

    assert kinds(told) == ["removed", "added", "ready", "updated", "result"]
    assert list(client.documents("users")) != [jane]


def test_document_by_hand_changes_with_the_user(client: StrictClient) -> None:
    client.subscribed("Me2")
    told = since_call(client, "log_in", "jane")

    assert kinds(told) == ["changed", "ready", "updated", "result"]
    assert told[0]["fields"] == {"user": client.call("who")}


def test_many_logins_in_a_row(project: Project, client: StrictClient) -> None:
    project.add_book("Emma")
    client.subscribed("Books")
    client.subscribed("Letters")
    for number in range(10):
        user = logged_in(client, f"user {number % 3}")
        letter = client.call("send_letter", str(number))
        assert client.documents("shop.letter")[str(letter)]["owner_id"] == user
        assert {each["owner_id"] for each in client.documents("shop.letter").values()} == {user}
