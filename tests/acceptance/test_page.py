"""The bookstore's page in a real browser: two windows stay equal, and survive a restart of the server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import Browser, Locator, Page, expect, sync_playwright

from tests.conftest import BOOKSTORE
from tests.server import DDDPServer, run_django

pytestmark = pytest.mark.chromium

FLAGS = [
    "--no-sandbox",  # as root, in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]


@dataclass
class Window:
    """One open page, and what it did that it should not."""

    page: Page
    mistakes: list[str] = field(default_factory=list)

    def search(self, text: str) -> None:
        self.page.locator("#search").fill(text)

    def book(self, title: str) -> Locator:
        """The row of the book with exactly this title."""
        button = self.page.get_by_role("button", name=title, exact=True)
        return self.page.locator(".book-row").filter(has=button)

    def expect_state(self, state: str) -> None:
        expect(self.page.locator("#connection")).to_have_attribute("data-state", state)

    def titles(self) -> list[str]:
        return self.page.locator(".book-row [data-edit=title]").all_text_contents()


Open = Callable[[], Window]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)


@pytest.fixture
def open_window(browser: Browser, bookstore: DDDPServer) -> Iterator[Open]:
    """Open the page in a window of its own, and wait until the books are there."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.set_default_timeout(15_000)
    windows: list[Window] = []

    def open_window() -> Window:
        window = Window(context.new_page())
        windows.append(window)
        watch(window, bookstore)
        window.page.goto(bookstore.http)
        window.expect_state("connected")
        expect(window.page.locator("#books .count")).to_have_text("720")
        return window

    yield open_window
    context.close()
    assert [window.mistakes for window in windows] == [[]] * len(windows)


def watch(window: Window, server: DDDPServer) -> None:
    """Note what the page asks of other hosts, and errors of its scripts."""
    hosts = (f"{server.http}/", server.url, "data:", "blob:")
    window.page.on(
        "request",
        lambda request: request.url.startswith(hosts) or window.mistakes.append(f"asks {request.url}"),
    )
    window.page.on("pageerror", lambda error: window.mistakes.append(f"raised {error}"))


def in_django(server: DDDPServer, code: str) -> str:
    code = f"from bookstore.models import Author, Book; {code}"
    env = {"DATABASE_URL": server.database}
    return run_django("shell", "--verbosity=0", "-c", code, settings_module=BOOKSTORE, env=env).strip()


def test_one_write_reaches_two_windows(open_window: Open, bookstore: DDDPServer) -> None:
    """A save in a plain shell shows in both, without a reload."""
    one, other = open_window(), open_window()

    in_django(bookstore, "book = Book.objects.first(); book.title = 'A title by the ORM'; book.save()")

    for window in (one, other):
        window.search("title by the orm")
        expect(window.book("A title by the ORM")).to_be_visible()


def test_a_book_is_added_renamed_and_deleted(open_window: Open) -> None:
    """What one window does the other shows."""
    one, other = open_window(), open_window()
    for window in (one, other):
        window.search("zzz")
    one.page.get_by_role("button", name="Add book").first.click()
    form = one.page.locator("#add-book")
    form.get_by_label("Title").fill("Zzz by the page")
    form.get_by_label("Author").select_option(index=1)
    form.get_by_label("First published").fill("1999")
    form.get_by_label("Price").fill("9.95")
    form.get_by_role("button", name="Add book").click()
    expect(other.book("Zzz by the page")).to_be_visible()

    other.book("Zzz by the page").locator("[data-edit=title]").click()
    other.page.get_by_label("Title of Zzz by the page").fill("Zzz renamed")
    other.page.keyboard.press("Enter")
    expect(one.book("Zzz renamed")).to_be_visible()

    one.book("Zzz renamed").get_by_role("button", name="Delete Zzz renamed").click()
    one.page.get_by_role("button", name="Delete", exact=True).click()
    for window in (one, other):
        expect(window.page.locator(".book-row")).to_have_count(0)


def test_a_wrong_value_is_told_beside_its_field(open_window: Open) -> None:
    window = open_window()
    window.page.get_by_role("button", name="Add author").first.click()
    form = window.page.locator("#add-author")
    form.get_by_label("Name").fill("Nobody")
    form.get_by_label("E-mail").fill("no address")
    form.get_by_role("button", name="Add author").click()

    expect(form.locator("[name=email] + .field-error")).to_contain_text("valid")


def test_windows_recover_from_a_restart(open_window: Open, bookstore: DDDPServer) -> None:
    """They say that they are cut off, reconnect by themselves and show what happened meanwhile."""
    one, other = open_window(), open_window()
    bookstore.stop()
    for window in (one, other):
        window.expect_state("waiting")
    in_django(bookstore, "book = Book.objects.last(); book.title = 'Zzz while it was down'; book.save()")
    bookstore.start()

    for window in (one, other):
        window.expect_state("connected")
        window.search("zzz while")
        expect(window.book("Zzz while it was down")).to_be_visible()
    one.search("")
    other.search("")
    assert one.titles() == other.titles()
    assert len(one.titles()) == 720
