"""Every literal reply of ddp-wire 2.2, 4.1, 5.1 and 5.6, of the real server."""

from __future__ import annotations

import json

import pytest

from tests.runtime.conftest import Project
from tests.runtime.raw import CONNECT, GREETING

BAD = '{"msg":"error","reason":"Bad request"}'


def refused(reason: str, text: str) -> str:
    return f'{{"msg":"error","reason":"{reason}","offendingMessage":{text}}}'


def error(code: str, reason: str) -> str:
    number = code.strip('"')
    return (
        f'{{"isClientSafe":true,"error":{code},"reason":"{reason}",'
        f'"message":"{reason} [{number}]","errorType":"Meteor.Error"}}'
    )


@pytest.mark.parametrize("text", ["{", "", "null", "5", '"str"', "true"])
def test_what_is_no_object_is_a_bad_request(project: Project, text: str) -> None:
    with project.raw() as client:
        assert [client.receive(), client.ask(text)] == [GREETING, BAD]


@pytest.mark.parametrize("text", ["{}", "[]", '{"foo":"bar"}', '{"msg":""}'])
def test_object_without_msg_is_echoed_as_a_bad_request(project: Project, text: str) -> None:
    with project.connected() as client:
        assert client.ask(text) == refused("Bad request", text)


@pytest.mark.parametrize(
    "text",
    [
        '{"msg":"method","method":"echo","id":"1","params":[{"$type":"nope","$value":1}]}',
        '{"msg":"sub","name":"Books","id":"1","params":[{"$binary":5}]}',
        '{"msg":"sub","name":"Books","id":"1","cleared":5}',
        '{"msg":"whatever","fields":{"a":{"$escape":null}}}',
    ],
)
def test_bad_ejson_is_a_parse_error(project: Project, text: str) -> None:
    with project.connected() as client:
        assert client.ask(text) == '{"msg":"error","reason":"Parse error"}'


@pytest.mark.parametrize(
    "text",
    [
        '{"msg":"ping"}',
        '{"msg":"pong"}',
        '{"msg":5}',
        '{"msg":"nonsense"}',
        '{"msg":"sub","id":"1","name":"Books"}',
        '{"msg":"unsub","id":"1"}',
        '{"msg":"method","id":"1","method":"echo"}',
    ],
)
def test_anything_before_connect_must_connect_first(project: Project, text: str) -> None:
    with project.raw() as client:
        client.receive()
        assert client.ask(text) == refused("Must connect first", text)


def test_second_connect_is_refused_and_the_session_goes_on(project: Project) -> None:
    with project.connected() as client:
        assert client.ask(CONNECT) == refused("Already connected", CONNECT)
        assert client.ask('{"msg":"ping"}') == '{"msg":"pong"}'


@pytest.mark.parametrize("kind", ["connected", "nosub", "toString", "constructor", "__proto__"])
def test_unknown_message_is_a_bad_request(project: Project, kind: str) -> None:
    text = f'{{"msg":"{kind}"}}'
    with project.connected() as client:
        assert client.ask(text) == refused("Bad request", text)


@pytest.mark.parametrize(
    "text",
    [
        '{"msg":"sub","name":"Books"}',
        '{"msg":"sub","id":"1"}',
        '{"msg":"sub","id":5,"name":"Books"}',
        '{"msg":"sub","id":"1","name":5}',
        '{"msg":"sub","id":"1","name":"Books","params":null}',
        '{"msg":"sub","id":"1","name":"Books","params":{}}',
    ],
)
def test_malformed_sub(project: Project, text: str) -> None:
    with project.connected() as client:
        assert client.ask(text) == refused("Malformed subscription", text)


@pytest.mark.parametrize(
    "text",
    [
        '{"msg":"method","id":"1"}',
        '{"msg":"method","method":"echo"}',
        '{"msg":"method","id":1,"method":"echo"}',
        '{"msg":"method","id":"1","method":["echo"]}',
        '{"msg":"method","id":"1","method":"echo","params":null}',
        '{"msg":"method","id":"1","method":"echo","params":"x"}',
        '{"msg":"method","id":"1","method":"echo","randomSeed":null}',
        '{"msg":"method","id":"1","method":"echo","randomSeed":5}',
    ],
)
def test_malformed_method(project: Project, text: str) -> None:
    with project.connected() as client:
        assert client.ask(text) == refused("Malformed method invocation", text)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"msg":"unsub"}', '{"msg":"nosub"}'),
        ('{"msg":"unsub","id":null}', '{"msg":"nosub","id":null}'),
        ('{"msg":"unsub","id":"never"}', '{"msg":"nosub","id":"never"}'),
    ],
)
def test_unsub_of_nothing_is_answered(project: Project, text: str, answer: str) -> None:
    with project.connected() as client:
        assert [client.ask(text), client.ask(text)] == [answer, answer]


def test_unsub_with_an_id_that_is_no_text_wedges_nothing(project: Project) -> None:
    with project.connected() as client:
        client.ask('{"msg":"unsub","id":5}')
        assert (
            client.ask('{"msg":"method","id":"1","method":"nothing"}') == '{"msg":"updated","methods":["1"]}'
        )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ('{"msg":"ping"}', '{"msg":"pong"}'),
        ('{"msg":"ping","id":"x"}', '{"msg":"pong","id":"x"}'),
        ('{"msg":"ping","id":""}', '{"msg":"pong","id":""}'),
    ],
)
def test_ping_is_echoed(project: Project, text: str, answer: str) -> None:
    with project.connected() as client:
        assert client.ask(text) == answer


def test_pong_needs_no_answer(project: Project) -> None:
    with project.connected() as client:
        client.send('{"msg":"pong"}')
        assert client.drain() == []


@pytest.mark.parametrize("text", ['{"msg":"ping"}', '{"msg":"pong"}'])
def test_pre1_knows_no_pings(project: Project, text: str) -> None:
    with project.raw() as client:
        client.receive()
        client.ask('{"msg":"connect","version":"pre1","support":["pre1"]}')
        client.receive_some(2)
        assert client.ask(text) == refused("Bad request", text)


# --- connect and negotiation


@pytest.mark.parametrize(
    ("message", "version"),
    [
        ({}, "1"),
        ({"version": "1"}, "1"),
        ({"support": ["1"]}, "1"),
        ({"version": 1, "support": ["1"]}, "1"),
        ({"version": "1", "support": "1"}, "1"),
        ({"version": "1", "support": ["1", 2]}, "1"),
        ({"version": "1", "support": ["pre1"]}, "1"),
        ({"version": "pre1", "support": ["1", "pre1"]}, "1"),
        ({"version": "1", "support": ["pre1", "1"]}, "pre1"),
        ({"version": "_", "support": ["_"]}, "1"),
        ({"version": "_", "support": ["_"], "session": "old"}, "1"),
        ({"version": "_", "support": ["_", "pre2"]}, "pre2"),
    ],
)
def test_connect_without_a_common_version_fails(
    project: Project, message: dict[str, object], version: str
) -> None:
    with project.raw() as client:
        client.receive()
        client.send_messages({"msg": "connect", **message}, {"msg": "ping"})
        assert client.receive() == f'{{"msg":"failed","version":"{version}"}}'
        assert client.receive_close() == (1000, "Normal closure")


@pytest.mark.parametrize(
    "message",
    [
        {"version": "1", "support": ["1"]},
        {"version": "pre1", "support": ["pre1", "1"]},
        {"version": "pre2", "support": ["x", "pre2", "1"]},
        {"version": "1", "support": ["1"], "session": "sAaaaaaaaaaaaaaaa", "receivedCount": 3, "more": {}},
    ],
)
def test_connect_gives_a_new_session(project: Project, message: dict[str, object]) -> None:
    with project.raw() as client:
        client.receive()
        answer = json.loads(client.ask(json.dumps({"msg": "connect", **message})))
        assert (answer.pop("msg"), len(answer.pop("session")), answer) == ("connected", 17, {})


def test_sessions_differ(project: Project) -> None:
    sessions = {project.client().session for _ in range(3)}

    assert len(sessions) == 3


def test_disconnect_ends_the_session_without_a_reply(project: Project) -> None:
    with project.connected() as client:
        client.send('{"msg":"disconnect"}', '{"msg":"ping"}')
        assert client.receive_close() == (1000, "Normal closure")


def test_messages_in_one_packet_with_connect_are_answered_in_order(project: Project) -> None:
    """Clients do not wait for ``connected`` (ddp-wire 1.8)."""
    with project.raw() as client:
        client.receive()
        client.send(
            CONNECT,
            '{"msg":"method","id":"m1","method":"echo","params":[1]}',
            '{"msg":"sub","id":"s1","name":"Books"}',
            '{"msg":"method","id":"m2","method":"echo","params":[2]}',
        )
        texts = [text for text in client.receive_some(8) if '"everybody"' not in text and "403" not in text]
        assert json.loads(texts[0])["msg"] == "connected"
        assert texts[1:] == [
            '{"msg":"updated","methods":["m1"]}',
            '{"msg":"result","id":"m1","result":1}',
            '{"msg":"ready","subs":["s1"]}',
            '{"msg":"updated","methods":["m2"]}',
            '{"msg":"result","id":"m2","result":2}',
        ]


# --- subscriptions and methods


def test_unknown_publication_is_a_nosub(project: Project) -> None:
    with project.connected() as client:
        answer = client.ask('{"msg":"sub","id":"s1","name":"nosuch"}')
        expected = error("404", "Subscription 'nosuch' not found")
        assert answer == f'{{"msg":"nosub","id":"s1","error":{expected}}}'


@pytest.mark.parametrize("name", ["nosuch", "constructor", "toString", "__class__"])
def test_unknown_method_is_answered_and_updated(project: Project, name: str) -> None:
    expected = error("404", f"Method '{name}' not found")
    with project.connected() as client:
        client.send(f'{{"msg":"method","id":"m7","method":"{name}","params":[]}}')
        assert client.receive_some(2) == [
            f'{{"msg":"result","id":"m7","error":{expected}}}',
            '{"msg":"updated","methods":["m7"]}',
        ]


def test_first_documents_precede_ready_and_removed_ones_nosub(project: Project) -> None:
    """The reference transcript of ddp-wire's appendix C."""
    book = project.add_book("Emma", 3)
    with project.connected() as client:
        client.send('{"msg":"sub","id":"s1","name":"Books"}', '{"msg":"unsub","id":"s1"}')
        fields = '{"title":"Emma","price":3,"author_id":null}'
        assert client.receive_some(4) == [
            f'{{"msg":"added","collection":"shop.book","id":"{book}","fields":{fields}}}',
            '{"msg":"ready","subs":["s1"]}',
            f'{{"msg":"removed","collection":"shop.book","id":"{book}"}}',
            '{"msg":"nosub","id":"s1"}',
        ]


def test_added_without_fields_has_no_fields_key(project: Project) -> None:
    with project.connected() as client:
        client.send('{"msg":"sub","id":"s1","name":"Hand","params":["-5",{}]}')
        assert client.receive_some(2) == [
            '{"msg":"added","collection":"things","id":"--5"}',
            '{"msg":"ready","subs":["s1"]}',
        ]


def test_result_of_none_is_absent(project: Project) -> None:
    with project.connected() as client:
        client.send('{"msg":"method","id":"m1","method":"nothing"}')
        assert client.receive_some(2) == ['{"msg":"updated","methods":["m1"]}', '{"msg":"result","id":"m1"}']


def test_error_carries_its_parts_in_order(project: Project) -> None:
    with project.connected() as client:
        client.send('{"msg":"method","id":"m1","method":"raising","params":["meteor"]}')
        texts = client.receive_some(2)
        assert (
            '{"msg":"result","id":"m1","error":{"isClientSafe":true,"error":"closed","reason":"We are closed",'
            '"details":{"until":"Monday"},"message":"We are closed [closed]","errorType":"Meteor.Error"}}'
        ) in texts


def test_error_without_reason_has_its_code_for_a_message(project: Project) -> None:
    with project.connected() as client:
        client.send('{"msg":"method","id":"m1","method":"raising","params":["bare"]}')
        texts = client.receive_some(2)
        assert (
            '{"msg":"result","id":"m1","error":{"isClientSafe":true,"error":418,"message":"[418]",'
            '"errorType":"Meteor.Error"}}'
        ) in texts


def test_empty_method_id_works(project: Project) -> None:
    with project.connected() as client:
        client.send('{"msg":"method","id":"","method":"echo","params":[null]}')
        assert client.receive_some(2) == ['{"msg":"updated","methods":[""]}', '{"msg":"result","id":""}']


def test_same_method_id_twice_runs_and_answers_twice(project: Project) -> None:
    with project.connected() as client:
        client.send(*['{"msg":"method","id":"1","method":"echo","params":[7]}'] * 2)
        assert (
            client.receive_some(4)
            == [
                '{"msg":"updated","methods":["1"]}',
                '{"msg":"result","id":"1","result":7}',
            ]
            * 2
        )
