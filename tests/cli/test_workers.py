"""``dddp --workers N``: one address, several processes, replaced when they die, reloaded without a refused client."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import polling
from tests.cli.test_start import dddp, refusal
from tests.conftest import BOOKSTORE
from tests.server import ROOT, DDDPServer, free_port

COUNT = 3
LIMIT = 20.0

SETTINGS = """
from bookstore_project.settings import *
ROOT_URLCONF = "site_urls"
DDDP = {"WORKER_TIME_LIMIT": 4}
"""

NEW_PROJECT = """
SECRET_KEY = "new"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "dddp"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
USE_TZ = True
"""

URLS = """
import os
import sys
import gevent
from django.http import HttpResponse
from django.urls import path
import site_version
def end(request):
    gevent.spawn(sys.exit, "the project wants to end")
    return HttpResponse("")
urlpatterns = [
    path("version/", lambda request: HttpResponse(f"{site_version.VERSION} {os.getpid()}")),
    path("exit/", end),
]
"""


class Site:
    """A project in a folder of its own, whose one view tells the code's version and the process."""

    def __init__(self, folder: Path, database: str, workers: int | str = COUNT) -> None:
        self.folder = folder
        (folder / "site_settings.py").write_text(SETTINGS)
        (folder / "site_urls.py").write_text(URLS)
        self.write_version('"first"')
        path = (folder, ROOT, ROOT / "bookstore_example")
        self.server = DDDPServer(
            "site_settings", {"DATABASE_URL": database}, path=path, options=["-v1", f"--workers={workers}"]
        )

    def write_version(self, expression: str) -> None:
        (self.folder / "site_version.py").write_text(f"VERSION = {expression}\n")

    def workers(self) -> set[int]:
        found = subprocess.run(
            ["pgrep", "-P", str(self.server.pid)], capture_output=True, text=True, check=False
        )
        return set(map(int, found.stdout.split()))

    def version(self) -> tuple[str, int]:
        """The code that answers, and which process."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=15)
        connection.request("GET", "/version/")
        version, pid = connection.getresponse().read().decode().split()
        connection.close()
        return version, int(pid)

    def get(self, path: str) -> str:
        """The body at a path; what was got of it, if the server ends meanwhile."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=15)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        return ""

    def refuses(self) -> bool:
        """Whether nobody accepts connections any more."""
        try:
            socket.create_connection(("127.0.0.1", self.server.port), timeout=1).close()
        except OSError:
            return True
        return False

    def reload(self) -> None:
        os.kill(self.server.pid, signal.SIGHUP)

    def wait_for_new_code(self, old: set[int], since: int = 0) -> None:
        """Wait until a reload is over, and the last old worker, which answers to its end, is gone."""
        self.server.wait_for_log("all workers run the new code", since=since, time_limit=2 * LIMIT)
        until(lambda: not old & self.workers())


@pytest.fixture
def site(tmp_path: Path, bookstore: DDDPServer) -> Iterator[Site]:
    site = Site(tmp_path, bookstore.database)
    with site.server:
        yield site


def until(condition: Callable[[], Any]) -> None:
    polling.until(condition, LIMIT)


def post(connection: http.client.HTTPConnection, session: str, place: str, body: str = "") -> tuple[int, str]:
    connection.request("POST", f"/sockjs/000/{session}/{place}", body, {"Content-Type": "text/plain"})
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_all_workers_serve_the_one_address(site: Site) -> None:
    assert len(site.workers()) == COUNT
    seen: set[int] = set()
    until(lambda: seen.add(site.version()[1]) or seen == site.workers())


def test_what_one_worker_writes_reaches_the_clients_of_all(site: Site) -> None:
    clients = [site.server.client() for _ in range(2 * COUNT)]
    for client in clients:
        client.subscribed("AllBooks")
    key, before = next(iter(clients[0].documents("bookstore.book").items()))
    for title in (before["title"] + " again", before["title"]):
        clients[0].call("bookstore.rename_book", key, title)
        for client in clients:
            client.wait(lambda view, title=title: view.documents("bookstore.book")[key]["title"] == title)
    for client in clients:
        client.close()


def test_polling_requests_reach_the_worker_of_their_session(site: Site) -> None:
    """Whichever worker accepts them, on whichever connection, and connections stay open for more."""
    connect = json.dumps([json.dumps({"msg": "connect", "version": "1", "support": ["1"]})])
    for _ in range(20):
        session = secrets.token_hex(4)
        receiving, sending = (http.client.HTTPConnection("127.0.0.1", site.server.port) for _ in range(2))
        assert post(receiving, session, "xhr") == (200, "o\n")
        assert post(sending, session, "xhr_send", connect) == (204, "")
        assert post(receiving, session, "xhr")[1].startswith('a["{')
        sending.request("GET", "/version/")
        assert sending.getresponse().read().startswith(b"first")
        assert post(sending, secrets.token_hex(4), "xhr") == (200, "o\n")
        receiving.close()
        sending.close()


def test_dead_worker_is_replaced(site: Site) -> None:
    """Its clients come back to another one; those of the others notice nothing."""
    before = site.workers()
    os.kill(min(before), signal.SIGKILL)
    until(lambda: len(site.workers()) == COUNT and min(before) not in site.workers())

    site.server.wait_for_log(rf"process {min(before)}\) ended with SIGKILL")
    assert site.workers() > before - {min(before)}


def test_worker_that_is_silent_is_replaced(site: Site) -> None:
    """It hangs, and would never end by itself; WORKER_TIME_LIMIT is 4 s here."""
    before = site.workers()
    os.kill(min(before), signal.SIGSTOP)
    until(lambda: len(site.workers()) == COUNT and min(before) not in site.workers())

    site.server.wait_for_log(f"process {min(before)} has been silent")


def test_reload_brings_new_code_without_a_refused_connection(site: Site) -> None:
    before, pid = site.workers(), site.server.pid
    site.write_version('"second"')
    answers: list[str] = []
    failures: list[OSError] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                answers.append(site.version()[0])
            except OSError as error:
                failures.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    until(lambda: answers)
    site.reload()
    site.server.wait_for_log("all workers run the new code")
    until(lambda: len(site.workers()) == COUNT and not before & site.workers())
    done.set()
    asking.join(LIMIT)

    assert (failures, set(answers), site.version()[0]) == ([], {"first", "second"}, "second")
    assert site.server.pid == pid


def test_reload_closes_clients_so_that_they_come_back(site: Site) -> None:
    client = site.server.client()
    site.reload()

    assert client.wait_closed(LIMIT).code in (1001, 1012)
    site.server.wait_for_log("all workers run the new code")  # until then it may meet another one that ends
    with site.server.client() as again:
        again.subscribed("CheapestBooks", 1)


def test_code_that_does_not_load_is_not_changed_to(site: Site) -> None:
    before = site.workers()
    site.write_version("1 / 0")
    site.reload()
    site.server.wait_for_log("the old one goes on")

    assert site.version()[0] == "first"
    assert site.workers() == before
    assert re.search(r"ZeroDivisionError.*site_version.py, line 1", site.server.text())


def test_second_reload_follows_the_first(site: Site) -> None:
    for version in ("second", "third"):
        since, before = len(site.server.log), site.workers()
        site.write_version(f'"{version}"')
        site.reload()
        site.wait_for_new_code(before, since)

    assert site.version()[0] == "third"


def test_reload_that_is_asked_for_during_another_follows_it(site: Site) -> None:
    """Who deploys twice in a row ends with the last code."""
    site.write_version('"second"')
    site.reload()
    until(lambda: site.version()[0] == "second")  # its first worker
    site.write_version('"third"')
    site.reload()

    until(lambda: "".join(site.server.log).count("all workers run the new code") == 2)
    until(lambda: len(site.workers()) == COUNT)  # the last old one answers until it is gone
    assert site.version()[0] == "third"


def test_reload_that_loads_longer_than_workers_may_be_silent_keeps_them(site: Site) -> None:
    """They show their life into pipes that nobody reads meanwhile; WORKER_TIME_LIMIT is 4 s here."""
    (site.folder / "site_version.py").write_text('import time\ntime.sleep(5)\nVERSION = "second"\n')
    before = site.workers()
    site.reload()
    site.wait_for_new_code(before)

    assert "has been silent" not in site.server.text()
    assert site.version()[0] == "second"


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two processors, to take one away")
def test_reload_keeps_the_number_of_workers_where_auto_is_one_by_now(
    tmp_path: Path, bookstore: DDDPServer
) -> None:
    """A container's share of the machine may shrink; the sockets are there, and so are those who serve them."""
    site = Site(tmp_path, bookstore.database, "auto")
    with site.server:
        before = site.workers()
        os.sched_setaffinity(site.server.pid, {min(os.sched_getaffinity(0))})
        site.write_version('"second"')
        site.reload()
        site.wait_for_new_code(before)

        assert len(site.workers()) == len(before) > 1
        assert site.version()[0] == "second"


def test_auto_is_supervised_on_one_processor_too(tmp_path: Path, bookstore: DDDPServer) -> None:
    """The same unit file serves every machine: SIGHUP reloads, and ends nobody."""
    site = Site(tmp_path, bookstore.database, "auto")
    site.server._command[:0] = ["taskset", "--cpu-list", str(min(os.sched_getaffinity(0)))]
    with site.server:
        (worker,) = site.workers()
        site.reload()
        site.server.wait_for_log("all workers run the new code", time_limit=LIMIT)
        until(lambda: len(site.workers() - {worker}) == 1)

        assert site.version()[0] == "first"


def test_workers_stop_when_their_supervisor_is_gone(site: Site) -> None:
    workers = site.workers()
    site.server.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))


def test_stop_ends_all_and_leaves_nothing_behind(tmp_path: Path, bookstore: DDDPServer) -> None:
    site = Site(tmp_path, bookstore.database)
    folders = tmp_path / "temporary"
    folders.mkdir()
    site.server._env["TMPDIR"] = str(folders)
    with site.server:
        workers, client = site.workers(), site.server.client()
        assert list(folders.iterdir())
        site.server.stop()  # the exit code is 0, or this raises

    assert client.wait_closed().code in (1001, 1012)
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert list(folders.iterdir()) == []


def test_what_stops_one_worker_from_starting_is_told_once() -> None:
    env = {"DJANGO_SETTINGS_MODULE": BOOKSTORE, "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}

    assert "Connection refused" in refusal(dddp("--workers=3", f"127.0.0.1:{free_port()}", **env))


@pytest.mark.parametrize("workers", ["1", "2", "auto"])
def test_project_without_postgresql_is_told_so(workers: str, tmp_path: Path) -> None:
    """What a new Django project has is SQLite; a worker cannot even be made for it."""
    (tmp_path / "new_settings.py").write_text(NEW_PROJECT)
    done = dddp("--settings=new_settings", f"--workers={workers}", f"127.0.0.1:{free_port()}", cwd=tmp_path)

    line = refusal(done)
    assert "no PostgreSQL in settings.DATABASES" in line
    assert "'default' is 'db.sqlite3', sqlite3)" in line


def test_what_ends_a_worker_is_in_the_log(site: Site) -> None:
    """Whatever it is: another worker takes its place, and nobody would ever know."""
    workers = site.workers()
    site.get("/exit/")
    site.server.wait_for_log("SystemExit: the project wants to end")

    site.server.wait_for_log("ended with exit code 1")
    until(lambda: len(site.workers()) == COUNT and not workers <= site.workers())


def test_number_of_workers_that_is_none() -> None:
    assert "'many' is no number of workers; give 1 or more, or auto" in refusal(dddp("--workers=many"))


def test_check_loads_the_project_and_ends(bookstore: DDDPServer, tmp_path: Path) -> None:
    env = {"DJANGO_SETTINGS_MODULE": BOOKSTORE, "DATABASE_URL": bookstore.database}
    assert dddp("--check", **env).returncode == 0

    (tmp_path / "broken.py").write_text("1 / 0\n")
    assert "ZeroDivisionError" in refusal(dddp("--check", "--settings=broken", cwd=tmp_path, **env))
