"""The characters of these tests: an application that records, and clients down to the last bit.

Server and clients live in one process, on gevent's sockets, patched or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
from gevent import socket
from websockets.frames import Opcode
from websockets.utils import apply_mask

from dddp.transport import Channel, Request, Server, serve

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 section 1.3 gives this pair

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
CLOSE, PING, PONG = Opcode.CLOSE, Opcode.PING, Opcode.PONG


def until(condition: Callable[[], Any], seconds: float = 5) -> None:
    """Let the loop run until something is so."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, "it did not come about in time"
        gevent.sleep(0.001)


class RecordingReceiver:
    """Keeps what it hears; `answer` is then called with itself and the text."""

    def __init__(self, channel: Channel, request: Request, answer: Callable[[RecordingReceiver, str], None]):
        self.channel = channel
        self.request = request
        self.answer = answer
        self.texts: list[str] = []
        self.drains = 0
        self.ends: list[tuple[int, str]] = []

    def receive(self, text: str) -> None:
        self.texts.append(text)
        self.answer(self, text)

    def drained(self) -> None:
        self.drains += 1

    def closed(self, code: int, reason: str) -> None:
        self.ends.append((code, reason))


def echo(receiver: RecordingReceiver, text: str) -> None:
    receiver.channel.send(text.encode())


def silence(receiver: RecordingReceiver, text: str) -> None:
    pass


class RecordingApplication:
    """Keeps its receivers, in the order of connecting; echoes unless told otherwise."""

    def __init__(self, answer: Callable[[RecordingReceiver, str], None] = echo) -> None:
        self.answer = answer
        self.receivers: list[RecordingReceiver] = []

    def connect(self, channel: Channel, request: Request) -> RecordingReceiver:
        self.receivers.append(RecordingReceiver(channel, request, self.answer))
        return self.receivers[-1]

    @property
    def last(self) -> RecordingReceiver:
        until(lambda: self.receivers)
        return self.receivers[-1]


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """A WSGI application that says which path it was asked for."""
    body = f"hello from {environ['PATH_INFO']}".encode()
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]


@contextmanager
def serving(application: Any, wsgi: Any = hello, **options: Any) -> Iterator[Server]:
    server = serve([("127.0.0.1", 0)], application, wsgi, **options)
    try:
        yield server
    finally:
        server.stop(timeout=1)


class Client:
    """A WebSocket client that can do everything wrong. Its reads fail after 5 seconds."""

    def __init__(self, server: Server, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(5)
        self.socket.connect(server.addresses[0])
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *args: object) -> None:
        self.disconnect()

    def disconnect(self) -> None:
        self.file.close()
        self.socket.close()

    # HTTP

    def request(self, line: str, *headers: str, behind: bytes = b"") -> tuple[str, dict[str, str]]:
        """Send a request, and bytes behind it in the same packet; return status line and headers."""
        head = "\r\n".join([line, "Host: localhost", *headers, "", ""])
        self.socket.sendall(head.encode() + behind)
        status = self.file.readline().decode().strip()
        found = {}
        while line := self.file.readline().decode().strip():
            name, _, value = line.partition(": ")
            found[name.lower()] = value
        return status, found

    def upgrade(self, *headers: str, path: str = "/websocket", behind: bytes = b"") -> Client:
        status, _ = self.request(f"GET {path} HTTP/1.1", *UPGRADE, *headers, behind=behind)
        assert status == "HTTP/1.1 101 Switching Protocols"
        return self

    # WebSocket

    def send(self, *frames: bytes) -> None:
        self.socket.sendall(b"".join(frames))

    def read(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame, which must be whole and unmasked."""
        first, second = self.file.read(2)
        assert first & 0xF0 == 0x80, "a fragment, or reserved bits"
        assert second & 0x80 == 0, "masked by a server"
        size = second
        if size == 126:
            size = int.from_bytes(self.file.read(2))
        elif size == 127:
            size = int.from_bytes(self.file.read(8))
        return first & 0x0F, self.file.read(size)

    def read_close(self) -> tuple[int, str]:
        """Return code and reason of the next frame, a close frame, behind which the stream must end."""
        opcode, payload = self.read()
        assert opcode == CLOSE
        assert self.at_end()
        return int.from_bytes(payload[:2]), payload[2:].decode()

    def at_end(self) -> bool:
        return self.file.read(1) == b""


MASK = b"mask"
RSV1, RSV2, RSV3 = 0x40, 0x20, 0x10

UPGRADE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Key: {KEY}",
    "Sec-WebSocket-Version: 13",
)


def frame(opcode: int, data: bytes = b"", fin: bool = True, mask: bool = True, reserved: int = 0) -> bytes:
    """A frame of a client, right or wrong; `reserved` are RSV1 to RSV3 as they stand in the first byte."""
    size, masked = len(data), 0x80 * mask
    head = bytes(((0x80 if fin else 0) | reserved | opcode,))
    if size < 126:
        head += bytes((masked | size,))
    elif size < 65536:
        head += bytes((masked | 126,)) + size.to_bytes(2)
    else:
        head += bytes((masked | 127,)) + size.to_bytes(8)
    return head + MASK + apply_mask(data, MASK) if mask else head + data


def text(data: str | bytes, fin: bool = True) -> bytes:
    return frame(TEXT, data.encode() if isinstance(data, str) else data, fin)


def raw(first: int, data: bytes) -> bytes:
    """A short frame with any first byte, masked with zeros."""
    return bytes((first, 0x80 | len(data))) + bytes(4) + data


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)
