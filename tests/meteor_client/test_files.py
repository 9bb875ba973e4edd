"""The files of the Meteor app fit together, as far as that can be told without Meteor."""

from __future__ import annotations

import json
import re

from tests.meteor_client.app import CLIENT, EXPORTS


def lines(name: str) -> list[str]:
    """The lines of a file of ``.meteor``, without comments."""
    text = (CLIENT / ".meteor" / name).read_text()
    return [line for line in (line.partition("#")[0].strip() for line in text.splitlines()) if line]


def sources() -> str:
    return "".join(
        file.read_text() for folder in ("client", "imports") for file in (CLIENT / folder).glob("*.js")
    )


def test_every_package_has_a_version() -> None:
    versions = dict(line.split("@") for line in lines("versions"))

    assert lines("release") == ["METEOR@3.0.4"]
    assert set(lines("packages")) <= set(versions)
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions.values())


def test_what_is_imported_of_meteor_is_in_the_app() -> None:
    """And the tests lead the import to where Meteor 1.3 has it."""
    imported = dict(re.findall(r'import \{ (\w+) \} from "meteor/([\w-]+)"', sources()))
    packages = {line.split("@")[0] for line in lines("versions")}

    assert {package: name for name, package in imported.items()} == EXPORTS
    assert set(imported.values()) <= packages


def test_the_start_of_the_app_is_there() -> None:
    package = json.loads((CLIENT / "package.json").read_text())

    assert (CLIENT / package["meteor"]["mainModule"]["client"]).is_file()


def test_the_page_has_what_the_code_looks_for() -> None:
    page = (CLIENT / "client" / "main.html").read_text()
    wanted = set(re.findall(r'find\("#([a-z]+)', sources()))

    assert len(wanted) > 8
    assert wanted <= set(re.findall(r'id="([a-z]+)"', page))
