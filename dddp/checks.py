"""System checks: what ``manage.py check`` says about databases that cannot notify (design.md section 3).

Warnings, since all else works without: a project may well be tested on another database, and ``migrate``, which
mends the second one, runs the checks first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections, router

__all__ = ["check_capture", "check_databases", "register_checks"]


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
    """The databases named with ``manage.py check --database`` must have capture installed."""
    from dddp.feed.capture import is_installed

    return [
        Warning(
            f"Capture is not installed in the database {alias!r}, so its changes will not reach DDP clients.",
            hint=f"Run manage.py migrate --database {alias}.",
            id="dddp.W002",
        )
        for alias in databases or ()
        if _notifies(alias) and not is_installed(connections[alias])
    ]


def _notifies(alias: str) -> bool:
    return connections[alias].vendor == "postgresql" and bool(router.allow_migrate(alias, "dddp"))
