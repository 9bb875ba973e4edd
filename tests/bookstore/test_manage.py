"""The project as its own manage.py sees it, in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import postgres

ROOT = Path(__file__).resolve().parents[2]


def manage(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name != postgres.URL}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT / "bookstore_example",
        env={
            **inherited,
            "PYTHONPATH": str(ROOT),
            "DJANGO_SETTINGS_MODULE": "bookstore_project.settings",
            **environment,
        },
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("command", ["check", "migrate", "load_books"])
def test_without_database_url(command: str) -> None:
    """Every command ends with one line and an exit code, not with a traceback."""
    done = manage(command)

    assert done.returncode == 1
    assert done.stderr.startswith("manage.py: DATABASE_URL is not set")
    assert done.stderr.count("\n") == 1


def test_check() -> None:
    """Models, admin, URLs and ddp.py are consistent."""
    done = manage("check", "--fail-level=WARNING", DATABASE_URL=postgres.url())

    assert (done.returncode, done.stderr) == (0, "")


def test_migrations_match_the_models() -> None:
    done = manage("makemigrations", "bookstore", "--check", "--dry-run", DATABASE_URL=postgres.url())

    assert done.returncode == 0, done.stdout + done.stderr
