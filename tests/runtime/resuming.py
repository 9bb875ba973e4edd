"""A strict client that comes back as Meteor's does since 3.5, and whose judge watches on across the cuts (ddp-wire 13).

It counts what it receives, asks for its session, and sends again what has no answer: its methods, its subscriptions.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from typing import Any

import websocket

from tests import ejson
from tests.client import Closed, Entry, StrictClient
from tests.strict import Message, View

UNCOUNTED = ("ping", "pong")


class ResumingClient(StrictClient):
    """Attributes: ``received_count`` as Meteor's client has it, ``resumed`` how often the session went on."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.received_count = 0
        self.resumed = 0
        self.renewed = 0  #: how often it had to begin anew
        self._asked: list[Message] = []  # what was sent again behind the last connect
        self._sent: dict[str, Message] = {}  # by id: every sub and method
        self._connected = threading.Event()
        super().__init__(url)

    def come_back(self, *, hang_up: bool = True, **members: Any) -> bool:
        """Connect again, with ``members`` instead of what the session and the count are; whether it goes on.

        Args:
            hang_up: end the old connection first; else it stays open, as one does that a network has forgotten.
        """
        resumed = self.resumed
        old = self._socket
        if hang_up:
            self._hang_up()
        with self._changed:
            self._connected.clear()
            self.closed = None
            self._asked = self._unanswered()
            self.view._pings.clear()
            connect = {"msg": "connect", "version": "1", "support": ["1", "pre2", "pre1"]}
            connect |= {"session": self.session, "receivedCount": self.received_count, **members}
            self._socket = websocket.create_connection(self.url, timeout=self.time_limit)
            self._socket.settimeout(None)
            self._reader = threading.Thread(target=self._read, args=(self._socket,), daemon=True)
            self._reader.start()
        for message in ({key: value for key, value in connect.items() if value is not None}, *self._asked):
            self._send_text(json.dumps(message))
        assert self._connected.wait(self.time_limit), f"not connected again:\n{self.tail()}"
        self._check()
        if not hang_up:
            old.shutdown()
        return self.resumed > resumed

    def _unanswered(self) -> list[Message]:
        methods = [id for id, call in self.view.invocations.items() if not call.answered]
        subs = [id for id, sub in self.view.subscriptions.items() if not (sub.ended or sub.closing)]
        return [self._sent[id] for id in (*methods, *subs)]

    def send(self, message: Message) -> None:
        if message["msg"] in ("sub", "method"):
            self._sent[message["id"]] = message
        super().send(message)

    def _send_text(self, text: str) -> None:
        with contextlib.suppress(
            ConnectionError
        ):  # lost; it is sent again after the cut that has just been made
            super()._send_text(text)

    def _read(self, socket: Any = None) -> None:
        """As the inherited one, but what an old socket still brings counts for nothing."""
        socket = socket or self._socket
        try:
            while True:
                self._frame(*socket.recv_data())
                if self.closed is not None or socket is not self._socket:
                    return
        except (OSError, websocket.WebSocketException, AttributeError):
            return  # cut
        except Exception as error:  # noqa: BLE001 - the thread's outer edge; every later call raises it
            self._fail(error)

    def _end(self, closed: Closed) -> None:
        if threading.current_thread() is self._reader:
            super()._end(closed)

    def _message(self, text: str) -> None:
        message = ejson.parse(text)
        kind = message.get("msg")
        with self._changed:
            if threading.current_thread() is not self._reader:
                return  # of a connection that has been given up
            if kind is None and self.session is not None:
                return  # the greeting of another connection
            if kind is not None and kind not in UNCOUNTED:
                self.received_count += 1
            if kind == "connected":
                self._note_connected(message)
                return
        super()._message(text)

    def _note_connected(self, message: Message) -> None:
        self.log.append(Entry(time.monotonic(), "<", message))
        if message["session"] == self.session:
            self.resumed += 1
        else:
            self.renewed += self.session is not None
            self.received_count = 1
            self.view = View()
            self.view._greeted = True
            for sent in ({"msg": "connect", "version": "1"}, *self._asked):
                self.view.sent(sent)
            self.view.apply(message)
        self._connected.set()
        self._changed.notify_all()
