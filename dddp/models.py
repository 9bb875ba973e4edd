"""Fields and bases for models whose keys are Meteor's: an insert that a client has simulated keeps its id.

Inside a method the default is drawn from the call's random streams, so for the same ``randomSeed`` it is the id that
the client drew (ddp-wire 5.7); elsewhere it is random. Tables of this app's own are not models: ``migrate`` makes
them by SQL.
"""

from __future__ import annotations

from typing import Any

from django.db import models

from dddp.api.random import random_id
from dddp.api.registry import API

__all__ = ["AleaIdField", "AleaIdMixin", "new_id"]


def new_id() -> str:
    """A random id of 17 characters; stands for the default of ``AleaIdField`` in migrations."""
    return random_id("default")


class AleaIdField(models.CharField):  # type: ignore[type-arg]  # generic in the stubs only
    """A Meteor id: 17 unmistakable letters and digits, drawn when the object is made.

    The n-th object of a collection made in a method gets the id of the n-th insert that the client simulated.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", 17)
        kwargs.setdefault("default", new_id)
        super().__init__(*args, **kwargs)

    def deconstruct(self) -> Any:
        """Leave out what ``__init__`` sets by itself."""
        name, path, args, kwargs = super().deconstruct()
        for option, default in (("max_length", 17), ("default", new_id)):
            if kwargs.get(option) == default:
                del kwargs[option]
        return name, path, args, kwargs

    def get_default(self) -> Any:
        """An id of the model's collection; another default, if one was declared, stays."""
        if self.default is not new_id:
            return super().get_default()
        return random_id(_collection_name(self.model))


class AleaIdMixin(models.Model):
    """A model whose primary key is a Meteor id. For a table that exists, migrate its key first."""

    id = AleaIdField(primary_key=True, editable=False)

    class Meta:
        abstract = True


def _collection_name(model: type[models.Model]) -> str:
    """The model's one collection; without one, or with several, the name a collection has by default."""
    collections = API.collections_of(model)
    return collections[0].name if len(collections) == 1 else model._meta.label_lower
