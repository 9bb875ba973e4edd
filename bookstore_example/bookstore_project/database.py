"""``DATABASE_URL`` -> Django's ``DATABASES`` entry. Knows PostgreSQL's URLs and nothing of the project."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from django.core.exceptions import ImproperlyConfigured

__all__ = ["database_from_url"]

EXAMPLE = "postgres://user:password@localhost:5432/bookstore"


def database_from_url(url: str) -> dict[str, Any]:
    """Read a PostgreSQL URL, ``postgres://user:password@host:port/name?option=value``.

    ``?host=/some/dir`` names the folder of a Unix socket, as in libpq; ``sslmode`` and the like go to libpq.

    Raises:
        ImproperlyConfigured: the URL is empty or cannot be read. The message never shows the password.
    """
    if not url:
        raise ImproperlyConfigured(f"DATABASE_URL is not set; set it to your PostgreSQL, like {EXAMPLE}")
    try:
        return _database(urlsplit(url))
    except ValueError as error:
        raise ImproperlyConfigured(f"DATABASE_URL: {error}; write it like {EXAMPLE}") from error


def _database(url: SplitResult) -> dict[str, Any]:
    if url.scheme not in ("postgres", "postgresql"):
        raise ValueError(f"it begins with {url.scheme!r}, not with 'postgres://'")
    name = unquote(url.path.removeprefix("/"))
    if not name:
        raise ValueError("it names no database after the host")
    options = dict(parse_qsl(url.query, strict_parsing=bool(url.query)))
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": name,
        "USER": unquote(url.username or ""),
        "PASSWORD": unquote(url.password or ""),
        "HOST": options.pop("host", unquote(url.hostname or "")),
        "PORT": options.pop("port", str(url.port or "")),
        "OPTIONS": options,
    }
