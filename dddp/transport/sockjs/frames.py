"""SockJS frames as bytes: what a server sends, how each transport wraps it, and what a client's payloads say.

Pure: nothing here knows HTTP, a socket, a session or a clock. A frame is a letter and JSON behind it (SockJS 0.3;
ddp-wire 1.4 to 1.6); a message is a UTF-8 text, whatever it means.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from dddp.errors import DDDPError

__all__ = [
    "EVENTSOURCE",
    "HEARTBEAT",
    "OPEN",
    "XHR",
    "XHR_STREAMING",
    "BadPayload",
    "Framing",
    "array",
    "array_frame",
    "close_frame",
    "htmlfile",
    "jsonp",
    "messages",
    "quoted",
]

OPEN: Final = b"o"
HEARTBEAT: Final = b"h"

ESCAPABLE: Final = re.compile("[\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff\U00010000-\U0010ffff]")
"""What JSON leaves as it is and some browsers do not; the controls are escaped by JSON itself."""

MAX_PARTS: Final = 10_000
"""Messages that one payload may bring, or parts of what is no string: a million bytes could be half a million."""

SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""Half a character: JSON can write one alone, UTF-8 cannot."""

JAVASCRIPT: Final = "application/javascript; charset=UTF-8"

PRELUDE_SIZE: Final = 2048
"""Bytes that old browsers want to see before they tell a script of a response that has not ended."""

HTMLFILE_PRELUDE_SIZE: Final = 1024
"""The same for a document in a frame: Internet Explorer shows nothing of fewer than 256, Safari of 1,024."""


class BadPayload(DDDPError):
    """A client's payload is no list of messages. The text is what the protocol answers."""


# What a server sends


def quoted(batch: tuple[bytes, ...]) -> bytes:
    """Return messages as JSON strings with commas between them: what stands in the brackets of `array_frame`."""
    return b",".join([_quote(message.decode()) for message in batch])


def array_frame(batch: tuple[bytes, ...]) -> bytes:
    """Return one frame of all messages."""
    return b"a[" + quoted(batch) + b"]"


def close_frame(code: int, reason: str) -> bytes:
    """Return the frame that ends a session; it is sent again to every later request."""
    return b"c[%d,%b]" % (code, _quote(reason))


_string = json.JSONEncoder(ensure_ascii=False).encode


def _quote(text: str) -> bytes:
    string = _string(text)
    if not string.isascii():
        string = ESCAPABLE.sub(_escaped, string)
    return string.encode()


def _escaped(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


# How the transports wrap it


@dataclass(frozen=True, slots=True)
class Framing:
    """How one transport writes frames into an HTTP response.

    Args:
        content_type: of the response.
        wrap: makes of a frame what goes over the wire.
        prelude: what goes before the first frame.
        streams: whether a response carries more than one frame.
    """

    content_type: str
    wrap: Callable[[bytes], bytes]
    prelude: bytes = b""
    streams: bool = False


def _line(frame: bytes) -> bytes:
    return frame + b"\n"


def _event(frame: bytes) -> bytes:
    """Return a server-sent event; the client passes its data through ``decodeURI``."""
    return b"data: " + frame.replace(b"%", b"%25") + b"\r\n\r\n"


XHR: Final = Framing(JAVASCRIPT, _line)
XHR_STREAMING: Final = Framing(JAVASCRIPT, _line, prelude=b"h" * PRELUDE_SIZE + b"\n", streams=True)
EVENTSOURCE: Final = Framing("text/event-stream", _event, prelude=b"\r\n", streams=True)
"""The prelude is for an Opera that lost the first line."""

HTMLFILE_HEAD: Final = """\
<!doctype html>
<html><head>
  <meta http-equiv="X-UA-Compatible" content="IE=edge" />
  <meta http-equiv="Content-Type" content="text/html; charset=UTF-8" />
</head><body><h2>Don't panic!</h2>
  <script>
    document.domain = document.domain;
    var c = parent.%s;
    c.start();
    function p(d) {c.message(d);};
    window.onload = function() {c.stop();};
  </script>"""
"""The document a hidden frame loads: its text is fixed by the protocol."""


def htmlfile(callback: str) -> Framing:
    """Return the framing as script elements that call a function of the parent document."""
    head = (HTMLFILE_HEAD % callback).encode().ljust(HTMLFILE_PRELUDE_SIZE) + b"\r\n\r\n"
    return Framing("text/html; charset=UTF-8", _script, prelude=head, streams=True)


def _script(frame: bytes) -> bytes:
    return b"<script>\np(%b);\n</script>\r\n" % _literal(frame)


def _literal(frame: bytes) -> bytes:
    """Return a frame as a JavaScript string that may stand in a script element: no tag can begin in it."""
    return _string(frame.decode()).replace("<", "\\u003c").encode()


def jsonp(callback: str) -> Framing:
    """Return the framing as a script that calls a function of its own document."""
    # The comment keeps the callback's name from being the first bytes, which could be taken for a Flash file.
    start = b"/**/" + callback.encode() + b"("
    return Framing(JAVASCRIPT, lambda frame: start + _literal(frame) + b");\r\n")


# What a client sends


def array(payload: str) -> list[str]:
    """Return the messages of an upload, which must be a JSON array.

    Raises:
        BadPayload: it is none.
    """
    value = _parsed(payload) if payload else None
    if not isinstance(value, list):
        raise BadPayload("Payload expected.")
    return _texts(value)


def messages(payload: str) -> list[str]:
    """Return the messages of a WebSocket's text: of a JSON array, or any other JSON value as one; of "" none.

    Raises:
        BadPayload: it is no JSON.
    """
    if not payload:
        return []
    value = _parsed(payload)
    return _texts(value if isinstance(value, list) else [value])


def _parsed(payload: str) -> Any:
    if len(payload) > MAX_PARTS and _parts(payload) > MAX_PARTS:
        raise BadPayload("Too many messages.")
    try:
        return json.loads(payload, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise BadPayload("Broken JSON encoding.") from None


def _parts(payload: str) -> int:
    """Of how many values JSON is made at most, told by what stands outside of its strings."""
    unescaped = payload.replace("\\\\", "").replace('\\"', "")
    outside = "".join(unescaped.split('"')[::2])
    return 1 + sum(map(outside.count, ",[{"))


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _texts(values: list[Any]) -> list[str]:
    """Return strings as valid Unicode, and as JSON what is no string: to judge it is the application's business."""
    return [_valid(value if isinstance(value, str) else json.dumps(value)) for value in values]


def _valid(text: str) -> str:
    return text if text.isascii() else SURROGATE.sub("\ufffd", text)
