"""The page that starts a Meteor app: HTML around the program's parts, as Meteor's server makes it.

Order matters to Meteor: stylesheets before the app's own head (or where ``<meteor-bundled-css>`` stands in it), the
runtime configuration before the first script, the scripts at the end of the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import quote

from dddp.meteor.bundle import Program

__all__ = ["Page", "config_script"]

UNQUOTED = "!~*'()"
"""What ``encodeURIComponent`` leaves as it is, besides what ``quote`` does."""


@dataclass(frozen=True)
class Page:
    """What varies from page to page.

    Attributes:
        url_prefix: goes before the URLs of scripts and stylesheets.
        config_url: where the runtime configuration is loaded from; None to have it in the page.
        html_attributes: of ``<html>``.
        head, body: HTML, added to that of the program.
    """

    program: Program
    runtime_config: Mapping[str, Any]
    url_prefix: str = ""
    config_url: str | None = None
    html_attributes: Mapping[str, str] = field(default_factory=dict)
    head: str = ""
    body: str = ""

    def render(self) -> str:
        """The page."""
        attributes = "".join(f' {name}="{escape(value)}"' for name, value in self.html_attributes.items())
        scripts = (_script_link(self.url_prefix + url) for url in self.program.scripts)
        return _lines(
            "<!DOCTYPE html>",
            f"<html{attributes}>",
            "<head>",
            self._head(),
            self.head,
            "</head>",
            "<body>",
            self.program.body,
            self.body,
            self._config(),
            *scripts,
            "</body>",
            "</html>",
        )

    def _head(self) -> str:
        stylesheets = _lines(*(_stylesheet_link(self.url_prefix + url) for url in self.program.stylesheets))
        before, *after = re.split(r"<meteor-bundled-css[^<>]*>", self.program.head, maxsplit=1)
        return _lines(before, stylesheets, *after) if after else _lines(stylesheets, before)

    def _config(self) -> str:
        if self.config_url is not None:
            return _script_link(self.config_url)
        # As escapes nothing is left in it that could end the script.
        text = json.dumps(quote(_json(self.runtime_config), safe=UNQUOTED))
        return _script(f"__meteor_runtime_config__ = JSON.parse(decodeURIComponent({text}))")


def config_script(runtime_config: Mapping[str, Any]) -> str:
    """JavaScript that sets the runtime configuration, as a file of its own."""
    return f"__meteor_runtime_config__ = {_json(runtime_config)};"


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def _script(text: str) -> str:
    return f'<script type="text/javascript">{text}</script>'


def _script_link(url: str) -> str:
    return f'<script type="text/javascript" src="{escape(url)}"></script>'


def _stylesheet_link(url: str) -> str:
    return f'<link rel="stylesheet" type="text/css" class="__meteor-css__" href="{escape(url)}">'


def _lines(*parts: str) -> str:
    return "\n".join(_filled(parts))


def _filled(parts: Iterable[str]) -> Iterable[str]:
    return (part for part in parts if part)
