"""Logging in, coming back and logging out over real sockets: answers, messages and their order (ddp-wire 9.2, 9.4)."""

from __future__ import annotations

import datetime
import time
from typing import Any

import pytest

from tests.accounts.conftest import PASSWORD, Accounts, digest
from tests.accounts.project.hashers import SECONDS, SLOW, FastPBKDF2Hasher
from tests.client import StrictClient
from tests.strict import Message, RemoteError

WRONG = (403, "Something went wrong. Please check your credentials.")
LOGGED_OUT = (403, "You've been logged out by the server. Please log in again.")
MATCH_FAILED = (400, "Match failed")
ANN = {"username": "ann"}


def refusal(client: StrictClient, method: str, *params: Any) -> tuple[Any, Any]:
    with pytest.raises(RemoteError) as caught:
        client.call(method, *params)
    return caught.value.error, caught.value.reason


def since(client: StrictClient, method: str, *params: Any) -> list[Message]:
    """Call a method; the messages that it caused."""
    client.ping()
    before = len(client.received())
    client.call(method, *params)
    client.ping()
    return [message for message in client.received()[before:] if message["msg"] != "pong"]


def kinds(messages: list[Message]) -> list[str]:
    """What they are; those of the answer, which may come in either order, as one."""
    told = [message["msg"] for message in messages]
    assert set(told[-2:]) == {"updated", "result"}
    return told[:-2]


# -- With a password


def test_login_with_a_password(accounts: Accounts, client: StrictClient, ann: str) -> None:
    answer = accounts.log_in(client)

    assert list(answer) == ["id", "token", "tokenExpires", "type"]
    assert (answer["id"], len(answer["token"]), answer["type"]) == (ann, 43, "password")
    assert client.call("who") == ann


def test_login_lasts_ninety_days(accounts: Accounts, client: StrictClient) -> None:
    left = accounts.log_in(client)["tokenExpires"] - datetime.datetime.now(datetime.UTC)

    assert datetime.timedelta(days=89, hours=23) < left <= datetime.timedelta(days=90)


def test_login_with_a_digest(accounts: Accounts, client: StrictClient, ann: str) -> None:
    assert accounts.log_in(client, "ann", digest())["id"] == ann


@pytest.mark.parametrize(
    "user", [{"username": "ANN"}, {"email": "ann@example.org"}, {"email": "Ann@Example.org"}]
)
def test_user_by_name_or_address_in_any_case(client: StrictClient, user: Any, ann: str) -> None:
    assert client.call("login", {"user": user, "password": PASSWORD})["id"] == ann


def test_user_by_id(client: StrictClient, ann: str) -> None:
    assert client.call("login", {"user": {"id": ann}, "password": PASSWORD})["id"] == ann


def test_name_as_written_goes_before_other_cases(accounts: Accounts, client: StrictClient, ann: str) -> None:
    accounts.execute(
        "INSERT INTO auth_user (username, password, email, first_name, last_name, is_staff, is_superuser, is_active, "
        "date_joined) VALUES ('ANN', '!', '', '', '', false, false, true, now())"
    )

    assert accounts.log_in(client, "ann")["id"] == ann
    assert refusal(client, "login", {"user": {"username": "Ann"}, "password": PASSWORD}) == WRONG


@pytest.mark.parametrize(
    ("user", "password"),
    [
        (ANN, "wrong"),
        (ANN, digest("wrong")),
        (ANN, digest()["digest"]),
        ({"username": "nobody"}, PASSWORD),
        ({"email": "nobody@example.org"}, PASSWORD),
        ({"email": "ann"}, PASSWORD),
        ({"username": "ann@example.org"}, PASSWORD),
        ({"id": "0"}, PASSWORD),
        ({"id": "nobody"}, PASSWORD),
        ({"id": "9" * 30}, PASSWORD),
    ],
)
def test_wrong_credentials_look_alike(client: StrictClient, user: Any, password: Any) -> None:
    """The digest as a text is no password: it is hashed like one."""
    assert refusal(client, "login", {"user": user, "password": password}) == WRONG


def test_user_that_is_not_active_looks_like_no_user(accounts: Accounts, client: StrictClient) -> None:
    accounts.execute("UPDATE auth_user SET is_active = false WHERE username = 'ann'")

    assert refusal(client, "login", {"user": ANN, "password": PASSWORD}) == WRONG


@pytest.mark.parametrize("options", [{}, {"foo": 1}, {"user": ANN}])
def test_login_that_nobody_answers(client: StrictClient, options: Any) -> None:
    assert refusal(client, "login", options) == (400, "Unrecognized options for login request")


@pytest.mark.parametrize(
    "params",
    [
        [],
        ["ann"],
        [None],
        [{"user": "ann", "password": PASSWORD}],
        [{"user": {}, "password": PASSWORD}],
        [{"user": {"username": "ann", "id": "1"}, "password": PASSWORD}],
        [{"user": {"username": ""}, "password": PASSWORD}],
        [{"user": {"username": {"$gt": ""}}, "password": PASSWORD}],
        [{"user": {"username": "a\0"}, "password": PASSWORD}],
        [{"user": {"username": "\ud800"}, "password": PASSWORD}],
        [{"user": {"name": "ann"}, "password": PASSWORD}],
        [{"user": ANN, "password": ""}],
        [{"user": ANN, "password": 5}],
        [{"user": ANN, "password": {"digest": "abc", "algorithm": "sha-256"}}],
        [{"user": ANN, "password": {**digest(), "algorithm": "md5"}}],
        [{"user": ANN, "password": {**digest(), "more": 1}}],
        [{"user": ANN, "password": PASSWORD, "code": "1"}],
        [{"resume": ""}],
        [{"resume": {"$ne": None}}],
    ],
)
def test_login_of_another_form(client: StrictClient, params: list[Any]) -> None:
    assert refusal(client, "login", *params) == MATCH_FAILED


def test_failed_login_leaves_the_login_there_was(accounts: Accounts, client: StrictClient, ann: str) -> None:
    accounts.log_in(client)

    assert refusal(client, "login", {"user": {"username": "bob"}, "password": "wrong"}) == WRONG
    assert client.call("who") == ann


def test_password_stored_by_django_alone(accounts: Accounts, client: StrictClient, ann: str) -> None:
    """No digest opens it, until a login with the text has stored it anew."""
    stored = FastPBKDF2Hasher().encode(PASSWORD, "salt")
    accounts.execute("UPDATE auth_user SET password = %s WHERE id = %s", stored, ann)

    assert refusal(client, "login", {"user": ANN, "password": digest()}) == WRONG
    assert accounts.server.wait_for_log(f"password of user {ann} is stored in a form")
    assert accounts.log_in(client)["id"] == ann
    assert accounts.log_in(client, "ann", digest())["id"] == ann


@pytest.mark.parametrize("name", ["ann", "nobody"])
def test_hashing_does_not_keep_other_clients_waiting(
    accounts: Accounts, client: StrictClient, name: str
) -> None:
    longest = 0.0
    with accounts.client() as other:
        login = client.invoke("login", {"user": {"username": name}, "password": SLOW})
        while not login.done:
            begun = time.monotonic()
            other.ping()
            longest = max(longest, time.monotonic() - begun)

    assert longest < SECONDS / 2


# -- The user's document, and the order of messages


def test_own_document_comes_with_the_login(accounts: Accounts, client: StrictClient, ann: str) -> None:
    told = since(client, "login", {"user": ANN, "password": PASSWORD})

    assert kinds(told) == ["added"]
    assert (told[0]["collection"], told[0]["id"]) == ("users", ann)
    assert told[0]["fields"] == {
        "username": "ann",
        "emails": [{"address": "ann@example.org", "verified": False}],
        "profile": {"name": "Ann Lee"},
    }


def test_login_sends_data_then_ready_then_the_answer(
    accounts: Accounts, client: StrictClient, ann: str
) -> None:
    accounts.execute("INSERT INTO diary_entry (id, text, stars, owner_id) VALUES ('one', 'Dear', 1, %s)", ann)
    subscription = client.subscribed("Entries")
    told = since(client, "login", {"user": ANN, "password": PASSWORD})

    assert kinds(told) == ["added", "added", "ready"]
    assert {message["collection"] for message in told[:2]} == {"users", "entries"}
    assert told[2]["subs"] == [subscription.id]


def test_logout_takes_everything_back(accounts: Accounts, client: StrictClient, ann: str) -> None:
    accounts.execute("INSERT INTO diary_entry (id, text, stars, owner_id) VALUES ('one', 'Dear', 1, %s)", ann)
    accounts.log_in(client)
    client.subscribed("Entries")
    told = since(client, "logout")

    assert kinds(told) == ["removed", "removed", "ready"]
    assert [message for message in told if message["msg"] == "result"] == [
        {"msg": "result", "id": told[-1].get("id") or told[-1]["methods"][0]}
    ]
    assert client.collections() == {}
    assert (client.call("who"), accounts.tokens()) == (None, 0)


def test_logout_refuses_what_takes_a_login(accounts: Accounts, client: StrictClient) -> None:
    accounts.log_in(client)
    client.subscribed("Members")
    told = since(client, "logout")

    assert sorted(kinds(told)) == ["nosub", "removed"]


def test_logout_without_a_login(client: StrictClient) -> None:
    assert client.call("logout") is None


def test_login_as_another_user_replaces_the_first(accounts: Accounts, client: StrictClient, ann: str) -> None:
    accounts.log_in(client)
    told = since(client, "login", {"user": {"username": "bob"}, "password": digest()})

    assert kinds(told) == ["removed", "added"]
    assert list(client.documents("users")) == [client.call("who")] != [ann]


def test_own_document_is_live(accounts: Accounts, client: StrictClient, ann: str) -> None:
    accounts.log_in(client)
    accounts.execute("UPDATE auth_user SET email = 'ann@example.com' WHERE id = %s", ann)
    client.wait(lambda view: view.documents("users")[ann]["emails"][0]["address"] == "ann@example.com")
    accounts.execute("UPDATE auth_user SET email = 'ann@example.org' WHERE id = %s", ann)


def test_own_document_is_there_before_updated(accounts: Accounts, client: StrictClient, ann: str) -> None:
    accounts.log_in(client)
    told = since(client, "rename", "anna")
    client.call("rename", "ann")

    assert next(message for message in told if message["msg"] == "changed")["fields"] == {"username": "anna"}
    names = [message["msg"] for message in told]
    assert names.index("changed") < names.index("updated")


def test_documents_of_others_are_published_by_choice(accounts: Accounts, client: StrictClient) -> None:
    people = client.subscribed("People")
    accounts.log_in(client)
    assert {user["username"] for user in client.documents("users").values()} == {"ann", "bob"}

    client.unsubscribe(people)

    assert [user["username"] for user in client.documents("users").values()] == ["ann"]


def test_password_does_not_travel_with_changes(accounts: Accounts) -> None:
    """Every role of the database can read what does."""
    told = accounts.django(
        "from dddp.api import API; "
        "print(*next(table.columns for table in API.captured_tables() if table.table == 'auth.user'))"
    )

    assert set(told.split()) == {"id", "username", "email", "first_name", "last_name", "is_active"}


# -- Coming back


def test_resume(accounts: Accounts, client: StrictClient, ann: str) -> None:
    first = accounts.log_in(client)
    with accounts.client() as again:
        answer = again.call("login", {"resume": first["token"]})

        assert answer == {**first, "type": "resume"}
        assert list(again.documents("users")) == [ann]
    assert accounts.tokens() == 1


def test_resume_after_a_restart(accounts: Accounts) -> None:
    with accounts.client() as client:
        token = accounts.log_in(client)["token"]
    accounts.server.restart()
    with accounts.client() as client:
        assert client.call("login", {"resume": token})["token"] == token


@pytest.mark.parametrize("token", ["x", "\0", "\ud800x", "x" * 10_000])
def test_resume_with_no_token(client: StrictClient, token: str) -> None:
    assert refusal(client, "login", {"resume": token}) in (LOGGED_OUT, MATCH_FAILED)


def test_resume_after_logout(accounts: Accounts, client: StrictClient) -> None:
    token = accounts.log_in(client)["token"]
    client.call("logout")

    assert refusal(client, "login", {"resume": token}) == LOGGED_OUT


def test_resume_of_an_expired_token(accounts: Accounts, client: StrictClient) -> None:
    token = accounts.log_in(client)["token"]
    accounts.execute("UPDATE dddp_accounts_logintoken SET expires = now()")

    assert refusal(client, "login", {"resume": token}) == (
        403,
        "Your session has expired. Please log in again.",
    )


def test_login_clears_the_users_expired_tokens(accounts: Accounts) -> None:
    with accounts.client() as client:
        accounts.log_in(client)
    accounts.execute("UPDATE dddp_accounts_logintoken SET expires = now()")
    with accounts.client() as client:
        accounts.log_in(client)

        assert accounts.tokens() == 1


def test_command_clears_all_expired_tokens(accounts: Accounts, client: StrictClient) -> None:
    accounts.log_in(client)
    accounts.log_in(client)
    first = "SELECT min(id) FROM dddp_accounts_logintoken"
    accounts.execute(f"UPDATE dddp_accounts_logintoken SET expires = now() WHERE id = ({first})")
    told = accounts.django(
        "from django.core.management import call_command; call_command('ddp_clear_tokens')"
    )

    assert (told.strip(), accounts.tokens()) == ("1 login tokens deleted", 1)


def test_migrations_make_what_the_models_say(accounts: Accounts) -> None:
    call = "from django.core.management import call_command; call_command('makemigrations', check=True, dry_run=True)"

    assert "No changes detected" in accounts.django(call)


def test_resume_where_only_the_row_was_changed(accounts: Accounts, client: StrictClient, ann: str) -> None:
    """By another program, which ends no tokens: they are worthless all the same."""
    token = accounts.log_in(client)["token"]
    client.close()
    accounts.execute("UPDATE auth_user SET password = 'other' WHERE id = %s", ann)
    with accounts.client() as again:
        assert refusal(again, "login", {"resume": token}) == LOGGED_OUT


def test_tokens_are_stored_as_hashes(accounts: Accounts, client: StrictClient) -> None:
    token = accounts.log_in(client)["token"]

    assert token not in str(accounts.execute("SELECT * FROM dddp_accounts_logintoken"))


# -- Django's signals


def test_signals(accounts: Accounts, client: StrictClient) -> None:
    accounts.log_in(client)
    client.call("logout")
    refusal(client, "login", {"user": {"username": "nobody"}, "password": PASSWORD})
    refusal(client, "login", {"user": {"email": "nobody@example.org"}, "password": digest()})
    events = accounts.execute("SELECT kind, username, address FROM diary_event ORDER BY id")

    assert events == [
        ("in", "ann", "127.0.0.1"),
        ("out", "ann", "127.0.0.1"),
        ("failed", "nobody", "127.0.0.1"),
        ("failed", "", "127.0.0.1"),
    ]


def test_coming_back_is_no_login_to_django(accounts: Accounts, client: StrictClient) -> None:
    token = accounts.log_in(client)["token"]
    client.call("login", {"resume": token})

    assert accounts.execute("SELECT kind FROM diary_event") == [("in",)]


def test_last_login_is_noted(accounts: Accounts, client: StrictClient) -> None:
    accounts.log_in(client)

    assert accounts.execute(
        "SELECT 1 FROM auth_user WHERE username = 'ann' AND last_login > now() - interval '1 min'"
    )
