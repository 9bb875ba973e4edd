"""What the public ddptest suite expects of any DDP server (ddp-wire, appendix A).

Each of its tests waits for one message before it begins, then looks at the answer to one of its own.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.runtime.conftest import Project

SUPPORT = ["1", "pre2", "pre1"]


def answer(project: Project, message: dict[str, Any], *, connect: bool = True) -> dict[str, Any]:
    """The first answer to a message, those of automatic publications left out."""
    with project.raw() as client:
        client.receive()
        if connect:
            client.send_messages({"msg": "connect", "version": "1", "support": SUPPORT})
            client.receive_some(3)
        client.send_messages(message)
        received: dict[str, Any] = json.loads(client.receive())
        return received


def test_message_without_msg(project: Project) -> None:
    assert answer(project, {"a": 1}, connect=False)["reason"] == "Bad request"


@pytest.mark.parametrize("message", [{"support": SUPPORT}, {"version": "1"}])
def test_connect_without_version_or_support(project: Project, message: dict[str, Any]) -> None:
    assert answer(project, {"msg": "connect", **message}, connect=False) == {"msg": "failed", "version": "1"}


@pytest.mark.parametrize("session", [{}, {"session": "unknown"}])
def test_connect_gives_a_session_id_of_17_characters(project: Project, session: dict[str, Any]) -> None:
    message = {"msg": "connect", "version": "1", "support": SUPPORT, **session}
    connected = answer(project, message, connect=False)

    assert (connected["msg"], len(connected["session"])) == ("connected", 17)


@pytest.mark.parametrize("session", [{}, {"session": "unknown"}])
def test_connect_with_an_unknown_version_fails(project: Project, session: dict[str, Any]) -> None:
    failed = answer(project, {"msg": "connect", "version": "_", "support": ["_"], **session}, connect=False)

    assert failed["msg"] == "failed" and isinstance(failed["version"], str)


@pytest.mark.parametrize(
    "message",
    [
        {"msg": "ping"},
        {"msg": "method", "id": "1", "method": "echo"},
        {"msg": "sub", "id": "1", "name": "Books"},
        {"msg": "unsub", "id": "1"},
    ],
)
def test_anything_before_connect(project: Project, message: dict[str, Any]) -> None:
    assert answer(project, message, connect=False)["reason"] == "Must connect first"


@pytest.mark.parametrize("id", [{}, {"id": "17"}])
def test_ping(project: Project, id: dict[str, Any]) -> None:
    assert answer(project, {"msg": "ping", **id}) == {"msg": "pong", **id}


@pytest.mark.parametrize("message", [{"id": "1"}, {"method": "echo"}])
def test_method_without_id_or_name(project: Project, message: dict[str, Any]) -> None:
    assert answer(project, {"msg": "method", **message})["reason"] == "Malformed method invocation"


@pytest.mark.parametrize("message", [{"id": "1"}, {"name": "Books"}])
def test_sub_without_id_or_name(project: Project, message: dict[str, Any]) -> None:
    assert answer(project, {"msg": "sub", **message})["reason"] == "Malformed subscription"


def test_unsub_without_id(project: Project) -> None:
    assert answer(project, {"msg": "unsub"})["msg"] == "nosub"
