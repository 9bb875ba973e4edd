"""The tree of ``import()``: names in, sources out, nothing that the manifest does not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dddp.meteor.bundle import Program, read_bundle
from dddp.meteor.modules import fetch_modules
from tests.meteor.bundles import BundleWriter


@pytest.fixture
def program(tmp_path: Path) -> Program:
    return read_bundle(BundleWriter(tmp_path).write()).programs["web.browser"]


def test_a_leaf_becomes_its_source(program: Program) -> None:
    tree = fetch_modules(program, {"imports": {"page.js": 1}})

    assert tree == {"imports": {"page.js": "function page() {} // web.browser"}}


def test_a_package_of_an_author_is_found(program: Program) -> None:
    """It is asked for with a colon, which no file name of Meteor has."""
    tree = fetch_modules(program, {"node_modules": {"meteor": {"author:lib.js": 1}}})

    assert tree == {"node_modules": {"meteor": {"author:lib.js": "function lib() {}"}}}


def test_unknown_modules_are_left_out(program: Program) -> None:
    tree = fetch_modules(program, {"imports": {"page.js": 1, "other.js": 1}, "nothing": {"here.js": 1}})

    assert list(tree) == ["imports"]
    assert list(tree["imports"]) == ["page.js"]


@pytest.mark.parametrize(
    "tree",
    [
        {"..": {"..": {"server": {"boot.js": 1}}}},
        {"../../server/boot.js": 1},
        {"": {"etc": {"passwd": 1}}},
        {"imports": {"page.js": 0}},
        {"imports": 1},
        {},
        [],
        None,
        "imports/page.js/",
    ],
)
def test_nothing_else_is_ever_read(program: Program, tree: Any) -> None:
    assert fetch_modules(program, tree) is None
