"""Paths from a model to the user, which say whose a row is: ``"owner"``, ``"team__members"``, ``"pk"`` of the user.

A path is walked once, at start, so that a misspelt one stops the start.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import Model, Q, QuerySet

from dddp.api.access import User
from dddp.errors import ImproperlyDeclared

__all__ = ["UserPath"]


class UserPath:
    """One path of a ``user_rel``.

    Raises:
        ImproperlyDeclared: a step does not exist, or the path does not end at the user.
    """

    def __init__(self, model: type[Model], path: str) -> None:
        self.model = model
        self.path = path
        self._by_key = False
        self._walk()

    def condition(self, user: User) -> Q:
        """What is true of the rows that are this user's."""
        return Q(**{self.path: user.pk if self._by_key else user})

    def rows(self) -> QuerySet[Any]:
        """The rows that are anybody's; reads the tables that the condition reads."""
        return self.model._base_manager.filter(**{f"{self.path}__isnull": False})

    def _walk(self) -> None:
        model: type[Model] = self.model
        steps = self.path.split("__")
        for step in steps[:-1]:
            field = self._field(model, step)
            if not field.is_relation or field.related_model is None:
                raise self._mistake(f"{step!r} is no relation of {model._meta.label}")
            model = field.related_model
        self._end(model, steps[-1])

    def _end(self, model: type[Model], step: str) -> None:
        field = model._meta.pk if step == "pk" else self._field(model, step)
        self._by_key = field is not None and field == model._meta.pk and _is_user(model)
        if self._by_key:
            return
        if not field.is_relation or not _is_user(field.related_model):
            raise self._mistake(
                f"it ends at {model._meta.label}.{step}, not at {get_user_model()._meta.label}"
            )

    def _field(self, model: type[Model], step: str) -> Any:
        """A field or reverse relation by the name that queries use."""
        fields: dict[str, Any] = {}
        for field in model._meta.get_fields():
            fields[field.name] = field
            if field.concrete:
                fields.setdefault(field.attname, field)
        if step not in fields:
            choices = ", ".join(sorted(name for name, field in fields.items() if field.is_relation))
            raise self._mistake(f"{model._meta.label} has no {step!r}; its relations are {choices}")
        return fields[step]

    def _mistake(self, reason: str) -> ImproperlyDeclared:
        return ImproperlyDeclared(f"user_rel {self.path!r} of {self.model._meta.label}: {reason}")


def _is_user(model: Any) -> bool:
    return model is not None and model._meta.concrete_model is get_user_model()._meta.concrete_model
