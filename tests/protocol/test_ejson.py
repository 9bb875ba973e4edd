"""EJSON: the reference's vectors, Python's own types, refusals with a mend, and round trips."""

from __future__ import annotations

import enum
import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dddp.protocol.ejson import (
    MAX_DEPTH,
    EJSONError,
    ObjectID,
    Regexp,
    canonical,
    dumps,
    equals,
    from_json,
    is_plain,
    loads,
    member,
    parse_json,
    to_json,
)
from tests.protocol.vectors import rows

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
OID = "0123456789abcdef01234567"


def at(milliseconds: int) -> datetime:
    return EPOCH + timedelta(milliseconds=milliseconds)


# What the reference's rows call their inputs, in Python.
NAMED_INPUTS: dict[str, Any] = {
    "date ms=0": at(0),
    "date ms=-1": at(-1),
    "date ms=1356566400123": at(1356566400123),
    "bytes []": b"",
    "bytes [0]": b"\x00",
    "bytes [0,1]": b"\x00\x01",
    "bytes [0,1,2]": b"\x00\x01\x02",
    "bytes [251,255,254]": b"\xfb\xff\xfe",
    "NaN": math.nan,
    "+Inf": math.inf,
    "-Inf": -math.inf,
    f"ObjectID {OID}": ObjectID(OID),
    "regex ab+c flags gi": Regexp("ab+c", "gi"),
}

# What the reference decodes, in Python. NaN is compared by ``equals``.
DECODED: dict[str, Any] = {
    '{"$date":0}': at(0),
    '{"$date":null}': None,  # departure: JavaScript gives 1970, a moment that nobody meant
    '{"$date":1.7}': at(1),
    '{"$date":-1}': at(-1),
    '{"$date":1,"a":2}': {"$date": 1, "a": 2},
    '{"$binary":"AAEC"}': b"\x00\x01\x02",
    '{"$binary":"AA"}': b"\x00",
    '{"$binary":"AA=="}': b"\x00",
    '{"$binary":""}': b"",
    '{"$InfNaN":0}': math.nan,
    '{"$InfNaN":1}': math.inf,
    '{"$InfNaN":-1}': -math.inf,
    '{"$regexp":"a","$flags":"ggixs"}': Regexp("a", "gi"),
    '{"$regexp":"a"}': {"$regexp": "a"},
    f'{{"$type":"oid","$value":"{OID}"}}': ObjectID(OID),
    '{"$escape":{"$date":10000}}': {"$date": 10000},
    '{"$escape":{"$date":{"$date":32491}}}': {"$date": at(32491)},
    '{"$escape":{"a":{"$date":1}}}': {"a": at(1)},
    '{"$escape":{"$escape":{"$date":1}}}': {"$escape": at(1)},
    '{"$foo":{"$date":1}}': {"$foo": at(1)},
    '{"a":{"$date":1},"$b":2}': {"a": at(1), "$b": 2},
    '[{"$date":1}]': [at(1)],
    '{"$date":1,"$foo":2}': {"$date": 1, "$foo": 2},
}


@pytest.mark.parametrize("row", rows("ejsonEncode"), ids=lambda row: row["wire"])
def test_encode_vector(row: dict[str, Any]) -> None:
    plain = row.get("inputPlainJson")
    value = json.loads(plain) if plain is not None else NAMED_INPUTS[row["input"]]

    assert dumps(value).decode() == row["wire"]


@pytest.mark.parametrize("row", rows("ejsonDecode"), ids=lambda row: row["wire"])
def test_decode_vector(row: dict[str, Any]) -> None:
    if row["js"].startswith("ERROR"):
        with pytest.raises(EJSONError, match="nope"):
            loads(row["wire"])
        return
    expected = DECODED[row["wire"]]
    value = loads(row["wire"])

    assert type(expected) is type(value)
    assert equals(expected, value)


@pytest.mark.parametrize("row", rows("canonical"), ids=lambda row: row["out"])
def test_canonical_vector(row: dict[str, Any]) -> None:
    options = row["options"]

    text = canonical(row["value"], options.get("indent"), sort_keys=options.get("canonical", False))

    assert text == row["out"]


# -- Encoding Python's types


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        (datetime(2026, 1, 2, 3, 4, 5, 678901, timezone(timedelta(hours=2))), '{"$date":1767315845678}'),
        (datetime(1969, 12, 31, 23, 59, 59, 999999, UTC), '{"$date":-1}'),
        (datetime(1, 1, 1, tzinfo=UTC), '{"$date":-62135596800000}'),
        (datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), '{"$date":253402300799999}'),
        (bytearray(b"\x00"), '{"$binary":"AA=="}'),
        (memoryview(b"\x00"), '{"$binary":"AA=="}'),
        (Decimal("1.10"), '"1.10"'),
        (UUID("0B3C2D1E-0000-4000-8000-00000000000A"), '"0b3c2d1e-0000-4000-8000-00000000000a"'),
        (date(2026, 1, 2), '"2026-01-02"'),
        (time(3, 4), '"03:04:00"'),
        (time(3, 4, 5, 678901), '"03:04:05.678"'),
        (timedelta(1, 7384, 5), '"P1DT02H03M04.000005S"'),
        (timedelta(seconds=-90), '"-P0DT00H01M30S"'),
        ((1, (2,)), "[1,[2]]"),
        (2**53 + 1, "9007199254740993"),
        (2**64, "18446744073709551616"),
        (-(2**70), "-1180591620717411303424"),
        ("\ud800", '"\\ud800"'),
        ({"\udfff": ["é\ud800"]}, '{"\\udfff":["\\u00e9\\ud800"]}'),
        (1e21, "1e21"),
    ],
)
def test_encode_type_of_python(value: Any, wire: str) -> None:
    assert json.loads(wire) == json.loads(dumps(value))
    assert dumps(value).decode().replace("e+", "e") == wire


class Colour(enum.Enum):
    RED = "r"


class Word(str):
    __slots__ = ()


class Size(enum.IntEnum):
    LARGE = 3


@pytest.mark.parametrize(
    ("value", "wire"), [(Colour.RED, '"r"'), (Word("w"), '"w"'), (Size.LARGE, "3"), ([Size.LARGE], "[3]")]
)
def test_encode_subclass(value: Any, wire: str) -> None:
    """A subclass travels as the type it extends, an enum member as its value."""
    assert dumps(value).decode() == wire


@pytest.mark.parametrize("value", [datetime(2026, 1, 2), [datetime(2026, 1, 2)]])
def test_encode_naive_datetime(value: Any) -> None:
    with pytest.raises(ValueError, match=r"no time zone.*make_aware"):
        dumps(value)


def test_encode_time_with_zone() -> None:
    with pytest.raises(ValueError, match="Send a datetime, or drop it"):
        dumps(time(1, 2, tzinfo=UTC))


@pytest.mark.parametrize("value", [object(), {1, 2}, [1j]])
def test_encode_unknown_type(value: Any) -> None:
    with pytest.raises(TypeError, match=r"has no EJSON form\. Convert it first"):
        dumps(value)


def test_encode_key_that_is_no_string() -> None:
    with pytest.raises(TypeError, match=r"Use str\(1\) as the key"):
        dumps({1: 2})


def test_encode_value_that_contains_itself() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(ValueError, match="contains itself"):
        dumps(value)


@pytest.mark.parametrize(
    ("value", "wire"),
    [
        ("Emma", '"title":"Emma"'),
        (5, '"title":5'),
        (True, '"title":true'),
        (None, '"title":null'),
        (0.5, '"title":0.5'),
        (math.nan, '"title":{"$InfNaN":0}'),
        (at(1), '"title":{"$date":1}'),
        ({"$date": 1}, '"title":{"$escape":{"$date":1}}'),
        ("\ud800", '"title":"\\ud800"'),
        (2**64, '"title":18446744073709551616'),
    ],
)
def test_member_of_document(value: Any, wire: str) -> None:
    assert member("title", value).decode() == wire


def test_member_named_like_a_type() -> None:
    """The document is not the value: a field named $date is no date, and escapes nothing."""
    assert member("$date", 1) == b'"$date":1'


# -- Decoding


@pytest.mark.parametrize(
    "text",
    [
        "",
        "NaN",
        "[Infinity]",
        '["\\ud800",-Infinity]',
        '["\\ud800",1e400]',
        "[1,]",
        "{'a':1}",
        "\ufeff1",
        "01",
        "[" * 5000,
        '["\\ud800"' + "[" * 100_000,
        b"\xff",
    ],
    ids=lambda text: repr(text[:20]),
)
def test_decode_what_is_not_json(text: str | bytes) -> None:
    with pytest.raises(EJSONError, match="Not JSON"):
        loads(text)


@pytest.mark.parametrize(
    "wire",
    [
        '{"$date":"1970-01-01T00:00:00Z"}',  # departure: JavaScript parses it
        '{"$date":true}',
        '{"$date":1e20}',
        '{"$date":253402300800000}',
        '{"$date":-62135596800001}',
        '{"$binary":5}',
        '{"$binary":"A"}',
        '{"$binary":"_-__"}',  # departure: JavaScript reads zero bits
        '{"$binary":"AA==AA=="}',
        '{"$binary":"\\u00e9"}',
        '{"$InfNaN":"1"}',
        '{"$InfNaN":true}',
        '{"$escape":null}',
        '{"$escape":[1]}',
        '{"$regexp":5,"$flags":""}',
        '{"$regexp":"a","$flags":null}',
        '{"$type":"Decimal","$value":"1"}',
        '{"$type":["oid"],"$value":"1"}',
        '{"$type":"oid","$value":"xyz"}',
        '{"$type":"oid","$value":null}',
    ],
)
def test_decode_impossible_value(wire: str) -> None:
    with pytest.raises(EJSONError):
        loads(wire)


def test_decode_regexp_that_does_not_compile() -> None:
    """Departure: JavaScript raises. The source is not Python's to judge."""
    assert loads('{"$regexp":"(","$flags":""}') == Regexp("(", "")


@pytest.mark.parametrize("text", ['"\\ud800"', '"\ud800"'], ids=["escaped", "raw"])
def test_decode_lone_surrogate(text: str) -> None:
    assert loads(text) == "\ud800"


@pytest.mark.parametrize("beside", ["", '"\\ud800",'], ids=["by orjson", "by json"])
def test_decode_integer_beyond_64_bits(beside: str) -> None:
    """It is a double, as in every client; the last 64-bit ones stay exact."""
    values = loads(f"[{beside}18446744073709551616,18446744073709551615,-9223372036854775808]")[-3:]

    assert values == [2.0**64, 2**64 - 1, -(2**63)]
    assert [type(value) for value in values] == [float, int, int]


def test_decode_bytes() -> None:
    assert loads('{"é":1}'.encode()) == {"é": 1}


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"$date": value}  # worst case: each level needs its escape
    return value


def test_depth_at_its_limit() -> None:
    value = nested(MAX_DEPTH)

    assert loads(dumps(value)) == value


def test_depth_beyond_its_limit() -> None:
    with pytest.raises(ValueError, match="Make it flatter"):
        dumps(nested(MAX_DEPTH + 1))
    with pytest.raises(EJSONError, match="nests more than"):
        loads("[" * 300 + "]" * 300)


@pytest.mark.parametrize(
    "inner", ["", "1", '"\\ud800"', '{"a":{}}'], ids=["empty", "number", "surrogate", "objects"]
)
@pytest.mark.parametrize("limit", [3, 200, 254])
def test_depth_of_json_is_what_it_is_asked_for(limit: int, inner: str) -> None:
    depth = limit - inner.count("{")

    assert parse_json("[" * depth + inner + "]" * depth, limit)
    with pytest.raises(EJSONError, match=f"nests more than {limit} containers"):
        parse_json("[" * (depth + 1) + inner + "]" * (depth + 1), limit)


@pytest.mark.parametrize("text", ['{"$date":1}', '{"\\u0024date":1}', '[{"a":{"$escape":{}}}]'])
def test_text_with_a_type_in_it_is_not_plain(text: str) -> None:
    assert not is_plain(text)
    assert is_plain(text.replace("$", "").replace("\\u0024", ""))


def test_depth_counts_nesting_not_brackets() -> None:
    assert loads("[" + ",".join(["[]"] * 5000) + "]") == [[]] * 5000


# -- Comparing


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, 1.0),
        (0, -0.0),
        (math.nan, math.nan),
        ({"a": 1, "b": [2]}, {"b": (2,), "a": 1}),
        (at(1), at(1).replace(microsecond=1999)),
        (at(1), at(1).astimezone(timezone(timedelta(hours=3)))),
        (b"a", bytearray(b"a")),
        (ObjectID(OID), ObjectID(OID.upper())),
    ],
)
def test_equals_same(a: Any, b: Any) -> None:
    assert equals(a, b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (1, "1"),
        (True, 1),
        (False, 0),
        (None, False),
        (b"a", [97]),
        ([], {}),
        ({"a": None}, {}),
        (at(1), at(2)),
        (at(1), {"$date": 1}),
        (2**53, 2**53 + 1),
        (Regexp("a"), Regexp("b")),  # departure: the reference finds any two regexps equal
    ],
)
def test_equals_different(a: Any, b: Any) -> None:
    assert not equals(a, b)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-0.0, "0"),
        (1.0, "1"),
        (123456789012345680000.0, "123456789012345680000"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (-1.5e300, "-1.5e+300"),
        (10**21, "1e+21"),
        (2**53 + 1, "9007199254740993"),
        ('"\\\x00\x7f\u2028', '"\\"\\\\\\u0000\x7f\u2028"'),
        ("\udfff", '"\\udfff"'),
        ([], "[]"),
        ({}, "{}"),
        ([True, None], "[true,null]"),
    ],
)
def test_canonical_text(value: Any, text: str) -> None:
    assert canonical(value) == text


def test_canonical_indent_of_n_spaces() -> None:
    assert canonical([1], 3) == "[\n   1\n]"


# -- Properties

# Two lone halves side by side are one character to JSON, so they do not come back as two.
texts = st.text() | st.sampled_from(["\ud800", "\udfff", "a\ud800"])
keys = texts | st.sampled_from(
    ["$date", "$binary", "$InfNaN", "$escape", "$regexp", "$flags", "$type", "$value"]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | texts
    | st.binary()
    | st.integers(-62135596800000, 253402300799999).map(at)
    | st.just(ObjectID(OID))
    | st.builds(Regexp, texts, st.sampled_from(["", "g", "gi", "muy"]))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(keys, inner, max_size=3), max_leaves=20
)


@given(values)
def test_round_trip(value: Any) -> None:
    decoded = loads(dumps(value))

    assert repr(value) == repr(decoded)  # NaN is not itself, its repr is
    assert equals(value, decoded)


@given(values)
def test_member_is_what_dumps_writes(value: Any) -> None:
    plain = json.loads(b"{%b}" % member("a", value))

    assert json.dumps({"a": json.loads(dumps(value))}) == json.dumps(plain)


@given(values)
def test_canonical_is_ejson(value: Any) -> None:
    """The canonical text decodes to an equal value, and has itself as canonical text."""
    text = canonical(value)

    assert canonical(loads(text)) == text
    assert equals(value, loads(canonical(value, indent=True)))


@given(st.text() | st.binary())
def test_decode_any_text(text: str | bytes) -> None:
    """Whatever comes is decoded or refused with an EJSONError."""
    try:
        value = loads(text)
    except EJSONError:
        return
    assert equals(value, loads(dumps(value)))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | texts,
        lambda inner: st.lists(inner) | st.dictionaries(keys, inner, max_size=3),
    )
)
def test_decode_any_json(plain: Any) -> None:
    """Whatever the JSON, its decoding succeeds or is refused with an EJSONError."""
    try:
        value = from_json(plain)
    except EJSONError:
        return
    assert equals(value, from_json(parse_json(dumps(value))))
    assert equals(value, from_json(to_json(value)))


# How many containers


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 0),
        ("[]", 1),
        ('[{"a": {}}, []]', 4),
        (r'["[[[", "{\"[", "\\", ["\\\"["]]', 2),
        (r'{"[": "\\\\", "{": []}', 2),
    ],
)
def test_containers_are_counted_outside_of_strings(text: str, count: int) -> None:
    assert parse_json(text, containers=count) == json.loads(text)
    if count:
        with pytest.raises(EJSONError, match=f"more than {count - 1} containers"):
            parse_json(text, containers=count - 1)


@given(
    st.recursive(
        st.none() | st.integers(-100, 100) | st.text('[{"\\]}a\u00e9', max_size=6),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text('[{"\\', max_size=4), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_any_json_has_the_containers_that_are_counted(value: Any) -> None:
    def containers(item: Any) -> int:
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        return sum(map(containers, inner)) + isinstance(item, dict | list)

    count = containers(value)

    for ascii_only in (True, False):
        text = json.dumps(value, ensure_ascii=ascii_only)
        assert parse_json(text, containers=count) == value
        if count:
            with pytest.raises(EJSONError):
                parse_json(text, containers=count - 1)
