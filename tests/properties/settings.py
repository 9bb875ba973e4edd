"""Settings of the library, the project that the property tests serve and write to; all from the environment.

``DATABASE_URL``     the PostgreSQL database
``LIBRARY_CAPTURE``  ``signals`` or ``triggers``
"""

from __future__ import annotations

import os

from bookstore_project.database import database_from_url

DATABASES = {"default": database_from_url(os.environ.get("DATABASE_URL", ""))}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "dddp", "tests.properties.library"]
MIGRATION_MODULES = {"contenttypes": None, "auth": None}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
SECRET_KEY = "tests"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
ROOT_URLCONF = "tests.properties.settings"
urlpatterns: list[object] = []
WSGI_APPLICATION = None

DDDP = {
    # Readers that are cut off come back as new ones: what they left must not go on being read in the next test.
    "RESUMPTION_TIME_LIMIT": 0,
    "CAPTURE": os.environ.get("LIBRARY_CAPTURE", "signals"),
    "CAPTURE_MODELS": ["library.Tag"],
}
