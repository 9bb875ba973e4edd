"""A bundle as ``meteor build --directory`` leaves it (Meteor 1.8 to 3.x): ``star.json`` and the browsers' programs.

Read once and whole, so that what is wrong with it shows before anybody asks for a file. Only what a manifest names is
ever served: a request is looked up in a dict and never becomes a path.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from dddp.errors import DDDPError

__all__ = ["BROWSERS", "Asset", "Bundle", "BundleError", "Program", "read_bundle"]

BROWSERS = ("web.browser", "web.browser.legacy")
"""The architectures that are served. Cordova's has a page of its own making, and the server's is of no use here."""

STAR_FORMAT = "site-archive-pre1"
PROGRAM_FORMAT = "web-program-pre1"
BUILD = "make it with: meteor build --directory"


class BundleError(DDDPError):
    """A Meteor bundle cannot be read; says which file, and how to make a good one."""


@dataclass(frozen=True, slots=True)
class Asset:
    """A file that is served.

    Attributes:
        type: of the manifest: ``js``, ``css``, ``json``, ``asset``, ``dynamic js``; None for a source map.
        cacheable: what is at its URL will never change.
        hash: of its content, in hexadecimal; None where the manifest tells none.
        source_map: the URL of its source map.
    """

    file: Path
    type: str | None
    cacheable: bool
    hash: str | None = None
    source_map: str | None = None


@dataclass(frozen=True, slots=True)
class Program:
    """What one kind of browser is served.

    Attributes:
        manifest: as it was read; of those entries that browsers may have, or that the page is made of.
        assets: by the path of their URL, unquoted, with a slash in front.
        scripts, stylesheets: URLs for the page, in the order to load them.
        modules: the files of ``import()`` by their path in the program, ``dynamic/imports/page.js``.
        head, body: HTML for the page.
    """

    arch: str
    manifest: Sequence[Mapping[str, Any]]
    assets: Mapping[str, Asset]
    scripts: Sequence[str]
    stylesheets: Sequence[str]
    modules: Mapping[str, Path]
    head: str
    body: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A built app.

    Attributes:
        programs: by architecture, one or both of ``BROWSERS``.
        release: such as ``METEOR@3.0.4``.
        app_id: the app's own, from ``.meteor/.id``.
    """

    programs: Mapping[str, Program]
    release: str | None
    git_commit_hash: str | None
    app_id: str | None


def read_bundle(star: Path) -> Bundle:
    """Read the bundle of a ``star.json``.

    Raises:
        BundleError: it is not there, of another format, or incomplete.
    """
    content = _content(star, STAR_FORMAT)
    try:
        programs = dict(_programs(star, content))
    except KeyError as error:
        raise BundleError(f"{star} or one of its programs lacks the key {error}; {BUILD}") from error
    if not programs:
        raise BundleError(f"{star} has no program for browsers ({' or '.join(BROWSERS)}); {BUILD}")
    return Bundle(
        programs, content.get("meteorRelease"), content.get("gitCommitHash"), _app_id(star, content)
    )


def _programs(star: Path, content: Mapping[str, Any]) -> Iterator[tuple[str, Program]]:
    for entry in content.get("programs", []):
        if entry.get("arch") in BROWSERS:
            yield entry["arch"], _program(entry["arch"], star.parent / entry["path"])


def _program(arch: str, control: Path) -> Program:
    manifest = [item for item in _content(control, PROGRAM_FORMAT)["manifest"] if _is_for_browsers(item)]
    folder = control.parent
    _check_complete(folder, manifest)
    served = [item for item in manifest if item["where"] == "client" and item.get("url")]
    return Program(
        arch,
        manifest,
        assets=dict(_assets(folder, served)),
        scripts=[item["url"] for item in served if item["type"] == "js"],
        stylesheets=[item["url"] for item in served if item["type"] == "css"],
        modules={item["path"]: folder / item["path"] for item in served if item["type"] == "dynamic js"},
        head=_section(folder, manifest, "head"),
        body=_section(folder, manifest, "body"),
    )


def _is_for_browsers(item: Mapping[str, Any]) -> bool:
    return item.get("where") in ("client", "internal")


def _check_complete(folder: Path, manifest: Sequence[Mapping[str, Any]]) -> None:
    names = [item[key] for item in manifest for key in ("path", "sourceMap") if item.get(key)]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise BundleError(
            f"{folder} lacks {len(missing)} of its files, such as {missing[0]}; copy it whole, or {BUILD}"
        )


def _assets(folder: Path, served: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Asset]]:
    for item in served:
        source_map = item.get("sourceMapUrl") if item.get("sourceMap") else None
        yield (
            _path(item["url"]),
            Asset(
                folder / item["path"],
                item["type"],
                bool(item.get("cacheable")),
                item.get("hash"),
                source_map,
            ),
        )
        if source_map:
            yield _path(source_map), Asset(folder / item["sourceMap"], None, cacheable=True)


def _path(url: str) -> str:
    return unquote(urlsplit(url).path)


def _section(folder: Path, manifest: Sequence[Mapping[str, Any]], type: str) -> str:
    files = [
        folder / item["path"] for item in manifest if item["where"] == "internal" and item["type"] == type
    ]
    return "".join(file.read_text(encoding="utf-8") for file in files)


def _app_id(star: Path, content: Mapping[str, Any]) -> str | None:
    """The app's id: of all that is served, only this is told in the server's program."""
    for entry in content.get("programs", []):
        config = star.parent / Path(entry["path"]).parent / "config.json"
        if entry.get("name") == "server" and config.is_file():
            found = json.loads(config.read_text(encoding="utf-8")).get("appId")
            return None if found is None else str(found)
    return None


def _content(file: Path, format: str) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise BundleError(f"there is no Meteor bundle at {file} ({error.strerror}); {BUILD}") from error
    except ValueError as error:
        raise BundleError(f"{file} is not JSON ({error}); {BUILD}") from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != format:
        raise BundleError(f"{file} has the format {found!r}, not {format!r}; Meteor 1.8 to 3.x make that one")
    assert isinstance(content, dict)
    return content
