"""Reads for the subscriptions of many clients: addresses take turns."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest

from tests.client import StrictClient
from tests.runtime.conftest import Project

SLOW = 6


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"READ_POOL_SIZE": 1, "FORWARDED_COUNT": 1}


def test_slow_subscriptions_of_one_address_delay_only_each_other(project: Project) -> None:
    """With one reader: for what it reads, and what it reads next, and what it reads along."""
    project.add_book("Emma", 9)  # each of them takes a second for it
    with ExitStack() as stack:

        def client(address: str) -> StrictClient:
            return stack.enter_context(StrictClient(project.server.url, headers={"X-Forwarded-For": address}))

        slow = [client("10.0.0.2") for _ in range(SLOW)]
        subscriptions = [each.subscribe("SlowBooks", price) for price, each in enumerate(slow)]
        for each in slow:
            each.ping()
        client("10.0.0.3").subscribed("BooksFrom", 3)

        assert sum(each.ready for each in subscriptions) <= 3
