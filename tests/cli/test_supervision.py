"""Signals at the worst moment: to all processes at once, during a reload, twice, and the one nobody can catch."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dddp.server import supervisor
from tests.cli.test_workers import URLS, Site, until
from tests.faults.proxy import proxy_to_postgres
from tests.server import READY, STOP_LIMIT, DDDPServer

SLOW_URLS = f"""
import time
{URLS}
def slow(request):
    open(f"slow.{{os.getpid()}}", "w").close()
    time.sleep(20)
    return HttpResponse("slow")
urlpatterns.append(path("slow/", slow))
"""

NO_PROCESSES = """
import errno, os
from dddp.server import supervisor
def fork(real=supervisor.fork):
    if os.path.exists("no_processes"):
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return real()
supervisor.fork = fork
"""
"""Settings with which a limit on processes is reached while a file is there; a real one does not stop root."""

LIMITS = """
DDDP["SHUTDOWN_TIME_LIMIT"] = 3
"""


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Where temporary folders go."""
    folders = tmp_path / "temporary"
    folders.mkdir()
    return folders


@pytest.fixture
def site(tmp_path: Path, folders: Path, bookstore: DDDPServer) -> Iterator[Site]:
    site = Site(tmp_path, bookstore.database)
    site.server._env["TMPDIR"] = str(folders)
    site.server._cwd = tmp_path
    (tmp_path / "site_urls.py").write_text(SLOW_URLS)
    with (tmp_path / "site_settings.py").open("a") as settings:
        settings.write(LIMITS)
    with site.server:
        yield site


@pytest.fixture
def limited(site: Site) -> Path:
    """The file that keeps the server from having more processes."""
    site.server.stop()
    with (site.folder / "site_settings.py").open("a") as settings:
        settings.write(NO_PROCESSES)
    site.server.start()
    return site.folder / "no_processes"


@pytest.fixture
def python(site: Site) -> Path:
    """The interpreter that the server runs by: a link, as in a virtual environment, to be taken away."""
    site.server.stop()
    link = site.folder / "python"
    link.symlink_to(os.path.realpath(sys.executable))
    site.server._env["PYTHONPATH"] += os.pathsep + sysconfig.get_path("purelib")
    site.server._command[0] = str(link)
    site.server.start()
    return link


def children(pid: int) -> dict[int, str]:
    """The child processes and their states; "Z" is one that nobody has waited for."""
    found = subprocess.run(
        ["ps", "-o", "pid=,stat=", "--ppid", str(pid)], capture_output=True, text=True, check=False
    )
    return {int(line.split()[0]): line.split()[1][0] for line in found.stdout.splitlines()}


def descriptors(pid: int) -> dict[str, str]:
    """The open descriptors, and their flags: whether a program that is run gets them too."""
    flags = subprocess.run(
        f"grep -H flags: /proc/{pid}/fdinfo/*", shell=True, capture_output=True, text=True, check=False
    )
    return dict(line.split(":flags:") for line in flags.stdout.splitlines())


@contextlib.contextmanager
def every_worker_busy(site: Site) -> Iterator[None]:
    """Each answers a request that takes long."""
    asking: list[threading.Thread] = []

    def all_are_busy() -> bool:
        asking.append(threading.Thread(target=lambda: site.get("/slow/")))
        asking[-1].start()
        return len(list(site.folder.glob("slow.*"))) == 3

    until(all_are_busy)
    yield
    for thread in asking:
        thread.join()


def ended(site: Site) -> int:
    """Its exit code, once it has ended by itself."""
    process, site.server._process = site.server._process, None
    assert process is not None
    return process.wait(STOP_LIMIT)


def test_stop_signal_to_all_processes_stops_in_order(site: Site) -> None:
    """As systemd sends it to all processes of a unit."""
    clients = [site.server.client() for _ in range(6)]
    for pid in (*site.workers(), *site.workers(), site.server.pid):
        os.kill(pid, signal.SIGTERM)

    assert {client.wait_closed().code for client in clients} <= {1001, 1012}
    assert ended(site) == 0
    assert "Traceback" not in site.server.text()


def test_stop_signal_while_code_is_reloaded(site: Site, folders: Path) -> None:
    before = site.workers()
    site.reload()
    until(lambda: children(site.server.pid).keys() - before)
    loading = children(site.server.pid).keys() - before
    site.server.stop()

    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in (*before, *loading)))
    assert list(folders.iterdir()) == []


def test_reload_while_a_worker_of_the_last_one_still_leaves(site: Site) -> None:
    """It is waited for, also by the code that did not start it."""
    with every_worker_busy(site):
        for _ in range(2):
            since = len(site.server.log)
            site.reload()
            site.server.wait_for_log("all workers run the new code", since=since, time_limit=40)

    until(lambda: len(children(site.server.pid)) == 3)
    assert "Z" not in children(site.server.pid).values()


def test_reload_before_the_server_has_started_waits_for_it(site: Site) -> None:
    """Else the new code would not know whether a worker that cannot start ever could."""
    site.server.stop()
    since = len(site.server.log)
    with proxy_to_postgres(site.server.database) as database:
        through = urlsplit(site.server.database)
        address = f"{through.username}@{database.host}:{database.port}"
        site.server._env["DATABASE_URL"] = through._replace(netloc=address, query="").geturl()
        database.freeze()
        starting = threading.Thread(target=site.server.start)  # until it says that it serves
        starting.start()
        until(lambda: site.server.running and children(site.server.pid))
        site.reload()
        database.resume()
        starting.join()
        site.server.wait_for_log("all workers run the new code")
        site.server.stop()

    said = [line for line in site.server.log[since:] if READY in line or "the new code is loaded" in line]
    assert READY in said[0]


def test_stopping_server_accepts_nothing_more(site: Site) -> None:
    """Clients are refused at once, and may try another server, while requests are still answered."""
    workers = site.workers()
    with every_worker_busy(site):
        os.kill(site.server.pid, signal.SIGTERM)
        until(site.refuses)
        assert children(site.server.pid).keys() & workers

    assert ended(site) == 0


def test_second_stop_signal_ends_all_at_once(site: Site, folders: Path) -> None:
    workers = site.workers()
    with every_worker_busy(site):
        os.kill(site.server.pid, signal.SIGTERM)
        until(site.refuses)
        os.kill(site.server.pid, signal.SIGTERM)

        assert ended(site) == 130
        until(lambda: not any(Path(f"/proc/{each}").exists() for each in workers))
    assert list(folders.iterdir()) == []


def test_killed_supervisor_leaves_no_folder(site: Site, folders: Path) -> None:
    assert list(folders.iterdir())
    site.server.kill()

    until(lambda: not list(folders.iterdir()))


def test_worker_that_has_ended_leaves_no_descriptor(site: Site) -> None:
    before = len(descriptors(site.server.pid))
    dead = min(site.workers())
    os.kill(dead, signal.SIGKILL)
    until(lambda: len(site.workers()) == 3 and dead not in site.workers())

    assert len(descriptors(site.server.pid)) == before


def test_worker_that_cannot_be_forked_is_tried_again(site: Site, limited: Path) -> None:
    """The others serve meanwhile; the attempts cost nothing that would be missed later."""
    before, dead = descriptors(site.server.pid), min(site.workers())
    limited.touch()
    os.kill(dead, signal.SIGKILL)
    for pause in (1, 2):
        site.server.wait_for_log(
            f"cannot be forked: .*temporarily unavailable; it is tried again in {pause} s"
        )
    assert site.version()[0] == "first"
    assert len(site.workers()) == 2

    limited.unlink()
    until(lambda: len(site.workers()) == 3)
    assert len(descriptors(site.server.pid)) == len(before)


def test_back_off_ends_at_half_a_minute_however_long_workers_die() -> None:
    """A database that is away for a weekend makes for thousands of deaths."""
    place = supervisor._Place()

    assert [place.back_off(failures) for failures in range(9)] == [0, 0, 1, 2, 4, 8, 16, 30, 30]
    assert place.back_off(10_000) == 30


def test_reload_goes_on_once_workers_can_be_forked(site: Site, limited: Path) -> None:
    before = site.workers()
    limited.touch()
    site.write_version('"second"')
    site.reload()
    site.server.wait_for_log("cannot be forked")
    assert site.version()[0] == "first"
    assert site.workers() == before

    limited.unlink()
    site.wait_for_new_code(before)
    assert site.version()[0] == "second"


def test_server_stops_in_order_where_no_worker_can_be_forked(site: Site, limited: Path) -> None:
    limited.touch()
    os.kill(min(site.workers()), signal.SIGKILL)
    site.server.wait_for_log("cannot be forked")
    site.server.stop()  # the exit code is 0, or this raises


@pytest.mark.parametrize(
    "version",
    ['"second"', '__import__("os").unlink(__import__("sys").executable)'],
    ids=["before the new code is loaded", "after it has been loaded on trial"],
)
def test_reload_while_the_interpreter_is_not_there(site: Site, python: Path, version: str) -> None:
    """As while a virtual environment is made anew: the old code goes on, as if nobody had asked."""
    workers, before = site.workers(), descriptors(site.server.pid)
    target = python.readlink()
    site.write_version(version)
    if version == '"second"':
        python.unlink()
    site.reload()
    site.server.wait_for_log(f"{python}.*; the old one goes on")
    assert (site.version()[0], site.workers()) == ("first", workers)
    assert descriptors(site.server.pid) == before

    python.symlink_to(target)
    site.write_version('"third"')
    site.reload()
    site.wait_for_new_code(workers)
    assert site.version()[0] == "third"


def test_temporary_folder_is_nobody_elses(site: Site, folders: Path) -> None:
    (folder,) = folders.iterdir()

    assert folder.stat().st_mode & 0o777 == 0o700
