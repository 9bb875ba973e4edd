from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.faults.arena import REPORTS, Arena
from tests.faults.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A PostgreSQL for the tests of faults alone."""
    with Cluster() as cluster:
        yield cluster


@pytest.fixture(scope="session", params=["triggers", "signals"])
def arena(request: pytest.FixtureRequest, cluster: Cluster) -> Iterator[Arena]:
    """One server for all trials, for each way of capturing."""
    with Arena(cluster, request.param) as arena:
        yield arena


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if REPORTS:
        terminalreporter.section("faults")
        for line in REPORTS:
            terminalreporter.write_line(line)
