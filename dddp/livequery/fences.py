"""Write fences: methods' writes on their way through the feed (design, section 8).

A fence is through when its transaction has committed, its token has come, and the queries that its session sees have
settled since. Pure, like all of ``livequery``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from dddp.livequery.effects import Effect, Fired
from dddp.livequery.query import LiveQuery, Phase

__all__ = ["Fence", "Fences"]


class Fence:
    """One transaction's writes.

    Args:
        epoch: of the feed, when it was raised.
        interest: gives the live queries that the method's session sees, attached or starting.
    """

    __slots__ = ("armed", "epoch", "interest", "seen", "token", "waits")

    def __init__(self, token: str, epoch: int, interest: Callable[[], Iterable[LiveQuery]]) -> None:
        self.token = token
        self.epoch = epoch
        self.interest = interest
        self.armed = False  #: the method's transaction has committed
        self.seen = False  #: its token has come through the feed
        self.waits = 0  #: queries of the session that have not settled since


class Fences:
    """The fences whose tokens have not come yet."""

    def __init__(self) -> None:
        self._fences: dict[str, Fence] = {}

    def __len__(self) -> int:
        return len(self._fences)

    def add(self, fence: Fence) -> None:
        """A transaction is about to commit with the fence's token noted in it."""
        self._fences[fence.token] = fence

    def drop(self, fence: Fence) -> None:
        """The fence's transaction has not committed: nothing will come."""
        self._fences.pop(fence.token, None)

    def arm(self, fence: Fence) -> Iterator[Effect]:
        """The fence's transaction has committed."""
        fence.armed = True
        yield from self._fire_if_through(fence)

    def token_came(self, token: str) -> Iterator[Effect]:
        """A token has come through the feed; perhaps another process's, or that of a fence that was dropped."""
        fence = self._fences.pop(token, None)
        if fence is not None:
            yield from self._see(fence)

    def feed_was_cut(self) -> Iterator[Effect]:
        """The tokens of what has committed may be lost: the reads of what is out of date tell all of it."""
        for fence in [fence for fence in self._fences.values() if fence.armed]:
            yield from self.token_came(fence.token)

    def _see(self, fence: Fence) -> Iterator[Effect]:
        fence.seen = True
        for query in fence.interest():
            if query.phase in (Phase.STARTING, Phase.PENDING):
                fence.waits += 1
                query.fences.append(fence)
        yield from self._fire_if_through(fence)

    def release(self, query: LiveQuery) -> Iterator[Effect]:
        """The query has nothing more to tell of what the fences wait for."""
        fences, query.fences = query.fences, []
        for fence in fences:
            fence.waits -= 1
            yield from self._fire_if_through(fence)

    def _fire_if_through(self, fence: Fence) -> Iterator[Effect]:
        if fence.armed and fence.seen and not fence.waits:
            yield Fired(fence)
