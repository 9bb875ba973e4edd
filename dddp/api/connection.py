"""What publications and methods may know of the connection they serve; the runtime implements it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

__all__ = ["Connection"]


class Connection(Protocol):
    """One client's connection, as Meteor's ``this.connection``."""

    @property
    def id(self) -> str:
        """The DDP session's id."""

    @property
    def client_address(self) -> str | None:
        """The client's IP address, behind trusted proxies the one they report; None if they report none."""

    @property
    def http_headers(self) -> Mapping[str, str]:
        """Headers of the request that opened the connection, names in lower case."""

    def close(self) -> None:
        """Disconnect the client; it may reconnect."""

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call back once when the connection has ended, at once if it has already."""
