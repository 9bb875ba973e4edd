"""The headers of SockJS answers: caching, cross-origin requests, the cookie (ddp-wire 1.3). Pure: environs in."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any, Final

__all__ = ["NOT_CACHED", "PLAIN", "Headers", "cached", "cookie", "cors", "preflight"]

Headers = list[tuple[str, str]]

YEAR: Final = 365 * 24 * 60 * 60

PLAIN: Final = ("Content-Type", "text/plain; charset=UTF-8")

NOT_CACHED: Final = ("Cache-Control", "no-store, no-cache, no-transform, must-revalidate, max-age=0")

COOKIE: Final = re.compile(r"(?:^|;)\s*JSESSIONID=([^;\s]+)")


def cached() -> Headers:
    """Return the headers of what may be kept for a year."""
    expires = formatdate(time.time() + YEAR, usegmt=True)
    return [("Cache-Control", f"public, max-age={YEAR}"), ("Expires", expires)]


def cors(origin: str | None) -> Headers:
    """Return the headers that let a page of an origin read an answer.

    A page sends its cookies along, and browsers accept that only where its origin is named.

    Args:
        origin: as in the request's header; None where it has none.
    """
    headers = [("Access-Control-Allow-Origin", origin or "*"), ("Vary", "Origin")]
    return [*headers, ("Access-Control-Allow-Credentials", "true")] if origin else headers


def preflight(environ: Mapping[str, Any], methods: tuple[str, ...]) -> Headers:
    """Return what answers an OPTIONS request of a browser, besides `cors`."""
    headers = [
        *cached(),
        ("Access-Control-Allow-Methods", ", ".join(methods)),
        ("Access-Control-Max-Age", str(YEAR)),
    ]
    asked = environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
    return [*headers, ("Access-Control-Allow-Headers", asked)] if asked else headers


def cookie(environ: Mapping[str, Any]) -> tuple[str, str]:
    """Return the cookie by which some load balancers keep a client at one server: its own one, or any."""
    found = COOKIE.search(environ.get("HTTP_COOKIE", ""))
    return ("Set-Cookie", f"JSESSIONID={found[1] if found else 'dummy'}; path=/")
