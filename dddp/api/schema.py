"""What the fields of a collection accept, in the words of Meteor's SimpleSchema, for forms on the client.

Keys of a field, each only where it says something: ``type`` (a constructor's name), ``label``, ``optional``,
``max``, ``min``, ``decimal``, ``allowedValues``, ``options`` (value and label of each choice), ``relation`` (the
label of the model that a foreign key leads to).
"""

from __future__ import annotations

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.core.validators import (
    MaxLengthValidator,
    MaxValueValidator,
    MinLengthValidator,
    MinValueValidator,
)
from django.db import models

from dddp.orm.documents import ModelShape

__all__ = ["describe"]

TYPES: tuple[tuple[tuple[type[models.Field[Any, Any]], ...], str], ...] = (
    ((models.BooleanField,), "Boolean"),
    ((models.IntegerField, models.FloatField), "Number"),
    ((models.DateTimeField,), "Date"),
    ((models.BinaryField,), "Uint8Array"),
    ((models.JSONField,), "Object"),
    ((ArrayField,), "Array"),
)

BOUNDS = (
    (MaxValueValidator, "max"),
    (MaxLengthValidator, "max"),
    (MinValueValidator, "min"),
    (MinLengthValidator, "min"),
)


def describe(shape: ModelShape) -> dict[str, dict[str, Any]]:
    """Field name in the document -> what it accepts; empty where ``serialize`` makes the documents."""
    described = {name: _describe(field) for name, field in shape.concrete.items()}
    many = {
        name: {"type": "Array", "label": _label(field)} | _relation(field)
        for name, field in shape.many.items()
    }
    return described | many


def _describe(field: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {"type": _type(field), "label": _label(field)}
    if field.null or field.blank or field.has_default():
        answer["optional"] = True
    if isinstance(field, models.FloatField):
        answer["decimal"] = True
    return answer | _bounds(field) | _choices(field) | _relation(field)


def _type(field: Any) -> str:
    """The type of the document's value: a foreign key is its text, a Decimal too."""
    if field.is_relation:
        return "String"
    return next((name for types, name in TYPES if isinstance(field, types)), "String")


def _label(field: Any) -> str:
    label = str(field.verbose_name)
    return label[:1].upper() + label[1:]


def _bounds(field: Any) -> dict[str, Any]:
    """Limits of the validators; those that a database type gives by itself say nothing to a form."""
    if field.is_relation:
        return {}
    limits: dict[str, Any] = {}
    for validator in field._validators:
        for kind, name in BOUNDS:
            if isinstance(validator, kind):
                limits[name] = (
                    validator.limit_value() if callable(validator.limit_value) else validator.limit_value
                )
    if getattr(field, "max_length", None):
        limits.setdefault("max", field.max_length)
    return limits


def _choices(field: Any) -> dict[str, Any]:
    choices = [(value, str(label)) for value, label in field.flatchoices]
    if not choices:
        return {}
    options = [{"value": value, "label": label} for value, label in choices]
    return {"allowedValues": [value for value, _ in choices], "options": options}


def _relation(field: Any) -> dict[str, Any]:
    return {"relation": field.related_model._meta.label_lower} if field.is_relation else {}
