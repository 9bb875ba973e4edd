"""The services of the sockjs-protocol suite, one server for each module of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.transport.sockjs.browser import Browser
from tests.transport.sockjs.services import Services, services


@pytest.fixture(scope="module")
def served() -> Iterator[Services]:
    with services() as running:
        yield running


@pytest.fixture
def echo(served: Services) -> Browser:
    return Browser(served)


@pytest.fixture
def closing(served: Services) -> Browser:
    return Browser(served, "/close")
