"""From a live set's condition back to SQL: the queryset of its rows, so that a read finds just what the feed keeps.

Only what means the same in both is written out; the rest is refused, and its query is kept by running it again.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import F, Q

from dddp.livequery.predicate import (
    Always,
    And,
    Column,
    Compare,
    CompareColumns,
    Expression,
    In,
    InSet,
    IsNull,
    MatchesText,
    Not,
    Or,
    SetSpec,
    nan_last,
)
from dddp.orm.tables import concrete, model_of

__all__ = ["CannotWrite", "rows_of"]

LOOKUPS = {"=": "exact", "<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}


class CannotWrite(Exception):
    """A condition that has no SQL of certain meaning here; the text says which."""


def rows_of(values: SetSpec, database: str) -> models.QuerySet[Any]:
    """The rows of a set.

    Raises:
        CannotWrite: the condition cannot be written as SQL.
    """
    model = concrete(model_of(values.table))
    condition = _condition(values.where, database) & _present(values.column)
    rows: models.QuerySet[Any] = model._base_manager.using(database).filter(condition)
    return rows.order_by()


def _condition(where: Expression, database: str) -> Q:
    match where:
        case Always():
            return Q()
        case And(parts):
            return Q(*(_condition(part, database) for part in parts))
        case Or(parts):
            return Q(*(_condition(part, database) for part in parts), _connector=Q.OR)
        case CompareColumns(left, "<>", right):
            return ~Q(**{_name(left): F(_name(right))}) & _present(left) & _present(right)
        case CompareColumns(left, operator, right):
            return Q(**{f"{_name(left)}__{LOOKUPS[operator]}": F(_name(right))})
        case Compare(column, "<>", constant):
            return ~Q(**{_name(column): constant}) & _present(column)
        case Compare(column, operator, constant):
            return Q(**{f"{_name(column)}__{LOOKUPS[operator]}": constant})
        case In(column, members, False):
            return Q(**{f"{_name(column)}__in": list(members)})
        case IsNull(column):
            return Q(**{f"{_name(column)}__isnull": True})
        case MatchesText(column, how, text):
            return Q(**{f"{_name(column)}__{how}": text})
        case InSet(column, values):
            inner = rows_of(values, database).values(_name(values.column))
            return Q(**{f"{_name(column)}__in": inner})
        case Not(IsNull(column)):
            return _present(column)
        case Not(In(column) | MatchesText(column) as part):
            return ~_condition(part, database) & _present(column)
        case Not(InSet(column) as part):
            return ~_condition(part, database) | ~_present(column)
    raise CannotWrite(f"a condition on a related row cannot be read back: {type(where).__name__}")


def _present(column: Column) -> Q:
    """SQL's NOT of a test is NULL where the column is, Django's would be true; and NULL is in no set."""
    return Q(**{f"{_name(column)}__isnull": False})


def _name(column: Column) -> str:
    if column.comparable not in (None, nan_last):
        raise CannotWrite(f"{column.name} of a related row is not compared as it is stored")
    return column.name
