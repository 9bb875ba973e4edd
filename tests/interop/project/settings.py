"""The project that the clients of ``tests/interop`` and the proxies of ``tests/proxy`` meet."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bookstore_project.database import database_from_url

NODE_MODULES = Path(__file__).resolve().parent.parent / "node_modules"

DATABASES = {"default": database_from_url(os.environ["DATABASE_URL"])}
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.staticfiles",
    "dddp",
    "dddp.accounts",
    "tests.interop.project.apps.NotesConfig",
]
PASSWORD_HASHERS = ["tests.accounts.project.hashers.FastDigestHasher"]
SECRET_KEY = "tests"
DEBUG = True  # serves the static files
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.interop.project.urls"
STATIC_URL = "static/"
STATICFILES_DIRS = [("drivers", NODE_MODULES.parent / "drivers"), ("modules", NODE_MODULES)]
TEMPLATES: list[dict[str, object]] = []
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DDDP = {
    "CAPTURE": "triggers",
    "SOCKJS_CLIENT_URL": "/static/modules/sockjs-client/dist/sockjs.min.js",
    **json.loads(os.environ.get("DDDP", "{}")),
}
