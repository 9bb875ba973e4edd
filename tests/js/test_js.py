"""Runs the JavaScript tests of this folder, so that one command runs everything."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
OLDEST_NODE = 20


def node() -> str:
    """The path of a usable node; without one the test is skipped, or fails where CI promises to install it."""
    path = shutil.which("node")
    version = subprocess.check_output([path, "--version"], text=True) if path else "v0"
    if path and int(version.lstrip("v").split(".")[0]) >= OLDEST_NODE:
        return path
    reason = f"node {OLDEST_NODE} or newer is not installed: the tests of ddp.js did not run"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def test_ddp_js() -> None:
    """Every test of ddp.js passes under node's own test runner."""
    files = sorted(str(path) for path in HERE.glob("*.test.mjs"))
    run = subprocess.run([node(), "--test", *files], capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stdout + run.stderr
