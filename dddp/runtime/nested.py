"""Methods that methods call: a part of the outer call, with random values of their own (ddp-wire 5.2 and 5.8)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Protocol

from django.db import transaction

from dddp.api.access import User
from dddp.api.method import Call, Method
from dddp.api.random import random_id, random_streams
from dddp.api.registry import Registry
from dddp.errors import MeteorError
from dddp.protocol import ejson
from dddp.protocol.alea import RandomStreams
from dddp.runtime.fence import DATABASE

__all__ = ["NestedCall", "OuterCall", "apply"]


class OuterCall(Call, Protocol):
    """A call that another is a part of."""

    @property
    def registry(self) -> Registry:
        """Where methods are found by name."""

    @property
    def streams(self) -> RandomStreams:
        """Its random values."""


class NestedCall:
    """A call made by a method; what the called method knows as ``Call``: all but its random values is the caller's."""

    def __init__(self, outer: OuterCall, streams: RandomStreams) -> None:
        self._outer = outer
        self.streams = streams
        self.registry = outer.registry
        self.connection = outer.connection

    @property
    def user(self) -> User:
        """The user who calls."""
        return self._outer.user

    @property
    def user_id(self) -> str | None:
        """The text of that user's primary key."""
        return self._outer.user_id

    def random_id(self, collection: str) -> str:
        """The next document id of a collection."""
        return random_id(collection)

    def unblock(self) -> None:
        """Do nothing: the client's next message waits for the outer call."""

    def set_user_id(self, user_id: str | None) -> None:
        """Log the outer call's connection in or out."""
        self._outer.set_user_id(user_id)

    def apply(self, name: str, *params: Any) -> Any:
        """Call another method as a part of this call."""
        return apply(self, name, params)


def apply(outer: OuterCall, name: str, params: Sequence[Any]) -> Any:
    """Run a method as a part of a call; what it returns.

    Its parameters are a copy, made as a client's would be: dates to the millisecond, decimals as text. With
    ``atomic`` it runs in a transaction or savepoint of its own, so that a caller who catches its error keeps none
    of its writes. With or without it, the login of a method that failed is undone.

    Raises:
        MeteorError: 404 if there is no such method; 400 and 403 as for a client.
        BaseException: what the method raises.
    """
    method = outer.registry.methods.get(name)
    if method is None:
        raise MeteorError(404, f"Method '{name}' not found")
    copied = ejson.loads(ejson.dumps(list(params)))
    call = NestedCall(outer, RandomStreams(outer.streams.stream(f"/rpc/{name}").hex_string(20)))
    user_id = outer.user_id
    reset = random_streams.set(call.streams)
    try:
        return _run(method, call, copied)
    except BaseException:
        if outer.user_id != user_id:
            outer.set_user_id(user_id)
        raise
    finally:
        random_streams.reset(reset)


def _run(method: Method, call: NestedCall, params: Sequence[Any]) -> Any:
    method.check_access(call)
    arguments = method.bind(params)
    with transaction.atomic(using=DATABASE) if method.atomic else nullcontext():
        return method(call, *arguments)
