"""Reading bundles: the formats of several releases, and what is said of those that are none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dddp.meteor.bundle import BundleError, read_bundle
from tests.meteor.bundles import BODY, HEAD, BundleWriter, add_source_map, put


def refusal(star: Path) -> str:
    with pytest.raises(BundleError) as error:
        read_bundle(star)
    return str(error.value)


@pytest.mark.parametrize("release", ["1.8", "2.16", "3.0.4"])
def test_a_bundle_has_both_programs_for_browsers(tmp_path: Path, release: str) -> None:
    bundle = read_bundle(BundleWriter(tmp_path, release).write())

    assert bundle.release == f"METEOR@{release}"
    assert bundle.app_id == "shop.id"
    assert list(bundle.programs) == ["web.browser", "web.browser.legacy"]


def test_a_program_has_its_parts_of_the_page(tmp_path: Path) -> None:
    program = read_bundle(BundleWriter(tmp_path).write()).programs["web.browser"]

    (script,), (stylesheet,) = program.scripts, program.stylesheets
    assert script.endswith(".js?meteor_js_resource=true")
    assert stylesheet.endswith(".css?meteor_css_resource=true")
    assert (program.head, program.body) == (HEAD, BODY)


def test_modules_of_import_are_no_scripts_of_the_page(tmp_path: Path) -> None:
    program = read_bundle(BundleWriter(tmp_path).write()).programs["web.browser"]

    assert "dynamic/imports/page.js" in program.modules
    assert len(program.scripts) == 1


def test_assets_are_found_by_the_path_of_their_url(tmp_path: Path) -> None:
    """Unquoted, as requests come, and without a query."""
    bundle = read_bundle(BundleWriter(tmp_path, public={"a file.txt": "text"}).write())

    assert bundle.programs["web.browser"].assets["/a file.txt"].file.read_text() == "text"


def test_what_only_the_server_needs_is_no_asset(tmp_path: Path) -> None:
    assets = read_bundle(BundleWriter(tmp_path).write()).programs["web.browser"].assets

    assert [path for path in assets if path.endswith((".html", ".json"))] == []


def test_a_source_map_is_an_asset_and_known_to_its_script(tmp_path: Path) -> None:
    writer = BundleWriter(tmp_path)
    star = writer.write()
    url = add_source_map(writer.path("web.browser"))
    assets = read_bundle(star).programs["web.browser"].assets

    assert assets[url].file.read_text() == "{}"
    assert [asset.source_map for asset in assets.values() if asset.type == "js"] == [url]


def test_a_missing_bundle_names_the_file_and_the_command(tmp_path: Path) -> None:
    message = refusal(tmp_path / "star.json")

    assert str(tmp_path / "star.json") in message
    assert "meteor build --directory" in message


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    star = tmp_path / "star.json"
    star.write_text("<html>")

    assert "star.json is not JSON" in refusal(star)


@pytest.mark.parametrize("content", [{"format": "site-archive-pre9", "programs": []}, {}, []])
def test_another_format_is_named(tmp_path: Path, content: object) -> None:
    star = tmp_path / "star.json"
    star.write_text(json.dumps(content))

    assert "not 'site-archive-pre1'" in refusal(star)


def test_a_program_of_another_format_is_named(tmp_path: Path) -> None:
    writer = BundleWriter(tmp_path)
    star = writer.write()
    put(writer.path("web.browser") / "program.json", '{"format": "web-program-pre9"}')

    assert "has the format 'web-program-pre9'" in refusal(star)


def test_a_bundle_for_servers_only_is_refused(tmp_path: Path) -> None:
    assert "has no program for browsers" in refusal(BundleWriter(tmp_path, archs=()).write())


def test_an_incomplete_copy_is_found_at_once(tmp_path: Path) -> None:
    writer = BundleWriter(tmp_path)
    star = writer.write()
    (writer.path("web.browser.legacy") / "app/images/logo.svg").unlink()

    assert "lacks 1 of its files, such as app/images/logo.svg" in refusal(star)


def test_a_manifest_entry_without_a_path_is_refused(tmp_path: Path) -> None:
    writer = BundleWriter(tmp_path)
    star = writer.write()
    manifest = [{"where": "client", "type": "js", "url": "/a.js"}]
    control = {"format": "web-program-pre1", "manifest": manifest}
    put(writer.path("web.browser") / "program.json", json.dumps(control))

    assert "lacks the key 'path'" in refusal(star)
