"""A bundle with its public settings, and what Meteor's autoupdate is told of them.

The versions go into the page (``autoupdate.versions`` of the runtime configuration) and into the documents of
``meteor_autoupdate_clientVersions``: a page reloads as soon as the two differ, so both are made here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from dddp.meteor.bundle import BROWSERS, Bundle, Program

__all__ = ["Site"]


class Site:
    """What is served of a bundle.

    Args:
        settings: ``Meteor.settings.public`` of every page.
        version: what autoupdate tells in place of hashes, Meteor's ``AUTOUPDATE_VERSION``.

    Attributes:
        versions: autoupdate's, by architecture.
    """

    def __init__(self, bundle: Bundle, settings: Mapping[str, Any], version: str | None = None) -> None:
        self.bundle = bundle
        self.settings = settings
        self.versions = {
            arch: _versions(program, settings, version) for arch, program in bundle.programs.items()
        }

    def program(self, modern: bool) -> Program:
        """The program for a browser; the other one where the bundle has not the one it should get."""
        order = BROWSERS if modern else BROWSERS[::-1]
        return next(self.bundle.programs[arch] for arch in order if arch in self.bundle.programs)

    def runtime_config(self, program: Program) -> dict[str, Any]:
        """What the bundle itself contributes to ``__meteor_runtime_config__`` (ddp-wire 1.1)."""
        told = {
            "meteorRelease": self.bundle.release,
            "gitCommitHash": self.bundle.git_commit_hash,
            "appId": self.bundle.app_id,
        }
        return {
            **{name: value for name, value in told.items() if value is not None},
            # Meteor 1.3 and later do not start without it.
            "meteorEnv": {"NODE_ENV": "production", "TEST_METADATA": "{}"},
            "PUBLIC_SETTINGS": self.settings,
            "isModern": program.arch == "web.browser",
            "autoupdate": {"versions": self.versions},
        }


def _versions(program: Program, settings: Mapping[str, Any], version: str | None) -> dict[str, str]:
    """The hashes of all, of the stylesheets, which a page exchanges, and of what it has to be reloaded for."""
    chosen: dict[str, Callable[[Mapping[str, Any]], bool]] = {
        "version": lambda item: True,
        "versionRefreshable": _is_stylesheet,
        "versionNonRefreshable": lambda item: not _is_stylesheet(item) and not _is_replaceable(item),
        "versionReplaceable": _is_replaceable,
    }
    return {name: version or _hash(program, settings, is_chosen) for name, is_chosen in chosen.items()}


def _is_stylesheet(item: Mapping[str, Any]) -> bool:
    return bool(item["type"] == "css")


def _is_replaceable(item: Mapping[str, Any]) -> bool:
    return bool(item.get("replaceable"))


def _hash(
    program: Program, settings: Mapping[str, Any], is_chosen: Callable[[Mapping[str, Any]], bool]
) -> str:
    digest = hashlib.sha1(usedforsecurity=False)
    digest.update(json.dumps({"PUBLIC_SETTINGS": settings}, separators=(",", ":")).encode())
    for item in program.manifest:
        if is_chosen(item):
            digest.update(f"{item['path']}{item.get('hash')}".encode())
    return digest.hexdigest()
