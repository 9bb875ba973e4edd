"""Random ids: Meteor's seeded generator, so that client and server draw equal ones, and unseeded ids (ddp-wire 5.7).

Pure. A seeded sequence is not secret: whoever knows the seed knows the ids. ``random_id`` is what to use for those.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from typing import TypeVar

from dddp.protocol.javascript import to_text, utf16_units

__all__ = ["ID_CHARACTERS", "Alea", "RandomStreams", "random_id"]

ID_CHARACTERS = "23456789ABCDEFGHJKLMNPQRSTWXYZabcdefghijkmnopqrstuvwxyz"
"""Without 0 and O, 1, I and l, U and V: those that people confuse."""

_SECRET_CHARACTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits + "-_"
_HEX_DIGITS = "0123456789abcdef"

_2_POW_32 = 4294967296.0
_2_POW_MINUS_32 = 2.3283064365386963e-10

T = TypeVar("T")


def random_id(length: int = 17) -> str:
    """An unpredictable id in Meteor's alphabet."""
    return "".join(secrets.choice(ID_CHARACTERS) for _ in range(length))


class Alea:
    """Meteor's seeded generator: equal seeds give equal sequences, in every client and here.

    Args:
        seeds: strings, or values that JavaScript turns into strings. Their order matters.
    """

    __slots__ = ("_carry", "_s0", "_s1", "_s2")

    def __init__(self, *seeds: str | float | bool | None) -> None:
        mash = _Mash()
        state = [mash(" "), mash(" "), mash(" ")]
        for seed in map(to_text, seeds):
            for index in range(3):
                state[index] -= mash(seed)
                if state[index] < 0:
                    state[index] += 1
        self._s0, self._s1, self._s2 = state
        self._carry = 1

    def fraction(self) -> float:
        """The next number, from 0 up to but without 1."""
        total = 2091639 * self._s0 + self._carry * _2_POW_MINUS_32
        self._carry = int(total)
        self._s0, self._s1, self._s2 = self._s1, self._s2, total - self._carry
        return self._s2

    def choice(self, sequence: Sequence[T]) -> T:
        """One of the elements."""
        return sequence[int(self.fraction() * len(sequence))]

    def id(self, length: int = 17) -> str:
        """A document id."""
        return self._text(length, ID_CHARACTERS)

    def secret(self, length: int = 43) -> str:
        """A text of 6 random bits per character. Secret only as far as the seed is."""
        return self._text(length, _SECRET_CHARACTERS)

    def hex_string(self, digits: int) -> str:
        """Lower-case hexadecimal digits."""
        return self._text(digits, _HEX_DIGITS)

    def _text(self, length: int, characters: str) -> str:
        return "".join(self.choice(characters) for _ in range(length))


class _Mash:
    """The hash behind ``Alea``: one state for all texts of a seeding."""

    __slots__ = ("_n",)

    def __init__(self) -> None:
        self._n = float(0xEFC8249D)

    def __call__(self, text: str) -> float:
        n = self._n
        for unit in utf16_units(text):
            n += unit
            h = 0.02519603282416938 * n
            n = _uint32(h)
            h = (h - n) * n
            n = _uint32(h)
            n += (h - n) * _2_POW_32
        self._n = n  # may pass 32 bits and have a fraction; it is cut for the answer only
        return _uint32(n) * _2_POW_MINUS_32


def _uint32(number: float) -> float:
    return float(int(number) & 0xFFFFFFFF)


class RandomStreams:
    """The random values of one method invocation: a stream per purpose, so that their order does not matter.

    Args:
        random_seed: the client's, or None for values that nobody can foresee.
    """

    __slots__ = ("_seed", "_streams")

    def __init__(self, random_seed: str | None = None) -> None:
        self._seed = random_seed or secrets.token_hex(10)
        self._streams: dict[str, Alea] = {}

    def stream(self, name: str = "default") -> Alea:
        """The stream of a name: ``/collection/<name>`` for document ids, ``/rpc/<method>`` for nested seeds."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = Alea(self._seed, name)
        return stream
