from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.faults.arena import REPORTS, Arena
from tests.faults.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL for the tests of faults alone."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def arenas(cluster: Cluster) -> Iterator[Callable[[str], Arena]]:
    """One server for all trials, for each way of capturing that is asked for."""
    with ExitStack() as stack:
        yield functools.cache(lambda capture: stack.enter_context(Arena(cluster, capture)))


@pytest.fixture(scope="module", params=["triggers", "signals"])
def arena(request: pytest.FixtureRequest, arenas: Callable[[str], Arena]) -> Arena:
    return arenas(request.param)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if REPORTS:
        terminalreporter.section("faults")
        for line in REPORTS:
            terminalreporter.write_line(line)
