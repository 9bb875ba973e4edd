"""A strict DDP client for plain blocking tests: a socket, a reader thread, and the judge in ``tests.strict``.

The reader applies each message as it comes and remembers the first illegal one; every call made on the client
after that, ``close`` included, raises it. All waiting is on one condition, with a time limit in seconds.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import websocket

from tests import ejson
from tests.strict import IllegalMessage, Invocation, Message, RemoteError, Subscription, View

__all__ = ["Closed", "Entry", "IllegalMessage", "RemoteError", "StrictClient"]

TIME_LIMIT = 15.0


@dataclass(frozen=True)
class Entry:
    """One message of the log: when (``time.monotonic`` seconds), ``<`` received or ``>`` sent, and what."""

    at: float
    direction: str
    message: Any


@dataclass(frozen=True)
class Closed:
    """How the connection ended; 1006 when it was cut without a close frame."""

    code: int
    reason: str = ""


class StrictClient:
    """One client. ``StrictClient(url)`` opens the WebSocket and connects a DDP session.

    Args:
        url: ``ws://host:port/websocket``.
        connect: False leaves the session to ``connect()``, for tests of what comes before it.
        headers: of the WebSocket's handshake.
        time_limit: seconds that any wait may take.
    """

    def __init__(
        self,
        url: str,
        *,
        connect: bool = True,
        headers: dict[str, str] | None = None,
        time_limit: float = TIME_LIMIT,
    ) -> None:
        self.view = View()
        self.log: list[Entry] = []
        self.time_limit = time_limit
        self.closed: Closed | None = None
        self._failure: Exception | None = None
        self._changed = threading.Condition()
        self._ids = itertools.count(1)
        self._socket = websocket.create_connection(url, timeout=time_limit, header=headers)
        self._socket.settimeout(None)
        self._reader = threading.Thread(target=self._read, name="strict client", daemon=True)
        self._reader.start()
        if connect:
            self.connect()

    def __enter__(self) -> StrictClient:
        return self

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if kind is None:
            self.close()
        else:
            self._hang_up()

    # The session.

    def connect(
        self, version: str = "1", support: Sequence[str] = ("1", "pre2", "pre1"), **extra: Any
    ) -> None:
        """Send ``connect``, wait for ``connected`` or ``failed``; ``view.failed`` is the version offered."""
        self.send({"msg": "connect", "version": version, "support": list(support), **extra})
        self.wait(lambda view: view.session or view.failed)

    @property
    def session(self) -> str | None:
        return self.view.session

    def documents(self, collection: str) -> dict[str, Message]:
        """A copy of one collection, by id; values are decoded EJSON."""
        with self._changed:
            return copy.deepcopy(self.view.documents(collection))

    def collections(self) -> dict[str, dict[str, Message]]:
        """A copy of everything the client has; collections without documents are left out."""
        with self._changed:
            return {name: copy.deepcopy(rows) for name, rows in self.view.collections.items() if rows}

    def subscribe(self, name: str, *params: Any, id: str | None = None) -> Subscription:
        """Send ``sub``; does not wait."""
        sub_id = id or f"s{next(self._ids)}"
        self.send({"msg": "sub", "id": sub_id, "name": name, "params": ejson.encode(params)})
        return self.view.subscriptions[sub_id]

    def wait_ready(self, subscription: Subscription, time_limit: float | None = None) -> Subscription:
        """Wait until it is ready.

        Raises:
            RemoteError: the server answered ``nosub`` with an error.
        """
        self.wait(lambda view: subscription.ready or subscription.ended, time_limit)
        if subscription.error:
            raise subscription.error
        return subscription

    def subscribed(self, name: str, *params: Any) -> Subscription:
        """``subscribe`` and ``wait_ready``."""
        return self.wait_ready(self.subscribe(name, *params))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Send ``unsub`` and wait for its ``nosub``."""
        self.send({"msg": "unsub", "id": subscription.id})
        self.wait(lambda view: subscription.ended)

    def invoke(self, name: str, *params: Any, random_seed: str | None = None) -> Invocation:
        """Send ``method``; does not wait."""
        method_id = f"m{next(self._ids)}"
        message = {"msg": "method", "id": method_id, "method": name, "params": ejson.encode(params)}
        self.send(message if random_seed is None else {**message, "randomSeed": random_seed})
        return self.view.invocations[method_id]

    def wait_done(self, invocation: Invocation, time_limit: float | None = None) -> Any:
        """Wait for ``result`` and ``updated``; the result, None when there was none.

        Raises:
            RemoteError: the method answered an error.
        """
        self.wait(lambda view: invocation.done, time_limit)
        if invocation.error:
            raise invocation.error
        return invocation.result

    def call(self, name: str, *params: Any, random_seed: str | None = None) -> Any:
        """``invoke`` and ``wait_done``."""
        return self.wait_done(self.invoke(name, *params, random_seed=random_seed))

    def ping(self, id: str | None = None) -> None:
        """Send ``ping`` and wait for its ``pong``: what the server sent before it has arrived then."""
        already = self._pongs()
        self.send({"msg": "ping"} if id is None else {"msg": "ping", "id": id})
        self.wait(lambda view: self._pongs() > already)

    def _pongs(self) -> int:
        return sum(entry.direction == "<" and entry.message.get("msg") == "pong" for entry in self.log)

    # Messages.

    def send(self, message: Message) -> None:
        """Send one message as it is, noted by the judge before it goes."""
        with self._changed:
            self._check()
            self.view.sent(message)
            self.log.append(Entry(time.monotonic(), ">", message))
        self._send_text(json.dumps(message))

    def send_raw(self, text: str) -> None:
        """Send any text, malformed on purpose; from now on the server may answer ``error``."""
        with self._changed:
            self._check()
            self.view.tolerates_errors = True
            self.log.append(Entry(time.monotonic(), ">", text))
        self._send_text(text)

    def received(self, *kinds: str) -> list[Message]:
        """The server's messages so far, or those of some kinds (``"added"``); the greeting has none."""
        with self._changed:
            messages = [entry.message for entry in self.log if entry.direction == "<"]
        return [message for message in messages if not kinds or message.get("msg") in kinds]

    def wait(self, condition: Callable[[View], Any], time_limit: float | None = None) -> None:
        """Wait until ``condition(view)`` holds; it is asked again after every message.

        Raises:
            IllegalMessage: the server sent one.
            ConnectionError: the connection ended first.
            TimeoutError: it did not come to hold; the last messages are in the text.
        """
        limit = self.time_limit if time_limit is None else time_limit
        with self._changed:
            self._changed.wait_for(lambda: condition(self.view) or self._failure or self.closed, limit)
            self._check()
            if condition(self.view):
                return
            if self.closed:
                raise ConnectionError(f"the server closed the connection: {self.closed}")
            raise TimeoutError(f"not within {limit} s; the last messages were\n{self.tail()}")

    def wait_closed(self, time_limit: float | None = None) -> Closed:
        """Wait until the server has ended the connection."""
        limit = self.time_limit if time_limit is None else time_limit
        with self._changed:
            if not self._changed.wait_for(lambda: self.closed, limit):
                raise TimeoutError(f"still open after {limit} s; the last messages were\n{self.tail()}")
            self._check()
            assert self.closed is not None
            return self.closed

    def tail(self, count: int = 20) -> str:
        """The last messages of the log, for people."""
        return "\n".join(f"{entry.at:.3f} {entry.direction} {entry.message}" for entry in self.log[-count:])

    # The end.

    def close(self) -> None:
        """Close the WebSocket in order, and raise the first illegal message if there was one."""
        with contextlib.suppress(OSError, websocket.WebSocketException):
            self._socket.send_close()
        self._reader.join(self.time_limit)
        self._hang_up()
        self._check()

    def drop(self) -> None:
        """Cut the TCP connection without a WebSocket close, as a lost network does."""
        with contextlib.suppress(OSError, AttributeError):
            abortive = struct.pack("ii", 1, 0)
            self._socket.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abortive)
        self._hang_up()
        self._check()

    def _hang_up(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # AttributeError: the reader has closed it
            self._socket.sock.shutdown(socket.SHUT_RDWR)  # wakes the reader
        self._reader.join(self.time_limit)
        self._socket.shutdown()

    def _check(self) -> None:
        if self._failure:
            raise self._failure

    def _send_text(self, text: str) -> None:
        try:
            self._socket.send(text)
        except (OSError, websocket.WebSocketException) as error:
            raise ConnectionError("the connection has ended") from error

    # The reader thread.

    def _read(self) -> None:
        try:
            while self.closed is None:
                self._frame(*self._socket.recv_data())
            self._socket.sock.recv(1)  # the server hangs up first (RFC 6455 section 7.1.1)
            self._socket.shutdown()
        except (OSError, websocket.WebSocketConnectionClosedException, AttributeError):
            self._end(Closed(1006))  # AttributeError: the library forgets its socket while we read
        except Exception as error:  # noqa: BLE001 - the thread's outer edge; every later call raises it
            self._fail(error)

    def _frame(self, opcode: int, data: bytes) -> None:
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            self._end(Closed(*struct.unpack("!H", data[:2]), data[2:].decode()) if data else Closed(1005))
        elif opcode == websocket.ABNF.OPCODE_TEXT:
            self._message(data.decode())
        else:
            raise IllegalMessage("a binary frame", data)

    def _message(self, text: str) -> None:
        try:
            message = ejson.parse(text)
        except ValueError as error:
            raise IllegalMessage(f"not JSON ({error})", text) from error
        with self._changed:
            self.log.append(Entry(time.monotonic(), "<", message))
            self.view.apply(message)
            self._changed.notify_all()
        if message.get("msg") == "ping":
            self._pong(message)

    def _pong(self, ping: Message) -> None:
        answer = {"msg": "pong", "id": ping["id"]} if "id" in ping else {"msg": "pong"}
        self._socket.send(json.dumps(answer))

    def _end(self, closed: Closed) -> None:
        with self._changed:
            self.closed = self.closed or closed
            self._changed.notify_all()

    def _fail(self, error: Exception) -> None:
        with self._changed:
            self._failure = error
            self.closed = Closed(1006)
            self._changed.notify_all()
