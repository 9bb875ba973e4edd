"""Settings of the example: everything it needs comes from the environment, ``DATABASE_URL`` first.

``DATABASE_URL``  the PostgreSQL to use (required)
``DEBUG``         ``True`` (default) or ``False``
``SECRET_KEY``    set it wherever other people can reach the server
"""

from __future__ import annotations

import os
from pathlib import Path

from bookstore_project.database import database_from_url

BASE_DIR = Path(__file__).resolve().parent.parent

SECRET_KEY = os.environ.get("SECRET_KEY", "a demonstration keeps no secrets, a real site sets its own")
DEBUG = os.environ.get("DEBUG", "True").lower() in ("true", "1", "yes", "on")
ALLOWED_HOSTS = ["*"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "dddp",
    "dddp.accounts",
    "bookstore",
]

PASSWORD_HASHERS = [
    "dddp.accounts.hashers.DigestPBKDF2PasswordHasher",  # takes what Meteor's clients send, and Django's forms
    "dddp.accounts.hashers.ThreadedPBKDF2PasswordHasher",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "bookstore_project.urls"
WSGI_APPLICATION = "bookstore_project.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {"default": database_from_url(os.environ.get("DATABASE_URL", ""))}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "static"
