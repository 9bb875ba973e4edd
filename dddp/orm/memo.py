"""What was made of a column's texts before: most rows have values that other rows have, or that they had before.

Texts of the feed, not values: equal values may be written differently (``1.0`` and ``1.00``). Only for what is the
same each time it is made, and is never changed by who gets it.
"""

from __future__ import annotations

from typing import TypeVar

__all__ = ["Memo"]

T = TypeVar("T")

LONGEST = 40
"""Characters of a text that is remembered: room for numbers, keys, dates and words."""

MOST = 2048
"""Texts of one column that are remembered at a time, with a value and a member each: at most 450 KB (measured)."""


class Memo(dict[str | None, T]):
    """What was made of some texts; of as many as there is room for, then from scratch."""

    __slots__ = ()

    def remember(self, text: str | None, made: T) -> T:
        """Keep what was made of a text, unless it is long. Returns it."""
        if text is None or len(text) <= LONGEST:
            if len(self) >= MOST:
                self.clear()
            self[text] = made
        return made
