from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.properties.stage import Stage, stage


@pytest.fixture(scope="module", params=["signals", "triggers"])
def library(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """One server for all examples of a module, for each way of capturing."""
    with stage(request.param) as opened:
        yield opened
