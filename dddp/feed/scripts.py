"""The SQL of ``sql/`` with its names put in. Pure text: knows no connection."""

from __future__ import annotations

import hashlib
from importlib import resources

__all__ = ["FUNCTIONS", "literal", "quoted", "script", "version"]

FUNCTIONS = ("renew.sql", "mark.sql", "note.sql", "flush.sql")
"""The functions that are alike in every database. They may be run again at any time: no table is locked."""

DERIVED = ("read.sql", "branch.sql", "capture.sql")
"""Functions made for the captured tables."""


def script(name: str, **names: str) -> str:
    """A script of ``sql/`` with its names put in."""
    text = resources.files("dddp.feed").joinpath("sql", name).read_text(encoding="utf-8")
    for placeholder, value in names.items():
        text = text.replace("{" + placeholder + "}", value)
    return text


def version() -> str:
    """A digest of all functions' text: differs when another release of dddp brings others."""
    texts = "".join(script(name) for name in (*FUNCTIONS, *DERIVED))
    return hashlib.sha256(texts.encode()).hexdigest()[:12]


def quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
