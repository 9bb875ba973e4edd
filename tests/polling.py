"""Waiting for what nobody announces: other processes, PostgreSQL's views, the state of a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

__all__ = ["until"]


def until(condition: Callable[[], Any], limit: float, hope: str = "it did not come to that") -> None:
    """Ask again and again, until something is so.

    Args:
        limit: seconds.
        hope: what to say when it does not come about in time.
    """
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"{hope}, within {limit} s"
        time.sleep(0.01)
