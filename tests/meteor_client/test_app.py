"""The Meteor app in a real browser, with Meteor's own client, served by ``MeteorView`` beside DDP."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.acceptance.test_page import FLAGS, in_django
from tests.meteor_client.app import NODE_MODULES, build
from tests.server import ROOT, DDDPServer, fresh_database, run_django

pytestmark = [pytest.mark.chromium, pytest.mark.node]

URLS = """
from django.urls import re_path
from dddp.views import MeteorView

urlpatterns = [re_path(r"^(?P<path>.*)$", MeteorView.as_view(json_path={star!r}))]
"""

SETTINGS = """
from bookstore_project.settings import *

ROOT_URLCONF = "app_urls"
INSTALLED_APPS = [*dict.fromkeys([*INSTALLED_APPS, "dddp.accounts"])]
PASSWORD_HASHERS = ["dddp.accounts.hashers.DigestPBKDF2PasswordHasher"]
"""

MAKE_USER = """
from django.contrib.auth.models import User
User.objects.create_user("emma", password="Highbury 1815")
"""

FIRST_BOOK = "Book.objects.order_by('title').first()"


@dataclass
class Window:
    """The app's page, and what it did that it should not."""

    page: Page
    mistakes: list[str] = field(default_factory=list)

    def find(self, title: str) -> Locator:
        """Search for a title; its row."""
        self.page.locator("#search").fill(title)
        row = self.page.locator("#books tr")
        expect(row).to_have_count(1)
        expect(row.get_by_label("Title")).to_have_value(title)
        return row

    def log_in(self, username: str, password: str) -> None:
        self.page.get_by_label("Username").fill(username)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Log in").click()

    def expect_status(self, status: str) -> None:
        expect(self.page.locator("#status")).to_have_attribute("data-status", status)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DDDPServer]:
    """The bookstore with its books, and the Meteor app for a page."""
    assert (NODE_MODULES / "meteor-client-side").exists(), (
        "run: npm ci --prefix tests/interop (make test does)"
    )
    folder = tmp_path_factory.mktemp("meteor")
    (folder / "app_urls.py").write_text(URLS.format(star=str(build(folder / "bundle"))))
    (folder / "app_settings.py").write_text(SETTINGS)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "bookstore_example", folder)))
    with fresh_database("meteor") as url:
        env = {"DATABASE_URL": url, "PYTHONPATH": path}
        for command in (["migrate", "--verbosity=0"], ["load_books"], ["shell", "-c", MAKE_USER]):
            run_django(*command, settings_module="app_settings", env=env)
        with DDDPServer("app_settings", env) as running:
            yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=15_000)  # what is waited for comes from the server, by way of its database
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
    expect.set_options(timeout=5_000)


@pytest.fixture
def window(browser: Browser, server: DDDPServer) -> Iterator[Window]:
    """The page, opened, with all books there."""
    context = browser.new_context()
    context.set_default_timeout(15_000)
    window = Window(context.new_page())
    window.page.on("pageerror", lambda error: window.mistakes.append(f"raised {error}"))
    window.page.goto(server.http)
    window.expect_status("connected")
    expect(window.page.locator("#count")).to_have_text("720")
    yield window
    context.close()
    assert window.mistakes == []


def test_a_price_changed_by_the_orm_appears(window: Window, server: DDDPServer) -> None:
    title = in_django(server, f"book = {FIRST_BOOK}; book.price = '123.45'; book.save(); print(book.title)")

    expect(window.find(title).get_by_label("Price")).to_have_value("123.45")


def test_a_book_is_renamed(window: Window, server: DDDPServer) -> None:
    title = in_django(server, "print(Book.objects.order_by('title')[10].title)")
    window.find(title).get_by_label("Title").fill("Renamed by Meteor")
    window.page.keyboard.press("Enter")

    window.find("Renamed by Meteor")
    assert in_django(server, "print(Book.objects.filter(title='Renamed by Meteor').count())") == "1"


def test_what_the_server_refuses_is_told_and_undone(window: Window, server: DDDPServer) -> None:
    """The new title was shown at once, by the method's stub."""
    title = in_django(server, "print(Book.objects.order_by('title')[20].title)")
    window.find(title).get_by_label("Title").fill(" ")
    window.page.keyboard.press("Enter")

    expect(window.page.locator("#mistake")).not_to_be_empty()
    window.find(title)


def test_a_book_is_added(window: Window, server: DDDPServer) -> None:
    form = window.page.locator("#add")
    form.get_by_label("Title").fill("Added by Meteor")
    form.get_by_label("Author").select_option("Jane Austen")
    form.get_by_label("Price").fill("7.50")
    form.get_by_role("button", name="Add").click()

    row = window.find("Added by Meteor")
    expect(row.locator("td").nth(1)).to_have_text("Jane Austen")
    expect(row.get_by_label("Price")).to_have_value("7.50")
    in_django(server, "Book.objects.get(title='Added by Meteor').delete()")
    expect(window.page.locator("#count")).to_have_text("720")


def test_the_second_connection_is_live_too(window: Window, server: DDDPServer) -> None:
    cheapest = window.page.locator("#cheapest li")
    expect(cheapest).to_have_count(5)

    in_django(
        server, "book = Book.objects.last(); book.title = 'A bargain'; book.price = '0.01'; book.save()"
    )

    expect(cheapest.first).to_have_text("A bargain, 0.01")
    expect(cheapest).to_have_count(5)


def test_the_page_recovers_from_a_restart(window: Window, server: DDDPServer) -> None:
    server.stop()
    window.expect_status("waiting")
    in_django(server, f"book = {FIRST_BOOK}; book.price = '54.32'; book.save()")
    server.start()

    window.expect_status("connected")
    title = in_django(server, f"print({FIRST_BOOK}.title)")
    expect(window.find(title).get_by_label("Price")).to_have_value("54.32")


def test_a_user_logs_in_stays_logged_in_and_logs_out(window: Window) -> None:
    """By the digest of the password, then by the token that the browser keeps."""
    user = window.page.locator("#user")
    window.log_in("emma", "Highbury 1815")
    expect(user).to_contain_text("Hello, emma")

    window.page.reload()
    expect(user).to_contain_text("Hello, emma")

    user.get_by_role("button", name="Log out").click()
    expect(window.page.locator("#login")).to_be_visible()
    expect(user).to_be_hidden()


def test_a_wrong_password_is_told(window: Window) -> None:
    window.log_in("emma", "Hartfield")

    expect(window.page.locator("#mistake")).not_to_be_empty()
    expect(window.page.locator("#login")).to_be_visible()
