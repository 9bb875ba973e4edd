"""The clients that people have work unmodified: the matrix of ``docs/reference/clients.rst``, made anew by each run.

Every cell is what the run saw. The page in the repository must be the same, to the letter; with
``DDDP_CLIENTS_PAGE=write`` in the environment it is written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.acceptance.test_page import FLAGS
from tests.faults.proxy import Proxy
from tests.interop.clients import NODE_MODULES
from tests.interop.matrix import KINDS, KNOWN, PAGE, Seen, rendered
from tests.interop.scenario import PASSWORD, USER, Scenario
from tests.server import DDDPServer, fresh_database, run_django

pytestmark = [pytest.mark.node, pytest.mark.chromium]

SETTINGS = "tests.interop.project.settings"
MAKE_USER = (
    f"from django.contrib.auth.models import User; User.objects.create_user('{USER}', password='{PASSWORD}')"
)


@pytest.fixture(scope="module")
def server() -> Iterator[DDDPServer]:
    assert NODE_MODULES.exists(), "run: npm ci --prefix tests/interop (make test does)"
    with fresh_database("interop") as url:
        env = {"DATABASE_URL": url}
        for command in (["migrate", "--run-syncdb", "--verbosity=0"], ["shell", "-c", MAKE_USER]):
            run_django(*command, settings_module=SETTINGS, env=env)
        with DDDPServer(SETTINGS, env) as running:
            yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)


@pytest.fixture(scope="module")
def seen(server: DDDPServer, browser: Browser) -> Seen:
    """What a run of all clients saw."""
    with Proxy(("127.0.0.1", server.port)) as proxy:
        scenario = Scenario(KINDS, lambda kind, row: (kind.title, row) in KNOWN, server, proxy, browser)
        scenario.run()
    return scenario.seen


def test_what_a_client_fails_at_is_its_own_limitation(seen: Seen) -> None:
    """No more and no less than what is explained on the page."""
    wrong = {(kind.title, row): what for (kind, row), what in seen.items() if what}
    unknown = [f"{key}: {what}" for key, what in wrong.items() if key not in KNOWN]

    assert not unknown, "\n".join(unknown)
    assert [key for key in KNOWN if key not in wrong] == []


def test_the_page_shows_what_was_seen(seen: Seen) -> None:
    page = rendered(seen)
    if os.environ.get("DDDP_CLIENTS_PAGE") == "write":
        PAGE.write_text(page)

    assert PAGE.read_text() == page
