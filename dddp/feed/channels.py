"""The names of NOTIFY channels. Pure; ``dddp_channel`` in ``sql/flush.sql`` gives the same names."""

from __future__ import annotations

import hashlib

from dddp.changes import Table

__all__ = ["process_channel", "table_channel"]

PREFIX = "dddp."
NAME_BYTES = 63  # PostgreSQL: a channel is an identifier, NAMEDATALEN - 1
DIGEST_CHARACTERS = 40


def table_channel(table: Table) -> str:
    """The channel that carries the changes of one table."""
    name = PREFIX + table
    if len(name.encode()) <= NAME_BYTES:
        return name
    return PREFIX + "#" + hashlib.sha256(table.encode()).hexdigest()[:DIGEST_CHARACTERS]


def process_channel(process_id: str) -> str:
    """The channel of one process: its tokens only. ``process_id`` is at most 57 bytes."""
    return f"{PREFIX}@{process_id}"
