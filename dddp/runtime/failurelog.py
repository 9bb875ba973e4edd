"""What the log is told of handlers and live queries that failed: each handler with its traceback, queries once for all
that are alike.

When the database is away, or a column is gone, all of them fail for one reason: a traceback for each would fill the
disk.
"""

from __future__ import annotations

import logging
import time

from dddp.api.sanitise import is_internal, is_unavailable
from dddp.orm.failures import first_line

__all__ = ["FailureLog", "failure_log"]

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds in which one line stands for all that failed alike."""

KINDS = 1000
"""Of failures that are told apart: errors may quote the values that made them."""

AWAY = "the database is away"


class FailureLog:
    """Tells of the failures of one process."""

    def __init__(self) -> None:
        #: Until when each is silent, and how many were left out.
        self._kinds: dict[str, tuple[float, int]] = {}

    def tell(self, level: int, text: str, error: BaseException | None = None) -> None:
        """Tell what may come in a flood: a text is logged once in ``INTERVAL``.

        Args:
            error: the traceback to go with it.
        """
        others = self._due(text)
        if others is not None:
            logger.log(level, "! %s%s", text, others, exc_info=error)

    def report(self, what: str, error: BaseException) -> None:
        """Tell that something failed, unless the error was meant for the client.

        Args:
            what: such as ``method shop.order``.
        """
        if not is_internal(error):
            return
        if is_unavailable(error):
            self._report_outage(what, error)
        else:
            logger.error("! %s failed", what, exc_info=error)

    def _report_outage(self, what: str, error: BaseException) -> None:
        others = self._due(AWAY)
        if others is not None:
            reason = first_line(error)
            logger.error("! %s failed%s: the database cannot be reached: %s", what, others, reason)

    def _due(self, kind: str) -> str | None:
        """What a line has to say of those left out before it; None when none is due."""
        now = time.monotonic()
        silent_until, left_out = self._kinds.get(kind, (0.0, 0))
        if now < silent_until:
            self._kinds[kind] = silent_until, left_out + 1
            return None
        if len(self._kinds) >= KINDS:
            self._kinds.clear()
        self._kinds[kind] = now + INTERVAL, 0
        return f" (and {left_out} others since the last such line)" if left_out else ""


failure_log = FailureLog()
"""This process's."""
