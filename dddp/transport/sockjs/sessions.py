"""The sessions of one process, by id, and what is due for them. Knows no HTTP.

A request belongs to whoever holds its session: `Sessions.find` and `Sessions.open` are the only places that decide it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from dddp.transport.sockjs.countdown import Countdown
from dddp.transport.sockjs.session import Session

if TYPE_CHECKING:
    from dddp.transport.contract import Application, Request
    from dddp.transport.websocket import Limits

__all__ = ["Beating", "Sessions"]


FAREWELL: Final = 1.0
"""Seconds that a client between two requests has to ask once more when the server stops; to poll takes far less."""


class Beating(Protocol):
    """What is sent heartbeats while it is in `Sessions.heartbeats`."""

    def beat(self) -> None:
        """A heartbeat is due."""


class Sessions:
    """The sessions that poll or stream, those that have ended and whose clients do not know it included.

    Args:
        application: gets every new session as a channel.
        limits: what one client may cost.
        heartbeat: seconds from one heartbeat to the next.
        delay: seconds that a session without a response lives.
        opened: called with each new session and the request that opened it.
        gone: called with each that is forgotten.

    Attributes:
        heartbeats: responses, and whatever else wants heartbeats, by one timer.
        absent: sessions without a response.
        closing: sessions that have been closed, and whose clients are to take what is left soon.
        closed: no new session is to be opened any more.
    """

    def __init__(
        self,
        application: Application,
        limits: Limits,
        heartbeat: float,
        delay: float,
        opened: Callable[[Session, Request], None],
        gone: Callable[[Session], None],
    ) -> None:
        self.application = application
        self.limits = limits
        self.heartbeats: Countdown[Beating] = Countdown(heartbeat, self._beat)
        self.absent: Countdown[Session] = Countdown(delay, Session.abort)
        self.closing: Countdown[Session] = Countdown(limits.closing, Session.cut)
        self.closed = False
        self._delay = delay
        self._opened = opened
        self._gone = gone
        self._sessions: dict[str, Session] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def find(self, id: str) -> Session | None:
        """Return the session with an id, None if there is none."""
        return self._sessions.get(id)

    def open(self, id: str, request: Request) -> Session:
        """Return a new session; there must be none with that id."""
        session = self._sessions[id] = Session(self, id, request)
        self.absent.start(session)
        self._opened(session, request)
        return session

    def forget(self, session: Session) -> None:
        """Let a session go."""
        self.absent.stop(session)
        self.closing.stop(session)
        session.release()
        if self._sessions.pop(session.id, None) is not None:
            self._gone(session)

    def stop(self, code: int, reason: str) -> None:
        """Open no further session, and close all; each is there until its client has been told, or is gone."""
        self.closed = True
        absent, self.absent = self.absent, Countdown(min(FAREWELL, self._delay), Session.abort)
        for session in list(self._sessions.values()):
            away = session in absent
            absent.stop(session)
            if session.ended:
                self.forget(session)
                continue
            session.close(code, reason)
            if away:
                self.absent.start(session)

    def _beat(self, beating: Beating) -> None:
        self.heartbeats.start(beating)
        beating.beat()
