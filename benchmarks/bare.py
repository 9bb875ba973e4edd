"""The limit: a process that sends ready bytes to every socket, one C-level call each, and does nothing else.

It prints its port and accepts whoever comes, until it is told on its standard input what to do: ``send <bytes>``
sends one frame of that size to each client, in one call; ``write <bytes>`` sends each as many bytes as the client
takes, as fast as it takes them. Each command is answered, when it is done, with the seconds of CPU time that it took.
"""

from __future__ import annotations

import gc
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.clients import Address, Clients
from benchmarks.peers import allow_many_files

__all__ = ["Bare", "running"]


class Bare:
    """The process, from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid
        self.address: Address = ("127.0.0.1", int(self.answer()))

    def clients(self, count: int) -> Clients:
        """As many connected clients; they are greeted with a frame."""
        clients = Clients(self.address, lambda number: b"", lambda message: True)
        clients.open(count)
        return clients

    def tell(self, command: str) -> None:
        """Give a command; ``float(answer())`` waits for its end."""
        assert self.process.stdin is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        """The next line it prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline()


@contextmanager
def running() -> Iterator[Bare]:
    command = [sys.executable, "-m", "benchmarks.bare"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Bare(process)
    finally:
        process.terminate()
        process.wait()


def frame(size: int) -> bytes:
    """A text frame of so many bytes, header included (from 130 on)."""
    return b"\x81\x7e" + (size - 4).to_bytes(2) + b"x" * (size - 4)


def send(sockets: list[socket.socket], size: int) -> None:
    data = frame(size)
    for sends in [opened.send for opened in sockets]:
        sends(data)


def write(sockets: list[socket.socket], size: int) -> None:
    data = memoryview(frame(1000) * (size // 1000))
    waiting = {opened.fileno(): (opened, data) for opened in sockets}
    poll = select.epoll()
    for opened in sockets:
        poll.register(opened, select.EPOLLOUT)
    while waiting:
        for descriptor, _ in poll.poll():
            opened, rest = waiting[descriptor]
            rest = rest[opened.send(rest) :]
            waiting[descriptor] = opened, rest
            if not rest:
                poll.unregister(opened)
                del waiting[descriptor]


def main() -> None:
    allow_many_files()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    sockets: list[socket.socket] = []
    while True:
        ready, _, _ = select.select([listener, sys.stdin], [], [])
        if listener in ready:
            sockets.append(accept(listener))
            continue
        line = sys.stdin.readline()
        if not line:
            return
        command, size = line.split()
        gc.freeze()
        began = time.process_time()
        {"send": send, "write": write}[command](sockets, int(size))
        print(time.process_time() - began, flush=True)


def accept(listener: socket.socket) -> socket.socket:
    opened, _ = listener.accept()
    opened.setblocking(False)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.send(frame(130))
    return opened


if __name__ == "__main__":
    main()
