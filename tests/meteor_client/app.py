"""``meteor_client/`` as a bundle that a browser runs without Meteor's build tool.

Its own files are served as they are. ``meteor/...``, which Meteor's build tool would resolve, leads to the packages
of Meteor that npm has (``meteor-client-side`` and two for accounts: Meteor 1.3.5), through an import map.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.meteor.bundles import entry, put, sha1
from tests.server import ROOT

CLIENT = ROOT / "meteor_client"
NODE_MODULES = ROOT / "tests" / "interop" / "node_modules"
LIBRARIES = ("meteor-client-side", "accounts-base-client-side", "accounts-password-client-side")

EXPORTS = {"meteor": "Meteor", "mongo": "Mongo", "tracker": "Tracker", "ddp-client": "DDP"}
"""What the app imports from which package."""

RENAMED = {"ddp-client": "ddp"}
"""Packages that exported the same under another name in Meteor 1.3."""


def build(folder: Path) -> Path:
    """Write the bundle; where its ``star.json`` is."""
    program = folder / "programs" / "web.browser"
    control = {"format": "web-program-pre1", "manifest": list(_manifest(program))}
    put(program / "program.json", json.dumps(control))
    told = {"name": "web.browser", "arch": "web.browser", "path": "programs/web.browser/program.json"}
    star = {"format": "site-archive-pre1", "programs": [told], "meteorRelease": "METEOR@1.3.5.1"}
    put(folder / "star.json", json.dumps(star))
    return folder / "star.json"


def _manifest(program: Path) -> Iterator[dict[str, Any]]:
    for library in LIBRARIES:
        code = (NODE_MODULES / library / "dist" / f"{library}.bundle.js").read_text()
        yield _file(program, f"packages/{library}.js", "js", code)
    for source in sorted([*CLIENT.glob("client/*.js"), *CLIENT.glob("imports/*.js")]):
        yield _file(program, str(source.relative_to(CLIENT)), "asset", source.read_text())
    for package, name in EXPORTS.items():
        code = f'export const {{ {name} }} = Package["{RENAMED.get(package, package)}"];'
        yield _file(program, f"meteor/{package}.js", "asset", code)
    yield _file(program, "client/main.css", "css", (CLIENT / "client" / "main.css").read_text())
    page = (CLIENT / "client" / "main.html").read_text()
    yield _internal(program, "head", _import_map() + _part(page, "head"))
    yield _internal(program, "body", _part(page, "body"))


def _import_map() -> str:
    imports = {f"meteor/{package}": f"/meteor/{package}.js" for package in EXPORTS}
    return (
        f'<script type="importmap">{json.dumps({"imports": imports})}</script>\n'
        '<script type="module" src="/client/main.js"></script>\n'
    )


def _part(page: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*)</{name}>", page, re.DOTALL)
    assert found, f"client/main.html has no <{name}>"
    return found[1]


def _file(program: Path, path: str, type: str, text: str) -> dict[str, Any]:
    put(program / path, text)
    return entry(path, type, text, cacheable=False, url=f"/{path}")


def _internal(program: Path, type: str, text: str) -> dict[str, Any]:
    put(program / f"{type}.html", text)
    return {"path": f"{type}.html", "where": "internal", "type": type, "hash": sha1(text)}
