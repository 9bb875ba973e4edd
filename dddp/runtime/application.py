"""What all connections of a process share, and what a transport hands new clients to."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator, Mapping

from dddp.api.registry import Registry
from dddp.conf import Settings
from dddp.errors import MeteorError
from dddp.protocol.ratelimit import Event, RateLimiter, Rule
from dddp.runtime.connection import Connection, Peer
from dddp.runtime.live import LiveDatabase
from dddp.runtime.pool import Pool
from dddp.runtime.resumption import Absentees
from dddp.transport.contract import Channel, Request

__all__ = ["Application"]


class Application:
    """The declared collections, publications and methods, served to every client (``transport.contract``)."""

    def __init__(
        self, settings: Settings, registry: Registry, databases: Mapping[str, LiveDatabase], handlers: Pool
    ) -> None:
        self.settings = settings
        self.registry = registry
        self.databases = databases
        self.handlers = handlers
        for live in databases.values():
            live.pools.append(handlers)
        #: Of each client at once; half of the pool stays free for the others, however small it is.
        self.handlers_per_client = min(settings.handlers_per_client, max(1, handlers.size // 2))
        self.draining = False  #: what is in flight goes on, nothing new is started
        self.connections: dict[Connection, None] = {}
        self.sessions: dict[str, Connection] = {}  #: those that have begun, by their id
        self.absentees = Absentees(
            settings.resumption_time_limit, settings.resumption_sessions_limit, settings.sessions_per_address
        )
        self._rate_limiter = RateLimiter(_rules(settings, registry), time.monotonic())

    def connect(self, channel: Channel, request: Request) -> Peer:
        """Take a new client."""
        peer = Peer()
        peer.connection = Connection(self, channel, request, peer)
        self.connections[peer.connection] = None
        return peer

    def forget(self, connection: Connection) -> None:
        """A client has gone for good."""
        self.connections.pop(connection, None)
        self.sessions.pop(connection.id, None)
        self.absentees.discard(connection)

    def check_rate(self, type: str, name: str, connection: Connection) -> MeteorError | None:
        """Count a method call or a subscription; the error to answer with if it is one too many.

        Args:
            type: "method" or "subscription".
            name: of one that is registered.
        """
        event = Event(type, name, connection.id, connection.user_id, connection.client_address)
        return self._rate_limiter.check(event, time.monotonic())


def _rules(settings: Settings, registry: Registry) -> Iterator[Rule]:
    """The rate limits of the settings, of the methods and of the publications."""
    for options in settings.rate_limits:
        yield Rule(**{**options, **{key: _tuple(options[key]) for key in ("per", "names") if key in options}})
    for name, method in registry.methods.items():
        yield from _named("method", name, method.rate_limits)
    for name, publication in registry.publications.items():
        yield from _named("subscription", name, publication.rate_limits)


def _named(type: str, name: str, rules: Iterable[Rule]) -> Iterator[Rule]:
    return (dataclasses.replace(rule, type=type, names=(name,)) for rule in rules)


def _tuple(value: str | Iterable[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)
