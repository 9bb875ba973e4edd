"""What stands where under the mount point of a SockJS service (ddp-wire 1.3). Pure: paths in, names out."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["METHODS", "Place", "place"]

METHODS: Final[dict[str, tuple[str, ...]]] = {
    "greeting": ("GET",),
    "info": ("OPTIONS", "GET"),
    "iframe": ("GET",),
    "xhr": ("OPTIONS", "POST"),
    "xhr_send": ("OPTIONS", "POST"),
    "xhr_streaming": ("OPTIONS", "POST"),
    "eventsource": ("GET",),
    "htmlfile": ("GET",),
    "jsonp": ("GET",),
    "jsonp_send": ("POST",),
}
"""The methods of every place that speaks HTTP; "websocket" and "raw" do not."""

PLACES: Final = re.compile(
    r"(?P<greeting>)"
    r"|/(?P<info>info)"
    r"|/(?P<iframe>iframe[0-9a-z._-]*\.html)"
    r"|/(?P<raw>websocket)"
    r"|/[^/.]+/(?P<session>[^/.]+)/(?P<transport>"
    r"websocket|xhr|xhr_send|xhr_streaming|eventsource|htmlfile|jsonp|jsonp_send)"
)


@dataclass(frozen=True, slots=True)
class Place:
    """What a path stands for.

    Args:
        name: a key of `METHODS`, "websocket" (SockJS frames) or "raw" (a WebSocket without them).
        session: the client's choice, empty where there is none. What precedes it is for load balancers only.
    """

    name: str
    session: str = ""


def place(path: str) -> Place | None:
    """Return what stands at a path, percent-decoded and relative to the mount point; None for nothing."""
    match = PLACES.fullmatch(path.removesuffix("/"))
    if match is None:
        return None
    session, transport = match["session"], match["transport"]
    if session is not None:
        return Place(transport, session)
    return Place(next(name for name, text in match.groupdict().items() if text is not None))
