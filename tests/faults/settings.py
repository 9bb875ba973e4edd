"""Settings of the bank, the project that the tests of faults serve and write to; all from the environment.

``DATABASE_URL``  the PostgreSQL database
``BANK_CAPTURE``  ``signals`` or ``triggers``
``BANK_DDDP``     JSON: more of the setting ``DDDP``
"""

from __future__ import annotations

import json
import os

from bookstore_project.database import database_from_url

DATABASES = {"default": database_from_url(os.environ.get("DATABASE_URL", ""))}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "dddp", "tests.faults.bank"]
MIGRATION_MODULES = {"contenttypes": None, "auth": None}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.faults.settings"
urlpatterns: list[object] = []
WSGI_APPLICATION = None

DDDP = {
    "CAPTURE": os.environ.get("BANK_CAPTURE", "triggers"),
    "FEED_HEARTBEAT": 1.0,  # faults that last longer than it take a second, not five
    "STATEMENT_TIME_LIMIT": 3.0,
    "QUERY_TIME_LIMIT": 5.0,
    "SHUTDOWN_TIME_LIMIT": 5.0,
    "HANDLER_POOL_SIZE": 4,
    "READ_POOL_SIZE": 3,
    **json.loads(os.environ.get("BANK_DDDP", "{}")),
}
