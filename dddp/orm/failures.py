"""What an error of the database blames: the database itself, or the statement."""

from __future__ import annotations

import psycopg2
from django.db import Error, InterfaceError, OperationalError

__all__ = ["MIGRATE", "first_line", "is_away", "is_overtime", "mend"]

AWAY = ("08", "57P", "53300")
"""SQLSTATEs of a connection or a server that is gone, going or full: trying again may help."""

CANCELED = "57014"
"""SQLSTATE of a statement that ran into ``statement_timeout``, or was cancelled by somebody."""

MIGRATE = "run: manage.py migrate, or restart with the code that the database was migrated for"

MENDS = {
    "42703": MIGRATE,  # a column is not there
    "42P01": MIGRATE,  # a table
    "42501": "grant it to the server's role: GRANT SELECT ON the table, or USAGE ON its schema, TO the role",
}
"""SQLSTATE -> what mends it."""


def first_line(error: BaseException) -> str:
    """What an error of the database says, without where in the SQL."""
    return str(error).strip().partition("\n")[0]


def mend(error: BaseException) -> str:
    """What mends it, as the end of a sentence that told of the error; empty when that is not known."""
    known = MENDS.get(_sqlstate(error) or "")
    return f"; {known}" if known else ""


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
