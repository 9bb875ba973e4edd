"""Waiting for PostgreSQL without stopping the event loop."""

from __future__ import annotations

import time
from typing import Any

import psycopg2
from gevent.local import local
from gevent.socket import wait_read, wait_write
from psycopg2 import extensions

__all__ = ["limit_waits", "make_psycopg2_cooperative", "wait"]

_patience = local()
"""Of the current greenlet: seconds for each wait, if it has a limit."""


def wait(pgconn: Any, timeout: float | None = None) -> None:
    """Wait in this greenlet until the connection's current operation is over.

    libpq's own ``connect_timeout`` does not work in this mode, so it is kept here.

    Raises:
        psycopg2.OperationalError: it took longer than ``timeout`` seconds (or than the connection's
            ``connect_timeout`` while connecting, or than ``limit_waits`` allows). psycopg2 closes the connection.
    """
    if timeout is None:
        timeout = _time_limit(pgconn)
    deadline = None if timeout is None else time.monotonic() + timeout
    while (state := pgconn.poll()) != extensions.POLL_OK:
        remaining = None if deadline is None else max(deadline - time.monotonic(), 0.001)
        wait_for = wait_read if state == extensions.POLL_READ else wait_write
        try:
            wait_for(pgconn.fileno(), remaining, psycopg2.OperationalError("timeout expired"))
        except psycopg2.OperationalError:
            # What came while this process was too busy to look has come in time.
            if pgconn.poll() == extensions.POLL_OK:
                return
            raise


def make_psycopg2_cooperative() -> None:
    """Make every psycopg2 connection of this process wait in its greenlet only."""
    extensions.set_wait_callback(wait)


def limit_waits(seconds: float) -> None:
    """Let no wait of this greenlet be longer: a network that goes silent tells nobody. The longest limit counts."""
    _patience.seconds = max(seconds, getattr(_patience, "seconds", 0.0))


def _time_limit(pgconn: Any) -> float | None:
    of_connecting = _connect_timeout(pgconn) if pgconn.status == extensions.STATUS_SETUP else None
    return of_connecting or getattr(_patience, "seconds", None)


def _connect_timeout(pgconn: Any) -> float | None:
    text = extensions.parse_dsn(pgconn.dsn).get("connect_timeout")
    seconds = int(text) if text else 0
    return float(seconds) if seconds > 0 else None
