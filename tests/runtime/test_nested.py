"""Methods that call methods: access, arguments, transactions, random values, the queue and logins (ddp-wire 5.2)."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project
from tests.strict import RemoteError

SEED = "abcdef0123456789abcd"


@pytest.fixture
def client(project: Project) -> Iterator[StrictClient]:
    with project.client() as client:
        client.subscribed("Books")
        yield client


def error_of(client: StrictClient, name: str, *params: Any) -> RemoteError:
    with pytest.raises(RemoteError) as caught:
        client.call("apply", name, list(params))
    return caught.value


def titles(client: StrictClient) -> set[str]:
    return {book["title"] for book in client.documents("shop.book").values()}


def test_result_is_the_callers(client: StrictClient) -> None:
    assert client.call("apply", "add", [2, 3]) == 5
    assert client.call("apply", "apply", ["apply", ["add", [2, 3]]]) == 5


def test_parameters_arrive_as_a_clients(client: StrictClient) -> None:
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, 678000, datetime.UTC)

    assert client.call("apply_price") == [moment, b"x", {"a": [1]}]


def test_unknown_method_is_a_404(client: StrictClient) -> None:
    error = error_of(client, "nosuch")

    assert (error.error, error.reason) == (404, "Method 'nosuch' not found")


def test_parameters_that_do_not_fit_are_a_400(client: StrictClient) -> None:
    assert error_of(client, "add", 1, "x").error == 400


def test_access_is_that_of_the_calling_user(client: StrictClient) -> None:
    assert error_of(client, "secret").error == 403
    client.call("log_in", "jane")
    assert client.call("apply", "secret", []) == "jane"


def test_error_that_is_not_caught_undoes_everything(client: StrictClient) -> None:
    error = error_of(client, "add_two_then_fail")

    assert (error.error, error.reason) == ("no", "After all not")
    client.ping()
    assert titles(client) == set()


def test_error_that_is_caught_undoes_the_inner_call_alone(client: StrictClient) -> None:
    assert client.call("apply_and_catch", "add_two_then_fail", "kept") == "After all not [no]"
    assert titles(client) == {"kept"}


def test_updated_follows_the_inner_calls_data(client: StrictClient) -> None:
    client.call("apply", "add_book", ["Emma"])

    assert titles(client) == {"Emma"}


def test_random_values_are_those_of_the_clients_simulation(client: StrictClient) -> None:
    """The vectors of ddp-wire 5.9: seeds of two calls of ``inner`` come from one stream, in order."""
    from dddp.protocol.alea import RandomStreams

    expected = [
        RandomStreams(RandomStreams(SEED).stream("/rpc/ids").hex_string(20)).stream("/collection/foo").id(),
        "bsdayd5PHxLCq9YdR",
    ]

    assert client.call("apply_seeds", ["ids"], "foo", random_seed=SEED) == expected
    first, second, own = client.call("apply_seeds", ["ids", "ids"], "foo", random_seed=SEED)
    assert [first, own] == expected and second not in expected


def test_unblock_within_does_nothing(project: Project, client: StrictClient) -> None:
    first = client.invoke("apply_unblock", "nested")
    second = client.invoke("nothing")
    with project.client() as other:
        other.call("arrival", "nested")
        client.ping()
        assert not second.answered
        other.call("open", "nested")
    client.wait_done(first)
    client.wait_done(second)


def test_login_within_is_the_connections(client: StrictClient) -> None:
    client.call("apply", "log_in", ["jane"])
    assert client.call("who") is not None
    client.call("apply", "log_out", [])
    assert client.call("who") is None


def test_login_within_that_failed_logs_nobody_in(client: StrictClient) -> None:
    assert client.call("catch_failed_login") is None
    assert client.call("who") is None


def test_login_within_that_failed_leaves_who_was_logged_in(client: StrictClient) -> None:
    client.call("log_in", "jane")
    jane = client.call("who")

    assert client.call("catch_failed_login") == jane
    assert client.call("who") == jane
