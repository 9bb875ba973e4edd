"""How many sessions each client address has, over every transport, and whether it may have one more.

An address is whatever names a client: the one at the other end of the socket, or what a trusted proxy says it was.
"""

from __future__ import annotations

import logging
from collections import Counter

__all__ = ["Admissions"]

logger = logging.getLogger(__name__)


class Admissions:
    """Counts the sessions of each address.

    Args:
        limit: sessions that one address may have at a time; None for any number.
    """

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self._sessions: Counter[str] = Counter()
        #: Addresses that were refused: one line in the log for each, not one per refusal.
        self._full: set[str] = set()

    def admits(self, address: str) -> bool:
        """Tell whether an address may have one more session."""
        if self._limit is None or self._sessions[address] < self._limit:
            return True
        if address not in self._full:
            self._full.add(address)
            logger.warning("! %s has %d sessions, no more are admitted", address, self._limit)
        return False

    def enter(self, address: str) -> None:
        """Count a session that has begun."""
        self._sessions[address] += 1

    def leave(self, address: str) -> None:
        """Count a session that has ended."""
        self._sessions[address] -= 1
        self._full.discard(address)
        if not self._sessions[address]:
            del self._sessions[address]
