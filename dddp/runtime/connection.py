"""One client's connection: its session, its queue of messages, its view, its subscriptions.

It outlives its channel where the client may come back (``runtime.resumption``); a ``Peer`` is what the transport knows.

Who may change what: everything here happens in the event loop without giving way, whichever greenlet calls. What may
wait (handlers, methods) runs in the handler pool and comes back through ``end``, ``change_user`` and ``send``.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import gevent

from dddp.api.method import Method
from dddp.api.registry import Registry
from dddp.errors import MeteorError
from dddp.livequery.query import LiveQuery
from dddp.mergebox import MergeBox
from dddp.protocol import messages
from dddp.protocol.session import (
    Close,
    Connected,
    Event,
    Invoke,
    Pinged,
    Ponged,
    Resume,
    Session,
    State,
    Subscribe,
    Unsubscribe,
)
from dddp.runtime.invocation import Invocation
from dddp.runtime.lane import Lane
from dddp.runtime.live import LiveDatabase
from dddp.runtime.outbox import Outbox, first_batches
from dddp.runtime.replay import Matter, ReplayLog
from dddp.runtime.resumption import Return
from dddp.runtime.subscription import Run, Subscription
from dddp.transport.contract import Batch, Channel, Request

if TYPE_CHECKING:
    from dddp.runtime.application import Application

__all__ = ["Connection", "Peer", "client_address"]

logger = logging.getLogger(__name__)

TOO_MANY_MESSAGES = 4008
"""Close code for a client that sends more than it lets us answer (private range of RFC 6455, 7.4.2)."""


LOST = 1006
"""The code of a channel that was cut: neither side has closed it (RFC 6455, 7.1.5)."""


class Peer:
    """The other end of a channel, as the transport's receiver: hands on to the session that it has at the time."""

    __slots__ = ("connection",)

    def __init__(self) -> None:
        self.connection: Connection | None = None

    def receive(self, text: str) -> None:
        """Take one message of the client."""
        if self.connection is not None:
            self.connection.receive(text)

    def drained(self) -> None:
        """The socket has taken all that waited in the channel."""
        if self.connection is not None:
            self.connection.drained()

    def closed(self, code: int, reason: str) -> None:
        """The channel has ended, whoever ended it."""
        if self.connection is not None:
            self.connection.closed(code, reason)


class Connection:
    """One session and its client; what publications and methods know as the connection."""

    __slots__ = (
        "_advancing",
        "_application",
        "_blocked",
        "_callbacks",
        "_calls",
        "_outbox",
        "_peer",
        "_queue",
        "_queued",
        "_request",
        "_return",
        "_session",
        "_subscriptions",
        "active",
        "handlers",
        "runs",
        "user_id",
    )

    def __init__(self, application: Application, channel: Channel, request: Request, peer: Peer) -> None:
        self._application = application
        self._peer: Peer | None = peer  # None while the client is away
        self._request = request
        settings = application.settings
        self._session = Session(
            greeting=settings.send_greeting,
            depth=settings.nesting_limit,
            containers=settings.containers_limit,
            resumption=settings.resumption_time_limit > 0,
        )
        self._outbox = Outbox(channel, settings.outbox_limit, settings.lag_threshold)
        self._return: Return | None = None
        self._calls: set[str] | None = None  # ids of methods that have no result yet; made with the first
        #: With their sizes; made when something has to wait.
        self._queue: deque[tuple[Event, int]] | None = None
        self._queued = 0  # characters of the messages in there
        self._blocked = False  # a message is being handled
        self._advancing = False
        self._subscriptions: dict[str, Subscription] = {}
        self._callbacks: list[Callable[[], object]] | None = None
        self.active = True
        #: Where code that may wait runs.
        self.handlers = Lane(application.handlers, application.handlers_per_client, self.client_address)
        self.user_id: str | None = None
        self.runs: dict[Run, None] = {}  #: every run that has not ended, shown or not
        self._flush()

    # --- what publications and methods may know (``dddp.api.connection.Connection``)

    @property
    def id(self) -> str:
        """The DDP session's id."""
        return self._session.id or ""

    @property
    def client_address(self) -> str | None:
        """The client's IP address; None if the trusted proxies report none (ddp-wire 1.9)."""
        return client_address(self._request, self._application.settings.forwarded_count)

    @property
    def http_headers(self) -> Mapping[str, str]:
        """Some headers of the request that opened the connection, names in lower case."""
        return self._request.headers

    def close(self) -> None:
        """Disconnect the client."""
        self._handle(self._session.close())

    def on_close(self, callback: Callable[[], object]) -> None:
        """Have something called when the connection has ended; at once if it has."""
        if not self.active:
            callback()
            return
        if self._callbacks is None:
            self._callbacks = []
        self._callbacks.append(callback)

    # --- what runs and invocations need

    @property
    def box(self) -> MergeBox[Batch]:
        """What the client has."""
        return self._outbox.box

    @property
    def databases(self) -> Mapping[str, LiveDatabase]:
        """The databases that are served live, by alias."""
        return self._application.databases

    @property
    def registry(self) -> Registry:
        """The declared collections, publications and methods."""
        return self._application.registry

    def queries_of(self, live: LiveDatabase) -> list[LiveQuery]:
        """The session's live queries of a database, settled or not."""
        return [query for run in self.runs for query, of in run.queries.items() if of is live]

    def send(self, message: bytes, settles: Matter | None = None) -> None:
        """Send one message.

        Args:
            settles: the subscription that it is the last word on.
        """
        if self.active:
            self._outbox.send(message, settles)

    def send_result(self, id: str, message: bytes) -> None:
        """Send a method's result."""
        if self._calls is not None:
            self._calls.discard(id)
        self.send(message, (Invoke, id))

    def send_all(self, told: Sequence[bytes]) -> None:
        """Send messages contiguously."""
        if told and self.active:
            self._outbox.send_batch(Batch(told))

    def send_first(self, told: Sequence[bytes]) -> None:
        """Send the first documents of a subscription, in slices if they are many."""
        if self.active:
            self._outbox.send_first(first_batches(told))

    def send_ready(self, subscriptions: list[str]) -> None:
        """Tell which subscriptions have sent their first documents."""
        self.send(messages.ready(subscriptions))

    # --- what the transport reports (``dddp.transport.contract.Receiver``)

    def receive(self, text: str) -> None:
        """Take one message of the client."""
        self._handle(self._session.receive(text), len(text))

    def drained(self) -> None:
        """The socket has taken all that waited in the channel."""
        self._outbox.pump()
        self._advance()

    def closed(self, code: int, reason: str) -> None:
        """The channel has ended, whoever ended it."""
        self._peer = None
        if code == LOST and self._may_return and self._keep():
            self._application.absentees.add(self)
        else:
            self.finish()

    def finish(self) -> None:
        """End for good: give everything back."""
        if not self.active:
            return
        self.active = False
        self._session.close()
        self._application.forget(self)
        self.box.close()
        self._queue = None
        for run in list(self.runs):
            self._forget(run)
        callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            self.handlers.submit(callback)

    def tick(self) -> None:
        """One heartbeat interval has passed."""
        if self._peer is None:
            return
        self._handle(self._session.tick())
        if self._return is not None:
            for id in self._return.tick() & self._subscriptions.keys():
                self._unsubscribe(Unsubscribe(id))

    # --- a client that has been cut off

    @property
    def _may_return(self) -> bool:
        settings = self._application.settings
        return (
            settings.resumption_time_limit > 0
            and self._session.is_connected
            and not self._application.draining
            and self._application.absentees.has_room(self.client_address)
        )

    def _keep(self) -> bool:
        """Keep what is sent from now on; whether it is little enough."""
        return self._outbox.detach(self._application.settings.resumption_queue_limit, self.finish)

    def _resume(self, event: Resume) -> None:
        """Hand the channel to the client's earlier session if that can go on, else begin a new one."""
        earlier = self._application.sessions.get(event.session)
        if earlier is None or not earlier.take_over(self, event):
            self._handle(self._session.open(event.version))

    def take_over(self, newcomer: Connection, event: Resume) -> bool:
        """Go on with this session on the channel of a connection that the client has just opened.

        Only from the same address, since others may have seen the id, and only if all that the client has not received
        is still there. Returns whether it does; a session that cannot is of no use any more.
        """
        if not self._session.is_connected or self._session.version != event.version:
            return False
        if newcomer.client_address != self.client_address:
            return False
        missing = self._outbox.missing(event.received_count)
        if missing is None:
            if self._peer is None:
                self.finish()
            return False
        self._leave_channel()
        settings = self._application.settings
        log = ReplayLog(event.received_count, settings.resumption_queue_limit)
        self._peer, channel = newcomer.surrender(self)
        self._application.absentees.discard(self)
        self._outbox.attach(channel, settings.outbox_limit, missing, log)
        self._return = Return(self._settled(), self._subscriptions.keys() - self._leaving())
        self._session.resume()
        self._flush()
        self._outbox.pump()
        self._advance()
        return True

    def _leave_channel(self) -> None:
        """Let go of a channel that seems to be open still: its client is on another one."""
        if self._peer is not None:
            self._peer.connection = None
            self._outbox.surrender().close(1000, "the session goes on elsewhere")

    def surrender(self, successor: Connection) -> tuple[Peer, Channel]:
        """Give peer and channel to the session that goes on; this one ends before it began."""
        assert self._peer is not None
        peer, self._peer = self._peer, None
        peer.connection = successor
        channel = self._outbox.surrender()
        self.finish()
        return peer, channel

    def _leaving(self) -> set[messages.OptionalId]:
        """The subscriptions whose ``unsub`` waits for an earlier message."""
        return {event.id for event, _ in self._queue or () if isinstance(event, Unsubscribe)}

    def _settled(self) -> set[Matter]:
        """What the client has got no answer to, and need not ask for again."""
        waiting = {(type(event), event.id) for event, _ in self._queue or () if isinstance(event, Subscribe)}
        calls = {(Invoke, id) for id in self._calls or ()}
        return {*self._outbox.unsettled(), *waiting, *calls}

    # --- messages, one after another

    def _handle(self, events: Iterable[Event], size: int = 0) -> None:
        self._flush()
        for event in events:
            match event:
                case Close(code, reason):
                    self._disconnect(code, reason)
                case Connected(id):
                    self._application.sessions[id] = self
                    self._start_automatic()
                case Resume():
                    self._resume(event)
                case Pinged():
                    self._outbox.pinged()
                case Ponged():
                    self._outbox.ponged()
                case _:
                    self._enqueue(event, size)

    def _flush(self) -> None:
        for message in self._session.data_to_send():
            self._outbox.send_at_once(message)

    def _disconnect(self, code: int, reason: str) -> None:
        """End the session from this side; nobody comes back to it."""
        self._session.close()
        self._outbox.close(code, reason)
        if self._peer is None:
            self.finish()

    def _enqueue(self, event: Event, size: int) -> None:
        if self._return is not None and self._return.repeats(event):
            return
        if isinstance(event, Invoke):
            if self._calls is None:
                self._calls = set()
            self._calls.add(event.id)
        if self._queue is None:
            self._queue = deque()
        self._queue.append((event, size))
        self._queued += size
        settings = self._application.settings
        if len(self._queue) > settings.method_queue_limit or self._queued > settings.client_memory_limit:
            logger.warning("! %s sends more than it lets us answer; disconnected", self.client_address)
            self._disconnect(TOO_MANY_MESSAGES, "too many messages wait for an earlier one")
        self._advance()

    def _advance(self) -> None:
        """Start the messages that may start now."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while self._queue and not self._blocked and self._may_start(self._queue[0][0]):
                event, size = self._queue.popleft()
                self._queued -= size
                self._start(event, size)
        finally:
            self._advancing = False

    def _may_start(self, event: Event) -> bool:
        if self._session.state is State.CLOSED or self._application.draining:
            return False
        return not (isinstance(event, Subscribe) and self._outbox.is_loaded)

    def _start(self, event: Event, size: int) -> None:
        if isinstance(event, Subscribe):
            self._subscribe(event, size)
        elif isinstance(event, Unsubscribe):
            self._unsubscribe(event)
        elif isinstance(event, Invoke):
            self._invoke(event)

    def _release(self) -> None:
        """The message being handled lets the next one start."""
        self._blocked = False
        self._advance()

    # --- subscriptions

    def _start_automatic(self) -> None:
        self.start_missing(lambda: None)

    def start_missing(self, settled: Callable[[], None]) -> int:
        """Start the automatic publications that do not run: all at first, later what had refused the user before.

        Args:
            settled: called for each.

        Returns:
            How many were started.
        """
        running = {run.subscription.publication for run in self.runs if run.subscription.id is None}
        missing = [each for each in self._application.registry.automatic if each not in running]
        for publication in missing:
            self._run_shown(Subscription(None, publication, ()), settled)
        return len(missing)

    def _subscribe(self, message: messages.Sub, size: int) -> None:
        publication = self._application.registry.publications.get(message.name)
        if publication is None:
            self._refuse(message.id, MeteorError(404, f"Subscription '{message.name}' not found"))
        elif message.id in self._subscriptions:
            return  # re-sent around a reconnect: it is answered already (ddp-wire 4.1)
        elif error := self._application.check_rate("subscription", message.name, self):
            self._refuse(message.id, error)
        elif not self._has_room_for(size):
            self._refuse(message.id, MeteorError("too-many-subscriptions", "Too many subscriptions at once"))
        else:
            subscription = Subscription(message.id, publication, message.params, size)
            self._subscriptions[message.id] = subscription
            self._blocked = True
            self._run_shown(subscription, self._release)

    def _has_room_for(self, size: int) -> bool:
        """Whether the client may have one more subscription, of such a message."""
        settings = self._application.settings
        kept = size + sum(subscription.size for subscription in self._subscriptions.values())
        return (
            len(self._subscriptions) < settings.subscriptions_limit and kept <= settings.client_memory_limit
        )

    def _refuse(self, id: str, error: MeteorError) -> None:
        self.send(messages.nosub(id, error), (Subscribe, id))

    def _run_shown(self, subscription: Subscription, settled: Callable[[], None]) -> None:
        run = self._new_run(subscription, settled)
        run.shown = True
        subscription.run = run
        self.handlers.submit(run.start, run.refuse)

    def _new_run(self, subscription: Subscription, settled: Callable[[], None]) -> Run:
        run = Run(self, subscription, settled)
        self.runs[run] = None
        return run

    def _unsubscribe(self, message: messages.Unsub) -> None:
        subscription = self._subscriptions.get(message.id) if isinstance(message.id, str) else None
        if subscription is not None and subscription.run is not None:
            self.end(subscription.run)
        else:
            self.send(messages.nosub(message.id))

    def end(self, run: Run) -> None:
        """End a run: its documents go, then its subscription is told so."""
        subscription = run.subscription
        if run.shown:
            self.send_all(self.box.replace(run.sources, []))
        if run is subscription.run and subscription.id is not None:
            self._subscriptions.pop(subscription.id, None)
        if not subscription.ended:  # around a login it has two runs, and both may end
            subscription.ended = True
            self._tell_end(subscription, run.failure)
        self._forget(run)

    def _tell_end(self, subscription: Subscription, failure: MeteorError | None) -> None:
        if subscription.id is not None:
            self.send(messages.nosub(subscription.id, failure), (Subscribe, subscription.id))
        elif failure is not None:
            self.send(messages.nosub(messages.ABSENT, failure))

    def _forget(self, run: Run) -> None:
        self.runs.pop(run, None)
        run.finish()

    # --- methods

    def _invoke(self, message: messages.Method) -> None:
        method = self._application.registry.methods.get(message.method)
        if method is None:
            unknown = MeteorError(404, f"Method '{message.method}' not found")
            self.send_result(message.id, messages.result_error(message.id, unknown))
            self.send(messages.updated([message.id]))
        elif error := self._application.check_rate("method", message.method, self):
            self.send(messages.updated([message.id]))
            self.send_result(message.id, messages.result_error(message.id, error))
        else:
            self._run_method(message, method)

    def _run_method(self, message: messages.Method, method: Method) -> None:
        self._blocked = True
        invocation = Invocation(self, method, message, self._release)
        self.handlers.submit(invocation.run, invocation.refuse)

    # --- login and logout

    def change_user(self, user_id: str | None, done: Callable[[], None]) -> None:
        """Run every subscription again for another user and tell the difference in one step (design, section 7).

        Args:
            done: called when that has been told.
        """
        self.user_id = user_id
        old = [run for run in self.runs if run.shown]
        if user_id is None:
            # After a logout the old user's documents are not the client's to see, not even for a moment.
            self.send_all(self.box.replace([source for run in old for source in run.sources], []))
            for run in old:
                run.shown = False
        UserChange(self, old, done).start()


def client_address(request: Request, count: int) -> str | None:
    """Who asks: whom the outermost of ``count`` trusted proxies has seen; what stands before it anyone can write."""
    if not count:
        return request.remote_address
    addresses = request.headers.get("x-forwarded-for", "").split(",")
    return addresses[-count].strip() or None if len(addresses) >= count else None


class UserChange:
    """Replaces the runs of one user by those of the next, as soon as all of these are ready or have ended."""

    def __init__(self, connection: Connection, old: list[Run], done: Callable[[], None]) -> None:
        self._connection = connection
        self._old = old
        self._new: list[Run] = []
        self._done: Callable[[], None] | None = done
        self._missing = 1  # runs not settled, and one until all are started

    def start(self) -> None:
        """Start the new runs."""
        for run in self._old:
            self._missing += 1
            self._new.append(self._connection._new_run(run.subscription, self._one_settled))
        self._missing += self._connection.start_missing(self._one_settled)
        limit = self._connection._application.settings.query_time_limit
        overdue = gevent.spawn_later(limit, self._swap)
        self._overdue = overdue
        for new in self._new:
            self._connection.handlers.submit(new.start, new.refuse)
        self._one_settled()

    def _one_settled(self) -> None:
        self._missing -= 1
        if not self._missing:
            self._overdue.kill(block=False)
            self._swap()

    def _swap(self) -> None:
        done, self._done = self._done, None
        if done is None:
            return
        connection = self._connection
        if connection.active:
            alive = [new for old, new in zip(self._old, self._new, strict=True) if old.active and new.active]
            leaving = [source for run in self._old if run.shown and run.active for source in run.sources]
            connection.send_first(connection.box.replace(leaving, [s for run in alive for s in run.sources]))
            for run in alive:
                run.shown = True
                run.subscription.run = run
            self._forget_old()
            self._tell_ready(alive)
        done()

    def _forget_old(self) -> None:
        """Let the old runs go; and the new ones of subscriptions that have ended meanwhile."""
        for old, new in zip(self._old, self._new, strict=True):
            if not old.active:
                self._connection._forget(new)
            elif not new.active and old.subscription.id is not None:
                self._connection._subscriptions.pop(old.subscription.id, None)
            self._connection._forget(old)

    def _tell_ready(self, runs: list[Run]) -> None:
        ready = [run for run in runs if run.complete and run.subscription.id is not None]
        for run in ready:
            run.told_ready = True
        if ready:
            self._connection.send_ready([run.subscription.id for run in ready if run.subscription.id])
