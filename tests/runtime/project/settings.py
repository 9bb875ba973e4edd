"""The project's settings. ``DATABASE_URL`` and ``ARCHIVE_URL`` name its databases, ``DDDP`` is its settings as JSON."""

from __future__ import annotations

import json
import os

from bookstore_project.database import database_from_url

DATABASES = {
    "default": database_from_url(os.environ["DATABASE_URL"]),
    "archive": database_from_url(os.environ["ARCHIVE_URL"]),
}
DATABASE_ROUTERS = ["tests.runtime.project.databases.ArchiveRouter"]
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.sessions",
    "dddp",
    "tests.runtime.project.apps.ProjectConfig",
]
MIDDLEWARE = ["django.contrib.sessions.middleware.SessionMiddleware"]
ROOT_URLCONF = "tests.runtime.project.urls"
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "tests"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
MIGRATION_MODULES = {"contenttypes": None, "auth": None, "sessions": None}
DDDP = json.loads(os.environ.get("DDDP", "{}"))
