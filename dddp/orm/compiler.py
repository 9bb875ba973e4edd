"""From a queryset's WHERE to a predicate over one row: the only place where a query is understood, not just run.

What is not understood is no error: the query is kept by running it again. A predicate must give PostgreSQL's answer
for every row of the table, or not exist.
"""

from __future__ import annotations

from django.db.models.sql import Query

from dddp.changes import Row
from dddp.livequery.spec import Predicate

__all__ = ["compile_predicate", "everything", "nothing"]


def everything(row: Row) -> bool:
    """The predicate of an unfiltered query: each row of the table belongs to it."""
    return True


def nothing(row: Row) -> bool:
    """The predicate of ``none()`` and of filters that no row can pass."""
    return False


def compile_predicate(query: Query) -> Predicate | None:
    """The predicate of a query over one table; None when there is none that is certain.

    Args:
        query: as compiling it to SQL left it, so that the joins of its ordering are there too.
    """
    return everything if _takes_all_rows(query) else None


def _takes_all_rows(query: Query) -> bool:
    narrowed = query.where or query.is_sliced or query.distinct or query.combinator or query.extra
    # An inner join drops rows even for the sake of ordering; grouping may.
    return not narrowed and len(query.alias_map) <= 1 and query.group_by is None
