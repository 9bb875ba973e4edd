"""``@rate_limit``: how often clients may call one method, or subscribe to one publication (ddp-wire 10)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from dddp import conf
from dddp.errors import ImproperlyDeclared
from dddp.protocol.ratelimit import Rule

__all__ = ["rate_limit"]

T = TypeVar("T")


def rate_limit(
    count: int, interval: float = 1.0, *, per: str | Sequence[str] = "connection", message: str = ""
) -> Callable[[T], T]:
    """Limit a method or a publication, function or class, above or below its own decorator; may be put on it twice.

    Args:
        count: how many may start in one window.
        interval: seconds of a window.
        per: "connection", "user" (anonymous clients one by one) or "address", or several of them together.
        message: what the client is told, ``{seconds}`` in it being the time to wait; Meteor's sentence if empty.

    Raises:
        ImproperlyDeclared: one of them does not fit.
    """
    options = {"count": count, "interval": interval, "per": per, "message": message}
    wrong = conf.rate_limit(options)
    if wrong:
        raise ImproperlyDeclared(f"@rate_limit: {wrong}")
    rule = Rule(count, interval, (per,) if isinstance(per, str) else tuple(per), message=message)

    def declare(limited: T) -> T:
        limited_too: Any = limited
        limited_too.rate_limits = (*getattr(limited, "rate_limits", ()), rule)
        return limited

    return declare
