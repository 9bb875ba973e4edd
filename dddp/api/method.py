"""Methods: functions that clients call by name (ddp-wire 5.1 to 5.8, design.md section 4).

Says who may call and with which arguments; the transaction, the queue and the write fence are the runtime's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, overload

from dddp.api.access import Permissions, User, check_access
from dddp.api.arguments import Signature
from dddp.api.connection import Connection
from dddp.protocol.ratelimit import Rule

__all__ = ["Call", "Method", "method"]


class Call(Protocol):
    """One invocation: the first argument of every method. The runtime implements it."""

    @property
    def user(self) -> User:
        """The user who calls, read on first use; Django's ``AnonymousUser`` without a login."""

    @property
    def user_id(self) -> str | None:
        """The text of that user's primary key."""

    @property
    def connection(self) -> Connection | None:
        """The client's connection; None for a call from the server itself."""

    def random_id(self, collection: str) -> str:
        """The next document id of a collection: equal to the client's own for the same ``randomSeed``."""

    def unblock(self) -> None:
        """Let the client's next message start while this method goes on."""

    def set_user_id(self, user_id: str | None) -> None:
        """Log the connection in or out; not after ``unblock``."""

    def apply(self, name: str, *params: Any) -> Any:
        """Call another method for the same user, as a part of this call; what it returns.

        Its parameters are checked like a client's, its access too; what it raises comes out here as it is.
        """


class Method:
    """A function that clients call. On the server it can still be called as that function.

    Args:
        name: what clients call.
        function: takes the ``Call``, then the client's arguments.
        atomic: run it in ``transaction.atomic``, so that an error undoes what it wrote.
        login_required: only for logged-in users, others get error 403.
        permission_required: a permission, or several, that the user must hold.

    Attributes:
        rate_limits: how often clients may call it, as ``@rate_limit`` has declared.
    """

    rate_limits: tuple[Rule, ...] = ()

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        atomic: bool = True,
        login_required: bool = False,
        permission_required: Permissions = None,
    ) -> None:
        functools.update_wrapper(self, function)
        self.name = name
        self.function = function
        self.atomic = atomic
        self.login_required = login_required
        self.permission_required = permission_required

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Method {self.name}>"

    @functools.cached_property
    def signature(self) -> Signature:
        """The parameters it takes.

        Raises:
            ImproperlyDeclared: an annotation that no client can meet.
        """
        return Signature(self.function)

    def check(self) -> None:
        """Find mistakes at start.

        Raises:
            ImproperlyDeclared: an annotation that no client can meet.
        """
        _ = self.signature

    def bind(self, params: Sequence[Any]) -> tuple[Any, ...]:
        """The client's parameters, checked.

        Raises:
            MeteorError: 400 "Match failed", with what is wrong by parameter in its details.
        """
        return self.signature.bind(params)

    def check_access(self, call: Call) -> None:
        """Let the caller pass or say why not; reads the user only when something is required.

        Raises:
            MeteorError: 403.
        """
        if self.login_required or self.permission_required:
            check_access(call.user, self.login_required, self.permission_required)


@overload
def method(name: Callable[..., Any], /) -> Method: ...


@overload
def method(
    name: str = "",
    /,
    *,
    atomic: bool = True,
    login_required: bool = False,
    permission_required: Permissions = None,
) -> Callable[[Callable[..., Any]], Method]: ...


def method(
    name: str | Callable[..., Any] = "",
    /,
    *,
    atomic: bool = True,
    login_required: bool = False,
    permission_required: Permissions = None,
) -> Any:
    """Make a method of a function ``f(call, *params)``; register what it gives.

    ``@method`` takes the function's name, ``@method("app.name")`` another.
    """
    if callable(name):
        return Method(name.__name__, name)

    def declare(function: Callable[..., Any]) -> Method:
        return Method(
            name or function.__name__,
            function,
            atomic=atomic,
            login_required=login_required,
            permission_required=permission_required,
        )

    return declare
