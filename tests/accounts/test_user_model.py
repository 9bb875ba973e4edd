"""A user model of the project's own: what it calls its fields is the server's business, clients see Meteor's names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.accounts.conftest import PASSWORD, Accounts, digest, serve
from tests.client import StrictClient

SETTINGS = "tests.accounts.people.settings"


@pytest.fixture(scope="module")
def people() -> Iterator[Accounts]:
    with serve(SETTINGS, SIGN_UP=True) as accounts:
        yield accounts


@pytest.fixture
def client(people: Accounts) -> Iterator[StrictClient]:
    people.execute("DELETE FROM dddp_accounts_logintoken; DELETE FROM people_person")
    with people.client() as client:
        yield client


def test_user_signs_up_and_comes_back(people: Accounts, client: StrictClient) -> None:
    answer = client.call(
        "createUser", {"email": "ann@example.org", "password": digest(), "profile": {"name": "Ann Lee"}}
    )
    document = {
        "username": "ann@example.org",
        "emails": [{"address": "ann@example.org", "verified": False}],
        "profile": {"name": "Ann Lee"},
    }

    assert client.documents("users") == {answer["id"]: document}
    with people.client() as again:
        for options in (
            {"resume": answer["token"]},
            {"user": {"id": answer["id"]}, "password": PASSWORD},
            {"user": {"username": "ann@example.org"}, "password": PASSWORD},
            {"user": {"email": "ANN@example.org"}, "password": digest()},
        ):
            assert again.call("login", options)["id"] == answer["id"]
        assert again.documents("users") == {answer["id"]: document}


def test_deleted_user_is_disconnected(people: Accounts, client: StrictClient) -> None:
    """This model cannot deactivate users."""
    client.call("createUser", {"email": "eve@example.org", "password": digest()})
    people.execute("DELETE FROM dddp_accounts_logintoken; DELETE FROM people_person")

    assert client.wait_closed().code == 1000
