"""What all tests share: what a machine must have for some of them, and a running bookstore."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.server import DDDPServer, fresh_database, run_django

PROGRAMS = {
    "node": "runs a DDP client of the npm world; needs node and npm",
    "chromium": "opens the page in a browser; needs chromium",
    "nginx": "runs behind a reverse proxy; needs nginx",
    "faketime": "makes a server's clock jump; needs faketime",
    "pgbouncer": "stands behind a real pooler; needs pgbouncer",
}
MARKERS = {**PROGRAMS, "install": "builds the wheel and installs it into an empty virtual environment; slow"}

BOOKSTORE = "bookstore_project.settings"


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in MARKERS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what this machine cannot run; in CI that is a failure."""
    for program in PROGRAMS:
        if item.get_closest_marker(program) and not shutil.which(program):
            answer = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
            answer(f"{program} is not installed")


@pytest.fixture(scope="module")
def bookstore() -> Iterator[DDDPServer]:
    """The example, with its books, on a database of its own."""
    with fresh_database("bookstore") as url:
        env = {"DATABASE_URL": url}
        run_django("migrate", "--verbosity=0", settings_module=BOOKSTORE, env=env)
        run_django("load_books", settings_module=BOOKSTORE, env=env)
        with DDDPServer(BOOKSTORE, env) as server:
            yield server
