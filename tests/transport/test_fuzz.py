"""Invariant: whatever bytes a client sends, the channel either lives on or ends once, and nothing is raised.

The streams are valid frames with bits flipped, bytes dropped and pieces repeated, cut at random places.
"""

from __future__ import annotations

import random
import socket as names
from collections.abc import Iterator

import gevent
import pytest
from gevent import socket

from dddp.transport import Limits, Request
from dddp.transport.websocket import WebSocketChannel
from tests.transport.peers import (
    BINARY,
    CONT,
    PING,
    PONG,
    RecordingApplication,
    close,
    frame,
    text,
    until,
)

STREAMS = 400


def valid_frames(dice: random.Random) -> Iterator[bytes]:
    for _ in range(dice.randrange(1, 12)):
        data = dice.randbytes(dice.choice((0, 1, 5, 125, 126, 300, 70_000)))
        yield dice.choice(
            (
                text("hello"),
                text("höla".encode(), fin=dice.random() < 0.5),
                frame(dice.choice((BINARY, CONT)), data, fin=dice.random() < 0.7),
                frame(dice.choice((PING, PONG)), data[:125]),
                close(dice.choice((1000, 1001, 1005, 3000, 65535)), data[:123]),
            )
        )


def spoiled(stream: bytes, dice: random.Random) -> bytes:
    spoilt = bytearray(stream)
    for _ in range(dice.choice((0, 0, 1, 3))):
        place = dice.randrange(len(spoilt))
        spoilt[place : place + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
    return bytes(spoilt)


def pieces(stream: bytes, dice: random.Random) -> Iterator[bytes]:
    while stream:
        size = dice.choice((1, 2, 7, 1000, len(stream)))
        yield stream[:size]
        stream = stream[size:]


def talk(seed: int) -> RecordingApplication:
    """Let one client send one spoilt stream, read what comes back, and hang up."""
    dice = random.Random(seed)
    application = RecordingApplication()
    gone: list[WebSocketChannel] = []
    near, far = socket.socketpair()
    channel = WebSocketChannel(near.detach(), names.AF_UNIX, "", Limits(message=100_000), gone.append)
    channel.start(application, Request("/websocket"), b"")
    reader = gevent.spawn(lambda: [None for _ in iter(lambda: far.recv(65536), b"")])
    try:
        for piece in pieces(spoiled(b"".join(valid_frames(dice)), dice), dice):
            far.sendall(piece)
        far.shutdown(socket.SHUT_WR)
        until(lambda: gone)
    finally:
        reader.kill()
        far.close()
    until(lambda: application.last.ends)
    return application


def test_any_bytes_end_cleanly(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(STREAMS):
        application = talk(seed)
        assert len(application.last.ends) == 1, f"seed {seed}"
        assert application.last.ends[0][0] != 1011, f"seed {seed}"
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")
