"""EJSON as a client reads and writes it, written apart from dddp.protocol so that the two can disagree."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NOT_FINITE = {0: float("nan"), 1: float("inf"), -1: float("-inf")}


def parse(text: str) -> Any:
    """Strict JSON: no NaN or Infinity, no key twice in one object.

    Raises:
        ValueError: anything else.
    """
    return json.loads(text, object_pairs_hook=_object, parse_constant=_not_json)


def decode(value: Any) -> Any:
    """The Python value of wire EJSON: aware datetimes, bytes, floats for NaN and the infinities.

    Raises:
        ValueError: a client without extra packages would not read it.
    """
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    read = READERS.get(frozenset(value))
    return read(value) if read else {key: decode(member) for key, member in value.items()}


def encode(value: Any) -> Any:
    """The wire form of what a test passes as a parameter."""
    if isinstance(value, datetime):
        return {"$date": (value - EPOCH) // timedelta(milliseconds=1)}
    if isinstance(value, bytes):
        return {"$binary": base64.b64encode(value).decode()}
    if isinstance(value, list | tuple):
        return [encode(item) for item in value]
    if not isinstance(value, dict):
        return value
    members = {key: encode(member) for key, member in value.items()}
    return {"$escape": members} if frozenset(value) in READERS else members


def same(left: Any, right: Any) -> bool:
    """EJSON equality: True is not 1, 1 is 1.0, NaN is NaN, key order does not matter (ddp-wire 6.6)."""
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    return bool(left == right) or (left != left and right != right)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError(f"a key twice in one object: {[key for key, _ in pairs]}")
    return members


def _not_json(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _date(value: dict[str, Any]) -> datetime:
    milliseconds = value["$date"]
    if not isinstance(milliseconds, int) or isinstance(milliseconds, bool):
        raise ValueError(f"a date that is not whole milliseconds: {milliseconds!r}")
    return EPOCH + timedelta(milliseconds=milliseconds)


def _binary(value: dict[str, Any]) -> bytes:
    return base64.b64decode(value["$binary"], validate=True)


def _not_finite(value: dict[str, Any]) -> float:
    return NOT_FINITE[value["$InfNaN"]]


def _escaped(value: dict[str, Any]) -> Any:
    return {key: decode(member) for key, member in value["$escape"].items()}


def _unknown(value: dict[str, Any]) -> Any:
    raise ValueError(f"a type that a plain client does not know: {value!r}")


READERS = {
    frozenset({"$date"}): _date,
    frozenset({"$binary"}): _binary,
    frozenset({"$InfNaN"}): _not_finite,
    frozenset({"$escape"}): _escaped,
    frozenset({"$type", "$value"}): _unknown,
    frozenset({"$regexp", "$flags"}): _unknown,
}
