"""One method call: arguments, transaction, answer (ddp-wire 5; design, section 8).

Runs in a greenlet of the handler pool. The result is encoded before the transaction commits, so that a value no
client can be sent undoes the method's writes like any other error.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.db import InterfaceError, OperationalError, transaction

from dddp.api.access import User, load_user
from dddp.api.method import Method
from dddp.api.random import random_id, random_streams
from dddp.api.sanitise import sanitise
from dddp.errors import MeteorError
from dddp.protocol import messages
from dddp.protocol.alea import RandomStreams
from dddp.runtime.failurelog import failure_log
from dddp.runtime.fence import DATABASE, WriteFence
from dddp.runtime.nested import apply
from dddp.runtime.pool import FAILURES, TOO_BUSY

if TYPE_CHECKING:
    from dddp.runtime.connection import Connection

__all__ = ["Invocation", "under_way"]

logger = logging.getLogger(__name__)

under_way: Counter[str] = Counter()
"""How many calls of each method this process is at, by the method's name."""


class Invocation:
    """One call of a method by a client; what the method knows as ``Call``.

    Args:
        message: what the client sent.
        release: lets the session's next message start; called once.
    """

    def __init__(
        self, connection: Connection, method: Method, message: messages.Method, release: Callable[[], None]
    ) -> None:
        self.connection = connection
        self.user_id = connection.user_id
        self._method = method
        self._message = message
        self._release: Callable[[], None] | None = release
        self.registry = connection.registry
        self.streams = RandomStreams(message.random_seed)

    # --- what the method may call (``dddp.api.method.Call``)

    @cached_property
    def user(self) -> User:
        """The user who calls; Django's ``AnonymousUser`` without a login."""
        return load_user(self.user_id)

    def random_id(self, collection: str) -> str:
        """The next document id of a collection, the client's own for the same seed."""
        return random_id(collection)

    def unblock(self) -> None:
        """Let the session's next message start; after ``set_user_id`` once the change is complete."""
        if not self._user_changed:
            self._let_next_start()

    def _let_next_start(self) -> None:
        release, self._release = self._release, None
        if release is not None:
            release()

    def set_user_id(self, user_id: str | None) -> None:
        """Log in or out: at once for this method, and for the session once the method has committed.

        Raises:
            MeteorError: after ``unblock``, or for an id that is no text.
        """
        if self._release is None:
            raise MeteorError(500, "Can't call set_user_id in a method after calling unblock")
        if not isinstance(user_id, str | None):
            raise MeteorError(500, f"set_user_id takes the text of a user's key or None, not {user_id!r}")
        self.user_id = user_id
        self._user_changed = True
        self.__dict__.pop("user", None)

    _user_changed = False

    def apply(self, name: str, *params: Any) -> Any:
        """Call another method as a part of this call (``dddp.runtime.nested``)."""
        return apply(self, name, params)

    # --- the run

    def run(self) -> None:
        """Call the method and answer the client."""
        under_way[self._method.name] += 1
        try:
            self._run()
        finally:
            under_way[self._method.name] -= 1

    def _run(self) -> None:
        fence = WriteFence(self.connection.databases, self.connection.queries_of, self._tell_updated)
        answer = self._answered(fence)
        fence.arm()
        if self._user_changed and self.connection.active:
            self.connection.change_user(self.user_id, lambda: self._finish(fence, answer))
        else:
            self._finish(fence, answer)

    def refuse(self) -> None:
        """Answer instead that no handler was free in time."""
        self._tell_updated()
        busy = MeteorError(*TOO_BUSY)
        self.connection.send_result(self._message.id, messages.result_error(self._message.id, busy))
        self._let_next_start()

    def _answered(self, fence: WriteFence) -> bytes:
        """The result, encoded; or what went wrong."""
        reset = random_streams.set(self.streams)
        try:
            return self._result(fence)
        except FAILURES as error:
            failure_log.report(f"method {self._method.name}", error)
            fence.drop()
            self._user_changed = False
            return messages.result_error(self._message.id, sanitise(error))
        finally:
            random_streams.reset(reset)

    def _result(self, fence: WriteFence) -> bytes:
        self._method.check_access(self)
        arguments = self._method.bind(self._message.params)
        if not self._method.atomic:
            return messages.result(self._message.id, self._method(self, *arguments))
        with _loss_reported(), transaction.atomic(using=DATABASE):
            answer = messages.result(self._message.id, self._method(self, *arguments))
            fence.note(DATABASE)
        return answer

    def _finish(self, fence: WriteFence, answer: bytes) -> None:
        # Without writes to wait for, `updated` precedes the result, as it does in Meteor.
        fence.release()
        self.connection.send_result(self._message.id, answer)
        self._let_next_start()

    def _tell_updated(self) -> None:
        self.connection.send(messages.updated([self._message.id]))


@contextmanager
def _loss_reported() -> Iterator[None]:
    """Name a commit whose outcome nobody knows for what it is."""
    connection = transaction.get_connection(DATABASE)
    connection.ensure_connection()
    pgconn = connection.connection
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        lost = pgconn.closed or connection.connection is not pgconn  # it may have been replaced already
        if not lost:
            raise
        logger.error("! the database connection was lost in a method", exc_info=error)
        raise MeteorError(
            503, "The connection to the database was lost; the change may or may not have been made"
        ) from error
