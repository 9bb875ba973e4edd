"""Endpoints: methods that belong to a collection or to an object of their own, named by paths as in django-ddp.

``@api_endpoint`` marks a function of a class; registering the class makes a ``Method`` of each, whose name is the
prefix of the class and the path: ``/bookstore.book/cheapest`` for a collection, ``/cheapest`` for an ``APIMixin``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, overload

from dddp.api.access import Permissions
from dddp.api.method import Method

__all__ = ["APIMixin", "api_endpoint", "endpoints"]

F = TypeVar("F", bound=Callable[..., Any])

MARK = "_dddp_endpoint"


@dataclass(frozen=True, slots=True)
class Options:
    path: str
    atomic: bool
    login_required: bool
    permission_required: Permissions


class APIMixin:
    """Methods that share an object: subclass it, mark some with ``@api_endpoint``, register the class.

    Attributes:
        api_path_prefix: what their names begin with.
    """

    api_path_prefix: ClassVar[str] = "/"


@overload
def api_endpoint(path: F, /) -> F: ...


@overload
def api_endpoint(
    path: str = "",
    /,
    *,
    atomic: bool = True,
    login_required: bool = False,
    permission_required: Permissions = None,
) -> Callable[[F], F]: ...


def api_endpoint(
    path: str | Callable[..., Any] = "",
    /,
    *,
    atomic: bool = True,
    login_required: bool = False,
    permission_required: Permissions = None,
) -> Any:
    """Let clients call a function ``f(self, call, *params)`` of a collection or an ``APIMixin``.

    ``@api_endpoint`` takes the function's name as the path, ``@api_endpoint("path")`` another. The options are those
    of ``@method``.
    """
    if callable(path):
        return api_endpoint(path.__name__)(path)

    def mark(function: F) -> F:
        options = Options(path or function.__name__, atomic, login_required, permission_required)
        setattr(function, MARK, options)
        return function

    return mark


def endpoints(provider: object, prefix: str) -> Iterator[Method]:
    """The methods of a provider; looks at its classes, so no property is run to find them."""
    for name in dict.fromkeys(name for each in type(provider).__mro__ for name in vars(each)):
        options = getattr(getattr(type(provider), name, None), MARK, None)
        if options is not None:
            yield _method(getattr(provider, name), prefix, options)


def _method(function: Callable[..., Any], prefix: str, options: Options) -> Method:
    return Method(
        prefix + options.path,
        function,
        atomic=options.atomic,
        login_required=options.login_required,
        permission_required=options.permission_required,
    )
