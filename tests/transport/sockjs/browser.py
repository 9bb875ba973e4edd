"""A browser as SockJS sees one: requests, by default each on a connection of its own, and what comes back."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.transport.peers import Client
from tests.transport.sockjs.services import Services

FORM = "Content-Type: application/x-www-form-urlencoded"


@dataclass
class Answer:
    """Status, headers (names in lower case) and the whole body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Stream:
    """A response that is read while it is written."""

    def __init__(self, client: Client, status: int, headers: dict[str, str]) -> None:
        self.client = client
        self.status = status
        self.headers = headers

    def read(self) -> bytes:
        """The next chunk; b"" at the end."""
        size = int(self.client.file.readline(), 16)
        chunk = self.client.file.read(size)
        assert self.client.file.read(2) == b"\r\n"
        return chunk

    def hang_up(self) -> None:
        self.client.disconnect()


class Browser:
    """Asks one service."""

    def __init__(self, services: Services, base: str = "/echo") -> None:
        self.services = services
        self.base = base

    def session(self) -> str:
        """A path for a session nobody has used."""
        return f"/000/{uuid.uuid4()}"

    def get(self, path: str, *headers: str) -> Answer:
        return self.ask("GET", path, *headers)

    def options(self, path: str, *headers: str) -> Answer:
        return self.ask("OPTIONS", path, *headers)

    def post(self, path: str, body: bytes = b"", *headers: str) -> Answer:
        return self.ask("POST", path, *headers, body=body)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
        with Client(self.services.server) as client:
            return self.ask_on(client, method, path, *headers, body=body)

    def ask_on(self, client: Client, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
        """Ask on a connection, which can be used again."""
        status, found = self._start(client, method, path, *headers, body=body)
        if found.get("transfer-encoding") == "chunked":
            return Answer(status, found, b"".join(iter(Stream(client, status, found).read, b"")))
        return Answer(status, found, client.file.read(int(found.get("content-length", 0))))

    @contextmanager
    def stream(self, method: str, path: str, *headers: str) -> Iterator[Stream]:
        with Client(self.services.server) as client:
            status, found = self._start(client, method, path, *headers)
            yield Stream(client, status, found)

    @contextmanager
    def waiting(self, method: str, path: str, *headers: str, body: bytes = b"") -> Iterator[Client]:
        """A request that has been sent; nothing is read."""
        with Client(self.services.server) as client:
            self.send(client, method, path, *headers, body=body)
            yield client

    def send(self, client: Client, method: str, path: str, *headers: str, body: bytes = b"") -> None:
        length = f"Content-Length: {len(body)}"
        lines = [f"{method} {self.base}{path} HTTP/1.1", "Host: localhost", length, *headers, "", ""]
        client.socket.sendall("\r\n".join(lines).encode() + body)

    def _start(
        self, client: Client, method: str, path: str, *headers: str, body: bytes = b""
    ) -> tuple[int, dict[str, str]]:
        length = (f"Content-Length: {len(body)}",) if method == "POST" else ()
        line = f"{method} {self.base}{path} HTTP/1.1"
        status, found = client.request(line, *length, *headers, behind=body)
        return int(status.split()[1]), found
