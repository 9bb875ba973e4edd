"""What one channel's application hears: every call of it is made here, in the event loop, a few per turn.

A payload of SockJS may bring thousands of messages at once; they wait here, so that other clients have their turn.
Knows no frames and no HTTP.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from gevent import get_hub

if TYPE_CHECKING:
    from dddp.transport.contract import Application, Channel, Receiver, Request

__all__ = ["Delivery"]

logger = logging.getLogger(__name__)

PER_TURN: Final = 64
"""Messages of one client that are received before the others' turn."""

INTERNAL_ERROR: Final = 1011


class Delivery:
    """Calls the application, and the receiver that it makes, for one channel.

    Args:
        channel: closed with 1011 when a call fails.
        emptied: called, in the event loop, when messages waited and none does any more.
    """

    __slots__ = (
        "_channel",
        "_emptied",
        "_ended",
        "_loop",
        "_messages",
        "_outcome",
        "_paused",
        "_receiver",
        "_scheduled",
    )

    def __init__(self, channel: Channel, emptied: Callable[[], None]) -> None:
        self._channel = channel
        self._emptied = emptied
        self._loop: Any = get_hub().loop
        self._receiver: Receiver | None = None
        self._messages: deque[str] = deque()
        self._scheduled = False
        self._paused = False
        self._outcome: tuple[int, str] | None = None  # what is told behind the messages that wait
        self._ended = False

    @property
    def waits(self) -> bool:
        """Whether messages wait to be received."""
        return bool(self._messages)

    def connect(self, application: Application, request: Request) -> None:
        """Tell the application of the channel, at the next turn."""
        self._loop.run_callback(self._call, self._connect, application, request)

    def _connect(self, application: Application, request: Request) -> None:
        if not self._ended:
            self._receiver = application.connect(self._channel, request)

    def receive(self, messages: Iterable[str]) -> None:
        """Have messages received, behind those that wait."""
        if not self._ended:
            self._messages.extend(messages)
            self._schedule()

    def pause(self) -> None:
        """Let messages wait, until `resume`."""
        self._paused = self._outcome is None

    def resume(self) -> None:
        """Have them received again."""
        self._paused = False
        self._schedule()

    def _schedule(self) -> None:
        if self._messages and not self._paused and not self._scheduled:
            self._scheduled = True
            self._loop.run_callback(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        for _ in range(PER_TURN):
            if self._paused or self._receiver is None or not self._messages:
                break
            self._call(self._receiver.receive, self._messages.popleft())
        if self._messages:
            self._schedule()
        elif self._outcome is not None:
            self.end(*self._outcome)
        else:
            self._emptied()

    def drained(self) -> None:
        """Tell that nothing is buffered any more, at the next turn."""
        self._loop.run_callback(self._call, self._drained)

    def _drained(self) -> None:
        if self._receiver is not None and not self._ended:
            self._receiver.drained()

    def finish(self, code: int, reason: str) -> None:
        """Tell of the end behind the messages that wait, which are received even if paused."""
        if self._messages:
            self._outcome = (code, reason)
            self.resume()
        else:
            self.end(code, reason)

    def end(self, code: int, reason: str) -> None:
        """Drop the messages that wait; tell of the end at the next turn, once."""
        if not self._ended:
            self._ended = True
            self._messages.clear()
            self._loop.run_callback(self._call, self._closed, code, reason)

    def _closed(self, code: int, reason: str) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.closed(code, reason)

    def _call(self, method: Callable[..., None], *args: object) -> None:
        """Call the application; its errors end this channel, never the loop or another channel."""
        try:
            method(*args)
        except Exception:
            logger.exception("! %s: the application failed, closed", self._channel.remote_address)
            self._channel.close(INTERNAL_ERROR, "internal error")
