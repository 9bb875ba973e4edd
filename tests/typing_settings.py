"""The settings that mypy's Django plugin reads: no test application, no database that would have to be started."""

from __future__ import annotations

SECRET_KEY = "types"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django.contrib.staticfiles",
    "dddp",
    "dddp.accounts",
]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "types"}}
