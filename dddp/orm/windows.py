"""From a queryset's slice and order to a window: what of its order Python knows as PostgreSQL does.

An order that is not understood is no error: the window is then kept by running its query again.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping
from typing import Any

from django.db import connections
from django.db.models.expressions import Col, OrderBy
from django.db.models.sql import Query

from dddp.changes import Table
from dddp.livequery.window import Order, Window
from dddp.orm.columns import AS_READ, STRANGE, Refused, column_types
from dddp.orm.documents import ModelShape
from dddp.orm.joins import Level
from dddp.orm.tables import concrete

__all__ = ["MAX_START", "window_of"]

MAX_START = 1000
"""Rows before a window whose places are worth remembering; a page farther back is run again instead."""


def window_of(
    query: Query, shape: ModelShape, database: str, carried: Mapping[Table, Iterable[str]]
) -> Window:
    """The window of a sliced query.

    Raises:
        Refused: its order is made of more than columns of its own table, or it begins too far back.
    """
    if query.low_mark > MAX_START:
        raise Refused(f"it begins {query.low_mark} rows back, more than the {MAX_START} that are remembered")
    assert query.model is not None
    model = concrete(query.model)
    known = {*carried.get(shape.table, ()), *shape.columns}
    level = Level(model, column_types(model, database), frozenset(known), connections[database])
    terms = [each for each, _ in query.get_compiler(using=database).get_order_by()]
    fields = [_field(each, query) for each in terms]
    orders = [_order(*each, level) for each in zip(terms, fields, strict=True)]
    total = any(field.unique and not field.null for field in fields)
    return Window(orders, query.low_mark, query.high_mark, total=total)


def _field(term: Any, query: Query) -> Any:
    """The field whose column a term of the order is."""
    column = term.expression if isinstance(term, OrderBy) else None
    if type(column) is not Col:
        raise Refused("it is ordered by more than columns")
    field: Any = column.target
    if column.alias != query.base_table:
        raise Refused(f"it is ordered by {field.name} of another table")
    return field


def _order(term: OrderBy, field: Any, level: Level) -> Order:
    operand = level.operand(field)
    family = operand.family
    if datetime.timedelta in family.constants:
        raise Refused(f"it is ordered by {operand.name}: durations are loaded with years as 365 days")
    nulls_first = bool(term.nulls_first or (term.descending and not term.nulls_last))
    strange = STRANGE if family in AS_READ else frozenset()
    return Order(operand.column(family.comparable), term.descending, nulls_first, family.ordered, strange)
