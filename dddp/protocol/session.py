"""One DDP session without I/O: texts of the client in, events and messages to send out (ddp-wire 2 and 3).

What may come when is the table at the end of this file. The session answers by itself what needs no application:
negotiation, pings, whatever is malformed or out of place. Everything else is an event, in the order it came; that
only one is handled at a time, and what the documents are, is the runtime's business. There is no clock in here:
whoever owns one calls ``tick`` once per heartbeat interval.

::

    AWAITING_CONNECT --- connect ---------------------> CONNECTED, or CONNECTED_PRE1 where pre1 is agreed on
    AWAITING_CONNECT --- connect, no version agreed --> CLOSED, after "failed"
    AWAITING_CONNECT --- connect, to resume ----------> AWAITING_CONNECT; the owner opens it, or drops it for another
    CONNECTED        --- disconnect, ping unanswered -> CLOSED
    any              --- close() ---------------------> CLOSED
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from dddp.protocol import messages
from dddp.protocol.alea import random_id
from dddp.protocol.ejson import MAX_CONTAINERS, MAX_JSON_DEPTH
from dddp.protocol.messages import (
    BadMessage,
    ClientMessage,
    Connect,
    Disconnect,
    Method,
    Ping,
    Pong,
    Sub,
    Unsub,
)

__all__ = [
    "VERSIONS",
    "Close",
    "Connected",
    "Event",
    "Invoke",
    "Pinged",
    "Ponged",
    "Resume",
    "Session",
    "State",
    "Subscribe",
    "Unsubscribe",
]

VERSIONS = ("1", "pre2", "pre1")
"""The versions of DDP spoken here, the preferred one first."""


class State(enum.Enum):
    """Where a session stands."""

    AWAITING_CONNECT = enum.auto()
    CONNECTED = enum.auto()
    CONNECTED_PRE1 = enum.auto()  #: connected with DDP pre1, which has no pings
    CLOSED = enum.auto()


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is open: start the publications that everybody gets."""

    session: str  #: its id, new for each connection (ddp-wire 2.5)
    version: str


@dataclass(frozen=True, slots=True)
class Resume:
    """The client wants its earlier session back, if that can go on; else ``open`` this one (ddp-wire 13)."""

    session: str  #: the earlier one's id
    received_count: int  #: messages of it that the client has received
    version: str


@dataclass(frozen=True, slots=True)
class Pinged:
    """The client is asked whether it is there."""


@dataclass(frozen=True, slots=True)
class Ponged:
    """It has answered, and so it has received all that was sent before the ping."""


@dataclass(frozen=True, slots=True)
class Close:
    """Send what is there to send, then close the connection with this code and reason."""

    code: int = 1000
    reason: str = "Normal closure"


# What the runtime is asked to do is what the client said: these events are its messages.
Subscribe: TypeAlias = Sub
Unsubscribe: TypeAlias = Unsub
Invoke: TypeAlias = Method

Event: TypeAlias = Connected | Resume | Subscribe | Unsubscribe | Invoke | Pinged | Ponged | Close

_NO_EVENTS: Sequence[Event] = ()
_PINGED: Sequence[Event] = (Pinged(),)
_PONGED: Sequence[Event] = (Ponged(),)


class Session:
    """The DDP side of one connection.

    Feed it with ``receive`` and ``tick``; after each call send what ``data_to_send`` gives, then handle the events
    that were returned. Once closed it ignores everything.

    Args:
        greeting: whether to send ``{"server_id":"0"}`` first (ddp-wire 2.4).
        depth: how many containers a message may nest.
        containers: how many it may have.
        resumption: whether clients may ask for an earlier session.
    """

    __slots__ = ("_containers", "_depth", "_outgoing", "_resumption", "_silent", "id", "state", "version")

    def __init__(
        self,
        *,
        greeting: bool = True,
        depth: int = MAX_JSON_DEPTH,
        containers: int = MAX_CONTAINERS,
        resumption: bool = False,
    ) -> None:
        self._depth = depth
        self._containers = containers
        self._resumption = resumption
        self.state = State.AWAITING_CONNECT
        self.id: str | None = None  #: 17 characters, once connected
        self.version: str | None = None  #: of DDP, once connected
        self._outgoing: list[bytes] = [messages.greeting()] if greeting else []
        self._silent = 0  # ticks since the client's last message

    @property
    def is_connected(self) -> bool:
        """Whether it has begun and has not ended."""
        return self.state in (State.CONNECTED, State.CONNECTED_PRE1)

    def receive(self, text: str) -> Sequence[Event]:
        """Take one message of the client. Never raises, whatever the text."""
        if self.state is State.CLOSED:
            return _NO_EVENTS
        self._silent = 0
        envelope = messages.decode(text, self._depth, self._containers)
        if isinstance(envelope, BadMessage):
            return self._refuse(envelope)
        message = messages.interpret(envelope)
        handle = _TRANSITIONS[self.state][type(message)]
        return handle(self, message, envelope.raw)

    def data_to_send(self) -> list[bytes]:
        """The messages to send now, in order; each is handed out once."""
        outgoing, self._outgoing = self._outgoing, []
        return outgoing

    def tick(self) -> Sequence[Event]:
        """One heartbeat interval has passed: ping a silent client, give up on one that left a ping unanswered.

        So a client has one interval for its answer, as in Meteor (15 s each).
        """
        self._silent += 1
        handle = _TICKS.get((self.state, self._silent))
        return handle(self) if handle else _NO_EVENTS

    def close(self) -> Sequence[Event]:
        """End the session from this side."""
        self.state = State.CLOSED
        return (Close(),)

    def open(self, version: str) -> Sequence[Event]:
        """Begin as a new session: the answer to ``Resume`` where the earlier one cannot go on."""
        self.state = State.CONNECTED_PRE1 if version == "pre1" else State.CONNECTED
        self.id, self.version = random_id(), version
        self._greet()
        return (Connected(self.id, version),)

    def resume(self) -> None:
        """Go on, being connected, on another connection: the client is told the id that it knows."""
        self._greet()

    def _greet(self) -> None:
        assert self.id is not None
        self._outgoing.append(messages.connected(self.id))
        self._silent = 1  # connect is no sign of life: the first tick pings an idle client (ddp-wire 3)

    # What may happen. Each gets the message, and the JSON it came as.

    def _negotiate(self, connect: Connect, raw: Any) -> Sequence[Event]:
        """Agree on a version or fail (ddp-wire 2.3); the client's preference decides."""
        best = next((version for version in connect.support if version in VERSIONS), VERSIONS[0])
        if connect.version not in connect.support:
            return self._fail(VERSIONS[0])
        if connect.version != best:
            return self._fail(best)
        # Clients that do not count what they receive cannot say where to go on: they get a new id (ddp-wire 2.5).
        if self._resumption and connect.session is not None and connect.received_count is not None:
            return (Resume(connect.session, connect.received_count, best),)
        return self.open(best)

    def _fail(self, version: str) -> Sequence[Event]:
        self._outgoing.append(messages.failed(version))
        return self.close()

    def _pass_on(self, message: Sub | Unsub | Method, raw: Any) -> Sequence[Event]:
        return (message,)

    def _answer_ping(self, message: Ping, raw: Any) -> Sequence[Event]:
        self._outgoing.append(messages.pong(message.id))
        return _NO_EVENTS

    def _report_pong(self, message: Pong, raw: Any) -> Sequence[Event]:
        return _PONGED

    def _disconnect(self, message: Disconnect, raw: Any) -> Sequence[Event]:
        return self.close()

    def _refuse(self, bad: BadMessage, raw: Any = None) -> Sequence[Event]:
        self._outgoing.append(bad.reply())
        return _NO_EVENTS

    def _must_connect(self, message: ClientMessage | BadMessage, raw: Any) -> Sequence[Event]:
        return self._refuse(BadMessage("Must connect first", raw))

    def _already_connected(self, message: Connect, raw: Any) -> Sequence[Event]:
        return self._refuse(BadMessage("Already connected", raw))

    def _bad_request(self, message: ClientMessage, raw: Any) -> Sequence[Event]:
        return self._refuse(BadMessage("Bad request", raw))

    def _ping(self) -> Sequence[Event]:
        self._outgoing.append(messages.ping())
        return _PINGED


_Handler: TypeAlias = Callable[[Session, Any, Any], Sequence[Event]]

_ANY_MESSAGE = (Connect, Sub, Unsub, Method, Ping, Pong, Disconnect, BadMessage)

_WHEN_CONNECTED: dict[type, _Handler] = {
    Connect: Session._already_connected,
    Sub: Session._pass_on,
    Unsub: Session._pass_on,
    Method: Session._pass_on,
    Ping: Session._answer_ping,
    Pong: Session._report_pong,
    Disconnect: Session._disconnect,
    BadMessage: Session._refuse,
}

_TRANSITIONS: dict[State, dict[type, _Handler]] = {
    State.AWAITING_CONNECT: dict.fromkeys(_ANY_MESSAGE, Session._must_connect)
    | {Connect: Session._negotiate},
    State.CONNECTED: _WHEN_CONNECTED,
    State.CONNECTED_PRE1: _WHEN_CONNECTED | {Ping: Session._bad_request, Pong: Session._bad_request},
}

# After so many ticks without a message. A connection that never says connect gets 45 s, as in Meteor.
_TICKS: dict[tuple[State, int], Callable[[Session], Sequence[Event]]] = {
    (State.AWAITING_CONNECT, 3): Session.close,
    (State.CONNECTED, 2): Session._ping,
    (State.CONNECTED, 3): Session.close,
}
