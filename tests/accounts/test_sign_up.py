"""``createUser`` where the project allows it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from tests.accounts.conftest import PASSWORD, Accounts, digest, serve
from tests.accounts.test_login import MATCH_FAILED, WRONG, refusal
from tests.client import StrictClient


@pytest.fixture(scope="module")
def served() -> Iterator[Accounts]:
    """Where everybody may sign up; with capture by signals."""
    with serve(SIGN_UP=True, LOGIN_DAYS=1, CAPTURE="signals") as accounts:
        accounts.add_users()
        yield accounts


@pytest.mark.parametrize("password", [PASSWORD, digest()])
def test_new_user_is_logged_in(accounts: Accounts, client: StrictClient, password: Any) -> None:
    options = {
        "username": "eve",
        "email": "eve@example.org",
        "password": password,
        "profile": {"name": "Eve Lee"},
    }
    answer = client.call("createUser", options)

    assert (list(answer), answer["type"]) == (["id", "token", "tokenExpires", "type"], "password")
    assert client.documents("users") == {
        answer["id"]: {
            "username": "eve",
            "emails": [{"address": "eve@example.org", "verified": False}],
            "profile": {"name": "Eve Lee"},
        }
    }
    assert (
        accounts.log_in(client, "eve", digest())["id"] == accounts.log_in(client, "eve")["id"] == answer["id"]
    )


def test_address_serves_as_the_name(client: StrictClient) -> None:
    client.call("createUser", {"email": "eve@example.org", "password": digest()})

    ((_, user),) = client.documents("users").items()
    assert user["username"] == "eve@example.org"


@pytest.mark.parametrize("taken", [{"username": "Ann"}, {"email": "ann@EXAMPLE.org"}])
def test_taken_name_or_address_is_not_told(client: StrictClient, taken: Any) -> None:
    assert refusal(client, "createUser", {"username": "eve", "password": digest()} | taken) == WRONG


@pytest.mark.parametrize("options", [{}, {"password": PASSWORD}, {"username": None, "password": PASSWORD}])
def test_user_without_a_name(client: StrictClient, options: Any) -> None:
    assert refusal(client, "createUser", options) == (400, "Need to set a username or email")


@pytest.mark.parametrize(
    "options", [{"password": None}, {"password": ""}, {"is_superuser": True}, {"profile": {"name": 5}}]
)
def test_user_of_another_form(client: StrictClient, options: Any) -> None:
    assert refusal(client, "createUser", {"username": "eve", "password": PASSWORD} | options) == MATCH_FAILED


@pytest.mark.parametrize("options", [{"username": "not a name"}, {"email": "nowhere"}, {"password": "short"}])
def test_user_that_django_refuses(accounts: Accounts, client: StrictClient, options: Any) -> None:
    assert refusal(client, "createUser", {"username": "eve", "password": PASSWORD} | options)[0] == 400
    assert accounts.execute("SELECT count(*) FROM auth_user") == [(2,)]


def test_login_lasts_as_long_as_the_settings_say(accounts: Accounts, client: StrictClient) -> None:
    left = accounts.log_in(client)["tokenExpires"] - datetime.datetime.now(datetime.UTC)

    assert datetime.timedelta(hours=23) < left <= datetime.timedelta(days=1)


def test_another_process_ends_a_login(accounts: Accounts, client: StrictClient) -> None:
    accounts.log_in(client)
    accounts.django("LoginToken.objects.all().delete()")

    assert client.wait_closed().code == 1000
