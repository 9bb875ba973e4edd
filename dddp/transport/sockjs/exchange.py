"""One HTTP request of a SockJS service and its answer (ddp-wire 1.3, 1.5, 1.6)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

from dddp.errors import DDDPError
from dddp.transport.http import request_of
from dddp.transport.sockjs import frames, headers, pages, uploads
from dddp.transport.sockjs.frames import BadPayload, Framing
from dddp.transport.sockjs.headers import Headers
from dddp.transport.sockjs.paths import METHODS, Place
from dddp.transport.sockjs.response import Response

if TYPE_CHECKING:
    from dddp.transport.sockjs.service import Service
    from dddp.transport.sockjs.session import Session

__all__ = ["CONNECTION", "Body", "Environ", "Exchange", "StartResponse"]

CONNECTION: Final = "dddp.connection"
"""The key of a WSGI environ under which its `Connection` is, to notice when the client hangs up."""

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Body = Iterable[bytes]

STATIC: Final = {"greeting", "info", "iframe"}
"""What belongs to no session."""

CROSS_ORIGIN: Final = {"info", "xhr", "xhr_send", "xhr_streaming", "eventsource"}
"""What scripts of any page ask for; browsers let them read the answer only if it says so."""

BLIND: Final = {"iframe", "jsonp", "jsonp_send"}
"""What a page can use without its origin being told: not there where the origins are restricted."""

CALLBACK: Final = re.compile(r"[a-zA-Z0-9_.-]{1,32}")

MESSAGE_TOO_BIG: Final = (1009, "message too big")


class BadCallback(DDDPError):
    """A request does not name the function to call. The text is what the protocol answers."""


class Exchange:
    """Answers one request.

    Args:
        place: what its path stands for; None where there is nothing.
    """

    def __init__(
        self, service: Service, place: Place | None, environ: Environ, start_response: StartResponse
    ) -> None:
        self._service = service
        self._place = place or Place("")
        self._environ = environ
        self._start_response = start_response
        self._request = request_of(environ)

    def answer(self) -> Body:
        """Return the body, having started the response, or about to with its first piece."""
        name = self._place.name
        methods = METHODS.get(name)
        if methods is None:
            return self._text("404 Not Found", pages.NOT_FOUND)
        method = self._environ["REQUEST_METHOD"]
        if method == "HEAD" and name in STATIC:
            method = "GET"  # the server leaves the body out
        if method not in methods:
            return self._send("405 Method Not Allowed", [("Allow", ", ".join(methods))])
        if not self._allowed:
            return self._text("403 Forbidden", "This origin is not allowed")
        if method == "OPTIONS":
            return self._send("204 No Content", headers.preflight(self._environ, methods))
        return ANSWERS[name](self)

    # Origins

    @property
    def _allowed(self) -> bool:
        name = self._place.name
        if self._service.accept is None or name in STATIC - BLIND:
            return True
        return name not in BLIND and self._accepted

    @cached_property
    def _accepted(self) -> bool:
        return self._service.accept is None or self._service.accept(self._request)

    @property
    def _cross_origin(self) -> Headers:
        if self._place.name not in CROSS_ORIGIN:
            return []
        if not self._accepted:
            return [("Vary", "Origin")]
        origin = self._request.origin
        if origin == "null" and self._place.name == "eventsource":
            origin = None
        return headers.cors(origin)

    # What belongs to no session

    def _greeting(self) -> Body:
        return self._text("200 OK", pages.GREETING)

    def _info(self) -> Body:
        options = self._service.options
        body = pages.info(options.websocket, options.cookie).encode()
        content_type = ("Content-Type", "application/json; charset=UTF-8")
        return self._send("200 OK", [content_type, headers.NOT_CACHED], body)

    def _iframe(self) -> Body:
        body = pages.iframe(self._service.options.client_url).encode()
        tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        kept = [*headers.cached(), ("ETag", tag)]
        if tag in self._environ.get("HTTP_IF_NONE_MATCH", ""):
            return self._send("304 Not Modified", kept)
        return self._send("200 OK", [("Content-Type", "text/html; charset=UTF-8"), *kept], body)

    # What carries frames

    def _xhr(self) -> Body:
        return self._frames(frames.XHR)

    def _xhr_streaming(self) -> Body:
        return self._frames(frames.XHR_STREAMING)

    def _eventsource(self) -> Body:
        return self._frames(frames.EVENTSOURCE)

    def _htmlfile(self) -> Body:
        return self._calls(frames.htmlfile)

    def _jsonp(self) -> Body:
        return self._calls(frames.jsonp)

    def _calls(self, framing: Callable[[str], Framing]) -> Body:
        try:
            return self._frames(framing(self._callback()))
        except BadCallback as error:
            return self._text("500 Internal Server Error", str(error))

    def _callback(self) -> str:
        query = parse_qs(self._request.query)
        found = query.get("c") or query.get("callback")
        if found is None:
            raise BadCallback('"callback" parameter required')
        if not CALLBACK.fullmatch(found[0]):
            raise BadCallback('invalid "callback" parameter')
        return found[0]

    def _frames(self, framing: Framing) -> Body:
        session = self._session
        if session is None:
            if self._service.sessions.closed:
                return self._text("503 Service Unavailable", "The server stops", ("Connection", "close"))
            if not self._service.admits(self._request):
                return self._text("429 Too Many Requests", "This address has too many sessions")
            session = self._service.sessions.open(self._place.session, self._request)
        own = [("Content-Type", framing.content_type), ("X-Content-Type-Options", "nosniff")]
        if framing.streams:
            own.append(("X-Accel-Buffering", "no"))  # or nginx keeps frames until it has enough of them
            if self._environ["SERVER_PROTOCOL"] == "HTTP/1.0":
                own.append(("Connection", "close"))  # which is the only way to tell the end

        def start(further: Headers) -> None:
            self._start("200 OK", [*own, *further])

        limit = self._service.options.response_limit
        return Response(session, framing, start, limit, self._environ[CONNECTION]).pieces()

    # What brings messages

    def _xhr_send(self) -> Body:
        # Without a type Firefox takes it for broken XML, although there is nothing.
        return self._take(uploads.messages) or self._send("204 No Content", [headers.PLAIN])

    def _jsonp_send(self) -> Body:
        # Konqueror is said to do strange things at 204.
        return self._take(uploads.form_messages) or self._text("200 OK", "ok")

    def _take(self, read: Callable[[Environ, bytes], list[str]]) -> Body | None:
        """Hand the messages of a body to the session. Returns what is wrong, if something is."""
        limits = self._service.limits
        try:
            messages = read(self._environ, uploads.read_body(self._environ, limits.message, limits.request))
        except BadPayload as error:
            return self._text("500 Internal Server Error", str(error))
        except uploads.BodyTooLarge:
            if self._session is not None:
                self._session.close(*MESSAGE_TOO_BIG)
            return self._text("413 Content Too Large", "The payload is too large", ("Connection", "close"))
        except uploads.BodyLost:
            return self._text("408 Request Timeout", "The body did not come", ("Connection", "close"))
        if self._session is None or not self._session.upload(messages):
            return self._text("404 Not Found", pages.NOT_FOUND)
        return None

    @property
    def _session(self) -> Session | None:
        return self._service.sessions.find(self._place.session)

    # How answers are sent

    def _text(self, status: str, text: str, *further: tuple[str, str]) -> Body:
        return self._send(status, [headers.PLAIN, *further], text.encode())

    def _send(self, status: str, own: Headers, body: bytes = b"") -> Body:
        if body:
            own = [*own, ("Content-Length", str(len(body)))]
        self._start(status, own)
        return [body] if body else []

    def _start(self, status: str, own: Headers) -> None:
        """Start a response with what all of a session's have, those that may be cached excepted."""
        sent = [*own, *self._cross_origin]
        if self._place.session and self._environ["REQUEST_METHOD"] != "OPTIONS":
            sent.append(headers.NOT_CACHED)
            if self._service.options.cookie:
                sent.append(headers.cookie(self._environ))
        self._start_response(status, sent)


ANSWERS: Final[dict[str, Callable[[Exchange], Body]]] = {
    "greeting": Exchange._greeting,
    "info": Exchange._info,
    "iframe": Exchange._iframe,
    "xhr": Exchange._xhr,
    "xhr_send": Exchange._xhr_send,
    "xhr_streaming": Exchange._xhr_streaming,
    "eventsource": Exchange._eventsource,
    "htmlfile": Exchange._htmlfile,
    "jsonp": Exchange._jsonp,
    "jsonp_send": Exchange._jsonp_send,
}
