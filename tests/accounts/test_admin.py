"""Logins in the bookstore's admin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client import StrictClient
from tests.conftest import BOOKSTORE
from tests.server import DDDPServer, run_django

BROWSE = """
from django.contrib.auth.models import User
from django.test import Client
browser = Client()
browser.force_login(User.objects.get(username={name!r}))
"""

DELETE = """
from dddp.accounts.models import LoginToken
chosen = list(LoginToken.objects.values_list("pk", flat=True))
listed = browser.get("/admin/dddp_accounts/logintoken/")
action = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
deleted = browser.post("/admin/dddp_accounts/logintoken/", action)
rows = listed.content.decode().count("field-created")
print("told", listed.status_code, rows, deleted.status_code, LoginToken.objects.count())
"""

USERS = """
from django.contrib.auth.models import User
User.objects.create_superuser("admin", password="Highbury 1815")
User.objects.create_user("clerk", password="Highbury 1815", is_staff=True)
"""


@pytest.fixture(scope="module")
def shop(bookstore: DDDPServer) -> DDDPServer:
    in_django(bookstore, USERS)
    return bookstore


@pytest.fixture
def client(shop: DDDPServer) -> Iterator[StrictClient]:
    """Logged in as admin."""
    with shop.client() as client:
        client.call("login", {"user": {"username": "admin"}, "password": "Highbury 1815"})
        yield client


def in_django(server: DDDPServer, code: str) -> str:
    env = {"DATABASE_URL": server.database}
    return run_django("shell", "--no-imports", "-c", code, settings_module=BOOKSTORE, env=env)


def test_login_that_is_deleted_ends(shop: DDDPServer, client: StrictClient) -> None:
    told = in_django(shop, BROWSE.format(name="admin") + DELETE)

    assert "told 200 1 302 0" in told
    assert client.wait_closed().code == 1000


def test_logins_are_not_for_all_of_the_staff(shop: DDDPServer, client: StrictClient) -> None:
    """Only for those who may change users."""
    told = in_django(shop, BROWSE.format(name="clerk") + DELETE)

    assert "told 403 0 403 1" in told
    client.ping()
