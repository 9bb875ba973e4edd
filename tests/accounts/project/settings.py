"""The project that the tests of accounts serve."""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qs, urlsplit

_url = urlsplit(os.environ["DATABASE_URL"])

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
    "dddp",
    "dddp.accounts",
    "tests.accounts.project.apps.DiaryConfig",
]
PASSWORD_HASHERS = [
    "tests.accounts.project.hashers.FastDigestHasher",
    "tests.accounts.project.hashers.FastPBKDF2Hasher",
]
AUTH_PASSWORD_VALIDATORS = [{"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"}]
SECRET_KEY = os.environ.get("SECRET_KEY", "tests")
ROOT_URLCONF = "tests.accounts.project.urls"
WSGI_APPLICATION = None
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DDDP = {"RATE_LIMITS": [], **json.loads(os.environ.get("DDDP", "{}"))}
