"""``Meteor.settings``: where they may be written, and how several of them make one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

__all__ = ["SettingsSource", "merge_settings", "read_settings"]

SettingsSource: TypeAlias = Mapping[str, Any] | str | Path | None
"""Settings, a JSON object as text, or the file that has it."""


def read_settings(source: SettingsSource) -> Mapping[str, Any]:
    """The settings of one source; None and an empty text are no settings.

    Raises:
        ValueError: what it has is no JSON object.
        OSError: the file cannot be read.
    """
    if isinstance(source, Mapping):
        return source
    if not source:
        return {}
    found = json.loads(_text(source))
    if not isinstance(found, Mapping):
        raise ValueError(f"a JSON object is needed, not {found!r}")
    return found


def _text(source: str | Path) -> str:
    is_json = isinstance(source, str) and source.lstrip().startswith("{")
    return str(source) if is_json else Path(source).read_text(encoding="utf-8")


def merge_settings(several: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All of them, at all depths; the last value wins where several have one."""
    merged: dict[str, Any] = {}
    for settings in several:
        for name, value in settings.items():
            before = merged.get(name)
            if isinstance(before, Mapping) and isinstance(value, Mapping):
                value = merge_settings([before, value])
            merged[name] = value
    return merged
