"""A start that fails says why in one line; a server that runs stops on a signal with exit code 0."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import BOOKSTORE
from tests.server import ROOT, DDDPServer, free_port, fresh_database, run_django

MANAGE = ROOT / "bookstore_example" / "manage.py"
NOWHERE = "postgres://nobody@127.0.0.1:1/nothing"


def dddp(*arguments: str, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command until it ends by itself, without settings unless ``env`` names them."""
    inherited = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    path = os.pathsep.join([str(ROOT), str(ROOT / "bookstore_example")])
    return subprocess.run(
        [sys.executable, "-m", "dddp", *arguments],
        cwd=cwd,
        env={**inherited, "PYTHONPATH": path, **env},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a start that failed."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("dddp: ")
    return lines[0]


def test_version() -> None:
    done = dddp("--version")

    assert (done.returncode, done.stdout) == (0, "dddp 0.1.0\n")


def test_no_settings_named() -> None:
    assert "--settings mysite.settings or set DJANGO_SETTINGS_MODULE" in refusal(dddp())


def test_a_settings_module_that_is_not_there() -> None:
    assert "no settings module 'nope.settings'" in refusal(dddp("--settings", "nope.settings"))


def test_no_address() -> None:
    assert "'localhost:x' is not an address" in refusal(dddp("localhost:x"))


def test_a_mistake_in_the_settings_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import os\nDEBUG = os.environment\n")

    line = refusal(dddp("--settings=broken", cwd=tmp_path))

    assert "AttributeError" in line
    assert f"{tmp_path / 'broken.py'}, line 2" in line


def test_a_database_that_cannot_be_reached() -> None:
    """The reason, and which database is meant."""
    line = refusal(dddp(f"127.0.0.1:{free_port()}", DJANGO_SETTINGS_MODULE=BOOKSTORE, DATABASE_URL=NOWHERE))

    assert "Connection refused" in line
    assert "'default' is 'nothing' at 127.0.0.1, port 1" in line


def test_a_database_that_the_environment_names() -> None:
    """What the settings leave open libpq takes from there."""
    url = "postgresql://user:secret@/nothing"
    env = {"DJANGO_SETTINGS_MODULE": BOOKSTORE, "DATABASE_URL": url, "PGHOST": "127.0.0.1", "PGPORT": "1"}
    line = refusal(dddp(f"127.0.0.1:{free_port()}", **env))

    assert "'default' is 'nothing' at 127.0.0.1, port 1" in line


def test_verbosity_2_shows_the_traceback_too() -> None:
    done = dddp("-v2", f"127.0.0.1:{free_port()}", DJANGO_SETTINGS_MODULE=BOOKSTORE, DATABASE_URL=NOWHERE)

    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("dddp: ")


def test_a_port_in_use(bookstore: DDDPServer) -> None:
    """The address is named, and what to do."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]

        line = refusal(
            dddp(f"127.0.0.1:{port}", DJANGO_SETTINGS_MODULE=BOOKSTORE, DATABASE_URL=bookstore.database)
        )

    assert f"127.0.0.1:{port}" in line
    assert "another" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_in_order(bookstore: DDDPServer, number: signal.Signals) -> None:
    """The client hears a close code that means "come back"; the exit code is 0, or ``stop`` would raise."""
    with DDDPServer(BOOKSTORE, {"DATABASE_URL": bookstore.database}) as server:
        client = server.client()
        server.stop(number)

        assert client.wait_closed().code in (1001, 1012)


def test_manage_py_dddp_is_the_same(bookstore: DDDPServer) -> None:
    """It finds the project's modules from another folder too, and serves."""
    command = [sys.executable, str(MANAGE), "dddp"]
    env = {"DATABASE_URL": bookstore.database, "PYTHONPATH": ""}
    with (
        DDDPServer(BOOKSTORE, env, path=(), cwd=ROOT, command=command) as server,
        server.client() as client,
    ):
        client.subscribed("CheapestBooks", 3)

        assert len(client.documents("bookstore.book")) == 3


def test_the_address_is_announced(bookstore: DDDPServer) -> None:
    line = bookstore.wait_for_log("DDP at")

    assert line.split() == [f"{bookstore.http}/", "DDP", "at", bookstore.url]


def test_manage_py_help_knows_the_command() -> None:
    assert "address[:port]" in run_django(
        "dddp", "--help", settings_module=BOOKSTORE, env={"DATABASE_URL": NOWHERE}
    )


def test_a_database_that_has_not_been_migrated() -> None:
    """The start says what to run, instead of serving what would never be live."""
    with fresh_database("unmigrated") as url:
        line = refusal(dddp(f"127.0.0.1:{free_port()}", DJANGO_SETTINGS_MODULE=BOOKSTORE, DATABASE_URL=url))

    assert "dddp's tables are missing; run: manage.py migrate" in line
