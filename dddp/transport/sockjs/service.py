"""A SockJS service: a WSGI application for what is HTTP, and an `Application` for each kind of WebSocket.

What lives here: who answers at which place, and with what. The protocol's rules stand in the modules beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dddp.transport.contract import Application, Request
from dddp.transport.sockjs.exchange import Body, Environ, Exchange, StartResponse
from dddp.transport.sockjs.paths import Place, place
from dddp.transport.sockjs.session import Session
from dddp.transport.sockjs.sessions import Sessions
from dddp.transport.sockjs.websocket import Framed
from dddp.transport.websocket import Limits

__all__ = ["Options", "Service"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a service behaves.

    Args:
        heartbeat: seconds from one heartbeat to the next; proxies cut what is silent for a minute or less.
        disconnect_delay: seconds that a client may be between two requests before it counts as gone.
        response_limit: bytes after which a response that streams ends and the client makes another one.
        client_url: where the iframe page loads the SockJS client from, absolute or from the root; its version must be
            the one of the pages.
        cookie: set JSESSIONID, for load balancers that keep a client at one server by it.
        websocket: offer WebSockets.
    """

    heartbeat: float = 25.0
    disconnect_delay: float = 5.0
    response_limit: int = 128 * 1024
    client_url: str = "https://cdn.jsdelivr.net/npm/sockjs-client@1.6.1/dist/sockjs.min.js"
    cookie: bool = False
    websocket: bool = True


def any_request(request: Request) -> bool:
    """For a mount that takes any number of clients."""
    return True


def _ignore(session: Session, request: Request | None = None) -> None:
    """For a mount that does not count sessions."""


class Service:
    """SockJS at one mount point.

    Args:
        application: what is reached through it, as through a WebSocket.
        mount: the path it stands at, as ``/echo``.
        limits: what one client may cost; the payload of a request counts as a message.
        accept: called with each request of a session, False refuses it with 403; None accepts all.
        admits: called with each request that would open a session, False refuses it with 429.
        opened: called with each session that polls or streams, and the request that opened it.
        gone: called with each of them when it is forgotten.

    Attributes:
        sessions: those that poll or stream.
    """

    def __init__(
        self,
        application: Application,
        mount: str,
        options: Options | None = None,
        *,
        limits: Limits | None = None,
        accept: Callable[[Request], bool] | None = None,
        admits: Callable[[Request], bool] = any_request,
        opened: Callable[[Session, Request], None] = _ignore,
        gone: Callable[[Session], None] = _ignore,
    ) -> None:
        self._application = application
        self._mount = mount
        self.options = options or Options()
        self.limits = limits or Limits()
        self.accept = accept
        self.admits = admits
        heartbeat, delay = self.options.heartbeat, self.options.disconnect_delay
        self.sessions = Sessions(application, self.limits, heartbeat, delay, opened, gone)
        self._framed = Framed(application, self.sessions.heartbeats)

    def serves(self, path: str) -> bool:
        """Tell whether a path is this service's."""
        return path == self._mount or path.startswith(self._mount + "/")

    def websocket_at(self, path: str) -> Application | None:
        """Return what serves WebSockets at a path, None where there are none."""
        found = self._place(path) if self.options.websocket else None
        if found is None or found.name not in ("websocket", "raw"):
            return None
        return self._framed if found.name == "websocket" else self._application

    def polled_at(self, path: str) -> str:
        """Return the session that a request of a transport other than WebSocket is for, empty for other requests."""
        found = self._place(path)
        return found.session if found is not None and found.name != "websocket" else ""

    def _place(self, path: str) -> Place | None:
        return place(path[len(self._mount) :]) if self.serves(path) else None

    def close(self) -> None:
        """Open no further session; those that are there stay."""
        self.sessions.closed = True

    def stop(self, code: int, reason: str) -> None:
        """Close every session with a frame, those of WebSockets included."""
        self.sessions.stop(code, reason)
        for channel in list(self._framed.channels):
            channel.close(code, reason)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Body:
        """Answer a request (PEP 3333). Its ``wsgi.input`` is gevent's, and it has `exchange.CONNECTION`."""
        return Exchange(self, self._place(environ["PATH_INFO"]), environ, start_response).answer()
