"""What the router asks its edge to do: each effect is to be done when it is yielded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from dddp.livequery.query import LiveQuery
from dddp.livequery.step import Step

if TYPE_CHECKING:
    from dddp.livequery.fences import Fence

__all__ = ["Closed", "Deliver", "Effect", "Failed", "Fired", "Settled"]


@dataclass(frozen=True, slots=True)
class Deliver:
    """Send the step to every session of its queries."""

    step: Step


@dataclass(frozen=True, slots=True)
class Settled:
    """The query shows the process's position now: call those who wait for it."""

    query: LiveQuery


@dataclass(frozen=True, slots=True)
class Failed:
    """The query's SQL failed; it is closed. Tell its subscriptions and those who wait for it."""

    query: LiveQuery
    error: Exception


@dataclass(frozen=True, slots=True)
class Closed:
    """Nobody uses the query any more: its tables need not be listened to for its sake."""

    query: LiveQuery


@dataclass(frozen=True, slots=True)
class Fired:
    """The write fence is through: every data message its writes caused has been delivered."""

    fence: Fence


Effect: TypeAlias = Deliver | Settled | Failed | Closed | Fired
