"""DDP clients of the npm world work against the running bookstore: ``ddp`` and ``simpleddp``."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests import ejson
from tests.conftest import BOOKSTORE
from tests.server import DDDPServer, run_django

HERE = Path(__file__).resolve().parent

pytestmark = pytest.mark.node


class NodeClient:
    """A script of this folder; what it reports comes one line at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def next(self, name: str) -> Any:
        """The next report, which must be of this name."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the script ended before {name!r}"
        report = json.loads(line)
        assert list(report) == [name], report
        return report[name]


@contextlib.contextmanager
def running(script: str, *arguments: str) -> Iterator[NodeClient]:
    """Run a script of this folder to its end; it must succeed."""
    assert (HERE / "node_modules").exists(), "run: npm ci --prefix tests/interop (make test does)"
    command = ["node", str(HERE / script), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield NodeClient(process)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0


def in_django(server: DDDPServer, code: str) -> str:
    """Run code in a plain ``shell`` with the bookstore's models; what it printed."""
    code = f"from bookstore.models import Author, Book; {code}"
    env = {"DATABASE_URL": server.database}
    return run_django("shell", "--verbosity=0", "-c", code, settings_module=BOOKSTORE, env=env).strip()


def milliseconds(moment: str) -> int:
    return ejson.encode(datetime.fromisoformat(moment))["$date"]


@pytest.mark.parametrize("script", ["ddp.js", "simpleddp.js"])
def test_a_client_of_npm(bookstore: DDDPServer, script: str) -> None:
    """It loads every book, sees a change made elsewhere, calls a method, hears an error, reads dates."""
    told = "print(Author.objects.count(), Book.objects.count(), book.pk, book.price, book.added.isoformat())"
    authors, books, book_id, price, added = in_django(
        bookstore, f"book = Book.objects.first(); {told}"
    ).split()
    with running(script, bookstore.url, book_id, "By a method") as client:
        ready = client.next("ready")
        in_django(bookstore, f"book = Book.objects.get(pk={book_id}); book.title = 'By the ORM'; book.save()")
        changed = client.next("changed")
        renamed = client.next("renamed")
        refused = client.next("refused")

    assert (ready["authors"], ready["books"]) == (int(authors), int(books))
    assert ready["book"]["id"] == book_id
    assert ready["book"]["price"] == price
    assert ready["book"]["added"] == milliseconds(added)
    assert changed == {**ready["book"], "title": "By the ORM"}
    assert renamed == {"result": book_id, "book": {**ready["book"], "title": "By a method"}}
    assert refused["error"] == 404
    assert "no such book" in refused["reason"]
