"""A Meteor app on the real server: its page, its files, and what every Meteor client subscribes to by itself."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

import pytest

from tests.conftest import BOOKSTORE
from tests.meteor.bundles import BODY, BundleWriter
from tests.server import ROOT, DDDPServer, fresh_database, run_django

AUTOUPDATE = "meteor_autoupdate_clientVersions"

URLS = """
from django.urls import re_path
from dddp.views import MeteorView

urlpatterns = [re_path(r"^(?P<path>.*)$", MeteorView.as_view(json_path={star!r}))]
"""


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with fresh_database("views") as url:
        run_django("migrate", "--verbosity=0", settings_module=BOOKSTORE, env={"DATABASE_URL": url})
        yield url


@pytest.fixture(scope="module")
def server(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DDDPServer]:
    """The bookstore's server, with a Meteor app for a page."""
    folder = tmp_path_factory.mktemp("app")
    star = BundleWriter(folder / "bundle").write()
    (folder / "app_urls.py").write_text(URLS.format(star=str(star)))
    (folder / "app_settings.py").write_text(
        'from bookstore_project.settings import *\n\nROOT_URLCONF = "app_urls"\n'
    )
    path = (ROOT, ROOT / "bookstore_example", folder)
    with DDDPServer("app_settings", {"DATABASE_URL": database}, path=path) as running:
        yield running


def answer(server: DDDPServer, method: str, url: str) -> tuple[http.client.HTTPResponse, bytes]:
    """One request on a connection of its own, and whatever comes before its end."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request(method, url, headers={"Connection": "close"})
    assert connection.sock is not None
    socket = connection.sock.makefile("rb")
    raw = socket.read()
    connection.close()
    head, _, body = raw.partition(b"\r\n\r\n")
    return head, body


def test_the_page_is_served_beside_ddp(server: DDDPServer) -> None:
    head, body = answer(server, "GET", "/books/1")

    assert head.startswith(b"HTTP/1.1 200")
    assert BODY in body.decode()


@pytest.mark.parametrize("url", ["/", "/images/logo.svg"])
def test_head_sends_no_body(server: DDDPServer, url: str) -> None:
    head, body = answer(server, "HEAD", url)

    assert head.startswith(b"HTTP/1.1 200")
    assert body == b""


def test_autoupdate_tells_the_version_before_any_page_is_asked_for(server: DDDPServer) -> None:
    """As after a restart with a new bundle: clients reconnect, and must learn that they are outdated."""
    with server.client() as client:
        client.subscribed(AUTOUPDATE)
        told = client.documents(AUTOUPDATE)

    assert set(told) == {"web.browser", "web.browser.legacy"}
    names = {"version", "versionRefreshable", "versionNonRefreshable", "versionReplaceable", "assets"}
    assert set(told["web.browser"]) == names


@pytest.mark.parametrize("app_id", [None, "shop.id"])
def test_autoupdate_takes_the_id_of_the_app(server: DDDPServer, app_id: str | None) -> None:
    """Cordova sends it, as null where it has none."""
    with server.client() as client:
        client.subscribed(AUTOUPDATE, app_id)

        assert len(client.documents(AUTOUPDATE)) == 2


def test_without_an_app_what_meteor_subscribes_to_is_ready_and_empty(database: str) -> None:
    with DDDPServer(BOOKSTORE, {"DATABASE_URL": database}) as plain, plain.client() as client:
        client.subscribed(AUTOUPDATE)
        client.subscribed("meteor.loginServiceConfiguration")

        assert client.documents(AUTOUPDATE) == {}
        assert client.documents("meteor_accounts_loginServiceConfiguration") == {}
