"""Whether an answer has reached its client, as far as its connection can tell. Knows sockets, and nothing of SockJS.

When a connection is cut, what the system has taken may be lost with it, and a browser then repeats the request on
another connection, as if it had never been answered. A further request on the same connection says that the answer has
come; otherwise TCP's acknowledgements do, if no reset came behind them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import socket as _names
import sys
import termios
from time import monotonic
from typing import Any, Final

import gevent
from gevent import monkey

__all__ = ["Connection", "Receipt"]

logger = logging.getLogger(__name__)

# The C-level socket: gevent's own would wait, and cannot be used once the connection's handler has closed it.
Socket: type[_names.socket] = monkey.get_original("socket", "socket")

PATIENCE: Final = 1.0
"""Seconds that an acknowledgement may take longer than the request behind the answer: systems delay them by up to 0.2,
and one that is lost costs a retransmission."""

STEP: Final = 0.01
"""Seconds from one look at the acknowledgements to the next."""


class Connection:
    """What a connection's handler tells those who answer its requests.

    Args:
        socket: gevent's, which is the handler's.
    """

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self._receipts: set[Receipt] = set()

    def receipt(self) -> Receipt:
        """Return what tells whether the answer just written has reached the client; to be closed."""
        receipt = Receipt(self)
        self._receipts.add(receipt)
        return receipt

    def forget(self, receipt: Receipt) -> None:
        """A receipt is not asked any more."""
        self._receipts.discard(receipt)

    def asked(self) -> None:
        """The client asks again: it has what it was answered before."""
        for receipt in list(self._receipts):
            receipt.arrived()

    def reset(self) -> None:
        """The connection did not end in order: what it carried last may be lost."""
        for receipt in list(self._receipts):
            receipt.fail()

    def end(self) -> None:
        """The handler has closed the connection."""
        for receipt in list(self._receipts):
            receipt.end()


class Receipt:
    """Tells whether what a connection carried last has reached its other end.

    It holds the connection open, with a descriptor of its own, until that is known or it is closed.
    """

    __slots__ = ("_connection", "_lost", "_socket")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lost = False
        self._socket: _names.socket | None = None
        try:
            self._socket = Socket(fileno=os.dup(connection.socket.fileno()))
        except OSError as error:  # without a descriptor nothing is known
            logger.warning("! whether a client has its answer cannot be told: %s", error)
            self._lost = True

    def received(self) -> bool:
        """Tell whether the other end has received it. May have to wait a moment, and closes the receipt."""
        deadline = monotonic() + PATIENCE
        try:
            while self._socket is not None and not self._lost:
                if _unacknowledged(self._socket) == 0:
                    return not _failed(self._socket)
                self._lost = monotonic() > deadline or _failed(self._socket)
                gevent.sleep(STEP)
        finally:
            self.close()
        return not self._lost

    def arrived(self) -> None:
        """Hear that the client has it."""
        self._lost = False
        self.close()

    def fail(self) -> None:
        """Hear that the connection was reset."""
        self._lost = True
        self.close()

    def end(self) -> None:
        """Hear that the handler has closed the connection; it ends for the client when all have."""
        if self._socket is None:
            return
        settled = _unacknowledged(self._socket) == 0 and _closed_by_peer(self._socket)
        try:
            self._socket.shutdown(_names.SHUT_WR)
        except OSError:  # it was reset; the handler has taken the error
            self.fail()
        else:
            if settled:
                self.arrived()

    def close(self) -> None:
        """Let the connection go."""
        self._connection.forget(self)
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _unacknowledged(socket: _names.socket) -> int:
    """Return how many bytes the other end's system has not acknowledged; of a Unix socket, those not read."""
    return int.from_bytes(fcntl.ioctl(socket, termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def _failed(socket: _names.socket) -> bool:
    return socket.getsockopt(_names.SOL_SOCKET, _names.SO_ERROR) != 0


def _closed_by_peer(socket: _names.socket) -> bool:
    try:
        return not socket.recv(1, _names.MSG_PEEK | _names.MSG_DONTWAIT)
    except OSError:  # nothing has come; or it was reset, which is heard of
        return False
