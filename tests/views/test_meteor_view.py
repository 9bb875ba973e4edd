"""``MeteorView`` over HTTP: the page, the files, caching, settings, and what it says when it cannot."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client
from django.urls import include, path, re_path
from django.views.decorators.cache import never_cache

from dddp.checks import check_bundles
from dddp.meteor.bundle import BundleError
from dddp.views import MeteorView
from dddp.views.served import client_versions
from tests.meteor.bundles import BODY, BundleWriter, add_source_map, sha1

MODERN = "Mozilla/5.0 (X11; Linux x86_64; rv:121.0) Gecko/20100101 Firefox/121.0"
OLD = "Mozilla/5.0 (Windows NT 10.0; WOW64; Trident/7.0; rv:11.0) like Gecko"
ALL = r"^(?P<path>.*)$"

Serve = Callable[..., Client]


@pytest.fixture
def writer(tmp_path: Path) -> BundleWriter:
    writer = BundleWriter(tmp_path / "bundle")
    writer.write()
    return writer


@pytest.fixture
def serve(settings: Any, writer: BundleWriter) -> Serve:
    """Serve the bundle as the whole site, or below ``at``; a modern browser's client of it."""

    def serve(at: str = "", view: type[MeteorView] = MeteorView, **options: Any) -> Client:
        pattern = re_path(ALL, view.as_view(**{"json_path": writer.star, **options}))
        settings.ROOT_URLCONF = (path(at, include([pattern])),)
        return Client(headers={"User-Agent": MODERN})

    return serve


def text(response: Any) -> str:
    return b"".join(response).decode() if response.streaming else response.content.decode()


def config_of(client: Client, url: str = "/", **options: Any) -> dict[str, Any]:
    """The runtime configuration of a page, as its browser reads it."""
    page = text(client.get(url, **options))
    (literal,) = re.findall(r'decodeURIComponent\(("[^"]*")\)', page)
    return json.loads(unquote(json.loads(literal)))


def links(page: str) -> list[str]:
    return re.findall(r'(?:src|href)="([^"]*)"', page)


# -- The page


@pytest.mark.parametrize("url", ["/", "/books/17", "/books/a%20b/?sort=title"])
def test_any_path_is_the_apps_page(serve: Serve, url: str) -> None:
    """The app's own router knows what it means."""
    response = serve().get(url)

    assert response.status_code == 200
    assert response["Content-Type"] == "text/html; charset=utf-8"
    assert response["Cache-Control"] == "no-cache"
    assert response["Vary"] == "User-Agent"
    assert BODY in text(response)


@pytest.mark.parametrize("url", ["/", "/app/", "/app/books/1"])
def test_what_the_page_links_to_is_there(serve: Serve, url: str) -> None:
    client = serve("app/" if url.startswith("/app/") else "")
    found = links(text(client.get(url)))

    assert len(found) == 2
    for link in found:
        assert client.get(link)["Cache-Control"] == "public, max-age=31536000, immutable"


def test_each_browser_gets_its_program(serve: Serve) -> None:
    client = serve()
    modern, old = (text(client.get("/", headers={"User-Agent": agent})) for agent in (MODERN, OLD))

    assert links(modern) != links(old)
    assert text(client.get(links(modern)[1])) == "shop() // web.browser"
    assert text(client.get(links(old)[1])) == "shop() // web.browser.legacy"
    assert config_of(client)["isModern"] is True
    assert config_of(client, headers={"User-Agent": OLD})["isModern"] is False


def test_a_browser_gets_the_only_program_there_is(serve: Serve, tmp_path: Path) -> None:
    """``meteor build --exclude-archs web.browser.legacy``."""
    star = BundleWriter(tmp_path / "one", archs=["web.browser"]).write()
    client = serve(json_path=star)

    assert config_of(client, headers={"User-Agent": OLD})["isModern"] is True


def test_a_subclass_adds_to_the_page(serve: Serve) -> None:
    class ShopView(MeteorView):
        def get_html_attributes(self) -> dict[str, str]:
            return {"lang": "en"}

        def get_dynamic_head(self) -> str:
            return f'<link rel="canonical" href="{self.path}">'

        def get_dynamic_body(self) -> str:
            return "<noscript>JavaScript, please</noscript>"

    page = text(serve(view=ShopView).get("/books/1"))

    assert '<html lang="en">' in page
    assert '<link rel="canonical" href="/books/1">' in page
    assert "<noscript>" in page


def test_scripts_can_come_from_another_host(serve: Serve) -> None:
    page = text(serve(bundled_js_css_prefix="https://cdn.example.org").get("/"))

    assert all(link.startswith("https://cdn.example.org/") for link in links(page))


def test_without_inline_scripts_the_configuration_is_a_file(serve: Serve) -> None:
    client = serve("app/", inline_scripts_allowed=False)
    page = text(client.get("/app/"))
    script = client.get("/app/meteor_runtime_config.js")

    assert "<script>" not in page
    assert "/app/meteor_runtime_config.js" in links(page)
    assert script["Content-Type"] == "application/javascript; charset=utf-8"
    assert text(script).startswith('__meteor_runtime_config__ = {"meteorRelease":"METEOR@3.0.4"')


# -- The runtime configuration


def test_the_configuration_of_an_app_at_the_root(serve: Serve) -> None:
    config = config_of(serve())

    assert config["ROOT_URL"] == "http://testserver/"
    assert config["ROOT_URL_PATH_PREFIX"] == ""
    assert config["DDP_DEFAULT_CONNECTION_URL"] == "/"
    assert config["meteorRelease"] == "METEOR@3.0.4"
    assert config["gitCommitHash"] == "0a1b2c3d"
    assert config["appId"] == "shop.id"
    assert config["meteorEnv"] == {"NODE_ENV": "production", "TEST_METADATA": "{}"}
    assert config["PUBLIC_SETTINGS"] == {}


def test_the_configuration_of_an_app_below_a_path(serve: Serve) -> None:
    """DDP is at the root all the same, which only a whole URL tells such an app."""
    config = config_of(serve("shop/app/"), "/shop/app/books/1")

    assert config["ROOT_URL"] == "http://testserver/shop/app/"
    assert config["ROOT_URL_PATH_PREFIX"] == "/shop/app"
    assert config["DDP_DEFAULT_CONNECTION_URL"] == "http://testserver/"


def test_clients_are_sent_to_where_ddp_is(serve: Serve, settings: Any) -> None:
    settings.DDDP = {"URL_PREFIX": "/live"}

    assert config_of(serve())["DDP_DEFAULT_CONNECTION_URL"] == "/live/"


def test_urls_are_https_where_django_redirects_to_it(serve: Serve, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True

    assert config_of(serve(root_url=""))["ROOT_URL"] == "https://testserver/"


def test_the_view_has_the_last_word(serve: Serve) -> None:
    more = {"DISABLE_SOCKJS": True, "DDP_DEFAULT_CONNECTION_URL": "https://ddp.example.org"}
    config = config_of(serve(root_url="https://shop.example.org/", runtime_config=more))

    assert config["ROOT_URL"] == "https://shop.example.org/"
    assert config["DISABLE_SOCKJS"] is True
    assert config["DDP_DEFAULT_CONNECTION_URL"] == "https://ddp.example.org"


# -- Settings


def test_public_settings_reach_the_page_and_no_others(serve: Serve, settings: Any) -> None:
    settings.METEOR_SETTINGS = {"secret": "hidden", "public": {"motto": "Read!"}}
    client = serve()

    assert config_of(client)["PUBLIC_SETTINGS"] == {"motto": "Read!"}
    assert "hidden" not in text(client.get("/"))


def test_settings_are_merged_and_the_environment_wins(
    serve: Serve, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of ``settings.py``, the view (here a file) and the environment, in this order, at all depths."""
    settings.METEOR_SETTINGS = {"public": {"a": 1, "b": 1, "c": 1, "deep": {"a": 1, "b": 1}}}
    file = tmp_path / "settings.json"
    file.write_text('{"public": {"b": 2, "c": 2, "deep": {"b": 2}}}')
    monkeypatch.setenv("METEOR_SETTINGS", '{"public": {"c": 3}}')

    found = config_of(serve(meteor_settings=file))["PUBLIC_SETTINGS"]
    assert found == {"a": 1, "b": 2, "c": 3, "deep": {"a": 1, "b": 2}}


def test_environment_variables_become_public_where_they_are_named(
    serve: Serve, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.METEOR_PUBLIC_ENVS = ["ONE"]
    monkeypatch.setenv("METEOR_PUBLIC_ENVS", "TWO, THREE FOUR")
    for name in ("ONE", "TWO", "THREE", "FIVE", "SIX"):
        monkeypatch.setenv(name, name.lower())

    found = config_of(serve(meteor_public_envs=["FIVE"]))["PUBLIC_SETTINGS"]
    assert found == {"ONE": "one", "TWO": "two", "THREE": "three", "FIVE": "five"}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{", "cannot be read"),
        ("/nowhere/settings.json", "No such file"),
        (["public"], "not .?list"),
    ],
)
def test_settings_that_are_none_are_named(serve: Serve, settings: Any, value: Any, reason: str) -> None:
    settings.METEOR_SETTINGS = value

    with pytest.raises(ImproperlyConfigured, match=rf"settings\.METEOR_SETTINGS .*{reason}"):
        serve().get("/")


# -- Files


def test_a_public_file_is_asked_for_again_each_time(serve: Serve) -> None:
    client = serve()
    first = client.get("/images/logo.svg")
    second = client.get("/images/logo.svg", headers={"If-None-Match": first["ETag"]})

    assert text(first) == "<svg/>"
    assert first["Content-Type"] == "image/svg+xml"
    assert first["Content-Length"] == "6"
    assert first["Cache-Control"] == "no-cache"
    assert first["ETag"] == f'"{sha1("<svg/>")}"'
    assert (second.status_code, second.content, second["ETag"]) == (304, b"", first["ETag"])


def test_a_file_of_its_own_hash_is_kept_for_ever(serve: Serve) -> None:
    client = serve()
    stylesheet, script = (client.get(link) for link in links(text(client.get("/"))))

    assert stylesheet["Content-Type"] == "text/css; charset=utf-8"
    assert script["Content-Type"] == "application/javascript; charset=utf-8"
    assert script["Cache-Control"] == "public, max-age=31536000, immutable"
    assert script["Vary"] == "User-Agent"


def test_head_gives_the_headers_alone(serve: Serve) -> None:
    response = serve().head("/images/logo.svg")

    assert (response.status_code, text(response), response["Content-Length"]) == (200, "", "6")


def test_a_script_names_its_source_map(serve: Serve, writer: BundleWriter) -> None:
    url = add_source_map(writer.path("web.browser"))
    client = serve("app/")
    script = client.get(links(text(client.get("/app/")))[1])

    assert script["SourceMap"] == f"/app{url}"
    assert text(client.get(script["SourceMap"])) == "{}"


@pytest.mark.parametrize(
    "url",
    [
        "/program.json",
        "/head.html",
        "/app/images/logo.svg",
        "/../server/boot.js",
        "/%2e%2e/server/boot.js",
        "/..%2f..%2fstar.json",
        "/images/../../../star.json",
        "//etc/passwd",
        "/%00",
    ],
)
def test_nothing_is_served_but_what_the_manifest_names(serve: Serve, url: str) -> None:
    """Other paths are pages of the app, whatever they look like."""
    page = text(serve().get(url))

    assert BODY in page
    assert "secrets" not in page


@pytest.mark.parametrize("url", ["/favicon.ico", "/robots.txt", "/gone.js?meteor_js_resource=true"])
def test_what_is_no_page_is_not_found(serve: Serve, url: str) -> None:
    response = serve().get(url)

    assert (response.status_code, response["Cache-Control"]) == (404, "no-cache")


def test_a_stylesheet_that_is_gone_says_so_to_the_client(serve: Serve) -> None:
    response = serve().get("/gone.css?meteor_css_resource=true")

    assert (response.status_code, response["Cache-Control"]) == (200, "no-cache")
    assert ".meteor-css-not-found-error" in text(response)


@pytest.mark.parametrize("url", ["/", "/images/logo.svg"])
def test_posts_are_refused(serve: Serve, url: str) -> None:
    response = serve().post(url)

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, OPTIONS")


# -- Modules of import()


FETCH = "/__meteor__/dynamic-import/fetch"


def test_modules_are_fetched_without_a_csrf_token(serve: Serve) -> None:
    """As fetch() of Meteor's client posts it: JSON that says it is text."""
    serve()
    client = Client(enforce_csrf_checks=True, headers={"User-Agent": MODERN})
    response = client.post(FETCH, '{"imports": {"page.js": 1}}', content_type="text/plain;charset=UTF-8")

    assert response.json() == {"imports": {"page.js": "function page() {} // web.browser"}}
    assert response["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("body", ["", "{", "[" * 100_000, "\xff".encode("latin-1")])
def test_a_request_for_modules_that_is_no_json_is_refused(serve: Serve, body: Any) -> None:
    response = serve().post(FETCH, body, content_type="text/plain")

    assert (response.status_code, response.json()) == (400, "bad request")


def test_other_origins_may_ask_for_modules(serve: Serve) -> None:
    response = serve().options(FETCH)

    assert response["Access-Control-Allow-Origin"] == "*"
    assert response["Access-Control-Allow-Methods"] == "POST"


# -- Mistakes


def test_a_missing_bundle_is_named(serve: Serve, tmp_path: Path) -> None:
    client = serve(json_path=tmp_path / "star.json")

    with pytest.raises(BundleError, match=r"there is no Meteor bundle at .*star\.json"):
        client.get("/")


def test_a_bundle_that_comes_later_is_served(serve: Serve, tmp_path: Path) -> None:
    """The next request tries again."""
    later = BundleWriter(tmp_path / "later")
    client = serve(json_path=later.star)
    with pytest.raises(BundleError):
        client.get("/")
    later.write()

    assert BODY in text(client.get("/"))


def test_a_view_without_a_bundle_says_what_to_give(serve: Serve) -> None:
    with pytest.raises(ImproperlyConfigured, match="json_path"):
        serve(json_path="").get("/")


def test_a_url_without_the_rest_of_the_path_says_what_to_write(settings: Any, writer: BundleWriter) -> None:
    settings.ROOT_URLCONF = (path("", MeteorView.as_view(json_path=writer.star)),)

    with pytest.raises(ImproperlyConfigured, match=r're_path\(r"\^\(\?P<path>'):
        Client().get("/")


def test_the_system_check_names_a_missing_bundle(serve: Serve, tmp_path: Path) -> None:
    serve("shop/", json_path=tmp_path / "star.json")
    (warning,) = check_bundles()

    assert warning.id == "dddp.W005"
    assert "The Meteor app at /shop/ cannot be served: there is no Meteor bundle at" in warning.msg


def test_the_system_check_is_content_with_a_bundle(serve: Serve) -> None:
    serve()

    assert check_bundles() == []


# -- Autoupdate


def test_clients_are_told_the_versions_of_the_page(serve: Serve) -> None:
    client = serve("app/")
    told = client_versions()
    versions = config_of(client, "/app/")["autoupdate"]["versions"]

    assert set(told) == {"web.browser", "web.browser.legacy"}
    assert {arch: {**fields, "assets": None} for arch, fields in told.items()} == {
        arch: {**fields, "assets": None} for arch, fields in versions.items()
    }
    (stylesheet,) = told["web.browser"]["assets"]
    assert stylesheet == {"url": links(text(client.get("/app/")))[0]}


def told_by(serve: Serve, star: Path, **options: Any) -> dict[str, Any]:
    serve(json_path=star, **options)
    return client_versions()["web.browser"]


def test_another_script_is_another_version(serve: Serve, tmp_path: Path, writer: BundleWriter) -> None:
    before = told_by(serve, writer.star)
    after = told_by(serve, BundleWriter(tmp_path / "next", code="shop(2)").write())

    assert before["versionNonRefreshable"] != after["versionNonRefreshable"]
    assert before["versionRefreshable"] == after["versionRefreshable"]
    assert before["version"] != after["version"]


def test_other_public_settings_are_another_version(serve: Serve, writer: BundleWriter) -> None:
    before = told_by(serve, writer.star)
    after = told_by(serve, writer.star, meteor_settings={"public": {"a": 1}})

    assert before["versionNonRefreshable"] != after["versionNonRefreshable"]


def test_the_environment_may_name_the_version(
    serve: Serve, writer: BundleWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOUPDATE_VERSION", "spring")
    told = told_by(serve, writer.star)

    assert {told[name] for name in told if name != "assets"} == {"spring"}


def test_a_client_of_another_app_is_told_nothing(serve: Serve) -> None:
    serve()

    assert client_versions("other.id") == {}
    assert set(client_versions("shop.id")) == {"web.browser", "web.browser.legacy"}


def test_autoupdate_can_be_off(serve: Serve) -> None:
    serve(autoupdate=False)

    assert client_versions() == {}


def test_a_decorated_view_is_found(settings: Any, writer: BundleWriter) -> None:
    settings.ROOT_URLCONF = (re_path(ALL, never_cache(MeteorView.as_view(json_path=writer.star))),)

    assert set(client_versions()) == {"web.browser", "web.browser.legacy"}


def test_a_view_at_two_urls_is_one(settings: Any, writer: BundleWriter) -> None:
    view = MeteorView.as_view(json_path=writer.star)
    settings.ROOT_URLCONF = (path("", view, {"path": ""}), path("<path:path>", view))

    assert set(client_versions()) == {"web.browser", "web.browser.legacy"}
    assert BODY in text(Client().get("/books/1"))


def test_with_several_bundles_no_client_is_told(settings: Any, writer: BundleWriter) -> None:
    """It does not say which of them it came from, and must not reload for the other's sake; one is silent here."""
    settings.ROOT_URLCONF = tuple(
        re_path(f"^{name}/(?P<path>.*)$", MeteorView.as_view(json_path=writer.star, autoupdate=tells))
        for name, tells in (("a", True), ("b", False))
    )

    assert client_versions() == {}


def test_without_a_bundle_no_client_is_told(settings: Any) -> None:
    settings.ROOT_URLCONF = (path("", lambda request: HttpResponse()),)

    assert client_versions() == {}


def test_a_bundle_that_cannot_be_read_is_logged_and_told_nobody(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    serve(json_path=tmp_path / "star.json")

    assert client_versions() == {}
    assert "there is no Meteor bundle at" in caplog.text
