"""The services that the sockjs-protocol suite asks for, on one server; run as a program, on the port it is told.

An echo that streams 4,096 bytes a response, the same without WebSockets and with cookies, and one that says good-bye.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dddp.transport import Channel, Request, Server, serve
from dddp.transport.sockjs import Options
from dddp.transport.sockjs.session import Session
from tests.transport.peers import RecordingApplication, RecordingReceiver, hello, silence, until

RESPONSE_LIMIT = 4096


class ClosingApplication(RecordingApplication):
    """Closes every client at once."""

    def connect(self, channel: Channel, request: Request) -> RecordingReceiver:
        receiver = super().connect(channel, request)
        channel.close(3000, "Go away!")
        return receiver


class Services:
    """The server and the applications behind it."""

    def __init__(self, port: int = 0, options: dict[str, Any] | None = None, **server: Any) -> None:
        echo_options = {"response_limit": RESPONSE_LIMIT, **(options or {})}
        self.echo = RecordingApplication()
        self.close = ClosingApplication()
        self.silent = RecordingApplication(silence)
        self.server: Server = serve([("127.0.0.1", port)], self.echo, hello, **server)
        self.server.mount("/echo", self.echo, Options(**echo_options))
        self.server.mount("/silent", self.silent, Options(**echo_options))
        self.server.mount(
            "/disabled_websocket_echo", self.echo, Options(**{**echo_options, "websocket": False})
        )
        self.server.mount("/cookie_needed_echo", self.echo, Options(**{**echo_options, "cookie": True}))
        self.server.mount("/close", self.close, Options(**echo_options))

    def session(self, path: str) -> Session | None:
        """The session that a path names."""
        sessions = (channel for channel in self.server.channels if isinstance(channel, Session))
        return next((session for session in sessions if path.endswith(f"/{session.id}")), None)

    def until_asked(self, path: str) -> Session:
        """Wait until a response waits for frames of a session, and return it."""
        until(lambda: (session := self.session(path)) is not None and session._carrier is not None)
        session = self.session(path)
        assert session is not None
        return session


@contextmanager
def services(options: dict[str, Any] | None = None, **server: Any) -> Iterator[Services]:
    running = Services(0, options, **server)
    try:
        yield running
    finally:
        running.server.stop(timeout=0.2)


if __name__ == "__main__":
    Services(int(sys.argv[1])).server.serve_forever()
