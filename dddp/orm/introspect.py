"""What capture has to know of a model: its table, its key, and the columns that an envelope may carry.

Whatever an envelope carries, any role of the database can listen to. So it carries the key, the foreign keys (which
tell where a row belongs) and the columns that are asked for, and never a whole row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.db import models

from dddp.errors import ImproperlyDeclared
from dddp.feed.capture import CapturedTable
from dddp.orm.tables import concrete, quoted, table_of

__all__ = ["captured_table"]


def captured_table(model: type[models.Model], columns: Iterable[str] = ()) -> CapturedTable:
    """How to capture the table of a model's own rows.

    Args:
        columns: names of database columns to carry besides the keys; those of a multi-table parent lie in the
            parent's table, and are left out here.

    Raises:
        ImproperlyDeclared: the key is not one column.
    """
    meta: Any = concrete(model)._meta
    if getattr(meta, "is_composite_pk", False):
        raise ImproperlyDeclared(
            f"{meta.label} has a composite primary key; only a key of one column can be captured."
        )
    named = frozenset(columns)
    carried = [
        field.column for field in meta.local_concrete_fields if field.is_relation or field.column in named
    ]
    return CapturedTable(
        table=table_of(model),
        relation=quoted(meta.db_table),
        key_column=meta.pk.column,
        columns=tuple(carried),
    )
