"""What a client sent for a model's field, as the value that the field takes: the way back of ``orm.documents``.

Values arrive as EJSON gives them. What JavaScript cannot tell apart is accepted (``2.0`` for an integer, a number for
a decimal), what Django would bend silently is not (2.7 or True for an integer, an object for a text). Whether the
value is valid, ``full_clean`` says afterwards.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

from django.conf import settings
from django.contrib.postgres.fields import ArrayField, HStoreField
from django.contrib.postgres.fields.ranges import RangeField
from django.contrib.postgres.search import SearchVectorField
from django.core.exceptions import ValidationError
from django.db import models
from django.utils import timezone

from dddp.orm.documents import original_key

__all__ = ["field_value", "is_storable"]

Decoder: TypeAlias = Callable[[Any, Any], Any]
"""From a field and a value, not None, to the field's value. Raises ValidationError."""


def field_value(field: Any, value: Any) -> Any:
    """The value to set for what a client sent.

    Raises:
        ValidationError: the field cannot take it.
    """
    if value is None:
        return _none(field)
    if not is_storable(value):
        raise ValidationError("Text must hold neither NUL characters nor halves of surrogate pairs.")
    try:
        return _decoder_of(field)(field, value)
    except (TypeError, ValueError, ArithmeticError):
        _refuse(field, value)


def is_storable(value: Any) -> bool:
    """Whether PostgreSQL can store every text in a value: it has no NUL, and UTF-8 no lone surrogate."""
    if isinstance(value, str):
        return "\0" not in value and not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, Mapping):
        return all(is_storable(key) and is_storable(item) for key, item in value.items())
    return not isinstance(value, list | tuple) or all(map(is_storable, value))


def _decoder_of(field: Any) -> Decoder:
    if field.is_relation:
        return _reference
    return next((decode for kinds, decode in _DECODERS if isinstance(field, kinds)), _as_the_field_does)


def _none(field: Any) -> Any:
    """Null, or the empty text where a text cannot be null, as Django stores it."""
    if field.null:
        return None
    if field.empty_strings_allowed and not field.is_relation:
        return ""
    raise ValidationError(field.error_messages["null"], code="null")


def _refuse(field: Any, value: Any) -> NoReturn:
    raise ValidationError(
        f"{type(field).__name__} does not take {type(value).__name__} {str(value)[:100]!r}.", code="invalid"
    )


def _as_the_field_does(field: Any, value: Any) -> Any:
    return field.to_python(value)


def _reference(field: Any, value: Any) -> Any:
    return field_value(field.target_field, value)


def _boolean(field: Any, value: Any) -> Any:
    return value if isinstance(value, bool) else _refuse(field, value)


def _integer(field: Any, value: Any) -> Any:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        _refuse(field, value)
    return field.to_python(value)


def _number(field: Any, value: Any) -> Any:
    return _refuse(field, value) if isinstance(value, bool) else field.to_python(value)


def _decimal(field: Any, value: Any) -> Any:
    """By the number's shortest text, so that 12.99 is 12.99."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        _refuse(field, value)
    return field.to_python(str(value))


def _text(field: Any, value: Any) -> Any:
    return field.to_python(value) if isinstance(value, str) else _refuse(field, value)


def _instant(field: Any, value: Any) -> Any:
    """In Django's time zone where ``USE_TZ`` is off: the way back of what documents do."""
    if not isinstance(value, datetime.datetime | str):
        _refuse(field, value)
    moment = field.to_python(value)
    zone = timezone.get_default_timezone()
    if timezone.is_aware(moment) == settings.USE_TZ:
        return moment
    return timezone.make_aware(moment, zone) if settings.USE_TZ else timezone.make_naive(moment, zone)


def _day(field: Any, value: Any) -> Any:
    """An EJSON date counts in UTC, as for arguments of methods."""
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).date()
    return _text(field, value)


def _binary(field: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else _refuse(field, value)


def _json(field: Any, value: Any) -> Any:
    return _original(value)


def _original(value: Any) -> Any:
    """The value with its keys as they were before documents changed them."""
    if isinstance(value, Mapping):
        return {original_key(key): _original(item) for key, item in value.items()}
    return [_original(item) for item in value] if isinstance(value, list | tuple) else value


def _array(field: Any, value: Any) -> Any:
    if not isinstance(value, list | tuple):
        _refuse(field, value)
    base = field.base_field
    return [None if item is None else field_value(base, item) for item in value]


def _hstore(field: Any, value: Any) -> Any:
    return _original(value) if isinstance(value, Mapping) else _refuse(field, value)


def _range(field: Any, value: Any) -> Any:
    if not isinstance(value, Mapping) or not set(value) <= {"lower", "upper", "bounds"}:
        _refuse(field, value)
    bounds = value.get("bounds", "[)")
    if bounds == "empty":
        return field.range_type(empty=True)
    ends = (value.get(name) for name in ("lower", "upper"))
    return field.range_type(
        *(None if end is None else field_value(field.base_field, end) for end in ends), bounds
    )


_DECODERS: tuple[tuple[tuple[type, ...], Decoder], ...] = (
    ((models.BooleanField,), _boolean),
    ((models.IntegerField,), _integer),
    ((models.FloatField,), _number),
    ((models.DecimalField,), _decimal),
    ((models.DateTimeField,), _instant),
    ((models.DateField,), _day),
    ((models.BinaryField,), _binary),
    ((models.JSONField,), _json),
    ((ArrayField,), _array),
    ((HStoreField,), _hstore),
    ((RangeField,), _range),
    (
        (
            models.CharField,
            models.DurationField,
            models.FilePathField,
            models.GenericIPAddressField,
            models.TextField,
            models.TimeField,
            models.UUIDField,
            SearchVectorField,
        ),
        _text,
    ),
)
