"""Rate limits of the real server: by settings and by decorator, for methods and subscriptions (ddp-wire 10)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project, error_of
from tests.strict import RemoteError


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """Windows that no test outlives."""
    limit = {"count": 3, "interval": 3600}
    return {
        "RATE_LIMITS": [
            {**limit, "type": "method", "names": ["echo", "add"]},
            {**limit, "type": "subscription", "names": "Nothing", "per": ["connection"]},
            {**limit, "type": "method", "names": ["who"], "per": "user", "message": "Wait."},
        ]
    }


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    with project.client() as client:
        yield client


def test_method_past_its_limit(client: StrictClient) -> None:
    for _ in range(3):
        client.call("echo")
    error = error_of(client, "echo")
    wait = error.details["timeToReset"]

    assert error.error == "too-many-requests"
    assert error.reason == (
        f"Error, too many requests. Please slow down. You must wait {-(-wait // 1000)} seconds before trying again."
    )
    assert 0 < wait <= 3_600_000
    assert [message["msg"] for message in client.received()[-2:]] == ["updated", "result"]


def test_error_on_the_wire_is_plain_json(project: Project) -> None:
    with project.connected() as client:
        client.send(*['{"msg":"method","id":"1","method":"add","params":[1,2]}'] * 4)
        error = json.loads(client.receive_some(8)[-1])["error"]

    assert list(error) == ["isClientSafe", "error", "reason", "details", "message", "errorType"]
    assert isinstance(error["details"]["timeToReset"], int)


def test_names_and_connections_count_apart(project: Project, client: StrictClient) -> None:
    for _ in range(3):
        client.call("echo")
    error_of(client, "echo")
    assert client.call("add", 1, 2) == 3
    with project.client() as other:
        assert other.call("echo", 1) == 1


def test_subscription_past_its_limit_is_a_nosub(client: StrictClient) -> None:
    for _ in range(3):
        client.subscribed("Nothing")
    with pytest.raises(RemoteError) as caught:
        client.subscribed("Nothing")

    assert caught.value.error == "too-many-requests"


def test_subscription_that_is_sent_again_is_not_counted(client: StrictClient) -> None:
    for _ in range(6):
        client.subscribe("Nothing", id="s1")
    client.subscribed("Nothing")


def test_user_is_counted_across_connections(project: Project, client: StrictClient) -> None:
    with project.client() as other:
        for each in (client, other):
            each.call("log_in", "jane")
        client.call("who")
        other.call("who")
        client.call("who")
        assert error_of(other, "who").reason == "Wait."


def test_decorated_method_and_publication(project: Project, client: StrictClient) -> None:
    assert client.call("limited") == "ran"
    assert error_of(client, "limited").error == "too-many-requests"
    client.subscribed("Limited")
    with pytest.raises(RemoteError):
        client.subscribed("Limited")


def test_call_by_another_method_is_not_counted(client: StrictClient) -> None:
    for _ in range(3):
        assert client.call("apply", "limited", []) == "ran"


def test_default_is_five_logins_in_ten_seconds() -> None:
    from dddp.conf import Settings

    [limit] = Settings().rate_limits
    assert (limit["count"], limit["interval"], limit["per"]) == (5, 10, "connection")
    assert set(limit["names"]) == {"login", "createUser", "resetPassword", "forgotPassword"}
