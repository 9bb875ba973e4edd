"""The TCP side: listening sockets, HTTP, and the hand-over of WebSocket and SockJS requests.

What lives here: gevent's WSGI server with gevent-websocket's handler, of which only the handshake is used
(its frame layer never sees the network). It knows no DDP; the WSGI application and the transports'
`Application` are arguments.

A connection has a greenlet while it speaks HTTP. With the upgrade the socket's descriptor moves into a
`WebSocketChannel`, and greenlet, handler, environ and gevent's socket are let go.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import socket as _names
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from types import TracebackType
from typing import Any, Final

import gevent
from gevent import monkey, socket
from gevent.event import Event
from gevent.pool import Pool
from gevent.pywsgi import WSGIHandler, WSGIServer
from gevent.server import StreamServer
from geventwebsocket.handler import WebSocketHandler

from dddp.errors import DDDPError
from dddp.transport.admissions import Admissions
from dddp.transport.contract import Application, Request
from dddp.transport.frames import DeflatedFrames
from dddp.transport.handover import Siblings, give, taken, unread
from dddp.transport.handshake import extension, refusal, switching_headers
from dddp.transport.http import Answer, plain, request_of
from dddp.transport.sockjs import Options, Service
from dddp.transport.sockjs.connection import Connection
from dddp.transport.sockjs.exchange import CONNECTION
from dddp.transport.sockjs.session import Session
from dddp.transport.sockjs.uploads import give_up
from dddp.transport.websocket import Limits, WebSocketChannel

__all__ = ["Address", "CannotListen", "Server", "listen", "serve"]

logger = logging.getLogger(__name__)
access_logger = logging.getLogger("dddp.access")

Address = tuple[str, int]
"""Host and port. An empty host means every address of the machine, port 0 any free port."""

WSGIApplication = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

BACKLOG: Final = 1024
"""Connections the system completes before they are accepted: after a restart all clients come at once."""

KEEPALIVE: Final = {_names.TCP_KEEPIDLE: 60, _names.TCP_KEEPINTVL: 15, _names.TCP_KEEPCNT: 4}
"""Seconds of silence, seconds between two probes, and their number, until the system gives up a peer that is not there:
what nothing is written to would stay for ever. Accepted sockets have it from the listening one."""


class CannotListen(DDDPError):
    """An address cannot be listened on. ``__cause__`` is the system's error."""

    def __init__(self, address: Address, error: OSError) -> None:
        self.address = address
        super().__init__(address, error)

    def __str__(self) -> str:
        host, port = self.address
        return (
            f"Cannot listen on {host or '*'}:{port}: {self.__cause__ or self.args[1]}. "
            "Stop the program that uses this address, or choose another one."
        )


def remote_address(request: Request) -> str:
    """Name a client by the other end of its socket."""
    return request.remote_address


def listen(address: Address) -> list[socket.socket]:
    """Open listening sockets: one for each IP address that the host's name has.

    Raises:
        CannotListen: the port is in use, the name is unknown, or the port needs a privilege.
    """
    host, port = address
    sockets: list[socket.socket] = []
    try:
        for family, sockaddr in _resolved(host, port):
            if sockets:  # with port 0 the first one chose for all
                sockaddr = (sockaddr[0], sockets[0].getsockname()[1], *sockaddr[2:])
            sockets.append(_listener(family, sockaddr))
    except OSError as error:
        for opened in sockets:
            opened.close()
        raise CannotListen(address, error) from error
    return sockets


def _resolved(host: str, port: int) -> list[tuple[int, Any]]:
    infos = socket.getaddrinfo(host or None, port, type=_names.SOCK_STREAM, flags=_names.AI_PASSIVE)
    found: dict[tuple[int, Any], None] = dict.fromkeys((int(info[0]), info[4]) for info in infos)
    usable = [(family, sockaddr) for family, sockaddr in found if _has_family(family, sockaddr[0])]
    return usable or list(found)


def _has_family(family: int, host: str) -> bool:
    """Tell whether this machine has that address: containers often resolve ``::1`` and have no IPv6."""
    try:
        with socket.socket(family, _names.SOCK_STREAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def _listener(family: int, sockaddr: Any) -> socket.socket:
    listener = socket.socket(family, _names.SOCK_STREAM)
    try:
        listener.setsockopt(_names.SOL_SOCKET, _names.SO_REUSEADDR, 1)
        listener.setsockopt(_names.SOL_SOCKET, _names.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE.items():
            listener.setsockopt(_names.IPPROTO_TCP, option, value)
        if family == _names.AF_INET6:  # the IPv4 addresses have listeners of their own
            listener.setsockopt(_names.IPPROTO_IPV6, _names.IPV6_V6ONLY, 1)
        listener.bind(sockaddr)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Server:
    """Serves WebSocket clients, SockJS clients and a WSGI application on the same sockets.

    Args:
        sockets: listening sockets (see `listen`); several processes may share them.
        application: gets the WebSocket clients of ``<prefix>/websocket``, the SockJS clients of ``<prefix>/sockjs``.
        wsgi: gets every other request.
        prefix: mount point of these paths, as ``/app``; the WSGI application is not moved by it.
        accept: called with each request of a client, in its own greenlet; a false answer refuses it with 403. None
            accepts all, as Meteor does: what a client may do rests on a token, never on a cookie.
        sockjs: how the SockJS service behaves.
        limits: what one client may cost.
        client_address: names who asks; by default the address at the other end of the socket.
        deflate_from: bytes from which on a message is compressed, for clients that can; None to compress nothing.
        siblings: the other processes on these sockets, if there are any.
        handed: where they hand over the connections that belong here: a listening Unix socket.

    Attributes:
        channels: the clients, those still closing included, each with its address.
        admissions: the sessions of each address.
        requests: the greenlets of HTTP connections.
        reading: those of them that have no request to answer yet, or no more, in the order in which they have begun to
            wait for one: the first are ended when there are too many connections.
        waiting: those of these that have been answered and wait for the next request's first line.
        expected: likewise, for the first request.
        polling: likewise, of connections that SockJS clients come back to: they may until the server has stopped.
        closed: nothing new is accepted any more.
    """

    def __init__(
        self,
        sockets: Iterable[socket.socket],
        application: Application,
        wsgi: WSGIApplication,
        *,
        prefix: str = "",
        accept: Callable[[Request], bool] | None = None,
        sockjs: Options | None = None,
        limits: Limits | None = None,
        client_address: Callable[[Request], str] = remote_address,
        deflate_from: int | None = 512,
        siblings: Siblings | None = None,
        handed: socket.socket | None = None,
    ) -> None:
        self.application = application
        self.accept = accept
        self.limits = limits or Limits()
        self.deflate = None if deflate_from is None else DeflatedFrames(deflate_from)
        self.client_address = client_address
        self.admissions = Admissions(self.limits.sessions)
        self.channels: dict[WebSocketChannel | Session, str] = {}
        self._connections = 0
        self._full = False  # a connection has been refused; one line in the log until one is accepted
        self._paths = frozenset((f"{prefix}/websocket", f"{prefix}/websocket/"))
        self._gone = Event()
        self._stopped = Event()
        self.closed = False
        self.requests = Pool()
        self.reading: dict[Any, None] = {}
        self.waiting: dict[Any, _Handler] = {}
        self.expected: set[Any] = set()
        self.polling: set[Any] = set()
        self._services: list[Service] = []
        self.mount(f"{prefix}/sockjs", application, sockjs)
        self.siblings = siblings
        self._listeners = [_Listener(opened, self, wsgi) for opened in sockets]
        self._taker = None if handed is None else StreamServer(handed, self._take, spawn=self.requests)

    @property
    def addresses(self) -> list[Address]:
        """Where the server listens, with the real port numbers."""
        return [(str(listener.server_host), int(listener.server_port or 0)) for listener in self._listeners]

    def mount(self, path: str, application: Application, options: Options | None = None) -> None:
        """Serve an application by SockJS, at a path as ``/echo``."""
        service = Service(
            application,
            path,
            options,
            limits=self.limits,
            accept=self.accept,
            admits=self.admits,
            opened=self._remember,
            gone=self._forget,
        )
        self._services.append(service)

    def application_at(self, path: str) -> Application | None:
        """Return what serves WebSockets at a path, None where there are none."""
        if path in self._paths:
            return self.application
        service = self.service_at(path)
        return None if service is None else service.websocket_at(path)

    def service_at(self, path: str) -> Service | None:
        """Return the SockJS service that a path belongs to, None for those of the WSGI application."""
        return next((service for service in self._services if service.serves(path)), None)

    def admits(self, request: Request) -> bool:
        """Tell whether the client that asks may have one more session."""
        return self.admissions.admits(self.client_address(request))

    def enter(self) -> bool:
        """Count one more connection, and end one that waits for a request if that makes too many.

        Returns whether it may stay: not, if none of the others waits.
        """
        self._connections += 1
        limit = self.limits.connections
        if limit is None or self._connections <= limit:
            self._full = False
            return True
        longest = next(iter(self.reading), None)
        if longest is not None:
            del self.reading[longest]
            longest.kill(block=False)
        elif not self._full:
            logger.warning("! there are %d connections, no more are accepted", limit)
        self._full = longest is None
        return not self._full

    def leave(self) -> None:
        """A connection that was counted has ended."""
        self._connections -= 1

    def start(self) -> None:
        """Start accepting, in the background."""
        for listener in self._listeners:
            listener.start()
        if self._taker is not None:
            self._taker.start()

    def serve_forever(self) -> None:
        """Wait until `stop` has been called, by another greenlet, and has finished."""
        self._stopped.wait()

    def close(self) -> None:
        """Stop accepting connections and further HTTP requests; clients with a session stay."""
        if not self.closed:
            self._farewell = gevent.spawn_later(FAREWELL, self._expect_no_more)
        self.closed = True
        for listener in self._listeners:
            listener.close()
        if self._taker is not None:
            self._taker.close()
        for service in self._services:
            service.close()
        idle = [waiting for waiting, handler in self.waiting.items() if not handler.has_input()]
        gevent.killall(idle, block=False)

    def _expect_no_more(self) -> None:
        gevent.killall(list(self.expected), block=False)

    def stop(self, timeout: float = 10.0, code: int = 1001) -> None:
        """Stop accepting, close every client, let running HTTP requests finish.

        Args:
            timeout: seconds until what is still there is cut off.
            code: the close code, 1001 (going away) or 1012 (service restart).
        """
        self.close()
        for service in self._services:
            service.stop(code, "the server stops")
        for channel in list(self.channels):
            channel.close(code, "the server stops")
        with suppress(gevent.Timeout), gevent.Timeout(timeout):
            while self.channels:
                self._gone.clear()
                self._gone.wait()
            gevent.killall(list(self.polling), block=False)
            self.requests.join()
        self.requests.kill(block=False)
        self._farewell.kill(block=False)
        for channel in list(self.channels):
            channel.abort()
        self._stopped.set()

    def open_channel(self, handler: _Handler, application: Application, request: Request) -> None:
        """Take the socket out of a handler that has answered 101, and let it live as a channel."""
        received = _received(handler)
        family, handler.socket, taken = handler.socket.family, None, handler.socket
        deflate = self.deflate if handler.extension else None
        channel = WebSocketChannel(
            taken.detach(), family, request.remote_address, self.limits, self._forget, deflate
        )
        self._connections += 1  # it is that one's from now on, and the handler's until it ends
        self._remember(channel, request)
        channel.start(application, request, received)
        if self.closed:
            channel.close(1001, "the server stops")

    def _take(self, way: socket.socket, address: object) -> None:
        """Serve a connection that another process has handed over."""
        handed = None
        with closing(way):
            try:
                handed = taken(way)
            except (OSError, ValueError) as error:
                logger.warning("! a connection was lost on its way from another process: %s", error)
        if handed is not None:
            handler = _Handler(handed.socket, handed.address, self._listeners[0])
            handler.rfile = unread(handed)
            handler.handed = True
            handler.handle()

    def _remember(self, channel: WebSocketChannel | Session, request: Request) -> None:
        self.channels[channel] = address = self.client_address(request)
        self.admissions.enter(address)

    def _forget(self, channel: WebSocketChannel | Session) -> None:
        self._connections -= isinstance(channel, WebSocketChannel)
        self.admissions.leave(self.channels.pop(channel))
        self._gone.set()


def serve(
    addresses: Iterable[Address], application: Application, wsgi: WSGIApplication, **options: Any
) -> Server:
    """Listen on every address and start serving; the options are those of `Server`.

    Raises:
        CannotListen: one of the addresses cannot be had; nothing is left open.
    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets += listen(address)
    except CannotListen:
        for opened in sockets:
            opened.close()
        raise
    server = Server(sockets, application, wsgi, **options)
    server.start()
    return server


FAREWELL: Final = 1.0
"""Seconds that an accepted client has for its first request when the server has closed: a slow network's round trip."""

# gevent's would give way to others, and the server is about to decide.
poll: Callable[[], select.poll] = monkey.get_original("select", "poll")

TOO_MANY_CONNECTIONS: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)


class _RequestTimeout(OSError, ValueError):
    """A client sent no complete request in time.

    pywsgi takes an OSError for a lost connection and a ValueError for a bad request: either ends the
    connection in peace.
    """


class _Handler(WebSocketHandler):  # type: ignore[misc]
    """One HTTP connection; a WebSocket request ends it as such."""

    server: _Listener
    socket: Any
    code: Any  # of the answer
    _deadline: gevent.Timeout | None = None  # for a request's line and headers
    answered: bool = False  # at least one request, or about to
    extension: str | None = None  # the WebSocket one that was agreed on
    connection: Connection | None = None  # exists once a SockJS client uses it
    handed: bool = False  # by another process, with a request to be answered here

    def handle(self) -> None:
        self.socket.settimeout(self.server.owner.limits.request)  # of each wait for the network
        try:
            if self.server.owner.enter():
                super().handle()
            else:
                self.socket.sendall(TOO_MANY_CONNECTIONS)
        except OSError:  # it was gone before it was refused
            logger.debug("= a refused connection is gone")
        finally:
            self._end_deadline()
            if self.connection is not None:
                self.connection.end()
            self.server.owner.leave()

    def _end_deadline(self) -> None:
        self.server.owner.reading.pop(gevent.getcurrent(), None)
        if self._deadline is not None:
            self._deadline.close()
            self._deadline = None

    def read_requestline(self) -> str:
        """Wait for a request; return nothing, which ends the connection, once the server is closed.

        The first one may be on its way then, since the client has been accepted.
        """
        owner = self.server.owner
        if owner.closed and self.answered and self.connection is None and not self.has_input():
            return ""
        self._deadline = gevent.Timeout.start_new(owner.limits.request, _RequestTimeout())
        owner.reading[gevent.getcurrent()] = None
        try:
            with self._waiting():
                line: str = super().read_requestline()
        except ConnectionResetError:
            if self.connection is not None:
                self.connection.reset()
            raise
        if line and self.connection is not None:
            self.connection.asked()
        return line

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Be where the server finds whom it need not wait for."""
        owner, current = self.server.owner, gevent.getcurrent()
        if self.connection is not None:
            owner.polling.add(current)
        elif self.answered:
            owner.waiting[current] = self
        else:
            owner.expected.add(current)
        self.answered = True
        try:
            yield
        finally:
            owner.polling.discard(current)
            owner.waiting.pop(current, None)
            owner.expected.discard(current)

    def has_input(self) -> bool:
        """Whether the client has sent something that was not read yet."""
        poller = poll()
        poller.register(self.socket.fileno(), select.POLLIN)
        return bool(poller.poll(0))

    def read_request(self, raw_requestline: str) -> bool:
        try:
            return bool(super().read_request(raw_requestline))
        finally:
            self._end_deadline()

    def run_application(self) -> None:
        owner, path = self.server.owner, self.environ["PATH_INFO"]
        application = owner.application_at(path)
        if application is not None:
            self.open_websocket(application)
            return
        service = owner.service_at(path)
        if service is not None:
            way = self.way_elsewhere(service)
            if way is not None:
                self.hand_over(way)
                return
            self.use_service(service)
        elif self.connection is not None and owner.closed:  # unanswered, browsers ask again elsewhere
            self.close_connection = True
            return
        WSGIHandler.run_application(self)
        self._skip_body()

    def _skip_body(self) -> None:
        """Get to the next request: read what the application has left of the body, if that does not take long."""
        try:
            with gevent.Timeout(self.server.owner.limits.request, _RequestTimeout()):
                self.wsgi_input._discard()
        except OSError:
            give_up(self.wsgi_input)
            self.close_connection = True

    def way_elsewhere(self, service: Service) -> str | None:
        """Where the process is reached that has, or will have, the request's SockJS session; None for this one."""
        siblings = self.server.owner.siblings
        session = service.polled_at(self.environ["PATH_INFO"])
        handed, self.handed = self.handed, False
        return None if siblings is None or handed or not session else siblings.path_of(session)

    def hand_over(self, way: str) -> None:
        """Let another process answer this request, and those behind it."""
        headers = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        read = f"{self.requestline}\r\n{headers}\r\n".encode("latin-1") + _received(self)
        self.socket.settimeout(self.server.owner.limits.request)
        try:
            give(way, self.socket.fileno(), self.socket.family, read, self.client_address)
        except OSError as error:
            logger.info("a connection could not be handed over: %s", error)
            self.answer(plain("503 Service Unavailable", "The process of this session does not answer"))
            return
        self.close_connection = True
        handed, self.socket = self.socket, None
        os.close(handed.detach())

    def use_service(self, service: Service) -> None:
        """Have the request answered by SockJS."""
        if self.connection is None:
            self.connection = Connection(self.socket)
            if self.socket.family != _names.AF_UNIX:
                # Headers and body are two writes, a frame is a small one.
                self.socket.setsockopt(_names.IPPROTO_TCP, _names.TCP_NODELAY, 1)
        self.environ[CONNECTION] = self.connection
        # Some proxies ask for an upgrade with each request, and pywsgi then leaves the body to the application.
        self.environ["wsgi.input"] = self.wsgi_input
        self.application = service

    def open_websocket(self, application: Application) -> None:
        """Make a WebSocket of this connection, for an application, or refuse to."""
        request = request_of(self.environ)
        answer = self._refusal(request)
        if answer is not None:
            self.answer(answer)
            return
        if self.server.owner.deflate is not None:
            self.extension = extension(self.environ)
        self.upgrade_websocket()
        self.server.owner.open_channel(self, application, request)

    def _refusal(self, request: Request) -> Answer | None:
        owner = self.server.owner
        answer = refusal(self.environ, self.request_version)
        if answer is None and owner.accept is not None and not owner.accept(request):
            return plain("403 Forbidden", "This origin is not allowed")
        if answer is None and not owner.admits(request):
            return plain("429 Too Many Requests", "This address has too many sessions")
        return answer

    def upgrade_connection(self) -> None:
        """Answer 101. The inherited method would also create gevent-websocket's own frame layer."""
        self.start_response("101 Switching Protocols", switching_headers(self.environ, self.extension))
        self.close_connection = True  # to HTTP it is over
        self.provided_date = True
        self.write(b"")

    def finalize_headers(self) -> None:
        super().finalize_headers()
        if self.command == "HEAD":
            self.response_use_chunked = False  # else the end of a body that is not sent would be

    def _write(self, data: bytes) -> None:
        # pywsgi leaves it to applications to send no body after HEAD; Django leaves it to servers.
        if self.command != "HEAD":
            super()._write(data)

    def _sendall(self, data: bytes | bytearray) -> None:
        """Send; a client that takes nothing for long counts as gone, like one that is."""
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self.socket.send(rest) :]
        except OSError as error:
            self.status = f"socket error: {error}"
            self.code = -abs(self.code or 0)
            raise BrokenPipeError(errno.EPIPE, "the client is gone") from error
        self.response_length += len(data)

    def answer(self, answer: Answer) -> None:
        """Send an answer, the last one on this connection."""
        status, headers, body = answer
        self.start_response(status, [*headers, ("Content-Length", str(len(body)))])
        self.close_connection = True
        self.result = [] if self.command == "HEAD" else [body]
        self.process_result()

    def log_error(self, msg: str, *args: object) -> None:
        # What clients do wrong; anyone may send garbage, so it must not fill the log.
        logger.info(msg, *args)

    def _log_error(self, kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
        # What the WSGI application let through; pywsgi would write it to stderr.
        if not issubclass(kind, gevent.GreenletExit):
            logger.error("! %s failed", self.requestline, exc_info=(kind, error, trace))

    def log_request(self) -> None:
        if access_logger.isEnabledFor(logging.INFO):
            access_logger.info("%s", self.format_request())


ACCEPTS_PER_TURN = 8
"""Connections accepted before whoever is connected has a turn. With gevent's 100 a flood of new connections made the
calls of others take seconds; a thousand clients that come at once are served as fast with 8."""


class _Listener(WSGIServer):
    handler_class = _Handler

    def __init__(self, listener: socket.socket, owner: Server, wsgi: WSGIApplication) -> None:
        self.owner = owner
        self.logger = logger  # gevent-websocket would make one of its own, with a handler
        host = str(listener.getsockname()[0])
        # Without SERVER_NAME pywsgi looks the host up in the DNS, which may take seconds.
        environ = {"SERVER_NAME": host, "wsgi.multiprocess": owner.siblings is not None}
        super().__init__(listener, wsgi, log=None, error_log=logger, spawn=owner.requests, environ=environ)
        # With siblings the next connection is for whoever is less busy.
        self.max_accept = ACCEPTS_PER_TURN if owner.siblings is None else 1


def _received(handler: _Handler) -> bytes:
    """Return what the request's file has read behind the handshake: clients send in the same packet."""
    handler.socket.settimeout(0)  # peek() reads when its buffer is empty; it must not wait
    received: bytes = handler.rfile.peek()
    return received
