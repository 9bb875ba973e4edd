"""What an error of the database blames: the database itself, or the statement."""

from __future__ import annotations

import psycopg2
from django.db import Error, InterfaceError, OperationalError

__all__ = ["is_away", "is_overtime"]

AWAY = ("08", "57P", "53300")
"""SQLSTATEs of a connection or a server that is gone, going or full: trying again may help."""

CANCELED = "57014"
"""SQLSTATE of a statement that ran into ``statement_timeout``, or was cancelled by somebody."""


def is_away(error: BaseException) -> bool:
    """Whether the connection or the server failed, whatever the statement was."""
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    code = _sqlstate(error)
    return code is None or code.startswith(AWAY)


def is_overtime(error: BaseException) -> bool:
    """Whether the statement was ended before it was done."""
    return isinstance(error, Error) and _sqlstate(error) == CANCELED


def _sqlstate(error: BaseException) -> str | None:
    cause = error.__cause__
    return cause.pgcode if isinstance(cause, psycopg2.Error) else None
