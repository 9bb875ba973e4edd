"""The two habits of JavaScript that the wire depends on: how it writes numbers, and its UTF-16 strings.

Pure, standard library only, and the bottom of this folder: it knows neither EJSON nor DDP.
"""

from __future__ import annotations

import math
from decimal import Decimal

__all__ = ["number_text", "to_text", "utf16_key", "utf16_units"]


def number_text(number: float) -> str:
    """JavaScript's shortest text of a finite double: ``1``, ``0.1``, ``1e-7``, ``1e+21`` (``-0`` is ``0``).

    Python's integers keep their digits within 64 bits and are rounded to a double beyond, as on the wire.

    Raises:
        OverflowError: an integer beyond the range of a double.
    """
    if isinstance(number, int) and -(2**63) <= number < 2**64:
        return str(number)
    return _double_text(float(number))


def _double_text(number: float) -> str:
    if number == 0:
        return "0"
    sign, digit_tuple, exponent = Decimal(repr(number)).normalize().as_tuple()
    digits = "".join(map(str, digit_tuple))
    point = len(digits) + int(exponent)  # where the decimal point falls, counted from the first digit
    return "-" * sign + _place_point(digits, point)


def _place_point(digits: str, point: int) -> str:
    """Lay out digits as ECMAScript's Number::toString does."""
    if len(digits) <= point <= 21:
        return digits.ljust(point, "0")
    if 0 < point <= 21:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"


def to_text(value: str | float | bool | None) -> str:
    """JavaScript's ``String(value)`` of a primitive; infinities and NaN included."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return number_text(value)


def utf16_key(text: str) -> bytes:
    """A sort key that orders strings as JavaScript does, by UTF-16 code unit."""
    return text.encode("utf-16-be", "surrogatepass")


def utf16_units(text: str) -> memoryview:
    """The UTF-16 code units of a string, as integers; lone surrogates are kept."""
    return memoryview(text.encode("utf-16", "surrogatepass")[2:]).cast("H")
