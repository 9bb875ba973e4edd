"""Connections that belong to another process: a socket, and what was read from it, go there as they are.

The processes of one address share nothing, but a SockJS session that polls lives in one of them. Its id tells which,
and whoever accepts a connection with a request for it hands the connection over, by SCM_RIGHTS: the request is answered
as if it had been accepted there, and so are those behind it. Knows no SockJS beyond that id.
"""

from __future__ import annotations

import io
import json
import os
import socket as _names
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from zlib import crc32

from gevent import socket

__all__ = ["Handed", "Siblings", "give", "taken", "unread"]

SIZE = 4
"""Bytes that tell the length of what follows; the socket's descriptor comes with the first of them."""

PATIENCE = 5.0
"""Seconds that one process waits for a step of the other; it takes next to none."""

MAX_HEAD = 1024 * 1024
"""Bytes of a request's line, headers and what was read behind them; pywsgi limits them to far less."""


@dataclass(frozen=True, slots=True)
class Siblings:
    """The processes of one address.

    Args:
        own: this one's number.
        paths: where each takes connections over: Unix sockets.
    """

    own: int
    paths: Sequence[str]

    def path_of(self, session: str) -> str | None:
        """Where to take a request for a session; None when it is here."""
        number = crc32(session.encode("utf-8", "surrogatepass")) % len(self.paths)
        return None if number == self.own else self.paths[number]


@dataclass(frozen=True, slots=True)
class Handed:
    """A connection on its way.

    Args:
        read: what was read from it and is to be answered.
        address: of its other end.
    """

    socket: Any
    read: bytes
    address: tuple[str, int]


def give(path: str, descriptor: int, family: int, read: bytes, address: tuple[str, int]) -> None:
    """Hand a connection over; the own descriptor may be closed then.

    Raises:
        OSError: nobody takes it, or no more.
    """
    body = json.dumps([family, read.decode("latin-1"), list(address)[:2]]).encode()
    with closing(socket.socket(_names.AF_UNIX)) as way:
        way.settimeout(0)  # where the other one's queue is full, a Unix socket cannot be waited for
        way.connect(path)
        way.settimeout(PATIENCE)
        _names.send_fds(way, [len(body).to_bytes(SIZE)], [descriptor])
        way.sendall(body)


def taken(way: Any) -> Handed | None:
    """Take a connection over; None when the other process ended before it was whole.

    Raises:
        OSError: it does not come.
        ValueError: what came says nothing.
    """
    way.settimeout(PATIENCE)
    first, descriptors, _, _ = _names.recv_fds(way, SIZE, 1)
    try:
        rest = _received(way, int.from_bytes(first)) if len(first) == SIZE else None
        if not descriptors or rest is None:
            return None
        family, read, (host, port) = json.loads(rest)
        connection = socket.socket(family, _names.SOCK_STREAM, fileno=os.dup(descriptors[0]))
        return Handed(connection, read.encode("latin-1"), (host, port))
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _received(way: Any, size: int) -> bytes | None:
    data = b""
    while size <= MAX_HEAD and len(data) < size:
        part = way.recv(size - len(data))
        if not part:
            return None
        data += part
    return data if len(data) == size else None


class _Unread(io.RawIOBase):
    """A connection from which something has been read already."""

    def __init__(self, read: bytes, connection: Any) -> None:
        self._read = memoryview(read)
        self._connection = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._read:
            try:
                return int(self._connection.recv_into(buffer))
            except BlockingIOError:  # of a socket that is not to wait
                return None
        count = min(len(buffer), len(self._read))
        buffer[:count] = self._read[:count]
        self._read = self._read[count:]
        return count


def unread(handed: Handed) -> io.BufferedReader:
    """A file of the connection that begins with what was read from it."""
    return io.BufferedReader(_Unread(handed.read, handed.socket))
