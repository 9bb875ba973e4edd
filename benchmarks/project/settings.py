"""``DATABASE_URL`` names the database, ``CAPTURE`` how changes are captured: triggers (default), signals or none."""

from __future__ import annotations

import os

from bookstore_project.database import database_from_url

CAPTURE = os.environ.get("CAPTURE", "triggers")

DATABASES = {"default": database_from_url(os.environ["DATABASE_URL"])}
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "benchmarks.project.stock"]
MIGRATION_MODULES = {"contenttypes": None, "auth": None}
ROOT_URLCONF = "benchmarks.project.urls"
SECRET_KEY = "benchmarks"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

if CAPTURE != "none":
    INSTALLED_APPS += ["dddp"]
    # No heartbeats: the load clients count frames, and do not answer pings.
    DDDP = {"CAPTURE": CAPTURE, "HEARTBEAT_INTERVAL": 86_400}
