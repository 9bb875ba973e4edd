"""Every error of this package, in one tree.

::

    DDDPError
    ├── MeteorError           an answer for the client, sent as given
    ├── ImproperlyDeclared    a mistake in a ddp.py or in the DDDP settings; stops the start
    ├── QueryRefused          a queryset that cannot be kept live; the subscription gets it as an error
    ├── QueryFailed           a live query's SQL raised or ran past its time limit
    │   └── ReadFailed        the same, with the query at fault (orm.reads)
    ├── FeedUnavailable       the change feed cannot be used: no LISTEN, no capture installed, no connection
    ├── TableBusy             the lock that a table's triggers take was not to be had (feed.capture)
    ├── ValueUndecodable      a value in the feed is none of its column's type; its row is read again (orm.rows)
    ├── EJSONError            text or a value that is not EJSON (protocol.ejson)
    ├── CannotInflate         a compressed message too large, or none; its sender is closed (transport.deflate)
    ├── BadPayload            what a SockJS client sends is no list of messages (transport.sockjs.frames)
    ├── BadCallback           a SockJS request does not name the function to call (transport.sockjs.exchange)
    ├── BodyTooLarge          a SockJS upload is larger than a message may be (transport.sockjs.uploads)
    ├── BodyLost              a SockJS upload has not come, or not whole (transport.sockjs.uploads)
    ├── BundleError           a Meteor bundle that cannot be read (meteor.bundle)
    ├── CannotListen          an address cannot be listened on; stops the start (transport.server)
    └── CannotStart           anything else that stops the start, in one sentence (server.failure)
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "DDDPError",
    "FeedUnavailable",
    "ImproperlyDeclared",
    "MeteorError",
    "QueryFailed",
    "QueryRefused",
]


class DDDPError(Exception):
    """The root of the tree; never raised itself."""


class MeteorError(DDDPError):
    """An error that reaches the client exactly as given (ddp-wire 5.6).

    Args:
        error: the code, a number (404) or a word ("too-many-requests").
        reason: a sentence for the user.
        details: plain JSON, never EJSON: clients do not decode dates there.
    """

    def __init__(self, error: int | str, reason: str | None = None, details: Any = None) -> None:
        self.error = error
        self.reason = reason
        self.details = details
        super().__init__(error, reason, details)

    def __str__(self) -> str:
        return f"{self.reason} [{self.error}]" if self.reason else f"[{self.error}]"


class ImproperlyDeclared(DDDPError):
    """A mistake in a ``ddp.py`` or in ``settings.DDDP``; the message names the place and the mend."""


class QueryRefused(DDDPError):
    """A queryset that this server cannot keep live; the message names the reason and the setting to change."""


class QueryFailed(DDDPError):
    """A live query's SQL raised or ran past its time limit: ``__cause__`` is the database's error. Or its table lacks
    what cannot be done without: the message names that and the mend."""


class FeedUnavailable(DDDPError):
    """The change feed cannot be used; the message names the cause and the mend."""
