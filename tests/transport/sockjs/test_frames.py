"""Frames: what they look like, how transports wrap them, what payloads say."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from dddp.transport import Batch
from dddp.transport.sockjs import frames
from dddp.transport.sockjs.frames import (
    MAX_PARTS,
    BadPayload,
    array,
    array_frame,
    close_frame,
    messages,
    quoted,
)


def test_messages_go_out_in_one_frame() -> None:
    assert array_frame((b'{"msg":"ping"}', b"b")) == b'a["{\\"msg\\":\\"ping\\"}","b"]'


def test_a_batch_is_encoded_once() -> None:
    batch = Batch((b"a", b"b"))

    assert batch.encoded(quoted) is batch.encoded(quoted)
    assert batch.framed(array_frame) is batch.framed(array_frame)
    assert batch.framed(array_frame).messages == (b'a["a","b"]',)


def test_close_frame_has_code_and_reason() -> None:
    assert close_frame(3000, 'Go "away"!') == b'c[3000,"Go \\"away\\"!"]'


@pytest.mark.parametrize(
    "characters",
    ["\x00\x1f", "\u200c\u200f", "\u2028\u202f", "\u2060\u206f", "\ufff0\uffff", "\U0001f600\U0010ffff"],
)
def test_what_browsers_mangle_is_escaped(characters: str) -> None:
    frame = array_frame((characters.encode(),))

    assert frame.isascii() and b"\x00" not in frame
    assert json.loads(frame[1:]) == [characters]


def test_other_characters_are_not_escaped() -> None:
    assert array_frame(("höla €\u200b".encode(),)) == 'a["höla €\u200b"]'.encode()


def test_astral_characters_are_two_escapes() -> None:
    """As JavaScript writes them (ddp-wire 1.4)."""
    assert quoted(("😀".encode(),)) == b'"\\ud83d\\ude00"'


@pytest.mark.parametrize(
    ("framing", "expected"),
    [
        (frames.XHR, b'a["%<"]\n'),
        (frames.XHR_STREAMING, b'a["%<"]\n'),
        (frames.EVENTSOURCE, b'data: a["%25<"]\r\n\r\n'),
        (frames.htmlfile("cb"), b'<script>\np("a[\\"%\\u003c\\"]");\n</script>\r\n'),
        (frames.jsonp("cb"), b'/**/cb("a[\\"%\\u003c\\"]");\r\n'),
    ],
)
def test_each_transport_wraps_a_frame_in_its_way(framing: frames.Framing, expected: bytes) -> None:
    """An event's data is decoded as a URI by the client; in a script no tag may begin."""
    assert framing.wrap(b'a["%<"]') == expected


def test_preludes_are_long_enough_for_old_browsers() -> None:
    assert frames.XHR_STREAMING.prelude == b"h" * 2048 + b"\n"
    assert len(frames.htmlfile("x").prelude) > 1024


# Payloads


@pytest.mark.parametrize("parse", [array, messages])
def test_an_array_is_its_messages(parse: object) -> None:
    assert parse('["a", "h\\u00f6la"]') == ["a", "höla"]  # type: ignore[operator]
    assert parse("[]") == []  # type: ignore[operator]


@pytest.mark.parametrize("parse", [array, messages])
def test_half_a_surrogate_pair_is_replaced(parse: object) -> None:
    """JSON can write what UTF-8 cannot; applications get valid Unicode."""
    assert parse('["\\ud83d\\ude00 \\ud83d"]') == ["😀 \ufffd"]  # type: ignore[operator]


@pytest.mark.parametrize("parse", [array, messages])
@pytest.mark.parametrize(
    "payload",
    ['["a', "nonsense", "[1", "[NaN]", "[" * 9_000, '["\n"]', "[" + "9" * 5000 + "]", "\ufeff[]"],
    ids=["cut", "word", "cut-number", "NaN", "deep", "control", "long-number", "byte-order-mark"],
)
def test_what_is_no_json_is_refused(parse: object, payload: str) -> None:
    with pytest.raises(BadPayload, match="Broken JSON encoding"):
        parse(payload)  # type: ignore[operator]


@pytest.mark.parametrize("payload", ["", "null", "{}", '"a"', "5"])
def test_an_upload_is_an_array(payload: str) -> None:
    with pytest.raises(BadPayload, match="Payload expected"):
        array(payload)


@pytest.mark.parametrize(
    ("payload", "expected"), [("", []), ('"a"', ["a"]), ("5", ["5"]), ("null", ["null"])]
)
def test_a_websockets_text_may_be_one_message(payload: str, expected: list[str]) -> None:
    assert messages(payload) == expected


@pytest.mark.parametrize("parse", [array, messages])
@pytest.mark.parametrize("part", ['""', "1", "[]", "{}", '"a\\",["'])
def test_a_payload_has_so_many_messages(parse: Callable[[str], list[str]], part: str) -> None:
    most = MAX_PARTS if part[0] not in "[{" else MAX_PARTS // 2
    text = f"[{','.join([part] * (most - 1))}]"
    assert len(parse(text)) == most - 1

    with pytest.raises(BadPayload, match="Too many messages"):
        parse(f"[{','.join([part] * (most + 1))}]")


def test_a_payload_is_no_deeper_than_it_has_parts() -> None:
    with pytest.raises(BadPayload, match="Too many messages"):
        messages("[" * 500_000 + "]" * 500_000)


def test_what_is_no_string_is_handed_on_as_json() -> None:
    """To refuse it is the application's business: DDP answers "Bad request" (ddp-wire 1.5)."""
    assert array('[1, null, ["a"], {"a": true}]') == ["1", "null", '["a"]', '{"a": true}']
