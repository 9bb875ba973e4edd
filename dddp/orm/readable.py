"""Which columns of a table the database has, and lets this role read; of the others, what is wrong and the mend.

Asks PostgreSQL's catalogue, so that a column that is not there fails no statement.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dddp.changes import Table
from dddp.orm.failures import MIGRATE

__all__ = ["Readable", "readable"]

LOOK_UP = """
SELECT attname::text, has_column_privilege(attrelid, attnum, 'SELECT') FROM pg_catalog.pg_attribute
 WHERE attrelid = to_regclass(%s) AND attname = ANY (%s) AND NOT attisdropped
"""


@dataclass(frozen=True, slots=True)
class Readable:
    """What was found."""

    names: list[str]  #: the columns that can be read, in the order asked for
    lacks: str  #: why the others cannot, with the mend; empty when there are none


def readable(connection: Any, table: Table, relation: str, names: Sequence[str]) -> Readable:
    """Look columns up.

    Args:
        connection: Django's.
        table: for the message.
        relation: the table as SQL names it, quoted.
        names: unquoted.
    """
    with connection.cursor() as cursor:
        cursor.execute(LOOK_UP, [relation, list(names)])
        allowed = dict(cursor.fetchall())
        cursor.execute("SELECT quote_ident(current_user)")
        (role,) = cursor.fetchone()
    found = [name for name in names if allowed.get(name)]
    missing = [name for name in names if name not in allowed]
    denied = [name for name in names if not allowed.get(name, True)]
    if not allowed:
        return Readable(
            found, f"the role {role} finds no table {relation}; {MIGRATE}, or GRANT USAGE ON its schema"
        )
    lacks = []
    if missing:
        lacks.append(f"the database has no column {', '.join(missing)} of {table}; {MIGRATE}")
    if denied:
        columns = f" ({', '.join(map(connection.ops.quote_name, denied))})" if found else ""
        grant = f"GRANT SELECT{columns} ON {relation} TO {role}"
        lacks.append(
            f"the role {role} may not read {', '.join(denied)} of {table}; run as its owner: {grant}"
        )
    return Readable(found, "; ".join(lacks))
