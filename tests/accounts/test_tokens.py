"""What ends logins: whoever is connected by one is disconnected, comes back, and is logged out (ddp-wire 9.5)."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from tests.accounts.conftest import PASSWORD, Accounts, digest
from tests.accounts.test_login import LOGGED_OUT, MATCH_FAILED, WRONG, refusal
from tests.client import StrictClient
from tests.strict import RemoteError


@pytest.fixture
def other(accounts: Accounts) -> Iterator[StrictClient]:
    """Another client, logged in as ann by a token of its own."""
    with accounts.client() as other:
        accounts.log_in(other)
        yield other


def is_out(accounts: Accounts, client: StrictClient, token: str) -> bool:
    """Whether the client is disconnected, in order, and cannot come back."""
    assert client.wait_closed().code == 1000
    with accounts.client() as again:
        return refusal(again, "login", {"resume": token}) == LOGGED_OUT


def test_logout_leaves_other_clients(accounts: Accounts, client: StrictClient, other: StrictClient) -> None:
    accounts.log_in(client)
    client.call("logout")

    assert other.call("who") is not None


def test_logout_of_a_shared_token_ends_the_other_tab(accounts: Accounts, client: StrictClient) -> None:
    token = accounts.log_in(client)["token"]
    with accounts.client() as tab:
        tab.call("login", {"resume": token})
        client.call("logout")

        assert is_out(accounts, tab, token)
    assert client.call("who") is None


def test_remove_other_tokens(accounts: Accounts, client: StrictClient, ann: str) -> None:
    with accounts.client() as other:
        lost = accounts.log_in(other)["token"]
        kept = accounts.log_in(client)["token"]

        assert client.call("removeOtherTokens") is None
        assert is_out(accounts, other, lost)
    assert client.call("login", {"resume": kept})["id"] == ann


def test_logout_other_clients(accounts: Accounts, client: StrictClient, ann: str) -> None:
    with accounts.client() as other:
        lost = accounts.log_in(other)["token"]
        own = accounts.log_in(client)["token"]
        answer = client.call("logoutOtherClients")

        assert list(answer) == ["token", "tokenExpires"]
        assert is_out(accounts, other, lost)
    assert refusal(client, "login", {"resume": own}) == LOGGED_OUT
    assert client.call("login", {"resume": answer["token"]})["id"] == ann


def test_new_token_lasts_as_long_as_the_one_before(
    accounts: Accounts, client: StrictClient, ann: str
) -> None:
    first = accounts.log_in(client)
    answer = client.call("getNewToken")

    assert list(answer) == ["id", "token", "tokenExpires"]
    assert (answer["id"], answer["tokenExpires"]) == (ann, first["tokenExpires"])
    assert answer["token"] != first["token"]


def test_connection_goes_on_by_the_new_token(accounts: Accounts, client: StrictClient) -> None:
    accounts.log_in(client)
    token = client.call("getNewToken")["token"]
    client.call("removeOtherTokens")
    assert accounts.tokens() == 1
    accounts.execute("DELETE FROM dddp_accounts_logintoken")

    assert is_out(accounts, client, token)


@pytest.mark.parametrize("method", ["getNewToken", "removeOtherTokens", "logoutOtherClients"])
def test_without_a_login_there_are_no_tokens(client: StrictClient, method: str) -> None:
    """Meteor's code is the sentence itself."""
    assert refusal(client, method) == ("You are not logged in.", None)


@pytest.mark.parametrize(
    "change",
    [
        "user.is_active = False; user.save()",
        "user.set_password('another password'); user.save(update_fields=['password'])",
    ],
)
def test_what_django_changes_elsewhere_ends_logins(
    accounts: Accounts, client: StrictClient, change: str
) -> None:
    token = accounts.log_in(client)["token"]
    accounts.django(f"user = User.objects.get(username='ann'); {change}")

    assert is_out(accounts, client, token)


def test_user_deactivated_by_another_program_is_disconnected(
    accounts: Accounts, client: StrictClient
) -> None:
    token = accounts.log_in(client)["token"]
    accounts.execute("UPDATE auth_user SET is_active = false WHERE username = 'ann'")

    assert is_out(accounts, client, token)


def test_other_changes_of_the_user_end_nothing(accounts: Accounts, client: StrictClient, ann: str) -> None:
    token = accounts.log_in(client)["token"]
    accounts.django(
        "user = User.objects.get(username='ann'); user.first_name = 'Anna'; user.save(); "
        "user.first_name = 'Ann'; user.save()"
    )

    assert client.call("login", {"resume": token})["id"] == ann


def test_deleted_user(accounts: Accounts, client: StrictClient) -> None:
    accounts.execute(
        "INSERT INTO auth_user (username, password, email, first_name, last_name, is_staff, is_superuser, is_active, "
        "date_joined) SELECT 'eve', password, '', '', '', false, false, true, now() FROM auth_user "
        "WHERE username = 'ann'"
    )
    token = accounts.log_in(client, "eve")["token"]
    accounts.execute("DELETE FROM dddp_accounts_logintoken; DELETE FROM auth_user WHERE username = 'eve'")

    assert is_out(accounts, client, token)


# -- Changing the password


@pytest.mark.parametrize(
    ("old", "new"), [(PASSWORD, "another password"), (digest(), digest("another password"))]
)
def test_change_password(
    accounts: Accounts, client: StrictClient, other: StrictClient, old: Any, new: Any
) -> None:
    """Other logins end, this one goes on."""
    token = accounts.log_in(client)["token"]

    assert client.call("changePassword", old, new) == {"passwordChanged": True}
    assert other.wait_closed().code == 1000
    assert client.call("login", {"resume": token})["token"] == token
    assert accounts.log_in(client, "ann", "another password")
    assert accounts.log_in(client, "ann", digest("another password"))


def test_change_of_a_password_takes_the_old_one(accounts: Accounts, client: StrictClient) -> None:
    accounts.log_in(client)

    assert refusal(client, "changePassword", "wrong", "another password") == WRONG
    assert refusal(client, "changePassword", PASSWORD, "") == MATCH_FAILED
    assert refusal(client, "changePassword", PASSWORD, None) == MATCH_FAILED


def test_change_of_a_password_takes_a_login(client: StrictClient) -> None:
    assert refusal(client, "changePassword", PASSWORD, "another password") == (401, "Must be logged in")


def test_new_password_is_validated(accounts: Accounts, client: StrictClient) -> None:
    """Where it is a text; nobody can judge a digest."""
    accounts.log_in(client)
    with pytest.raises(RemoteError) as caught:
        client.call("changePassword", PASSWORD, "short")

    assert caught.value.error == 400
    assert "too short" in caught.value.reason
    assert client.call("changePassword", PASSWORD, digest("short"))


# -- Making accounts


def test_nobody_signs_up_by_default(client: StrictClient) -> None:
    assert refusal(client, "createUser", {"username": "eve", "password": digest()}) == (
        403,
        "Signups forbidden",
    )


# -- Time


def test_connection_of_an_expired_token_is_closed() -> None:
    from dddp.accounts import logins
    from dddp.accounts.models import LoginToken

    class Recorded:
        closed = 0

        def close(self) -> None:
            self.closed += 1

        def on_close(self, callback: Any) -> None:
            self.forget = callback

    now = datetime.datetime.now(datetime.UTC)
    expired, lasting, out = Recorded(), Recorded(), Recorded()
    logins.attach(expired, LoginToken(pk=1, expires=now))
    logins.attach(lasting, LoginToken(pk=2, expires=now + datetime.timedelta(seconds=1)))
    logins.attach(out, LoginToken(pk=3, expires=now))
    logins.detach(out)

    logins.close_expired(now)
    for connection in (expired, lasting, out):
        connection.forget()

    assert (expired.closed, lasting.closed, out.closed) == (1, 0, 0)
    assert logins.token_of(lasting) is None
