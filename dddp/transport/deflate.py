"""permessage-deflate (RFC 7692) as a server without a memory: what is agreed on, and messages in.

Neither side takes a context from one message to the next. So a compressed message is the same for all who get it,
and a peer that says nothing costs nothing. What goes out is made in `frames`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from websockets.exceptions import InvalidHeader, NegotiationError
from websockets.extensions import Extension
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import CloseCode, Frame, Opcode
from websockets.headers import build_extension, parse_extension

from dddp.errors import DDDPError
from dddp.transport.frames import EMPTY_BLOCK, WINDOW_BITS

__all__ = ["DEFLATE", "CannotInflate", "DeflatedFrame", "inflate", "is_offer", "negotiate"]

_FACTORY = ServerPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True)


class CannotInflate(DDDPError):
    """A compressed message is too large or is none.

    Attributes:
        code: the close code for who sent it.
    """

    def __init__(self, code: CloseCode, reason: str) -> None:
        self.code = code
        super().__init__(reason)


# The opening handshake


@lru_cache(maxsize=64)  # browsers have a handful of them
def is_offer(header: str) -> bool:
    """Tell whether a ``Sec-WebSocket-Extensions`` header is well-formed (RFC 6455 section 9.1)."""
    try:
        return not header or bool(parse_extension(header))
    except InvalidHeader:
        return False


@lru_cache(maxsize=64)
def negotiate(header: str) -> str | None:
    """Return the answer to a well-formed ``Sec-WebSocket-Extensions``, None to speak without compression.

    The first offer that can be met is taken (RFC 7692 section 5.1). One that wants a smaller window than all
    others get cannot: its messages would have to be compressed for it alone.
    """
    for name, parameters in parse_extension(header) if header else ():
        if name == _FACTORY.name:
            answer = _answer(parameters)
            if answer is not None:
                return build_extension([(name, answer)])
    return None


def _answer(parameters: Sequence[Any]) -> list[Any] | None:
    try:
        answer, extension = _FACTORY.process_request_params(parameters, [])
    except NegotiationError:  # an unknown parameter, or one with an impossible value
        return None
    return answer if extension.local_max_window_bits >= WINDOW_BITS else None


# Messages in


class DeflatedFrame(Frame):
    """The first or only frame of a compressed message; its data and that of what continues it is compressed."""


class _Deflate(Extension):
    """Lets the compression bit pass where it may stand, at the start of a message; anywhere else it is an error.

    To inflate is left to who puts the message together: this has no state, and serves all peers.
    """

    name = _FACTORY.name

    def decode(self, frame: Frame, *, max_size: int | None = None) -> Frame:
        if frame.rsv1 and frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            return DeflatedFrame(frame.opcode, frame.data, frame.fin, False, frame.rsv2, frame.rsv3)
        return frame

    def encode(self, frame: Frame) -> Frame:
        return frame  # a control frame, which is never compressed


DEFLATE: list[Extension] = [_Deflate()]
"""The extensions of every peer that compresses."""


def inflate(data: bytes | bytearray | memoryview, limit: int) -> bytes:
    """Return the message that was compressed.

    Args:
        limit: bytes of the message; not more than one above it is made.

    Raises:
        CannotInflate: it is larger (1009), or the data is corrupt or goes on behind its last block (1007).
    """
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        message = inflater.decompress(data, limit + 1)
        if len(message) <= limit:
            message += inflater.decompress(EMPTY_BLOCK, limit + 1 - len(message))
    except zlib.error as error:
        raise CannotInflate(CloseCode.INVALID_DATA, "a compressed message is corrupt") from error
    if len(message) > limit:
        raise CannotInflate(CloseCode.MESSAGE_TOO_BIG, f"a compressed message has more than {limit} bytes")
    # A sender may mark a block as the last one; then an empty block comes before the one it leaves out.
    if inflater.eof and inflater.unused_data not in (EMPTY_BLOCK, b"\0" + EMPTY_BLOCK):
        raise CannotInflate(CloseCode.INVALID_DATA, "a compressed message goes on behind its end")
    return message
