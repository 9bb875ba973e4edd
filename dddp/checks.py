"""System checks: what ``manage.py check`` says about databases that cannot notify (design.md section 3).

Warnings, since all else works without: a project may well be tested on another database.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections, router

from dddp import conf
from dddp.api.registry import API
from dddp.feed import capture

__all__ = ["capture_status", "check_capture", "check_databases", "register_checks"]

HINT = "Until then changes will not reach DDP clients."


def register_checks() -> None:
    """Add the checks to Django's; once, when the app is ready."""
    register(check_databases, Tags.compatibility)
    register(check_capture, Tags.database)


def check_databases(**options: Any) -> list[CheckMessage]:
    """Some database must be PostgreSQL; nothing connects."""
    if any(connection.vendor == "postgresql" for connection in connections.all()):
        return []
    return [
        Warning(
            "No database is PostgreSQL, so no change of data will reach DDP clients.",
            hint='Set the ENGINE of a database in DATABASES to "django.db.backends.postgresql".',
            id="dddp.W001",
        )
    ]


def check_capture(databases: Sequence[str] | None, **options: Any) -> list[CheckMessage]:
    """Capture must be installed as declared in the databases that ``manage.py check --database`` names."""
    if sys.argv[1:2] == ["migrate"]:  # it runs the checks first, then does what this one asks for
        return []
    return [
        Warning(f"Capture in the database {alias!r} is not up to date: {status}.", hint=HINT, id="dddp.W002")
        for alias in databases or ()
        if connections[alias].vendor == "postgresql" and router.allow_migrate(alias, "dddp")
        for status in [capture_status(alias)]
        if not status.ready
    ]


def capture_status(alias: str) -> capture.Status:
    """What ``migrate`` has yet to do in a database before it captures what is declared; reads it."""
    triggers = conf.load().capture == "triggers"
    return capture.status(connections[alias], API.captured_tables(alias), triggers)
