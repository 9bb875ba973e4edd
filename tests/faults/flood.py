"""A program that floods a server from an address of its own: ``python -m tests.faults.flood <kind> <port>``.

Kinds: ``connections`` opens sessions without end, ``subs`` subscribes to query after query, ``methods`` calls without
waiting for answers. It reads what it is sent and goes on until it is killed. Prints a line when it is under way.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import selectors
import socket
import sys
from collections.abc import Callable, Iterator

from websockets.frames import Frame, Opcode

from benchmarks.peers import HANDSHAKE

ADDRESS = "127.0.0.2"
CONNECTIONS = 20  # of those that flood with messages
BATCH = 20  # messages in one write
CONNECT = {"msg": "connect", "version": "1", "support": ["1"]}


def sub(number: int) -> dict:
    return {"msg": "sub", "id": f"s{number}", "name": "Statement", "params": [number % 1000, number % 7]}


def unsub(number: int) -> dict:
    return {"msg": "unsub", "id": f"s{number}"}


def method(number: int) -> dict:
    return {"msg": "method", "id": f"m{number}", "method": "count_transfers", "params": []}


KINDS: dict[str, Callable[[int], list[dict]]] = {
    "connections": lambda number: [],
    "subs": lambda number: [sub(number), *([unsub(number - 200)] if number > 200 else [])],
    "methods": lambda number: [method(number)],
}


def encoded(messages: list[dict]) -> bytes:
    frames = (Frame(Opcode.TEXT, json.dumps(message).encode()) for message in messages)
    return b"".join(frame.serialize(mask=True) for frame in frames)


def connection(port: int) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), source_address=(ADDRESS, 0))
    opened.sendall(HANDSHAKE + encoded([CONNECT]))
    opened.setblocking(False)
    return opened


def writes(kind: str) -> Iterator[bytes]:
    for start in itertools.count(1, BATCH):
        yield encoded([message for number in range(start, start + BATCH) for message in KINDS[kind](number)])


class Flood:
    """All connections, and what each has still to send."""

    def __init__(self, kind: str, port: int) -> None:
        self._kind = kind
        self._port = port
        self._selector = selectors.DefaultSelector()

    def run(self) -> None:
        for _ in range(CONNECTIONS):
            self._open()
        print("under way", flush=True)  # noqa: T201 - the program's output
        while True:
            if self._kind == "connections" or len(self._selector.get_map()) < CONNECTIONS:
                with contextlib.suppress(OSError):
                    self._open()
            for key, events in self._selector.select(0.01):
                with contextlib.suppress(BlockingIOError):
                    self._serve(key, events)

    def _open(self) -> None:
        wants = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._kind != "connections" else 0)
        state = {"writes": writes(self._kind), "rest": b""}
        self._selector.register(connection(self._port), wants, state)

    def _serve(self, key: selectors.SelectorKey, events: int) -> None:
        opened, state = key.fileobj, key.data
        try:
            if events & selectors.EVENT_READ and not opened.recv(65_536):
                raise ConnectionError
            if events & selectors.EVENT_WRITE:
                state["rest"] = state["rest"] or next(state["writes"])
                state["rest"] = state["rest"][opened.send(state["rest"]) :]
        except ConnectionError:
            self._selector.unregister(opened)
            opened.close()


if __name__ == "__main__":
    Flood(sys.argv[1], int(sys.argv[2])).run()
