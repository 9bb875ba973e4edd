"""Invariant: whatever bytes a client sends, the channel either lives on or ends once, and nothing is raised.

What the client gets is whole frames, none behind a close frame. The streams are valid frames, compressed or not, with
bytes changed, dropped and repeated, cut at random places.
"""

from __future__ import annotations

import random
import socket as names
import zlib
from collections.abc import Iterator
from itertools import product

import gevent
import pytest

from dddp.transport import Limits, Request
from dddp.transport.frames import EMPTY_BLOCK, DeflatedFrames
from dddp.transport.websocket import Socket, WebSocketChannel
from tests.fuzz import bounded, inputs, spoiled
from tests.transport.peers import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    RSV1,
    TEXT,
    RecordingApplication,
    close,
    frame,
    text,
)

MESSAGE_LIMIT = 100_000
LIMITS = Limits(message=MESSAGE_LIMIT, closing=0.01)
DEFLATE = DeflatedFrames(64)
SIZES = (0, 1, 5, 125, 126, 300, 20_000)


def deflated(size: int, level: int, bits: int) -> bytes:
    compressor = zlib.compressobj(level, wbits=-bits)
    data = compressor.compress(b"hello, " * size) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return data.removesuffix(EMPTY_BLOCK)


DEFLATED = [
    deflated(*each)
    for each in product((0, 1, 20, 2_000, 50_000), (0, 1, 9), (9, 15))
    if each[:2] != (50_000, 0)
]


def valid_frame(dice: random.Random) -> bytes:
    kind = dice.randrange(7)
    if kind == 0:
        return text("hello")
    if kind == 1:
        return text("höla".encode(), fin=dice.random() < 0.5)
    if kind == 2:
        return frame(TEXT, dice.choice(DEFLATED), fin=dice.random() < 0.7, reserved=RSV1)
    if kind == 3:
        return frame(CONT, dice.choice(DEFLATED), fin=dice.random() < 0.7)
    data = dice.randbytes(dice.choice(SIZES))
    if kind == 4:
        return frame(dice.choice((BINARY, CONT)), data, fin=dice.random() < 0.7)
    if kind == 5:
        return frame(dice.choice((PING, PONG)), data[:125])
    return close(dice.choice((1000, 1001, 1005, 3000, 65535)), data[:123])


def pieces(stream: bytes, dice: random.Random) -> Iterator[bytes]:
    while stream:
        size = dice.choice((1, 2, 7, 1000, len(stream), len(stream)))
        yield stream[:size]
        stream = stream[size:]


class Conversation:
    """One client that sends its stream, reads what comes back and hangs up."""

    def __init__(self, compress: bool) -> None:
        self.application = RecordingApplication()
        self.received = bytearray()
        self.gone: list[WebSocketChannel] = []
        near, self._far = names.socketpair() if Socket is names.socket else pair()
        self._far.setblocking(False)
        deflate = DEFLATE if compress else None
        channel = WebSocketChannel(near.detach(), names.AF_UNIX, "", LIMITS, self.gone.append, deflate)
        channel.start(self.application, Request("/websocket"), b"")

    def send(self, data: bytes) -> None:
        while data:
            try:
                data = data[self._far.send(data) :]
            except BlockingIOError:
                pass
            except BrokenPipeError:  # the channel has ended
                return
            self.turn()

    def turn(self) -> None:
        """Let the channel have what was sent, and read its answers."""
        gevent.sleep(1e-6)  # with 0 the loop would look at its callbacks only, for up to 5 ms
        try:
            while data := self._far.recv(1 << 16):
                self.received += data
        except (BlockingIOError, ConnectionResetError):
            pass

    def end(self) -> list[tuple[int, str]]:
        """Hang up; what the application heard of the end."""
        self._far.shutdown(names.SHUT_WR)
        while not (self.gone and self.application.last.ends):
            self.turn()
        self._far.close()
        return self.application.last.ends


def pair() -> tuple[names.socket, names.socket]:
    """Two sockets that never wait, also where gevent has patched the standard library's."""
    return tuple(Socket(each.family, each.type, 0, each.detach()) for each in names.socketpair())  # type: ignore[return-value]


def frames_in(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of each frame of a server, which must be whole and right."""
    while data:
        opcode, size, start = data[0] & 0x0F, data[1], 2
        assert data[0] & 0xB0 == 0x80, "a fragment, or reserved bits"
        assert opcode in (TEXT, CLOSE, PONG)
        if size > 125:
            start = 4 if size == 126 else 10
            size = int.from_bytes(data[2:start])
        assert len(data) >= start + size, "cut off"
        yield opcode, data[start : start + size]
        data = data[start + size :]


def test_any_bytes_end_cleanly(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    for seed, dice in inputs():
        with bounded(seed):
            conversation = Conversation(compress=dice.random() < 0.5)
            stream = b"".join(valid_frame(dice) for _ in range(dice.randrange(1, 12)))
            for piece in pieces(spoiled(stream, dice), dice):
                conversation.send(piece)
            ends = conversation.end()

            assert len(ends) == 1
            assert caplog.messages == []
            assert CLOSE not in [opcode for opcode, _ in frames_in(bytes(conversation.received))][:-1]
            assert all(len(message) <= MESSAGE_LIMIT for message in conversation.application.last.texts)
    assert capfd.readouterr() == ("", "")
