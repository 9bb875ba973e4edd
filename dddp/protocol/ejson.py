"""EJSON: JSON with dates, binaries, NaN and the infinities, ObjectIDs and regular expressions (ddp-wire 6).

What a value looks like on the wire is decided here and nowhere else. Knows nothing of messages, Django, I/O.

Choices where JavaScript and Python differ:

* Dates have milliseconds; microseconds are cut off towards the past. ``{"$date":null}``, JavaScript's invalid
  date, is decoded as None.
* Integers of any size are JSON numbers. A JavaScript client keeps 53 bits of them: send larger ones as text
  if each digit counts. Decoded, an integer beyond 64 bits is a float, as it is for every other client.
* Lone surrogates, which JSON can escape but UTF-8 cannot hold, survive both ways.
* Values without an EJSON type travel as strings: Decimal, UUID, date, time and timedelta (ISO 8601), in the
  forms Django's own JSON encoder uses. An enum member travels as its value.
"""

from __future__ import annotations

import binascii
import enum
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

import orjson

from dddp.errors import DDDPError
from dddp.protocol.javascript import number_text, utf16_key

__all__ = [
    "MAX_CONTAINERS",
    "MAX_DEPTH",
    "MAX_JSON_DEPTH",
    "EJSONError",
    "ObjectID",
    "Regexp",
    "canonical",
    "dumps",
    "equals",
    "from_json",
    "is_plain",
    "loads",
    "member",
    "parse_json",
    "to_json",
]

MAX_DEPTH = 100
"""How many containers a value may nest: far above real documents, far below what exhausts Python's stack."""

MAX_JSON_DEPTH = 2 * MAX_DEPTH + 4
"""How many containers a JSON text may nest: each level of a value may need its $escape, and a message is around."""

MAX_CONTAINERS = 20_000
"""How many containers a JSON text may have: far above real messages; 20,000 take up to 20 ms where none takes 2."""

_WRITABLE_DEPTH = 254  # of orjson

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OBJECT_ID = re.compile(r"[0-9a-f]{24}\Z")
_PLAIN = frozenset({str, int, bool, type(None)})
_JSON_CONTAINERS = frozenset({dict, list})
_SURROGATE = re.compile("[\ud800-\udfff]")


class EJSONError(DDDPError, ValueError):
    """The text is not JSON, or the JSON is not EJSON; the message says what is wrong in it."""


@dataclass(frozen=True, slots=True)
class ObjectID:
    """A MongoDB ObjectID, by its 24 hexadecimal digits. Raises EJSONError for any other text."""

    hex: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "hex", str(self.hex).lower())
        if not _OBJECT_ID.match(self.hex):
            raise EJSONError(f"An ObjectID has 24 hexadecimal digits, not {self.hex!r}.")

    def __str__(self) -> str:
        return self.hex


@dataclass(frozen=True, slots=True)
class Regexp:
    """A JavaScript regular expression, by its text: Python's ``re`` speaks another language."""

    source: str
    flags: str = ""


# -- Encoding


def dumps(value: Any) -> bytes:
    """Encode a value as EJSON text.

    Raises:
        TypeError: a type without an EJSON form.
        ValueError: a datetime without a time zone, or containers nested deeper than ``MAX_DEPTH``.
    """
    return _dump(value if type(value) in _PLAIN else to_json(value))


def member(name: str, value: Any) -> bytes:
    """Encode one object member, its name included: ``b'"title":"Emma"'``. Raises as ``dumps`` does."""
    return _dump({name: value if type(value) in _PLAIN else to_json(value)})[1:-1]


def to_json(value: Any) -> Any:
    """Turn a value into what a plain JSON writer can write. Raises as ``dumps`` does."""
    return _to_json(value, MAX_DEPTH)


def _dump(plain: Any) -> bytes:
    try:
        return orjson.dumps(plain)
    except TypeError:  # a lone surrogate or an integer beyond 64 bits, which the standard library can write
        return json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()


def _to_json(value: Any, room: int) -> Any:
    kind = type(value)
    if kind in _PLAIN:
        return value
    encode = _ENCODERS.get(kind) or _encoder_of_subclass(value)
    if encode in _CONTAINERS:
        if not room:
            raise ValueError(
                f"The value nests more than {MAX_DEPTH} containers, or contains itself. Make it flatter."
            )
        return encode(value, room - 1)
    return encode(value)


def _encoder_of_subclass(value: Any) -> Callable[..., Any]:
    for kind, encode in _ENCODERS.items():
        if isinstance(value, kind):
            return encode
    raise TypeError(
        f"{type(value).__module__}.{type(value).__qualname__} has no EJSON form. Convert it first, to str "
        "for instance; known are str, int, float, bool, None, list, tuple, dict, datetime, bytes, ObjectID, "
        "Regexp, Decimal, UUID, date, time, timedelta and enum members."
    )


def _encode_dict(value: Mapping[Any, Any], room: int) -> dict[str, Any]:
    for key in value:
        if not isinstance(key, str):
            raise TypeError(f"Keys of an EJSON object are strings, not {key!r}. Use str({key!r}) as the key.")
    encoded = {key: _to_json(item, room) for key, item in value.items()}
    return {"$escape": encoded} if _looks_special(value) else encoded


def _encode_list(value: list[Any] | tuple[Any, ...], room: int) -> list[Any]:
    return [_to_json(item, room) for item in value]


def _encode_datetime(value: datetime) -> dict[str, int]:
    try:
        since = value - _EPOCH
    except TypeError:
        raise ValueError(
            f"{value!r} has no time zone, so it names no moment. Use an aware datetime: "
            "django.utils.timezone.make_aware() gives it the current zone."
        ) from None
    return {"$date": since.days * 86_400_000 + since.seconds * 1000 + since.microseconds // 1000}


def _encode_bytes(value: bytes | bytearray | memoryview) -> dict[str, str]:
    return {"$binary": binascii.b2a_base64(value, newline=False).decode()}


def _encode_float(value: float) -> float | dict[str, int]:
    if math.isfinite(value):
        return value
    return {"$InfNaN": 0 if math.isnan(value) else 1 if value > 0 else -1}


def _encode_time(value: time) -> str:
    if value.utcoffset() is not None:
        raise ValueError(
            f"{value!r} has a time zone, which a time alone cannot carry. Send a datetime, or drop it."
        )
    return value.isoformat("milliseconds" if value.microsecond else "auto")


def _encode_timedelta(value: timedelta) -> str:
    """ISO 8601 as Django writes it: ``P1DT02H03M04.000005S``, a leading minus for negative durations."""
    sign, value = ("-", -value) if value < timedelta() else ("", value)
    minutes, seconds = divmod(value.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{value.microseconds:06d}" if value.microseconds else ""
    return f"{sign}P{value.days}DT{hours:02d}H{minutes:02d}M{seconds:02d}{fraction}S"


def _encode_object_id(value: ObjectID) -> dict[str, str]:
    return {"$type": "oid", "$value": value.hex}


def _encode_regexp(value: Regexp) -> dict[str, str]:
    return {"$regexp": value.source, "$flags": value.flags}


def _encode_enum(value: enum.Enum) -> Any:
    return to_json(value.value)


def _encode_str_subclass(value: str) -> str:
    return str.__str__(value)


# Subclasses are tried in this order: an enum of strings is an enum first, a datetime no mere date.
_ENCODERS: dict[type, Callable[..., Any]] = {
    enum.Enum: _encode_enum,
    str: _encode_str_subclass,
    int: int,
    float: _encode_float,
    dict: _encode_dict,
    list: _encode_list,
    tuple: _encode_list,
    datetime: _encode_datetime,
    date: date.isoformat,
    time: _encode_time,
    timedelta: _encode_timedelta,
    Decimal: str,
    UUID: str,
    bytes: _encode_bytes,
    bytearray: _encode_bytes,
    memoryview: _encode_bytes,
    ObjectID: _encode_object_id,
    Regexp: _encode_regexp,
}
_CONTAINERS = frozenset({_encode_dict, _encode_list})


# -- Decoding


def loads(data: str | bytes) -> Any:
    """Decode EJSON text.

    Raises:
        EJSONError: not JSON, nested too deep, an unknown ``$type``, or a value its type cannot have.
    """
    return from_json(parse_json(data))


def parse_json(data: str | bytes, depth: int = MAX_JSON_DEPTH, containers: int | None = None) -> Any:
    """Read strict JSON (no NaN, no Infinity) of bounded depth, lone surrogates included; EJSON stays encoded.

    Args:
        data: the text.
        depth: how many containers it may nest, at most 254.
        containers: how many it may have, None for any number. More are refused before they are made.

    Raises:
        EJSONError: not JSON, nested too deep, or too many containers.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        brackets = text.count("[") + text.count("{")
        if containers is not None and brackets > containers and _containers(text) > containers:
            raise EJSONError(f"The JSON has more than {containers} containers.")
        value = _parse(text)
    except (ValueError, RecursionError) as error:
        raise EJSONError(f"Not JSON: {error}.") from error
    if brackets > depth and _is_deeper(value, depth):
        raise EJSONError(f"The JSON nests more than {depth} containers.")
    return value


def _containers(text: str) -> int:
    """How many containers there are in JSON: the brackets outside of its strings."""
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    outside = "".join(unescaped.split('"')[::2])
    return outside.count("[") + outside.count("{")


def _parse(text: str) -> Any:
    try:
        return orjson.loads(text)
    except ValueError:
        if "\\u" not in text and not _SURROGATE.search(text):
            raise
    # Perhaps a lone surrogate, which the standard library reads; its other freedoms are taken away.
    return json.loads(text, parse_int=_parse_int, parse_float=_parse_float, parse_constant=_refuse_constant)


def _parse_int(digits: str) -> int | float:
    number = int(digits) if len(digits) <= 20 else _parse_float(digits)  # 64 bits are 20 characters
    return number if -(2**63) <= number < 2**64 else float(number)


def _parse_float(digits: str) -> float:
    number = float(digits)
    if math.isinf(number):
        raise ValueError("a number is too large for a double")
    return number


def _refuse_constant(token: str) -> NoReturn:
    raise ValueError(f"{token} is not a JSON token")


def _is_deeper(value: Any, depth: int) -> bool:
    """Tell whether a value nests more containers, by what orjson can write: a walk takes ten times as long."""
    wrapped = value
    for _ in range(_WRITABLE_DEPTH - depth):
        wrapped = [wrapped]
    try:
        orjson.dumps(wrapped)
    except TypeError:  # too deep, or a lone surrogate in it
        return _walks_deeper(value, depth)
    return False


def _walks_deeper(value: Any, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [
            child
            for parent in level
            for child in (parent.values() if type(parent) is dict else parent)
            if type(child) in _JSON_CONTAINERS
        ]
        if not level:
            return False
    return True


def is_plain(text: str) -> bool:
    """Tell whether what JSON makes of a text is surely the value it stands for: no key begins with a dollar."""
    return "$" not in text and "\\u0024" not in text


def from_json(value: Any) -> Any:
    """Turn what a plain JSON reader gave into the value it stands for.

    Raises:
        EJSONError: an unknown ``$type``, or a value its type cannot have.
    """
    if isinstance(value, list):
        return [item if type(item) in _PLAIN else from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    if _looks_special(value):
        return _DECODERS[frozenset(value)](value)
    return _decode_members(value)


def _looks_special(value: Mapping[str, Any]) -> bool:
    """Whether a decoder would take this object for more than an object (ddp-wire 6.2)."""
    return 0 < len(value) <= 2 and frozenset(value) in _DECODERS


def _decode_members(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item if type(item) in _PLAIN else from_json(item) for key, item in value.items()}


def _decode_date(value: Mapping[str, Any]) -> datetime | None:
    milliseconds = value["$date"]
    if milliseconds is None:
        return None
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, (int, float)):
        raise EJSONError(f"$date is a number of milliseconds since 1970, not {milliseconds!r}.")
    try:
        return _EPOCH + timedelta(milliseconds=int(milliseconds))
    except OverflowError:
        raise EJSONError(f"$date {milliseconds!r} lies outside the years 1 to 9999.") from None


def _decode_binary(value: Mapping[str, Any]) -> bytes:
    text = value["$binary"]
    if not isinstance(text, str):
        raise EJSONError(f"$binary is a base64 string, not {text!r}.")
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)  # padding may be missing
    except ValueError as error:
        raise EJSONError(f"$binary is not base64: {error}.") from None


def _decode_inf_nan(value: Mapping[str, Any]) -> float:
    sign = value["$InfNaN"]
    if isinstance(sign, bool) or not isinstance(sign, (int, float)):
        raise EJSONError(f"$InfNaN is 0, 1 or -1, not {sign!r}.")
    return math.copysign(math.inf, sign) if sign else math.nan


def _decode_escape(value: Mapping[str, Any]) -> dict[str, Any]:
    members = value["$escape"]
    if not isinstance(members, dict):
        raise EJSONError(f"$escape is an object, not {members!r}.")
    return _decode_members(members)


def _decode_regexp(value: Mapping[str, Any]) -> Regexp:
    source, flags = value["$regexp"], value["$flags"]
    if not isinstance(source, str) or not isinstance(flags, str):
        raise EJSONError("$regexp and $flags are strings.")
    return Regexp(source, "".join(dict.fromkeys(flag for flag in flags[:50] if flag in "gimuy")))


def _decode_custom(value: Mapping[str, Any]) -> ObjectID:
    if value["$type"] != "oid":
        raise EJSONError(f"The EJSON type {value['$type']!r} is unknown; the one custom type here is 'oid'.")
    return ObjectID(value["$value"])


_DECODERS: dict[frozenset[str], Callable[[Any], Any]] = {
    frozenset({"$date"}): _decode_date,
    frozenset({"$binary"}): _decode_binary,
    frozenset({"$InfNaN"}): _decode_inf_nan,
    frozenset({"$escape"}): _decode_escape,
    frozenset({"$regexp", "$flags"}): _decode_regexp,
    frozenset({"$type", "$value"}): _decode_custom,
}


# -- Comparing


def equals(a: Any, b: Any) -> bool:
    """Whether a client could not tell two values apart: ``1 == 1.0``, NaN equals NaN, True differs from 1."""
    return canonical(a) == canonical(b)


def canonical(value: Any, indent: bool | int | str | None = None, *, sort_keys: bool = True) -> str:
    """One text for all equal values: JavaScript's numbers, keys in UTF-16 order (ddp-wire 6.6).

    Args:
        value: any EJSON value.
        indent: None for one line, True for two spaces, a number of spaces, or the indentation itself.
        sort_keys: False keeps the order of the keys.
    """
    step = "  " if indent is True else " " * indent if isinstance(indent, int) else indent or ""
    return _write(to_json(value), step, "\n" if step else "", sort_keys)


def _write(plain: Any, step: str, newline: str, sort_keys: bool) -> str:
    """Write plain JSON; ``newline`` is the line break with the indentation reached so far."""
    if isinstance(plain, str):
        return _write_string(plain)
    if isinstance(plain, (int, float)) and not isinstance(plain, bool):
        return number_text(plain)
    inner = newline + step
    if isinstance(plain, list):
        items = [_write(item, step, inner, sort_keys) for item in plain]
        return _write_block("[]", items, step, newline)
    if isinstance(plain, dict):
        colon = ": " if step else ":"
        keys = sorted(plain, key=utf16_key) if sort_keys else plain
        items = [_write_string(key) + colon + _write(plain[key], step, inner, sort_keys) for key in keys]
        return _write_block("{}", items, step, newline)
    return json.dumps(plain)


def _write_block(brackets: str, items: list[str], step: str, newline: str) -> str:
    if not items:
        return brackets
    inner = newline + step
    return brackets[0] + inner + f",{inner}".join(items) + newline + brackets[1]


def _write_string(text: str) -> str:
    return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", json.dumps(text, ensure_ascii=False))
