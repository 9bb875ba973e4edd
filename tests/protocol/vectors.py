"""The reference's own answers, row by row, for the tests of this folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parent.parent / "vectors.json").read_text(encoding="utf-8")
)


def rows(name: str) -> list[dict[str, Any]]:
    """The rows of one table: ``random``, ``randomStream``, ``ejsonEncode``, ``idStringify`` and so on."""
    return _VECTORS[name]
