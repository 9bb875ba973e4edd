"""Messages as WebSocket frames, ready to go out (RFC 6455 section 5.2). Nothing here knows a peer or a socket.

Both ways of writing are an `Encoding`, so a batch is written, and compressed, once for all who get it.
"""

from __future__ import annotations

import zlib
from typing import Final

__all__ = ["COMPRESSED", "EMPTY_BLOCK", "WINDOW_BITS", "DeflatedFrames", "header", "text_frames"]

TEXT: Final = 0x81
"""The first byte of a text frame that is a whole message."""

COMPRESSED: Final = 0x40
"""The bit of the first byte that says the message is compressed: RSV1 (RFC 7692 section 6)."""

EMPTY_BLOCK: Final = b"\x00\x00\xff\xff"
"""What ends a compressed message and is not sent (RFC 7692 section 7.2.1)."""

WINDOW_BITS: Final = 12
"""The base-2 logarithm of the window: with 4 KB a compressor takes 32 KB for a moment instead of 256, which take three
to eight times as long to set up, and what it makes of JSON is as small (to within 1 % from 200 bytes to 64 KB)."""

MEMORY_LEVEL: Final = 5
"""zlib's measure of its hash table; goes with the window."""

LEVEL: Final = 1
"""zlib's effort. Level 6 saves up to 5 % more of the original size and takes up to four times as long."""


def text_frames(messages: tuple[bytes, ...]) -> bytes:
    """Encode messages as unmasked, unfragmented text frames, joined."""
    if len(messages) == 1:
        return header(len(messages[0])) + messages[0]
    parts: list[bytes] = []
    for message in messages:
        parts += (header(len(message)), message)
    return b"".join(parts)


def header(size: int, first: int = TEXT) -> bytes:
    """Return what stands before a payload of so many bytes."""
    if size < 126:
        return bytes((first, size))
    if size < 65536:
        return bytes((first, 126)) + size.to_bytes(2)
    return bytes((first, 127)) + size.to_bytes(8)


class DeflatedFrames:
    """Encodes messages as `text_frames` does, the larger ones compressed, each by itself (RFC 7692).

    Args:
        threshold: bytes from which on a message is compressed.
    """

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def __call__(self, messages: tuple[bytes, ...]) -> bytes:
        parts: list[bytes] = []
        for message in messages:
            parts += self._frame(message)
        return b"".join(parts)

    def _frame(self, message: bytes) -> tuple[bytes, bytes]:
        if len(message) >= self._threshold:
            deflated = _deflate(message)
            if len(deflated) < len(message):
                return header(len(deflated), TEXT | COMPRESSED), deflated
        return header(len(message)), message


def _deflate(message: bytes) -> bytes:
    compressor = zlib.compressobj(LEVEL, zlib.DEFLATED, -WINDOW_BITS, MEMORY_LEVEL)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(EMPTY_BLOCK)
