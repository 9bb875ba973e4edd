"""How many connections the system lets this process have: each is a file descriptor. Knows nothing of what they are."""

from __future__ import annotations

import logging
import resource
import sys

__all__ = ["connections_allowed"]

logger = logging.getLogger(__name__)

RESERVED = 200
"""Descriptors for everything else: the databases, the log, libraries, what the project opens."""


def connections_allowed(wanted: int | None) -> int:
    """Raise this process's limit of open files, as far as may be and is wanted; how many connections it has room for.

    Args:
        wanted: connections; None for as many as can be had.
    """
    soft, hard = map(_number, resource.getrlimit(resource.RLIMIT_NOFILE))
    needed = hard if wanted is None else min(wanted + RESERVED, hard)
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
        soft = needed
    allowed = max(soft - RESERVED, 1)
    if wanted is None:
        return allowed
    if allowed < wanted:
        logger.warning(
            "! the system allows %d open files, so %d connections and not %d", soft, allowed, wanted
        )
    return min(wanted, allowed)


def _number(limit: int) -> int:
    return limit if limit != resource.RLIM_INFINITY else sys.maxsize
