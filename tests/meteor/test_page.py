"""The page: its parts in the order that Meteor needs, and a configuration that cannot break out of its script."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote

import pytest

from dddp.meteor.bundle import Program, read_bundle
from dddp.meteor.page import Page, config_script
from tests.meteor.bundles import BODY, BundleWriter


def program(folder: Path, head: str = "<title>Shop</title>") -> Program:
    return read_bundle(BundleWriter(folder, head=head).write()).programs["web.browser"]


def positions(html: str, *parts: str) -> list[int]:
    return [html.index(part) for part in parts]


def config_in(html: str) -> object:
    """What a browser would make of the inline script."""
    (literal,) = re.findall(r'JSON\.parse\(decodeURIComponent\(("[^"]*")\)\)', html)
    return json.loads(unquote(json.loads(literal)))


def test_the_parts_are_in_order(tmp_path: Path) -> None:
    html = Page(program(tmp_path), {}, head="<meta name=late>", body="<i>late</i>").render()

    parts = ["__meteor-css__", "<title>Shop", "<meta name=late>", "<body>", BODY, "<i>late</i>"]
    found = positions(html, *parts, "__meteor_runtime_config__", ".js?meteor_js_resource", "</body>")
    assert html.startswith("<!DOCTYPE html>\n<html>")
    assert found == sorted(found)


def test_stylesheets_go_where_the_head_wants_them(tmp_path: Path) -> None:
    head = '<link href="first.css"><meteor-bundled-css /><link href="last.css">'
    found = positions(Page(program(tmp_path, head), {}).render(), "first.css", "__meteor-css__", "last.css")

    assert found == sorted(found)


@pytest.mark.parametrize("text", ["</script><script>alert(1)</script>", "\"'\\", "100 % é \u2028 \U0001f600"])
def test_the_configuration_arrives_as_it_is(tmp_path: Path, text: str) -> None:
    html = Page(program(tmp_path), {"PUBLIC_SETTINGS": {"motto": text}}).render()

    assert config_in(html) == {"PUBLIC_SETTINGS": {"motto": text}}
    assert html.count("</script>") == 2


def test_the_configuration_can_be_a_file_of_its_own(tmp_path: Path) -> None:
    html = Page(program(tmp_path), {"ROOT_URL": "x"}, config_url="/app/config.js").render()

    assert '<script type="text/javascript" src="/app/config.js"></script>' in html
    assert "ROOT_URL" not in html
    assert config_script({"ROOT_URL": "x"}) == '__meteor_runtime_config__ = {"ROOT_URL":"x"};'


def test_attributes_and_urls_are_escaped(tmp_path: Path) -> None:
    html = Page(program(tmp_path), {}, url_prefix='/"><b>', html_attributes={"lang": '"en"'}).render()

    assert '<html lang="&quot;en&quot;">' in html
    assert "<b>" not in html
