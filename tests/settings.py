"""The settings of the tests: PostgreSQL at tests.postgres.url(), a few apps."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from tests.postgres import url

_url = urlsplit(url())

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path.lstrip("/"),
        "USER": _url.username or "",
        "PASSWORD": _url.password or "",
        "HOST": _url.hostname or parse_qs(_url.query).get("host", [""])[0],
        "PORT": _url.port or "",
    }
}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.postgres",
    "dddp",
    "tests.app",
    "bookstore",
]
SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
# Models of tests.app refer to these apps and have no migrations, which come after tables made without them.
MIGRATION_MODULES = {"contenttypes": None, "auth": None}
