"""Small bundles in the formats of ``meteor build --directory``, written file by file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ARCHS = ("web.browser", "web.browser.legacy")

HEAD = "<title>Shop</title>"
BODY = '<div id="app"></div>'


@dataclass
class BundleWriter:
    """Writes a bundle into a folder, as a release of Meteor does.

    Args:
        release: 1.8, 2.16 or 3.0.4: what their ``star.json`` and manifests have in common is written by one code.
        archs: the programs for browsers; ``--exclude-archs`` leaves some out.
        head: what the app's templates have in their ``<head>``.
        public: the app's own files, by their path in ``public/``.
    """

    folder: Path
    release: str = "3.0.4"
    archs: Sequence[str] = ARCHS
    head: str = HEAD
    public: Mapping[str, str] = field(default_factory=lambda: {"images/logo.svg": "<svg/>"})
    code: str = "shop()"

    @property
    def star(self) -> Path:
        return self.folder / "star.json"

    def write(self) -> Path:
        """Write it; where its ``star.json`` is."""
        programs = [self._program(arch) for arch in self.archs]
        star = {
            "format": "site-archive-pre1",
            "builtBy": f"Meteor METEOR@{self.release}",
            "programs": [*programs, self._server()],
            "meteorRelease": f"METEOR@{self.release}",
            "nodeVersion": "20.18.0",
            "npmVersion": "10.8.2",
        }
        if self.release != "1.8":
            star["gitCommitHash"] = "0a1b2c3d"
        put(self.star, json.dumps(star))
        return self.star

    def path(self, arch: str) -> Path:
        return self.folder / "programs" / arch

    def _server(self) -> dict[str, Any]:
        folder = self.path("server")
        config = {
            "meteorRelease": f"METEOR@{self.release}",
            "appId": "shop.id",
            "clientArchs": list(self.archs),
        }
        put(folder / "config.json", json.dumps(config))
        put(folder / "boot.js", "// the server's own secrets")
        return {"name": "server", "arch": "os.linux.x86_64", "path": "programs/server/boot.js"}

    def _program(self, arch: str) -> dict[str, Any]:
        folder = self.path(arch)
        manifest = [
            self._hashed(folder, "css", f"body {{}} /* {arch} */"),
            self._hashed(folder, "js", f"{self.code} // {arch}"),
            self._module(folder, "dynamic/imports/page.js", f"function page() {{}} // {arch}"),
            self._module(folder, "dynamic/node_modules/meteor/author_lib.js", "function lib() {}"),
            *(self._public(folder, name, text) for name, text in self.public.items()),
            self._internal(folder, "head", self.head),
            self._internal(folder, "body", BODY),
        ]
        put(folder / "program.json", json.dumps({"format": "web-program-pre1", "manifest": manifest}))
        return {"name": arch, "arch": arch, "path": f"programs/{arch}/program.json"}

    def _hashed(self, folder: Path, type: str, text: str) -> dict[str, Any]:
        name = f"{sha1(text)}.{type}"
        put(folder / name, text)
        return entry(name, type, text, cacheable=True, url=f"/{name}?meteor_{type}_resource=true")

    def _module(self, folder: Path, name: str, text: str) -> dict[str, Any]:
        put(folder / name, text)
        return entry(name, "dynamic js", text, cacheable=True, url=f"/{name}?hash={sha1(text)}")

    def _public(self, folder: Path, name: str, text: str) -> dict[str, Any]:
        put(folder / "app" / name, text)
        return entry(f"app/{name}", "asset", text, cacheable=False, url=f"/{name.replace(' ', '%20')}")

    def _internal(self, folder: Path, type: str, text: str) -> dict[str, Any]:
        put(folder / f"{type}.html", text)
        return {"path": f"{type}.html", "where": "internal", "type": type, "hash": sha1(text)}


def entry(path: str, type: str, text: str, *, cacheable: bool, url: str) -> dict[str, Any]:
    """A manifest's entry for a file that browsers may have."""
    size = {"size": len(text), "hash": sha1(text), "sri": "c2hhNTEy"}
    return {"path": path, "where": "client", "type": type, "cacheable": cacheable, "url": url, **size}


def add_source_map(program: Path) -> str:
    """Give the first script of a program a source map, as ``--debug`` does; the map's URL."""
    control = json.loads((program / "program.json").read_text())
    script = next(item for item in control["manifest"] if item["type"] == "js")
    script.update(sourceMap=f"{script['path']}.map", sourceMapUrl=f"/{script['hash']}.map")
    put(program / script["sourceMap"], "{}")
    put(program / "program.json", json.dumps(control))
    return str(script["sourceMapUrl"])


def put(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def sha1(text: str) -> str:
    return hashlib.sha1(text.encode()).hexdigest()
