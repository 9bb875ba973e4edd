"""Arguments from a client against a function's signature and annotations (design.md section 4).

Annotations mean what a client can send: JSON, EJSON dates and binaries. ``int`` and ``float`` follow JavaScript,
which has one number type: ``2.0`` is an integer there, and so it is here; ``True`` is not. ``Decimal``, ``UUID``
and ``date``, which travel as text, are made of it. What is not annotated accepts anything.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, TypeAlias, Union
from uuid import UUID

from dddp.errors import ImproperlyDeclared, MeteorError

__all__ = ["Signature"]

Check: TypeAlias = Callable[[Any], Any]
"""Gives the value to pass on, or raises ``Mismatch``."""


class Mismatch(Exception):
    """A value that an annotation does not accept; ``where`` leads to it from the argument (``.2``, ``.name``)."""

    def __init__(self, expected: str, value: Any, where: str = "") -> None:
        self.expected = expected
        self.value = value
        self.where = where
        super().__init__(expected, value, where)

    def __str__(self) -> str:
        return f"expected {self.expected}, got {kind_of(self.value)}"


class Signature:
    """The parameters of a function that a client calls; the first one (``self``, ``call``) is the server's.

    Raises:
        ImproperlyDeclared: the function is async, takes no first parameter, a keyword must be given, or an
            annotation is none that a client can meet.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
            raise ImproperlyDeclared(
                f"{function.__qualname__}() is async; make it a plain def: each call has a greenlet of its own, and "
                "one that waits holds up no other client"
            )
        parameters = list(inspect.signature(function).parameters.values())
        if not parameters or parameters[0].kind is inspect.Parameter.KEYWORD_ONLY:
            raise ImproperlyDeclared(
                f"{function.__qualname__}() must take a first parameter, before the client's"
            )
        first, *rest = parameters
        self.parameters = rest if first.kind is not inspect.Parameter.VAR_POSITIONAL else parameters
        self._signature = inspect.Signature(self.parameters)
        self._checks = _checks(function, self.parameters)

    def bind(self, params: Sequence[Any]) -> tuple[Any, ...]:
        """The arguments for a call, in order; parameters with defaults may be missing.

        Raises:
            MeteorError: 400 "Match failed", with what is wrong by parameter in its details.
        """
        try:
            bound = self._signature.bind(*params)
        except TypeError:
            raise match_failed({"arguments": self._wrong_count(len(params))}) from None
        wrong: dict[str, str] = {}
        arguments = {name: self._checked(name, value, wrong) for name, value in bound.arguments.items()}
        if wrong:
            raise match_failed(wrong)
        bound.arguments.update(arguments)
        return bound.args

    def _checked(self, name: str, value: Any, wrong: dict[str, str]) -> Any:
        try:
            return self._checks[name](value)
        except Mismatch as mismatch:
            wrong[name + mismatch.where] = str(mismatch)
            return value

    def _wrong_count(self, given: int) -> str:
        positional = [each for each in self.parameters if each.kind in _POSITIONAL]
        needed = sum(each.default is each.empty for each in positional)
        names = ", ".join(each.name for each in positional)
        count = f"{needed}" if needed == len(positional) else f"{needed} to {len(positional)}"
        if any(each.kind is each.VAR_POSITIONAL for each in self.parameters):
            count = f"at least {needed}"
        return f"expected {count}{names and f' ({names})'}, got {given}"


_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def match_failed(details: dict[str, str]) -> MeteorError:
    return MeteorError(400, "Match failed", details)


def kind_of(value: Any) -> str:
    """What a client would call a value."""
    if value is None:
        return "null"
    for kinds, name in _NAMES:
        if isinstance(value, kinds):
            return name
    return type(value).__name__


_NAMES: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (bytes, "binary"),
    (datetime, "date"),
    ((list, tuple), "array"),
    (dict, "object"),
)


def _checks(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Check]:
    for each in parameters:
        if each.kind is each.KEYWORD_ONLY and each.default is each.empty:
            raise ImproperlyDeclared(
                f"{function.__qualname__}(): clients give arguments by position, so {each.name!r} needs a default"
            )
    hints = _annotations(function, parameters)
    return {each.name: _check_parameter(function, each, hints.get(each.name, Any)) for each in parameters}


def _check_parameter(function: Callable[..., Any], parameter: inspect.Parameter, annotation: Any) -> Check:
    try:
        check = check_for(annotation)
    except TypeError as error:
        raise ImproperlyDeclared(
            f"{function.__qualname__}(): the annotation of {parameter.name!r} {error}"
        ) from None
    if parameter.kind is parameter.VAR_POSITIONAL:
        return lambda values: tuple(_items(check, values))
    if parameter.default is None:
        return _either([check, _null])
    return check


def _annotations(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> dict[str, Any]:
    """The resolved annotations of these parameters only: that of ``call`` may name what is imported for types."""
    written = {each.name: each.annotation for each in parameters if each.annotation is not each.empty}
    try:
        return typing.get_type_hints(
            types.SimpleNamespace(__annotations__=written), inspect.unwrap(function).__globals__
        )
    except NameError as error:
        raise ImproperlyDeclared(
            f"{function.__qualname__}(): {error}; annotations of parameters that clients give must be importable"
        ) from error


def check_for(annotation: Any) -> Check:
    """The check that an annotation stands for.

    Raises:
        TypeError: nothing a client sends can meet it; the message completes "the annotation ...".
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any or annotation is object:
        return lambda value: value
    if annotation in _SCALARS:
        return _SCALARS[annotation]
    if origin in (Union, types.UnionType):
        return _either([check_for(argument) for argument in arguments])
    if origin is Literal:
        return _literal(arguments)
    if origin is typing.Annotated:
        return check_for(arguments[0])
    return _container(annotation, origin or annotation, arguments)


def _container(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Check:
    if origin in (list, Sequence):
        return _array(check_for(arguments[0] if arguments else Any))
    if origin in (dict, Mapping):
        return _object(check_for(arguments[1] if arguments else Any))
    raise TypeError(
        f"is {annotation!r}, which clients cannot send; use str, int, float, bool, list, dict, bytes, datetime, "
        "date, Decimal, UUID, None, Literal, Any, or unions and lists of these"
    )


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise Mismatch("integer", value)


def _number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise Mismatch("number", value)


def _instance(kind: type, expected: str) -> Check:
    def check(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        raise Mismatch(expected, value)

    return check


def _null(value: Any) -> None:
    if value is not None:
        raise Mismatch("null", value)


def _decimal(value: Any) -> Decimal:
    """Numbers through their shortest text: 12.99 is exactly that, not the binary fraction nearest to it."""
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        try:
            decimal = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation:
            raise Mismatch("decimal", value) from None
        if decimal.is_finite():
            return decimal
    raise Mismatch("decimal", value)


def _date(value: Any) -> date:
    """A calendar day: ISO text, or an EJSON date, which counts in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).date()
    day: date = _parsed_date(value)
    return day


def _parsed(parse: Callable[[str], Any], expected: str) -> Check:
    """What travels as text."""

    def check(value: Any) -> Any:
        try:
            return parse(_string(value))
        except (Mismatch, ValueError):
            raise Mismatch(expected, value) from None

    return check


_string = _instance(str, "string")
_parsed_date = _parsed(date.fromisoformat, "date (YYYY-MM-DD)")

_SCALARS: dict[Any, Check] = {
    bool: _instance(bool, "boolean"),
    bytes: _instance(bytes, "binary"),
    date: _date,
    datetime: _instance(datetime, "date"),
    Decimal: _decimal,
    dict: _instance(dict, "object"),
    float: _number,
    int: _integer,
    list: _instance(list, "array"),
    str: _string,
    None: _null,
    type(None): _null,
    UUID: _parsed(UUID, "UUID"),
}


def _array(check: Check) -> Check:
    def check_array(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Mismatch("array", value)
        return _items(check, value)

    return check_array


def _items(check: Check, values: Sequence[Any]) -> list[Any]:
    return [_at(f".{index}", check, value) for index, value in enumerate(values)]


def _object(check: Check) -> Check:
    def check_object(value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise Mismatch("object", value)
        return {name: _at(f".{name}", check, item) for name, item in value.items()}

    return check_object


def _at(step: str, check: Check, value: Any) -> Any:
    try:
        return check(value)
    except Mismatch as mismatch:
        raise Mismatch(mismatch.expected, mismatch.value, step + mismatch.where) from None


def _literal(choices: tuple[Any, ...]) -> Check:
    def check(value: Any) -> Any:
        for choice in choices:
            if type(value) is type(choice) and value == choice:
                return value
        raise Mismatch(" or ".join(repr(choice) for choice in choices), value)

    return check


def _either(checks: list[Check]) -> Check:
    """The first alternative that accepts the value, one that keeps it as it is before one that converts it."""

    def check(value: Any) -> Any:
        accepted, refused = [], []
        for alternative in checks:
            try:
                accepted.append(alternative(value))
            except Mismatch as mismatch:
                refused.append(mismatch)
        if not accepted:
            raise _nearest(refused, value)
        return next((same for same in accepted if same is value), accepted[0])

    return check


def _nearest(refused: list[Mismatch], value: Any) -> Mismatch:
    """What to say when no alternative accepts: the one that got furthest inside, else all of them."""
    inside = [mismatch for mismatch in refused if mismatch.where]
    if inside:
        return inside[0]
    return Mismatch(" or ".join(dict.fromkeys(mismatch.expected for mismatch in refused)), value)
