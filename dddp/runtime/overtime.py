"""How long one statement may take in the greenlets of a pool: PostgreSQL ends it.

A project's own limit, in its ``OPTIONS``, its role or its database, stays as it is. Where not even PostgreSQL's refusal
comes, the network has gone silent: a little later the connection is given up.
"""

from __future__ import annotations

from typing import Any

from django.db.backends.signals import connection_created
from gevent.local import local

from dddp.feed.cooperative import limit_waits

__all__ = ["limit_statements"]

_limit = local()
"""Of the current greenlet: milliseconds per statement, if it has a limit."""

GRACE = 5.0  # seconds for the refusal to come

SET_LIMIT = """
SELECT extract(epoch FROM (CASE current_setting('statement_timeout')
    WHEN '0' THEN set_config('statement_timeout', %s, false) ELSE current_setting('statement_timeout') END)::interval)
"""


def limit_statements(seconds: float) -> None:
    """Give every connection that this greenlet opens from now on a limit for each statement."""
    _limit.milliseconds = int(seconds * 1000)
    limit_waits(seconds + GRACE)
    connection_created.connect(_set_limit)


def _set_limit(connection: Any, **kwargs: object) -> None:
    milliseconds = getattr(_limit, "milliseconds", None)
    if milliseconds is not None and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(SET_LIMIT, [str(milliseconds)])
            limit_waits(float(cursor.fetchone()[0]) + GRACE)
