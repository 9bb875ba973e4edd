"""The judge itself: a legal session passes, and each illegal message is told."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests import ejson
from tests.strict import IllegalMessage, RemoteError, View, unescape_id

CONNECTED = {"msg": "connected", "session": "s" * 17}
EMMA = {"msg": "added", "collection": "book", "id": "1", "fields": {"title": "Emma", "price": "5.00"}}
NOT_FOUND = {
    "isClientSafe": True,
    "error": 404,
    "reason": "No such thing",
    "message": "No such thing [404]",
    "errorType": "Meteor.Error",
}


def view(*messages: dict) -> View:
    """A connected session with one subscription ``s`` and one method ``m`` under way, after some messages."""
    session = View()
    session.sent({"msg": "connect", "version": "1"})
    for message in ({"server_id": "0"}, CONNECTED):
        session.apply(message)
    session.sent({"msg": "sub", "id": "s", "name": "books"})
    session.sent({"msg": "method", "id": "m", "method": "rename"})
    for message in messages:
        session.apply(message)
    return session


def changed(**rest: object) -> dict:
    return {"msg": "changed", "collection": "book", "id": "1", **rest}


def test_a_legal_session() -> None:
    """The client's copy follows the messages."""
    session = view(
        EMMA,
        {"msg": "ready", "subs": ["s"]},
        {"msg": "result", "id": "m", "result": "1"},
        changed(fields={"title": "Emma!", "added": {"$date": 1000}}, cleared=["price"]),
        {"msg": "updated", "methods": ["m"]},
        {"msg": "ping"},
    )

    added = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert session.documents("book") == {"1": {"title": "Emma!", "added": added}}
    assert session.subscriptions["s"].ready
    assert session.invocations["m"].done
    assert session.invocations["m"].result == "1"


def test_removed_forgets_the_document() -> None:
    session = view(EMMA, {"msg": "removed", "collection": "book", "id": "1"})

    assert session.documents("book") == {}


def test_an_error_is_kept_as_the_server_gave_it() -> None:
    session = view({"msg": "nosub", "id": "s", "error": NOT_FOUND})

    error = session.subscriptions["s"].error
    assert isinstance(error, RemoteError)
    assert (error.error, error.reason, error.details) == (404, "No such thing", None)


def test_a_value_sent_again_is_legal_but_noted() -> None:
    again = changed(fields={"title": "Emma"})

    assert view(EMMA, again).redundant == [again]


def test_true_is_not_one() -> None:
    """A field that goes from true to 1 has changed."""
    session = view({**EMMA, "fields": {"sold": True}}, changed(fields={"sold": 1}))

    assert session.redundant == []


@pytest.mark.parametrize(
    ("before", "illegal"),
    [
        pytest.param([EMMA], EMMA, id="added twice"),
        pytest.param([], {**EMMA, "fields": {}}, id="added with empty fields"),
        pytest.param([], {**EMMA, "fields": {"_id": "1"}}, id="_id in fields"),
        pytest.param([], {**EMMA, "fields": {"a.b": 1}}, id="a dot in a key"),
        pytest.param([], {**EMMA, "fields": {"a": [{"$set": 1}]}}, id="a dollar at depth"),
        pytest.param([], {**EMMA, "fields": {"a": {"$escape": {"$date": 1}}}}, id="an escaped dollar"),
        pytest.param([], {**EMMA, "fields": {"a": {"b\0": 1}}}, id="NUL in a key"),
        pytest.param([], {**EMMA, "fields": {"a": {"$type": "Decimal", "$value": "1"}}}, id="unknown type"),
        pytest.param([], {**EMMA, "fields": {"a": {"$date": 1.5}}}, id="date of half a millisecond"),
        pytest.param([], {**EMMA, "id": "-5"}, id="id escaped without need"),
        pytest.param([], {**EMMA, "id": 5}, id="id that is a number"),
        pytest.param([], {**EMMA, "id": "0123456789abcdef01234567"}, id="id read as an ObjectID"),
        pytest.param([], {**EMMA, "cleared": ["a"]}, id="cleared on added"),
        pytest.param([], changed(fields={"a": 1}), id="changed what it lacks"),
        pytest.param([EMMA], changed(), id="changed nothing"),
        pytest.param([EMMA], changed(fields={}), id="changed with empty fields"),
        pytest.param([EMMA], changed(fields={"a": 1}, cleared=[]), id="empty cleared"),
        pytest.param([EMMA], changed(cleared=["isbn"]), id="cleared an absent field"),
        pytest.param([EMMA], changed(cleared=["title", "title"]), id="cleared twice"),
        pytest.param([EMMA], changed(fields={"title": 1}, cleared=["title"]), id="set and cleared"),
        pytest.param([], {"msg": "removed", "collection": "book", "id": "1"}, id="removed what it lacks"),
        pytest.param([], {"msg": "ready", "subs": ["t"]}, id="ready unknown"),
        pytest.param([], {"msg": "ready", "subs": []}, id="ready nothing"),
        pytest.param([], {"msg": "nosub", "id": "t"}, id="nosub unknown"),
        pytest.param([{"msg": "nosub", "id": "s"}], {"msg": "nosub", "id": "s"}, id="nosub twice"),
        pytest.param([{"msg": "nosub", "id": "s"}], {"msg": "ready", "subs": ["s"]}, id="ready after nosub"),
        pytest.param([], {"msg": "updated", "methods": ["n"]}, id="updated unknown"),
        pytest.param(
            [{"msg": "updated", "methods": ["m"]}], {"msg": "updated", "methods": ["m"]}, id="updated twice"
        ),
        pytest.param([{"msg": "result", "id": "m"}], {"msg": "result", "id": "m"}, id="result twice"),
        pytest.param(
            [], {"msg": "result", "id": "m", "result": 1, "error": NOT_FOUND}, id="result and error"
        ),
        pytest.param([], {"msg": "result", "id": "m", "error": {"error": 404}}, id="half an error object"),
        pytest.param([], {"msg": "pong"}, id="pong for no ping"),
        pytest.param([], {"msg": "error", "reason": "Bad request"}, id="error for nothing"),
        pytest.param([], CONNECTED, id="connected twice"),
        pytest.param([], {"server_id": "0"}, id="greeting late"),
        pytest.param([], {"msg": "addedBefore", "collection": "book", "id": "1"}, id="addedBefore"),
        pytest.param([], {**EMMA, "sender": 1}, id="unknown key"),
        pytest.param([], [EMMA], id="not an object"),
    ],
)
def test_an_illegal_message_is_refused(before: list[dict], illegal: dict) -> None:
    session = view(*before)

    with pytest.raises(IllegalMessage):
        session.apply(illegal)


def test_ready_twice_is_legal_only_while_a_method_may_log_in() -> None:
    session = view({"msg": "ready", "subs": ["s"]}, {"msg": "ready", "subs": ["s"]})
    session.apply({"msg": "updated", "methods": ["m"]})

    with pytest.raises(IllegalMessage):
        session.apply({"msg": "ready", "subs": ["s"]})


def test_data_before_connected_is_refused() -> None:
    with pytest.raises(IllegalMessage):
        View().apply(EMMA)


def test_every_unsub_is_owed_one_nosub() -> None:
    session = view()
    for _ in range(2):
        session.sent({"msg": "unsub", "id": "s"})
        session.apply({"msg": "nosub", "id": "s"})

    assert session.subscriptions["s"].ended
    with pytest.raises(IllegalMessage):
        session.apply({"msg": "nosub", "id": "s"})


def test_an_id_used_again_behind_its_unsub() -> None:
    """The first nosub ends the first subscription, the ready behind it is the second's."""
    session = view()
    session.sent({"msg": "unsub", "id": "s"})
    session.sent({"msg": "sub", "id": "s", "name": "books"})
    session.apply({"msg": "nosub", "id": "s"})
    session.apply({"msg": "ready", "subs": ["s"]})

    assert session.subscriptions["s"].ready
    assert not session.subscriptions["s"].ended


@pytest.mark.parametrize(
    ("wire", "id"),
    [
        ("1", "1"),
        ("", ""),
        ("--5", "-5"),
        ("-~x", "~x"),
        ("-{", "{"),
        ("-" + "a" * 24, "a" * 24),
        ("A" * 24, "A" * 24),
    ],
)
def test_ids_are_read_as_clients_read_them(wire: str, id: str) -> None:
    assert unescape_id(wire) == id


@pytest.mark.parametrize("text", ['{"a":NaN}', '{"a":1,"a":2}', "{", '"\\x"'])
def test_text_that_is_not_strict_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        ejson.parse(text)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [1, 2.5, "x"],
        b"\x00\xff",
        datetime(1969, 5, 1, tzinfo=UTC),
        {"$date": {"a": b""}},
        {"a": {"$type": 1}},
    ],
)
def test_parameters_survive_the_round_trip(value: object) -> None:
    assert ejson.decode(ejson.encode(value)) == value
