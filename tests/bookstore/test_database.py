"""DATABASE_URL: what is read from it, and what is said when it cannot be."""

from __future__ import annotations

import pytest
from bookstore_project.database import database_from_url
from django.core.exceptions import ImproperlyConfigured


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_tcp_url(scheme: str) -> None:
    """Every part of the URL is where Django looks for it."""
    database = database_from_url(f"{scheme}://ada:secret@db.example.org:5433/shop")

    assert database == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "shop",
        "USER": "ada",
        "PASSWORD": "secret",
        "HOST": "db.example.org",
        "PORT": "5433",
        "OPTIONS": {},
    }


def test_socket_url() -> None:
    """The folder of a Unix socket is the host."""
    database = database_from_url("postgresql://postgres:@/postgres?host=/some/dir")

    assert database["HOST"] == "/some/dir"
    assert database["NAME"] == "postgres"
    assert database["USER"] == "postgres"
    assert database["PASSWORD"] == ""
    assert database["PORT"] == ""


def test_percent_escapes() -> None:
    """Characters that a URL cannot hold are written %XX."""
    database = database_from_url("postgres://a%40b:p%2Fw%3A@localhost/my%20shop")

    assert (database["USER"], database["PASSWORD"], database["NAME"]) == ("a@b", "p/w:", "my shop")


def test_options() -> None:
    """What libpq understands is passed on."""
    assert database_from_url("postgres://localhost/shop?sslmode=require")["OPTIONS"] == {"sslmode": "require"}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "is not set"),
        ("localhost/shop", "not with 'postgres://'"),
        ("mysql://localhost/shop", "not with 'postgres://'"),
        ("postgres://localhost", "names no database"),
        ("postgres://localhost:many/shop", "[Pp]ort"),
        ("postgres://localhost/shop?host", "bad query field"),
    ],
)
def test_unreadable_url(url: str, reason: str) -> None:
    """The error says what is wrong and how a right one looks."""
    with pytest.raises(ImproperlyConfigured, match=f"DATABASE_URL.*{reason}.*postgres://user:password@"):
        database_from_url(url)


def test_unreadable_url_keeps_the_password() -> None:
    """An error ends up in logs; the password must not."""
    with pytest.raises(ImproperlyConfigured) as caught:
        database_from_url("postgres://ada:secret@localhost:many/shop")

    assert "secret" not in str(caught.value)
