"""One process: everything that runs in it, started and stopped in order."""

from __future__ import annotations

import gc
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import gevent
from django.db import connections, router
from gevent.socket import socket

from dddp.api.registry import API
from dddp.checks import capture_status
from dddp.conf import Settings
from dddp.errors import FeedUnavailable
from dddp.runtime.application import Application
from dddp.runtime.connection import Connection, client_address
from dddp.runtime.descriptors import connections_allowed
from dddp.runtime.drift import DriftWatch
from dddp.runtime.fence import count_statements
from dddp.runtime.invocation import under_way
from dddp.runtime.live import LiveDatabase
from dddp.runtime.origins import accepting
from dddp.runtime.overtime import limit_statements
from dddp.runtime.pool import Pool
from dddp.transport.contract import Request
from dddp.transport.handover import Siblings
from dddp.transport.server import Server
from dddp.transport.sockjs import Options
from dddp.transport.websocket import Limits

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Worker"]

logger = logging.getLogger(__name__)

TICKS_PER_TURN = 200
"""Connections that get their heartbeat before other greenlets have a turn."""


class Worker:
    """The DDP server of one process, and the Django project beside it."""

    def __init__(self, settings: Settings, wsgi: WSGIApplication) -> None:
        self.settings = settings
        self._wsgi = wsgi
        self._accepts = accepting(settings.origins)
        self._process_id = secrets.token_hex(6)
        self._readers: dict[str, Pool] = {}
        self._databases = {alias: self._live_database(alias) for alias in connections if _notifies(alias)}
        if not self._databases:
            raise FeedUnavailable(
                "no PostgreSQL in settings.DATABASES: live queries need its LISTEN and NOTIFY"
            )
        size, patience = settings.handler_pool_size, settings.handler_wait_limit
        self._handlers = Pool("handler", size, self._prepare_handlers, patience)
        self.application = Application(settings, API, self._databases, self._handlers)
        self._server: Server | None = None
        self._heart: gevent.Greenlet[[], None] | None = None
        self._watches: list[DriftWatch] = []

    def _prepare_handlers(self) -> None:
        """Set up one of the greenlets that methods and publications run in."""
        count_statements(self._databases)
        limit_statements(self.settings.statement_time_limit)

    def _live_database(self, alias: str) -> LiveDatabase:
        settings = self.settings
        readers = Pool(
            f"{alias} read", settings.read_pool_size, partial(limit_statements, settings.query_time_limit)
        )
        self._readers[alias] = readers
        return LiveDatabase(
            alias, API, self._process_id, readers, settings.query_time_limit, settings.feed_heartbeat
        )

    def start(
        self, sockets: Sequence[socket], siblings: Siblings | None = None, handed: socket | None = None
    ) -> None:
        """Listen to the databases, and serve.

        Args:
            sockets: listening.
            siblings: the other workers that listen on them, if there are any.
            handed: a listening Unix socket where these hand connections over.

        Raises:
            FeedUnavailable: a database cannot be reached.
        """
        for pool in (*self._readers.values(), self._handlers):
            pool.start()
        for alias, live in self._databases.items():
            self._check_capture(alias)
            live.start()
        if self.settings.capture == "triggers" and (siblings is None or siblings.own == 0):
            self._watch_capture()
        limits = Limits(
            message=self.settings.message_size_limit,
            waiting=self.settings.outbox_limit,
            request=self.settings.handshake_time_limit,
            connections=connections_allowed(self.settings.connections_limit),
            sessions=self.settings.sessions_per_address,
        )
        self._server = Server(
            sockets,
            self.application,
            self._wsgi,
            prefix=self.settings.url_prefix,
            accept=self._accepts,
            sockjs=Options(client_url=self.settings.sockjs_client_url, cookie=self.settings.sockjs_cookie),
            limits=limits,
            client_address=self._client_address,
            deflate_from=self.settings.compression_threshold,
            siblings=siblings,
            handed=handed,
        )
        _calm_garbage_collector()
        self._server.start()
        self._heart = gevent.spawn(self._beat)

    def _check_capture(self, alias: str) -> None:
        """Do not pretend to be live on a database that does not tell its changes.

        A partition that has no triggers yet is no reason for an outage: what is written through its parent is told.
        """
        try:
            status = capture_status(alias)
        finally:
            connections[alias].close()
        triggers = self.settings.capture == "triggers"
        if not status.created or (triggers and status.uncaptured):
            raise FeedUnavailable(str(status))
        if triggers and status.tables:
            logger.warning("! database %s: %s", alias, status)
        elif not status.ready:
            # Such as rows that come without their new columns, and are read again for them.
            logger.warning("! database %s: %s; until then %s", alias, status, status.consequence)

    def _watch_capture(self) -> None:
        """Hear of partitions without triggers, and of triggers that go; one process of several does."""
        for alias, live in self._databases.items():
            watch = DriftWatch(alias, list(live.captured.values()), self._readers[alias])
            live.interrupted = watch.look_soon
            watch.start()
            self._watches.append(watch)

    def serve_forever(self) -> None:
        """Return when ``stop`` has finished."""
        assert self._server is not None
        self._server.serve_forever()

    def stop(self) -> None:
        """Stop accepting, let methods in flight finish, close the clients, then everything else."""
        assert self._server is not None
        self._server.close()
        self.application.draining = True
        with suppress(gevent.Timeout), gevent.Timeout(self.settings.shutdown_time_limit):
            while not self._drained:
                gevent.sleep(0.01)
        self._tell_cut_off()
        if self._heart is not None:
            self._heart.kill()
        for watch in self._watches:
            watch.stop()
        for live in self._databases.values():
            live.stop()
        for pool in (*self._readers.values(), self._handlers):
            pool.stop()
        self._server.stop(self.settings.shutdown_time_limit)

    def _tell_cut_off(self) -> None:
        """Name the methods that have not ended in time: what was not at its COMMIT is rolled back."""
        cut_off = +under_way
        if cut_off:
            logger.warning(
                "! %d method calls have not ended within %g s (SHUTDOWN_TIME_LIMIT) and are cut off: %s",
                cut_off.total(),
                self.settings.shutdown_time_limit,
                ", ".join(f"{name} ({count})" for name, count in sorted(cut_off.items())),
            )

    @property
    def _drained(self) -> bool:
        """Whether no method is in flight any more, and each has been told that its writes are through."""
        return self._handlers.idle and not any(live.fenced for live in self._databases.values())

    def _client_address(self, request: Request) -> str:
        """Name a client to count its sessions: those that the proxies name no address for count as the proxy's."""
        return client_address(request, self.settings.forwarded_count) or request.remote_address

    def _tick(self, connection: Connection) -> None:
        try:
            if connection.active:
                connection.tick()
        except Exception:
            # One connection's failure must not stop the hearts of all others.
            logger.exception("! the heartbeat of %s failed", connection.client_address)

    def _beat(self) -> None:
        """Heartbeats of all connections, from one greenlet, a few at a time."""
        while True:
            gevent.sleep(self.settings.heartbeat_interval)
            for number, connection in enumerate(list(self.application.connections), 1):
                self._tick(connection)
                if number % TICKS_PER_TURN == 0:
                    gevent.sleep(0)


def _calm_garbage_collector() -> None:
    """Keep the cycle collector from walking everything we hold, again and again.

    What is loaded by now never goes; a connection's objects live long and hardly form cycles. With the standard
    thresholds a server of 5,000 clients spends more on walking them than on sending.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def _notifies(alias: str) -> bool:
    """Whether a database is PostgreSQL and, by the project's routers, has dddp's tables: no replica has."""
    return connections[alias].vendor == "postgresql" and router.allow_migrate(alias, "dddp")
