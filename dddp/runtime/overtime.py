"""How long one statement of a method or a publication may take: PostgreSQL ends it, in the handlers' greenlets only.

A project's own limit, in its ``OPTIONS``, its role or its database, stays as it is.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.signals import connection_created
from gevent.local import local

__all__ = ["limit_statements"]

_limit = local()
"""Of the current greenlet: milliseconds per statement, if it has a limit."""

SET_LIMIT = """
SELECT set_config('statement_timeout', %s, false)
 WHERE current_setting('statement_timeout') = '0'
"""


def limit_statements(seconds: float) -> None:
    """Give every connection that this greenlet opens from now on a limit for each statement."""
    _limit.milliseconds = int(seconds * 1000)
    connection_created.connect(_set_limit)


def _set_limit(connection: Any, **kwargs: object) -> None:
    milliseconds = getattr(_limit, "milliseconds", None)
    if milliseconds is not None and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(SET_LIMIT, [str(milliseconds)])
