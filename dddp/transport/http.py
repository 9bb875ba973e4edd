"""What transports read of an HTTP request and how they answer one. No socket is known here, and no DDP."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dddp.transport.contract import Request

__all__ = ["Answer", "plain", "request_of"]

Answer = tuple[str, list[tuple[str, str]], bytes]
"""An HTTP answer: status line, headers, body."""

KEPT_HEADERS: Final = (
    "referer",
    "x-client-ip",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-cluster-client-ip",
    "via",
    "x-real-ip",
    "x-forwarded-proto",
    "x-ssl",
    "dnt",
    "host",
    "user-agent",
    "accept-language",
)
"""What of a request's headers an application sees (ddp-wire 1.9): never a cookie or an authorization."""

KEPT_VARIABLES: Final = tuple((name, "HTTP_" + name.upper().replace("-", "_")) for name in KEPT_HEADERS)


def request_of(environ: Mapping[str, Any]) -> Request:
    """Return what is kept of a WSGI environ."""
    return Request(
        path=environ["PATH_INFO"],
        query=environ["QUERY_STRING"],
        headers={name: environ[variable] for name, variable in KEPT_VARIABLES if variable in environ},
        remote_address=environ.get("REMOTE_ADDR", ""),
        origin=environ.get("HTTP_ORIGIN"),
    )


def plain(status: str, text: str, *headers: tuple[str, str]) -> Answer:
    """Return an answer of one line of text, the last one on its connection."""
    return (
        status,
        [("Content-Type", "text/plain; charset=UTF-8"), ("Connection", "close"), *headers],
        text.encode(),
    )
