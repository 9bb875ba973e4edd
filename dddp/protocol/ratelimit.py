"""Rate limits: how often methods and subscriptions may be started, and by whom it is counted (ddp-wire 10).

Pure: the time is an argument. As in Meteor each rule has one fixed window for all it counts, names count apart where a
rule names some, and what is refused is counted too. A rule keeps a bounded number of counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from dddp.errors import MeteorError

__all__ = ["PER", "Event", "RateLimiter", "Rule"]

REASON = "Error, too many requests. Please slow down. You must wait {seconds} seconds before trying again."

COUNTS_LIMIT: Final = 10_000
"""Counts that one rule keeps, about 2 MB; beyond it the oldest is forgotten, and begins anew."""


@dataclass(frozen=True, slots=True)
class Event:
    """A client wants to start something."""

    type: str  #: "method" or "subscription"
    name: str
    connection: str  #: the session's id
    user: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """So many in such a time.

    Args:
        count: how many may start in one window.
        interval: seconds of a window.
        per: by what is counted, of ``PER``; all together if empty.
        type: "method" or "subscription"; empty for both.
        names: of methods or publications; empty for all, which then count together.
        message: what the client is told, ``{seconds}`` in it being the time to wait; empty for Meteor's sentence.
    """

    count: int
    interval: float
    per: tuple[str, ...] = ("connection",)
    type: str = ""
    names: tuple[str, ...] = ()
    message: str = ""

    def matches(self, type: str, name: str) -> bool:
        """Whether it counts such events."""
        return self.type in ("", type) and (not self.names or name in self.names)

    def key(self, event: Event) -> tuple[str | None, ...]:
        """What an event is counted under."""
        return (event.name if self.names else None, *(PER[each](event) for each in self.per))


def _user(event: Event) -> str:
    """Anonymous clients count one by one: else one of them could shut all others out."""
    return f"user {event.user}" if event.user is not None else f"connection {event.connection}"


def _address(event: Event) -> str:
    return event.address if event.address is not None else f"connection {event.connection}"


PER: Final[dict[str, Callable[[Event], str]]] = {
    "connection": lambda event: event.connection,
    "user": _user,
    "address": _address,
}
"""By what can be counted -> what that is of an event."""


class _Window:
    """One rule's counts since the window began."""

    __slots__ = ("counts", "rule", "start")

    def __init__(self, rule: Rule, now: float) -> None:
        self.rule = rule
        self.start = now
        self.counts: dict[tuple[str | None, ...], int] = {}

    def count(self, event: Event, now: float) -> float:
        """Count an event. Returns the seconds to wait if it is one too many, else 0."""
        rest = self.start + self.rule.interval - now
        if rest <= 0:
            self.counts.clear()
            self.start, rest = now, self.rule.interval
        key = self.rule.key(event)
        count = self.counts[key] = self.counts.get(key, 0) + 1
        if len(self.counts) > COUNTS_LIMIT:
            del self.counts[next(iter(self.counts))]
        return rest if count > self.rule.count else 0.0


class RateLimiter:
    """The rules of one process and what they have counted.

    Args:
        now: seconds on the clock that ``check`` is told too.
    """

    def __init__(self, rules: Iterable[Rule], now: float) -> None:
        self._windows = [_Window(rule, now) for rule in rules]
        self._matching: dict[tuple[str, str], tuple[_Window, ...]] = {}

    def check(self, event: Event, now: float) -> MeteorError | None:
        """Count an event by every rule that matches. Returns the error to answer with if that is one too many.

        Args:
            event: of a name that exists: what is asked about each name is remembered.
        """
        waits = [(window.count(event, now), window.rule) for window in self.windows(event.type, event.name)]
        wait, rule = max(waits, key=lambda each: each[0], default=(0.0, None))
        return _too_many(wait, rule) if rule is not None and wait else None

    def windows(self, type: str, name: str) -> tuple[_Window, ...]:
        """The windows of the rules that match."""
        key = (type, name)
        if key not in self._matching:
            self._matching[key] = tuple(window for window in self._windows if window.rule.matches(*key))
        return self._matching[key]


def _too_many(wait: float, rule: Rule) -> MeteorError:
    milliseconds = math.ceil(wait * 1000)
    message = (rule.message or REASON).replace("{seconds}", str(math.ceil(milliseconds / 1000)))
    return MeteorError("too-many-requests", message, {"timeToReset": milliseconds})
