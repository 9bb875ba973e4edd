"""The modules that a page fetches when it runs ``import()``: a tree of names comes in, the same tree with the sources
goes out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dddp.meteor.bundle import Program

__all__ = ["FETCH_PATH", "fetch_modules"]

FETCH_PATH = "/__meteor__/dynamic-import/fetch"


def fetch_modules(program: Program, tree: Any) -> Any:
    """Put the sources in the place of a tree's leaves; what there is no module of is left out, None if all is.

    Args:
        tree: ``{"node_modules": {"lodash": {"index.js": 1}}}``, the parts of each module's path.
    """
    return _fetched(program, tree, "dynamic")


def _fetched(program: Program, node: Any, path: str) -> Any:
    if not isinstance(node, Mapping):
        file = program.modules.get(path) if node else None
        return None if file is None else file.read_text(encoding="utf-8")
    # Packages are told as "author:name"; Meteor writes no colon into a file's name.
    found = {name: _fetched(program, node[name], f"{path}/{name.replace(':', '_')}") for name in node}
    return {name: value for name, value in found.items() if value is not None} or None
