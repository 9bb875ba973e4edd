"""Which connections of this process are logged in by which token.

Held in memory only: a connection ends with its process. What ends a login elsewhere comes by the feed
(``CurrentUser``); time, of which no feed tells, is looked after here.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import datetime
from typing import NamedTuple

from django.utils import timezone

from dddp.accounts.models import LoginToken
from dddp.api import Connection

__all__ = ["Held", "attach", "close_expired", "detach", "token_of"]

logger = logging.getLogger(__name__)

EXPIRY_INTERVAL = 600.0  # seconds between looks at the clock, as in Meteor


class Held(NamedTuple):
    """The token that holds a connection logged in: as little of it as many connections should cost."""

    pk: int
    expires: datetime


_tokens: dict[Connection, Held | None] = {}
"""None for a connection that has logged out."""

_clock: list[threading.Thread] = []


def attach(connection: Connection | None, token: LoginToken) -> None:
    """The connection is logged in by this token from now on."""
    if connection is None:
        return
    known = connection in _tokens
    _tokens[connection] = Held(token.pk, token.expires)
    if not known:
        connection.on_close(lambda: _tokens.pop(connection, None))
    if not _clock:  # in the server this thread is a greenlet
        _clock.append(threading.Thread(target=_watch_clock, name="dddp.accounts clock", daemon=True))
        _clock[0].start()


def detach(connection: Connection | None) -> Held | None:
    """The token by which the connection was logged in; its end does not close the connection any more."""
    if connection is None or connection not in _tokens:
        return None
    token, _tokens[connection] = _tokens[connection], None
    return token


def token_of(connection: Connection | None) -> Held | None:
    """The token by which the connection is logged in."""
    return _tokens.get(connection) if connection is not None else None


def close_expired(now: datetime) -> None:
    """Disconnect the clients whose tokens have expired."""
    for connection, token in list(_tokens.items()):
        if token is not None and token.expires <= now:
            connection.close()


def _watch_clock() -> None:
    while True:
        time.sleep(EXPIRY_INTERVAL)
        try:
            close_expired(timezone.now())
        except Exception:
            logger.exception("! disconnecting clients with expired logins failed")
