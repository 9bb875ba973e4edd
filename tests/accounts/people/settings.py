"""The project of these tests with another user model."""

from __future__ import annotations

from tests.accounts.project.settings import (
    DATABASES,
    DDDP,
    DEFAULT_AUTO_FIELD,
    PASSWORD_HASHERS,
    ROOT_URLCONF,
    SECRET_KEY,
    USE_TZ,
    WSGI_APPLICATION,
)

__all__ = [
    "DATABASES",
    "DDDP",
    "DEFAULT_AUTO_FIELD",
    "PASSWORD_HASHERS",
    "ROOT_URLCONF",
    "SECRET_KEY",
    "USE_TZ",
    "WSGI_APPLICATION",
]

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "dddp",
    "dddp.accounts",
    "tests.accounts.people",
]
AUTH_USER_MODEL = "people.Person"
