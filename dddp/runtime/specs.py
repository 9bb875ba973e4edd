"""What the querysets of one database are as live queries.

To write out a queryset's SQL is most of what it costs to join a query that lives already. It is done once for a
queryset that comes again as the same object, as those of ``Publication.queries`` do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from django.db.models import QuerySet

from dddp.changes import Table
from dddp.livequery.spec import Identity, QuerySpec
from dddp.orm.documents import ModelShape
from dddp.orm.queries import specify

__all__ = ["Specs"]


class Specs:
    """Makes the specs.

    Args:
        database: alias.
        columns: the captured tables, and what the feed carries of each.
        living: gives the spec of the live query with an identity, if there is one.
    """

    def __init__(
        self,
        database: str,
        columns: Mapping[Table, Iterable[str]],
        living: Callable[[Identity], QuerySpec | None],
    ) -> None:
        self._database = database
        self._columns = columns
        self._captured = frozenset(columns)
        self._living = living
        self._made: WeakKeyDictionary[QuerySet[Any], dict[ModelShape, QuerySpec]] = WeakKeyDictionary()

    def spec(self, queryset: QuerySet[Any], shape: ModelShape) -> QuerySpec:
        """The spec of a queryset's documents in a shape.

        Raises:
            QueryRefused: it cannot be kept live; the message names why and what to change.
        """
        made = self._made.setdefault(queryset, {})
        if shape not in made:
            made[shape] = specify(
                queryset,
                shape,
                database=self._database,
                captured=self._captured,
                columns=self._columns,
                living=self._living,
            )
        return made[shape]
