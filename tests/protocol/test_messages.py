"""The messages of DDP, literally as they stand on the wire."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dddp.errors import MeteorError
from dddp.protocol import messages
from dddp.protocol.ejson import member
from dddp.protocol.ids import unescape_id
from dddp.protocol.messages import (
    ABSENT,
    BadMessage,
    Connect,
    Disconnect,
    Method,
    Ping,
    Pong,
    Sub,
    Unsub,
    parse,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# -- From the client


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"msg":"connect","version":"1","support":["1","pre2"]}', Connect("1", ("1", "pre2"))),
        ('{"msg":"connect","version":"1","support":["1"],"session":"s","x":1}', Connect("1", ("1",), "s")),
        ('{"msg":"connect"}', Connect(None, ())),
        ('{"msg":"connect","version":1,"support":["1",1],"session":5}', Connect(None, ())),
        ('{"msg":"sub","id":"1","name":"books"}', Sub("1", "books")),
        ('{"msg":"sub","id":"1","name":"b","params":[{"$date":0}]}', Sub("1", "b", (EPOCH,))),
        ('{"msg":"unsub","id":"1"}', Unsub("1")),
        ('{"msg":"unsub","id":null}', Unsub(None)),
        ('{"msg":"unsub"}', Unsub(ABSENT)),
        ('{"msg":"method","id":"1","method":"m"}', Method("1", "m")),
        ('{"msg":"method","id":"","method":"m","params":[1],"randomSeed":"ab"}', Method("", "m", (1,), "ab")),
        ('{"msg":"method","id":"1","method":"m","randomSeed":""}', Method("1", "m")),
        ('{"msg":"method","id":"1","method":"m","params":["\\ud800"]}', Method("1", "m", ("\ud800",))),
        ('{"msg":"ping"}', Ping(ABSENT)),
        ('{"msg":"ping","id":""}', Ping("")),
        ('{"msg":"pong","id":"1"}', Pong()),
        ('{"msg":"disconnect"}', Disconnect()),
    ],
)  # fmt: skip
def test_parse(text: str, message: object) -> None:
    assert parse(text) == message


@pytest.mark.parametrize(
    "text", ["", "{", "null", "5", '"str"', "true", "NaN", '{"msg":"x","a":' + "[" * 9999]
)
def test_parse_what_is_no_object(text: str) -> None:
    assert parse(text) == BadMessage("Bad request")


@pytest.mark.parametrize(
    "text",
    [
        '{"msg":"sub","id":"1","name":"b","params":[{"$type":"nope","$value":1}]}',
        '{"msg":"method","id":"1","method":"m","params":[{"$binary":5}]}',
        '{"msg":"method","id":"1","method":"m","params":[{"$escape":null}]}',
        '{"msg":"x","fields":{"a":{"$type":"nope","$value":1}}}',
        '{"msg":"x","result":{"$type":"nope","$value":1}}',
        '{"msg":"x","cleared":{}}',
        '{"msg":"x","cleared":null}',
    ],
)
def test_parse_broken_ejson(text: str) -> None:
    assert parse(text) == BadMessage("Parse error")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{}", "Bad request"),
        ("[]", "Bad request"),
        ('{"foo":"bar"}', "Bad request"),
        ('{"msg":""}', "Bad request"),
        ('{"msg":0}', "Bad request"),
        ('{"msg":5}', "Bad request"),
        ('{"msg":[]}', "Bad request"),
        ('{"msg":{}}', "Bad request"),
        ('{"msg":"nope","cleared":[]}', "Bad request"),
        ('{"msg":"connected","session":"x"}', "Bad request"),
        ('{"msg":"constructor"}', "Bad request"),
        ('{"msg":"__proto__"}', "Bad request"),
        ('{"msg":"ping","id":5}', "Bad request"),
        ('{"msg":"unsub","id":{"a":1}}', "Bad request"),
        ('{"msg":"sub","name":"b"}', "Malformed subscription"),
        ('{"msg":"sub","id":"","name":"b"}', "Malformed subscription"),
        ('{"msg":"sub","id":5,"name":"b"}', "Malformed subscription"),
        ('{"msg":"sub","id":"1"}', "Malformed subscription"),
        ('{"msg":"sub","id":"1","name":null}', "Malformed subscription"),
        ('{"msg":"sub","id":"1","name":"b","params":null}', "Malformed subscription"),
        ('{"msg":"sub","id":"1","name":"b","params":{}}', "Malformed subscription"),
        ('{"msg":"sub","id":"1","name":"b","params":{"$date":1}}', "Malformed subscription"),
        ('{"msg":"method","method":"m"}', "Malformed method invocation"),
        ('{"msg":"method","id":5,"method":"m"}', "Malformed method invocation"),
        ('{"msg":"method","id":"1"}', "Malformed method invocation"),
        ('{"msg":"method","id":"1","method":"m","params":null}', "Malformed method invocation"),
        ('{"msg":"method","id":"1","method":"m","randomSeed":null}', "Malformed method invocation"),
        ('{"msg":"method","id":"1","method":"m","randomSeed":5}', "Malformed method invocation"),
    ],
)
def test_parse_refuses_and_echoes(text: str, reason: str) -> None:
    """The offending message is the client's JSON, undecoded."""
    assert parse(text) == BadMessage(reason, json.loads(text))


@pytest.mark.parametrize(
    ("bad", "text"),
    [
        (BadMessage("Bad request"), '{"msg":"error","reason":"Bad request"}'),
        (BadMessage("Bad request", []), '{"msg":"error","reason":"Bad request","offendingMessage":[]}'),
        (
            BadMessage("Malformed subscription", {"msg": "sub", "id": "\ud800", "params": {"$date": 1}}),
            '{"msg":"error","reason":"Malformed subscription",'
            '"offendingMessage":{"msg":"sub","id":"\\ud800","params":{"$date":1}}}',
        ),
    ],
)
def test_bad_message_reply(bad: BadMessage, text: str) -> None:
    assert bad.reply().decode() == text


nested_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["$date", "$escape", "$type", "$value", "a", "\udfff"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)
message_like = st.fixed_dictionaries(
    {},
    optional={
        "msg": st.sampled_from(["connect", "sub", "unsub", "method", "ping", "pong", "disconnect"])
        | nested_json,
        **dict.fromkeys(
            ("id", "name", "method", "params", "randomSeed", "version", "support", "fields", "cleared"),
            nested_json,
        ),
    },
)


@given(st.text() | st.one_of(message_like, nested_json).map(json.dumps))
def test_parse_any_text(text: str) -> None:
    """Whatever a client sends is a message or a refusal whose reply is JSON."""
    message = parse(text)

    if isinstance(message, BadMessage):
        assert json.loads(message.reply())["msg"] == "error"


def test_parse_any_depth() -> None:
    """The reply to the deepest accepted message can still be written."""
    for depth in (150, 203, 204, 205, 250, 1000, 5000):
        message = parse('{"a":' + "[" * depth + "]" * depth + "}")
        assert isinstance(message, BadMessage)
        assert json.loads(message.reply())["reason"] == "Bad request"


# -- To the client


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (messages.greeting(), '{"server_id":"0"}'),
        (messages.connected("zqEspHeSNfxqvdpBb"), '{"msg":"connected","session":"zqEspHeSNfxqvdpBb"}'),
        (messages.failed("1"), '{"msg":"failed","version":"1"}'),
        (messages.ping(), '{"msg":"ping"}'),
        (messages.ping("a"), '{"msg":"ping","id":"a"}'),
        (messages.pong(), '{"msg":"pong"}'),
        (messages.pong(""), '{"msg":"pong","id":""}'),
        (messages.pong(None), '{"msg":"pong","id":null}'),
        (
            messages.added("items", "a", [b'"x":1', b'"y":2']),
            '{"msg":"added","collection":"items","id":"a","fields":{"x":1,"y":2}}',
        ),
        (messages.added("items", "-5"), '{"msg":"added","collection":"items","id":"--5"}'),
        (
            messages.changed("items", "a", iter([b'"x":1'])),
            '{"msg":"changed","collection":"items","id":"a","fields":{"x":1}}',
        ),
        (
            messages.changed("items", "a", cleared=["x", 'q"']),
            '{"msg":"changed","collection":"items","id":"a","cleared":["x","q\\""]}',
        ),
        (
            messages.changed("items", "a", [b'"x":1'], iter(["y"])),
            '{"msg":"changed","collection":"items","id":"a","fields":{"x":1},"cleared":["y"]}',
        ),
        (
            messages.removed('it"ems', "0123456789abcdef01234567"),
            '{"msg":"removed","collection":"it\\"ems","id":"-0123456789abcdef01234567"}',
        ),
        (messages.ready(["s1", "s2"]), '{"msg":"ready","subs":["s1","s2"]}'),
        (messages.nosub("s1"), '{"msg":"nosub","id":"s1"}'),
        (messages.nosub(None), '{"msg":"nosub","id":null}'),
        (messages.nosub(ABSENT), '{"msg":"nosub"}'),
        (
            messages.nosub("e1", MeteorError(404, "Subscription 'nosuch' not found")),
            '{"msg":"nosub","id":"e1","error":{"isClientSafe":true,"error":404,'
            '"reason":"Subscription \'nosuch\' not found",'
            '"message":"Subscription \'nosuch\' not found [404]","errorType":"Meteor.Error"}}',
        ),
        (messages.result("1"), '{"msg":"result","id":"1"}'),
        (messages.result("1", None), '{"msg":"result","id":"1"}'),
        (messages.result("1", [None, b"a"]), '{"msg":"result","id":"1","result":[null,{"$binary":"YQ=="}]}'),
        (
            messages.result_error("1", MeteorError("no-go", details={"a": [1]})),
            '{"msg":"result","id":"1","error":{"isClientSafe":true,"error":"no-go","details":{"a":[1]},'
            '"message":"[no-go]","errorType":"Meteor.Error"}}',
        ),
        (messages.updated(["1"]), '{"msg":"updated","methods":["1"]}'),
    ],
)
def test_message_to_client(data: bytes, text: str) -> None:
    assert data.decode() == text


def test_changed_without_a_change() -> None:
    with pytest.raises(ValueError, match="Send no message then"):
        messages.changed("items", "a")


def test_error_details_that_are_no_json() -> None:
    """They become text, so that the client gets the error at all; never EJSON, which it would not decode."""
    details = {"when": datetime(2026, 1, 2, tzinfo=UTC), "price": Decimal("1.5"), 5: "\ud800"}
    error = json.loads(messages.result_error("1", MeteorError(400, details=details)))["error"]

    assert error["details"] == {"when": "2026-01-02T00:00:00+00:00", "price": "1.5", "5": "\ud800"}


def test_error_reason_that_utf8_cannot_hold() -> None:
    """A client may name what it likes."""
    assert b"\\ud800" in messages.nosub("1", MeteorError(404, "Subscription '\ud800' not found"))


fields = st.dictionaries(st.text(), st.integers() | st.text() | st.just("\udfff"), max_size=4)


@given(st.text(), st.text(min_size=1), fields, st.lists(st.text(), max_size=3))
def test_document_messages_are_json(
    collection: str, id: str, fields: dict[str, Any], cleared: list[str]
) -> None:
    """Whatever the names and ids, the client reads them back."""
    members = [member(name, value) for name, value in fields.items()]
    message = json.loads(messages.added(collection, id, members))

    assert (message["collection"], unescape_id(message["id"]), message.get("fields", {})) == (
        collection,
        id,
        fields,
    )
    if fields or cleared:
        message = json.loads(messages.changed(collection, id, members, cleared))
        assert (message.get("fields", {}), message.get("cleared", [])) == (fields, cleared)
