"""The opening handshake of a WebSocket (RFC 6455 section 4.2), whatever the path it is asked for at.

What lives here: which requests may become WebSockets, and the answers to the others and to these. It reads a WSGI
environ and knows no socket.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from geventwebsocket.handler import WebSocketHandler
from websockets.utils import accept_key

from dddp.transport.deflate import is_offer, negotiate
from dddp.transport.http import Answer, plain

__all__ = ["extension", "refusal", "switching_headers"]


def refusal(environ: Mapping[str, Any], version: str) -> Answer | None:
    """Say what is wrong with an opening handshake (RFC 6455 section 4.2.1), None if nothing is."""
    if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
        return "405 Method Not Allowed", [("Allow", "GET"), ("Connection", "close")], b""
    if not _is_upgrade(environ, version):
        return plain("400 Bad Request", "Not a valid websocket request")
    if environ.get("HTTP_SEC_WEBSOCKET_VERSION") not in WebSocketHandler.SUPPORTED_VERSIONS:
        return plain(
            "426 Upgrade Required", "This WebSocket version is not supported", ("Sec-WebSocket-Version", "13")
        )
    if not _is_key(environ.get("HTTP_SEC_WEBSOCKET_KEY", "")):
        return plain("400 Bad Request", "Sec-WebSocket-Key must be 16 bytes in base64")
    if not is_offer(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "")):
        return plain("400 Bad Request", "Sec-WebSocket-Extensions is not a list of extensions")
    return None


def _is_upgrade(environ: Mapping[str, Any], version: str) -> bool:
    """Tell whether a request asks for a WebSocket, and brings no body that would be taken for frames."""
    return (
        environ["REQUEST_METHOD"] == "GET"
        and version == "HTTP/1.1"
        and environ.get("HTTP_UPGRADE", "").lower() == "websocket"
        and "upgrade" in _tokens(environ.get("HTTP_CONNECTION", ""))
        and "HTTP_HOST" in environ
        and environ.get("CONTENT_LENGTH", "") in ("", "0")
        and "HTTP_TRANSFER_ENCODING" not in environ
    )


def _tokens(header: str) -> set[str]:
    return {token.strip().lower() for token in header.split(",")}


def _is_key(key: str) -> bool:
    try:
        return len(base64.b64decode(key.strip(), validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def extension(environ: Mapping[str, Any]) -> str | None:
    """Return the answer to the extensions a client offers, None where there are none to speak with."""
    return negotiate(environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", ""))


def switching_headers(environ: Mapping[str, Any], extension: str | None) -> list[tuple[str, str]]:
    """Return the headers of the answer 101 (RFC 6455 section 4.2.2)."""
    headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Accept", accept_key(environ["HTTP_SEC_WEBSOCKET_KEY"].strip())),
    ]
    return headers if extension is None else [*headers, ("Sec-WebSocket-Extensions", extension)]
