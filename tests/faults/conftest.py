from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.faults.arena import REPORTS, TOTALS, Arena
from tests.faults.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL for the tests of faults alone."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def arenas(cluster: Cluster) -> Iterator[Callable[..., Arena]]:
    """One server for all trials, for each way of capturing and number of workers that is asked for."""
    with ExitStack() as stack:
        arena = functools.cache(
            lambda capture, workers: stack.enter_context(Arena(cluster, capture, workers))
        )
        yield lambda capture, workers=1: arena(capture, workers)


@pytest.fixture(scope="module", params=["triggers", "signals"])
def arena(request: pytest.FixtureRequest, arenas: Callable[..., Arena]) -> Arena:
    return arenas(request.param)


@pytest.fixture(scope="module")
def workers(arenas: Callable[..., Arena]) -> Arena:
    """The arena whose server is a supervisor with two workers."""
    return arenas("triggers", 2)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if REPORTS:
        terminalreporter.section("faults")
        for line in REPORTS:
            terminalreporter.write_line(line)
    if TOTALS:
        terminalreporter.write_line(
            f"{TOTALS['trials']} trials in all: {TOTALS['changes']} changes written, {TOTALS['faults']} faults"
            f" injected, {TOTALS['clients']} clients checked, lost = 0"
        )
