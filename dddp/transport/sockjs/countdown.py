"""One timer for any number of things that are due after the same time. What is due is told in the event loop."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Generic, TypeVar

from gevent import get_hub

__all__ = ["Countdown"]

Item = TypeVar("Item")

PER_TURN: Final = 200
"""Items told before the others of the loop have a turn: after a restart thousands may be due at once."""


class Countdown(Generic[Item]):
    """Calls a function with each item, some time after it was started.

    The time is the same for all, so the items stand in the order in which they are due: starting and stopping one
    costs the same whatever their number.

    Args:
        seconds: from the start of an item until it is due.
        due: called with the item; it is no longer in the countdown then, and may be started again.
    """

    def __init__(self, seconds: float, due: Callable[[Item], None]) -> None:
        self._seconds = seconds
        self._due = due
        self._times: dict[Item, float] = {}
        self._timer: Any = None  # exists while there are items

    def __contains__(self, item: Item) -> bool:
        return item in self._times

    def start(self, item: Item) -> None:
        """Start the time of an item, or start it again."""
        self._times.pop(item, None)
        self._times[item] = monotonic() + self._seconds
        if self._timer is None:
            self._arm(self._seconds)

    def stop(self, item: Item) -> None:
        """Forget an item, if it is there."""
        self._times.pop(item, None)

    def _arm(self, seconds: float) -> None:
        self._timer = get_hub().loop.timer(max(seconds, 0.0))
        self._timer.start(self._tell, update=True)

    def _tell(self) -> None:
        self._timer.close()
        self._timer = None
        now = monotonic()
        for _ in range(PER_TURN):
            item = next(iter(self._times), None)
            if item is None or self._times[item] > now:
                break
            del self._times[item]
            self._due(item)
        if self._times and self._timer is None:  # an item that was started again may have set it
            self._arm(next(iter(self._times.values())) - now)
