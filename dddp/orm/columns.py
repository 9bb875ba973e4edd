"""What PostgreSQL says of a table's columns: their types and collations as they are, not as the model declares them.

A model may stand on a table that something else made, and a migration may have changed a column by hand; how values
compare is the column's affair. Looked up once per table and process, as the decoding of its rows is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import DatabaseError, InterfaceError, connections, models

__all__ = ["ColumnType", "column_types"]

#: The type's name is for people. A type without collations counts as deterministic.
LOOK_UP = """
SELECT a.attname, a.atttypid::bigint, format_type(a.atttypid, a.atttypmod), a.attcollation::bigint,
       COALESCE(c.collisdeterministic, true)
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
 WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of one column."""

    oid: int
    name: str  #: as SQL writes it
    collation: int  #: 0 for types that have none
    deterministic: bool  #: texts are equal when their bytes are


_known: dict[tuple[str, str], Mapping[str, ColumnType]] = {}


def column_types(model: type[models.Model], database: str) -> Mapping[str, ColumnType]:
    """The columns of a model's table by name; none of them when the table is not there or cannot be asked for."""
    table = connections[database].ops.quote_name(model._meta.db_table)
    types = _known.get((database, table))
    if types is None:
        types = _look_up(table, database)
        if types:
            _known[database, table] = types
    return types


def _look_up(table: str, database: str) -> Mapping[str, ColumnType]:
    try:
        with connections[database].cursor() as cursor:
            cursor.execute(LOOK_UP, [table])
            return {name: ColumnType(*facts) for name, *facts in cursor.fetchall()}
    except (DatabaseError, InterfaceError):
        return {}  # whoever reads the rows meets the same error, and reports it
