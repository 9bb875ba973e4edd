"""What publications and methods know of the connection: address, headers, its end (ddp-wire 1.9)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project, serve

HEADERS = {
    "X-Forwarded-For": "6.6.6.6, 1.2.3.4, 10.0.0.7",
    "User-Agent": "tests",
    "Cookie": "sessionid=secret",
    "Authorization": "Basic secret",
    "X-Own": "private",
}


def caller(project: Project, headers: dict[str, str] | None = None) -> dict[str, Any]:
    with StrictClient(project.server.url, headers=headers or {}) as client:
        answer: dict[str, Any] = client.call("caller")
        return answer


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    """A client that is cut off does not come back."""
    return {"RESUMPTION_TIME_LIMIT": 0}


@pytest.fixture(scope="module")
def proxied(templates: tuple[str, str]) -> Iterator[Project]:
    with serve(templates, FORWARDED_COUNT=2) as project:
        yield project


def test_address_is_the_sockets_whatever_a_header_says(project: Project) -> None:
    assert caller(project, HEADERS)["address"] == "127.0.0.1"


def test_headers_are_the_whitelisted_ones(project: Project) -> None:
    headers = caller(project, HEADERS)["headers"]

    assert headers == {
        "x-forwarded-for": "6.6.6.6, 1.2.3.4, 10.0.0.7",
        "user-agent": "tests",
        "host": f"127.0.0.1:{project.server.port}",
    }


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("6.6.6.6, 1.2.3.4, 10.0.0.7", "1.2.3.4"),
        ("1.2.3.4,10.0.0.7", "1.2.3.4"),
        ("2001:db8::1 , 10.0.0.7", "2001:db8::1"),
        ("10.0.0.7", None),
        (",10.0.0.7", None),
        ("", None),
    ],
)
def test_address_behind_proxies_is_what_the_outermost_has_seen(
    proxied: Project, forwarded: str, address: str | None
) -> None:
    assert caller(proxied, {"X-Forwarded-For": forwarded})["address"] == address


def test_address_without_the_proxies_header_is_unknown(proxied: Project) -> None:
    assert caller(proxied)["address"] is None


@pytest.mark.parametrize("end", ["close", "drop"])
def test_on_close_is_called_however_it_ends(project: Project, end: str) -> None:
    client = project.client()
    client.call("open_at_end", f"ended by {end}")
    getattr(client, end)()
    with project.client() as other:
        other.call("wait", f"ended by {end}")


def test_publication_may_disconnect_its_client(project: Project) -> None:
    client = project.client()
    client.subscribe("Leaving", "left")
    assert client.wait_closed().code == 1000
    with project.client() as other:
        other.call("wait", "left")
