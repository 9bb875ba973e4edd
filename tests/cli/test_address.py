"""Addresses as people write them."""

from __future__ import annotations

import pytest

from dddp.server.address import http_url, parse_address, websocket_url


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("8001", ("localhost", 8001)),
        (":8001", ("localhost", 8001)),
        ("example.org", ("example.org", 8000)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:8001", ("::1", 8001)),
        ("[::]", ("::", 8000)),
    ],
)
def test_address_forms(text: str, address: tuple[str, int]) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "65536",
        "localhost:http",
        "localhost:-1",
        "::1",
        "[::1",
        "[::1]8000",
        "http://localhost:8000",
        "a b",
        "٣",
    ],
)
def test_what_is_no_address_is_refused_by_name(text: str) -> None:
    """The message quotes what was written."""
    with pytest.raises(ValueError, match="is not an address") as refusal:
        parse_address(text)

    assert repr(text) in str(refusal.value)


def test_urls_of_an_address() -> None:
    assert http_url(("localhost", 8000)) == "http://localhost:8000/"
    assert websocket_url(("::1", 80), prefix="/ddp") == "ws://[::1]:80/ddp/websocket"
