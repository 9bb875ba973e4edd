"""A server with accounts, and its users."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest

from tests.client import StrictClient
from tests.server import DDDPServer, fresh_database, run_django

SETTINGS = "tests.accounts.project.settings"
PASSWORD = "correct horse"


USERS = f"""
for name in ("ann", "bob"):
    User.objects.create_user(name, f"{{name}}@example.org", "{PASSWORD}", first_name=name.title(), last_name="Lee")
"""


def digest(password: str = PASSWORD) -> dict[str, str]:
    """A password as Meteor's clients send it; for ASCII only."""
    return {"digest": hashlib.sha256(password.encode()).hexdigest(), "algorithm": "sha-256"}


class Accounts:
    """The served project."""

    def __init__(self, server: DDDPServer, env: dict[str, str]) -> None:
        self.server = server
        self.env = env
        self.users: dict[int, str] = {}

    def add_users(self) -> None:
        """Ann and Bob."""
        self.django(USERS)
        self.users = dict(self.execute("SELECT id, password FROM auth_user"))

    def client(self) -> StrictClient:
        return self.server.client()

    def django(self, code: str) -> str:
        """Run code as another process of the project; what it prints."""
        imports = (
            "from django.contrib.auth.models import User; from dddp.accounts.models import LoginToken; "
            "from tests.accounts.project.models import *; "
        )
        return run_django(
            "shell", "--no-imports", "-c", imports + code, settings_module=SETTINGS, env=self.env
        )

    def execute(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement as another program; the rows it returns."""
        url = self.env["DATABASE_URL"]
        with contextlib.closing(psycopg2.connect(url)) as pgconn, pgconn, pgconn.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall() if cursor.description else []

    def log_in(self, client: StrictClient, username: str = "ann", password: Any = PASSWORD) -> Any:
        return client.call("login", {"user": {"username": username}, "password": password})

    def tokens(self) -> int:
        ((count,),) = self.execute("SELECT count(*) FROM dddp_accounts_logintoken")
        return count


@contextlib.contextmanager
def serve(settings_module: str = SETTINGS, **settings: Any) -> Iterator[Accounts]:
    """A server with these DDDP settings, and nobody in its database."""
    with fresh_database("accounts") as url:
        env = {"DATABASE_URL": url, "DDDP": json.dumps({"CAPTURE": "triggers", **settings})}
        run_django("migrate", "--verbosity=0", settings_module=settings_module, env=env)
        with DDDPServer(settings_module, env) as server:
            yield Accounts(server, env)


@pytest.fixture(scope="session")
def standing() -> Iterator[Accounts]:
    """One server with the default settings, for all tests that need no other."""
    with serve() as accounts:
        accounts.add_users()
        yield accounts


@pytest.fixture(scope="module")
def served(standing: Accounts) -> Accounts:
    """The server of a module; one that needs settings of its own overrides this."""
    return standing


@pytest.fixture
def accounts(served: Accounts) -> Accounts:
    """The served project with the users ann and bob, and nobody logged in."""
    served.execute("DELETE FROM diary_entry; DELETE FROM diary_event; DELETE FROM dddp_accounts_logintoken")
    served.execute("DELETE FROM auth_user WHERE NOT username IN ('ann', 'bob')")
    for key, password in served.users.items():
        served.execute("UPDATE auth_user SET is_active = true, password = %s WHERE id = %s", password, key)
    return served


@pytest.fixture
def client(accounts: Accounts) -> Iterator[StrictClient]:
    with accounts.client() as client:
        yield client


@pytest.fixture
def ann(accounts: Accounts) -> str:
    """The id of the user ann."""
    ((key,),) = accounts.execute("SELECT id FROM auth_user WHERE username = 'ann'")
    return str(key)
