"""What stands behind ``make demo``; the embedded PostgreSQL has its own tests in ``tests/cli``."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ROOT, DDDPServer, fresh_database

DEMO = [sys.executable, str(ROOT / "bookstore_example" / "demo.py")]


@pytest.fixture
def demo() -> Iterator[DDDPServer]:
    """The demonstration on a database of the user's own, not started yet."""
    with fresh_database("demo") as url:
        server = DDDPServer("bookstore_project.settings", {"DATABASE_URL": url}, options=(), command=DEMO)
        yield server
        server.stop()


def test_it_serves_the_books_and_stops_on_ctrl_c(demo: DDDPServer) -> None:
    """The exit code is 0, or ``stop`` would raise."""
    demo.start()
    with demo.client() as client:
        client.subscribed("AllBooks")
        assert len(client.documents("bookstore.book")) == 720

    demo.stop(signal.SIGINT)


def test_a_second_run_keeps_the_data(demo: DDDPServer) -> None:
    """A renamed book is not loaded again under its old title."""
    demo.start()
    with demo.client() as client:
        client.subscribed("CheapestBooks", 1)
        (book_id,) = client.documents("bookstore.book")
        client.call("bookstore.rename_book", book_id, "Renamed")
    demo.restart()

    with demo.client() as client:
        client.subscribed("AllBooks")
        books = client.documents("bookstore.book")
    assert books[book_id]["title"] == "Renamed"
    assert len(books) == 720


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run ``make`` where there is no ``.venv`` yet."""
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    return subprocess.run(["make", *arguments], cwd=folder, text=True, capture_output=True, check=False)


def test_make_without_python_says_so(tmp_path: Path) -> None:
    done = make(tmp_path, "demo", "PYTHON=python3.99")

    assert done.returncode != 0
    assert "There is no python3.99. Install Python 3.11 or newer" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_make_with_an_old_python_says_so(tmp_path: Path) -> None:
    """A program that answers "no" to every question stands for the old Python."""
    done = make(tmp_path, "test", "PYTHON=false")

    assert done.returncode != 0
    assert "dddp needs Python 3.11 or newer, false is older" in done.stderr


def test_make_alone_tells_what_there_is(tmp_path: Path) -> None:
    done = make(tmp_path)

    assert done.returncode == 0
    assert "make demo" in done.stdout
