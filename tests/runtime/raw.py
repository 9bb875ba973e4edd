"""A client that judges nothing: texts out, texts in, byte for byte."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import Any

import websocket

GREETING = '{"server_id":"0"}'
CONNECT = '{"msg":"connect","version":"1","support":["1","pre2","pre1"]}'
TIME_LIMIT = 15.0


class RawClient:
    """One WebSocket. A wait that takes longer than ``TIME_LIMIT`` seconds raises."""

    def __init__(self, url: str) -> None:
        self._socket = websocket.create_connection(url, timeout=TIME_LIMIT)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *rest: object) -> None:
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.send_close()  # a session that was cut off would stay for a while
        self._socket.shutdown()

    def close(self) -> None:
        """End without a word."""
        self._socket.shutdown()

    def connect(self) -> None:
        """Open the session; pass over the greeting and what everybody gets."""
        assert self.receive() == GREETING
        self.send(CONNECT)
        assert json.loads(self.receive())["msg"] == "connected"
        assert {json.loads(text)["msg"] for text in self.receive_some(2)} == {"added", "nosub"}

    def send(self, *texts: str) -> None:
        """Send texts as they are, all in one write."""
        frames = [websocket.ABNF.create_frame(text, websocket.ABNF.OPCODE_TEXT).format() for text in texts]
        self._socket.sock.sendall(b"".join(frames))

    def send_messages(self, *messages: Any) -> None:
        self.send(*map(json.dumps, messages))

    def receive(self) -> str:
        """The next text; a close frame fails."""
        opcode, data = self._socket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_TEXT, (opcode, data)
        return str(data.decode())

    def receive_some(self, count: int) -> list[str]:
        return [self.receive() for _ in range(count)]

    def ask(self, *texts: str) -> str:
        """Send, and give the next text."""
        self.send(*texts)
        return self.receive()

    def drain(self) -> list[str]:
        """Everything the server sent before it answered a ping of ours."""
        self.send('{"msg":"ping","id":"drain"}')
        texts = []
        while (text := self.receive()) != '{"msg":"pong","id":"drain"}':
            texts.append(text)
        return texts

    def receive_close(self) -> tuple[int, str]:
        """The code and reason of the close frame, which must come next."""
        opcode, data = self._socket.recv_data()
        assert opcode == websocket.ABNF.OPCODE_CLOSE, (opcode, data)
        return struct.unpack("!H", data[:2])[0], data[2:].decode()
