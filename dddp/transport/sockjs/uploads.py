"""What a client sends by HTTP: bodies of bounded size, in bounded time, as messages (ddp-wire 1.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qs

import gevent

from dddp.errors import DDDPError
from dddp.transport.sockjs.frames import BadPayload, array

__all__ = ["BodyLost", "BodyTooLarge", "form_messages", "give_up", "messages", "read_body"]

CONTENT_TYPES: Final = ("", "T", "text/plain", "text/xml", "application/json", "application/xml")
"""What browsers have been seen to call a payload."""

FORM: Final = "application/x-www-form-urlencoded"

FIELDS: Final = 16
"""Fields of a form that are looked at."""


class BodyTooLarge(DDDPError):
    """A request's body is larger than a message may be."""


class BodyLost(DDDPError):
    """A request's body did not come: the client has hung up, takes too long, or sends no valid chunks."""


def read_body(environ: Mapping[str, Any], limit: int, seconds: float) -> bytes:
    """Return a request's body.

    Args:
        environ: its ``wsgi.input`` is gevent's.
        limit: bytes.
        seconds: until all of it must have come.

    Raises:
        BodyLost, BodyTooLarge: nothing more can be read from this connection.
    """
    stream = environ["wsgi.input"]
    try:
        with gevent.Timeout(seconds, BodyLost()):
            body: bytes = stream.read(limit + 1)
        if len(body) > limit:
            raise BodyTooLarge
    except OSError as error:
        give_up(stream)
        raise BodyLost from error
    except DDDPError:
        give_up(stream)
        raise
    return body


def give_up(stream: Any) -> None:
    """Keep the server from reading the rest of a body, however long that takes, to get to the next request."""
    stream.content_length, stream.chunked_input = stream.position, False


def messages(environ: Mapping[str, Any], body: bytes) -> list[str]:
    """Return the messages of an ``xhr_send``.

    Raises:
        BadPayload: there are none.
    """
    if _content_type(environ) not in CONTENT_TYPES:
        raise BadPayload("Payload expected.")
    return array(_decoded(body))


def form_messages(environ: Mapping[str, Any], body: bytes) -> list[str]:
    """Return the messages of a ``jsonp_send``: those of a form's field ``d``, or of a body without a form.

    Raises:
        BadPayload: there are none.
    """
    if _content_type(environ) != FORM:
        return messages(environ, body)
    try:
        fields = parse_qs(_decoded(body), errors="strict", max_num_fields=FIELDS)
    except ValueError:
        raise BadPayload("Broken JSON encoding.") from None
    return array(fields.get("d", [""])[0])


def _content_type(environ: Mapping[str, Any]) -> str:
    content_type: str = environ.get("CONTENT_TYPE", "")
    return content_type.partition(";")[0].strip()


def _decoded(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise BadPayload("Broken JSON encoding.") from None
