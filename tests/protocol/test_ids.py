"""Document ids on the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dddp.protocol.ejson import ObjectID
from dddp.protocol.ids import escape_id, parse_id, stringify_id, unescape_id
from tests.protocol.vectors import rows

OID = "0123456789abcdef01234567"
OBJECTS = {f"ObjectID({OID})": ObjectID(OID)}
PARSED: dict[str, Any] = {"1": 1, "-5": -5, "1.5": 1.5, "true": True, "null": None}

# Departure: Python has no undefined, and no document should be called that.
STRINGIFIED = [row for row in rows("idStringify") if row["id"] != "undefined"]


@pytest.mark.parametrize("row", STRINGIFIED, ids=lambda row: f"{row['id']!r}")
def test_stringify_vector(row: dict[str, Any]) -> None:
    document_id = OBJECTS.get(row["id"], row["id"])

    assert stringify_id(document_id) == row["wire"]
    if isinstance(document_id, str):
        assert escape_id(document_id) == row["wire"]


@pytest.mark.parametrize("row", rows("idParse"), ids=lambda row: repr(row["wire"]))
def test_parse_vector(row: dict[str, Any]) -> None:
    wire, js = row["wire"], row["js"]
    if js.startswith("ERROR") or js == "undefined":
        with pytest.raises(ValueError, match="The id"):
            parse_id(wire)
    elif js.startswith("ObjectID"):
        assert parse_id(wire) == ObjectID(OID)
    else:
        expected = js[1:-1] if js.startswith("'") else PARSED[js]
        assert parse_id(wire) == expected
        assert type(expected) is type(parse_id(wire))


def test_stringify_what_is_no_id() -> None:
    with pytest.raises(TypeError, match=r"use str\(\)"):
        stringify_id([1])  # type: ignore[arg-type]


def test_parse_object_behind_the_tilde() -> None:
    with pytest.raises(ValueError, match="not a scalar"):
        parse_id("~[1]")


@pytest.mark.parametrize("wire", ["~1", "~null", OID, "-"])
def test_unescape_what_is_no_string(wire: str) -> None:
    with pytest.raises(ValueError, match="The id"):
        unescape_id(wire)


@pytest.mark.parametrize("text", ["0123456789abcdef01234567\n", " 1", "a-b", "0123456789abcdef0123456"])
def test_escape_leaves_alone(text: str) -> None:
    assert escape_id(text) == text


@given(st.text() | st.from_regex(r"[-~{0-9a-f]{0,25}", fullmatch=True).filter(lambda text: text != ""))
def test_round_trip_of_text(text: str) -> None:
    """Any string but the empty one comes back as the same string; the empty one stays empty."""
    assert unescape_id(escape_id(text)) == text


@given(
    st.integers(-(2**70), 2**70)
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
)
def test_round_trip_of_scalar(document_id: Any) -> None:
    """What is read is what was written; past 53 bits that is one of several numbers with one text."""
    wire = stringify_id(document_id)

    assert stringify_id(parse_id(wire)) == wire
    if abs(document_id or 0) < 2**53:
        assert parse_id(wire) == document_id
