"""What the transport's benchmarks share: an echo server, a process full of clients, the machine's name."""

from __future__ import annotations

import os
import platform
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import gevent
from websockets.frames import Frame, Opcode

from dddp.transport import Channel, Request, Server
from dddp.transport import serve as serve_transport

HANDSHAKE = (
    b"GET /websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/130.0.0.0 Safari/537.36\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\nCookie: sessionid=0123456789abcdef0123456789abcdef\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class Echo:
    """Sends each message back."""

    def connect(self, channel: Channel, request: Request) -> EchoReceiver:
        return EchoReceiver(channel)


class EchoReceiver:
    __slots__ = ("channel",)

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def receive(self, text: str) -> None:
        self.channel.send(text.encode())

    def drained(self) -> None: ...

    def closed(self, code: int, reason: str) -> None: ...


def no_http(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    start_response("404 Not Found", [("Content-Type", "text/plain")])
    return [b"Not found"]


def serve() -> Server:
    allow_many_files()
    return serve_transport([("127.0.0.1", 0)], Echo(), no_http)


def machine() -> str:
    """Name the processor, the system and the versions that numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line for line in lines if line.startswith("model name")), ": unknown")
    versions = ", ".join(f"{name} {version(name)}" for name in ("gevent", "gevent-websocket", "websockets"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} x {model.split(':')[1].strip()}; {platform.platform()}\n{python}, {versions}"


def allow_many_files() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def wait_for(condition: Callable[[], bool]) -> None:
    with gevent.Timeout(60):
        while not condition():
            gevent.sleep(0.005)


@contextmanager
def connected(address: tuple[str, int], clients: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that opens that many WebSockets, prints the seconds it took, and reads until the end."""
    command = [sys.executable, "-m", "benchmarks.peers", *map(str, address), str(clients)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def read_for_ever(sockets: list[socket.socket]) -> None:
    selector = selectors.DefaultSelector()
    for opened in sockets:
        opened.setblocking(False)
        selector.register(opened, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if not key.fileobj.recv(65536):  # type: ignore[union-attr]
                selector.unregister(key.fileobj)


def open_client(address: tuple[str, int]) -> socket.socket:
    """Connect, and send a first message in the same packet as the handshake, as DDP clients do."""
    opened = socket.create_connection(address)
    opened.sendall(HANDSHAKE + Frame(Opcode.TEXT, b'{"msg":"ping"}').serialize(mask=True))
    return opened


def read_answer(opened: socket.socket) -> None:
    answer = b""
    while not answer.endswith(b'{"msg":"ping"}'):
        received = opened.recv(1024)
        assert received, answer
        answer += received


def connect_all(address: tuple[str, int], clients: int, window: int = 64) -> list[socket.socket]:
    """Open clients with a window of handshakes under way, so that the server is the one that limits."""
    sockets: list[socket.socket] = []
    for number in range(clients + window):
        if number < clients:
            sockets.append(open_client(address))
        if number >= window:
            read_answer(sockets[number - window])
    return sockets


def main(host: str, port: str, clients: str) -> None:
    allow_many_files()
    began = time.perf_counter()
    sockets = connect_all((host, int(port)), int(clients))
    print(time.perf_counter() - began, flush=True)
    read_for_ever(sockets)


if __name__ == "__main__":
    main(*sys.argv[1:])
