"""What the log is told of handlers that failed: each with its traceback, unless the database is away.

Then all of them fail, for a reason that the listener has told already; a traceback for each call would fill the disk.
"""

from __future__ import annotations

import logging
import time

from dddp.api.sanitise import is_internal, is_unavailable

__all__ = ["FailureLog", "failure_log"]

logger = logging.getLogger(__name__)

INTERVAL = 10.0
"""Seconds in which one line stands for all that failed because the database is away."""


class FailureLog:
    """Tells of the failures of one process."""

    def __init__(self) -> None:
        self._silent_until = 0.0
        self._left_out = 0

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
        now = time.monotonic()
        if now < self._silent_until:
            self._left_out += 1
            return
        others = f" (and {self._left_out} others since the last such line)" if self._left_out else ""
        reason = str(error).partition("\n")[0].strip()
        logger.error("! %s failed%s: the database cannot be reached: %s", what, others, reason)
        self._silent_until, self._left_out = now + INTERVAL, 0


failure_log = FailureLog()
"""This process's."""
