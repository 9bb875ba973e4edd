"""Tokens: what a process puts into the feed to learn that everything before it has been reported.

Two ways in. A read sends its token bare (``send_token``); it comes back as a ``Mark``. A writer leaves its token with
its transaction (``note_token``); it comes back in ``Transaction.marks``, at the end of what the transaction did.
"""

from __future__ import annotations

from typing import Any

__all__ = ["note_token", "send_token"]

# CASE evaluates the call only for a transaction that has written: noting would itself make it a writer.
NOTE_TOKEN = """
SELECT pg_current_xact_id_if_assigned() IS NOT NULL,
       CASE WHEN pg_current_xact_id_if_assigned() IS NOT NULL THEN dddp_token(%s, %s) END
"""


def send_token(cursor: Any, channel: str, token: str) -> None:
    """Send a token to a process's channel, through any DB-API cursor. Allowed in a read-only transaction.

    The token must not begin with a brace; each must differ, since NOTIFY drops the second of two equal ones.
    """
    cursor.execute("SELECT pg_notify(%s, %s)", (channel, token))


def note_token(connection: Any, channel: str, token: str) -> bool:
    """Leave a token with the current transaction, if it has written anything.

    Args:
        connection: anything with ``cursor()``: Django's connection or the driver's.

    Returns:
        Whether the token will come: False for a transaction that wrote nothing (also outside of a transaction).
    """
    with connection.cursor() as cursor:
        cursor.execute(NOTE_TOKEN, (channel, token))
        (noted, _) = cursor.fetchone()
    return bool(noted)
