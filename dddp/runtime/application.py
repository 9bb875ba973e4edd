"""What all connections of a process share, and what a transport hands new clients to."""

from __future__ import annotations

from collections.abc import Mapping

from dddp.api.registry import Registry
from dddp.conf import Settings
from dddp.runtime.connection import Connection
from dddp.runtime.live import LiveDatabase
from dddp.runtime.pool import Pool
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
        self.draining = False  #: what is in flight goes on, nothing new is started
        self.connections: dict[Connection, None] = {}

    def connect(self, channel: Channel, request: Request) -> Connection:
        """Take a new client."""
        connection = Connection(self, channel, request)
        self.connections[connection] = None
        return connection

    def forget(self, connection: Connection) -> None:
        """A client has gone."""
        self.connections.pop(connection, None)
