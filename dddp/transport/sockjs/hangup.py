"""Noticing that a client has gone while nothing is written to it. Knows the socket, and nothing of what it carries."""

from __future__ import annotations

import socket as _names
from collections.abc import Callable
from typing import Any

from gevent import get_hub, monkey

__all__ = ["HangUp"]

# The C-level socket: gevent's own would wait, which the event loop must not.
Socket: type[_names.socket] = monkey.get_original("socket", "socket")

READ = 1  # libev's number, as gevent's loop.io takes it


class HangUp:
    """Watches a connection while its response is under way: calls a function, once, when the client hangs up.

    A client that sends its next request instead of waiting for the answer is not watched any further.

    Args:
        fileno: the connection's descriptor, which stays its owner's.
        gone: called in the event loop.
    """

    def __init__(self, fileno: int, family: int, gone: Callable[[], None]) -> None:
        self._gone = gone
        self._socket = Socket(family, _names.SOCK_STREAM, 0, fileno=fileno)
        self._watcher: Any = get_hub().loop.io(fileno, READ)
        self._watcher.start(self._readable)

    def close(self) -> None:
        """Watch no longer."""
        self._watcher.stop()
        self._watcher.close()
        self._socket.detach()

    def _readable(self) -> None:
        try:
            gone = not self._socket.recv(1, _names.MSG_PEEK | _names.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:  # reset by the peer
            gone = True
        self._watcher.stop()
        if gone:
            self._gone()
