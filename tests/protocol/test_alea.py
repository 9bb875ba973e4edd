"""Seeded random values equal to the reference's."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from dddp.protocol.alea import ID_CHARACTERS, Alea, RandomStreams, random_id
from tests.protocol.vectors import rows


@pytest.mark.parametrize("row", rows("random"), ids=lambda row: repr(row["seeds"]))
def test_alea_vector(row: dict[str, Any]) -> None:
    """Each kind of value, drawn from a fresh generator, bit for bit."""
    fractions, ids = Alea(*row["seeds"]), Alea(*row["seeds"])

    drawn = [fractions.fraction() for _ in row["fractions"]]
    assert [struct.pack(">d", fraction).hex() for fraction in drawn] == row["fractionsHexBE"]
    assert [ids.id() for _ in row["ids"]] == row["ids"]
    assert Alea(*row["seeds"]).secret() == row["secret"]
    assert Alea(*row["seeds"]).hex_string(20) == row["hex20"]
    assert Alea(*row["seeds"]).hex_string(24) == row["hex24"]
    choices = Alea(*row["seeds"])
    assert "".join(choices.choice("abcde") for _ in row["choice5"]) == row["choice5"]


@pytest.mark.parametrize("row", rows("random"), ids=lambda row: repr(row["seeds"]))
def test_alea_seeds_as_javascript_text(row: dict[str, Any]) -> None:
    assert Alea(*row["seeds"]).id() == Alea(*row["seedStrings"]).id()


@pytest.mark.parametrize(
    ("seed", "text"),
    [
        (-0.0, "0"),
        (1e21, "1e+21"),
        (False, "false"),
        (None, "null"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
    ],
)
def test_alea_seed_of_another_type(seed: Any, text: str) -> None:
    assert Alea(seed).id() == Alea(text).id()


def test_alea_far_along_its_sequence() -> None:
    alea = Alea("long")
    for _ in range(99_999):
        alea.fraction()

    assert alea.fraction() == 0.24685587151907384


@pytest.mark.parametrize("row", rows("randomStream"), ids=lambda row: row["randomSeed"])
def test_random_streams_vector(row: dict[str, Any]) -> None:
    """Streams of one invocation are independent of each other and continue their own sequence."""
    streams = RandomStreams(row["randomSeed"])
    draws = {
        "id": Alea.id,
        "hexString20": lambda alea: alea.hex_string(20),
        "hexString24": lambda alea: alea.hex_string(24),
    }
    for name, kind, expected in row["calls"]:
        assert draws[kind](streams.stream(name)) == expected


def test_random_streams_default_name() -> None:
    assert RandomStreams("s").stream().id() == RandomStreams("s").stream("default").id()


@pytest.mark.parametrize("seed", [None, ""])
def test_random_streams_without_a_seed(seed: str | None) -> None:
    """Each invocation draws other values."""
    assert RandomStreams(seed).stream().id() != RandomStreams(seed).stream().id()


def test_random_id() -> None:
    drawn = {random_id() for _ in range(100)}

    assert len(drawn) == 100
    assert {len(each) for each in drawn} == {17}
    assert set("".join(drawn)) <= set(ID_CHARACTERS)
    assert len(random_id(5)) == 5
