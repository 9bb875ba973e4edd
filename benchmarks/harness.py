"""What the end-to-end benchmarks share: PostgreSQL, the real ``dddp`` process, a writer, processor time, percentiles.

The server has one core to itself, as far as the machine allows; PostgreSQL, the clients and the writer share another.
Where there is but one, all share it.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks import peers
from benchmarks.clients import Address

__all__ = ["System", "arguments", "cpu", "database", "median", "percentile", "pin", "resident", "served"]

SETTINGS = "benchmarks.project.settings"
ROOT = Path(__file__).resolve().parent.parent
PATH = os.pathsep.join(map(str, (ROOT, ROOT / "bookstore_example")))
SERVER_CORE, OTHER_CORE = 0, 1
ITEM = (
    "INSERT INTO stock_item (name, note, shelf, maker, price, count, minimum, weight, sold, added) "
    "SELECT 'Item ' || n, repeat('x', 100), 'shelf ' || n %% 10, 'maker', 9.5, n, 1, 1.5, false, now() "
    "FROM generate_series(%s, %s) n"
)


class System:
    """A database, a server on it, and a connection that writes."""

    def __init__(self, address: Address, pid: int, environment: dict[str, str]) -> None:
        self.address = address
        self.pid = pid
        self.environment = environment  #: for Django processes beside the server
        self.database = environment["DATABASE_URL"]
        self.pgconn = psycopg2.connect(self.database)
        self._items = 0
        self._notes = 0

    def execute(self, sql: str, *params: Any) -> float:
        """Run a statement in a transaction of its own; when its COMMIT returned (``time.perf_counter``)."""
        with self.pgconn.cursor() as cursor:
            cursor.execute(sql, params or None)
        self.pgconn.commit()
        return time.perf_counter()

    def query(self, sql: str, *params: Any) -> Any:
        """The one value that a query gives."""
        with self.pgconn.cursor() as cursor:
            cursor.execute(sql, params or None)
            (value,) = cursor.fetchone()
        self.pgconn.commit()
        return value

    def add_items(self, count: int) -> None:
        """Add rows to the table."""
        self.execute(ITEM, self._items + 1, self._items + count)
        self._items += count

    def change(self, size: int = 130) -> float:
        """Change one column of the first row to a text of so many bytes; when COMMIT returned."""
        self._notes += 1
        return self.execute(
            "UPDATE stock_item SET note = rpad(%s, %s, 'x') WHERE id = 1", str(self._notes), size
        )


@contextmanager
def database(**env: str) -> Iterator[dict[str, str]]:
    """A migrated database of its own; what the environment of the processes that use it has besides ours."""
    from tests.server import fresh_database, run_django

    with fresh_database("dddp_benchmark") as url:
        environment = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": SETTINGS, "PYTHONPATH": PATH, **env}
        run_django("migrate", "--run-syncdb", "-v0", settings_module=SETTINGS, env=environment)
        yield environment


@contextmanager
def served(items: int = 1, *, verbose: bool = True, **env: str) -> Iterator[System]:
    """A database of its own with some rows, and a ``dddp`` process on it; prints what all of it runs on.

    Args:
        verbose: whether to print that.
        env: what the server's environment has besides ours: ``CAPTURE``.
    """
    pin(os.getpid(), OTHER_CORE)  # and PostgreSQL, which is started by this process
    peers.allow_many_files()
    from tests.server import DDDPServer

    with database(**env) as environment, DDDPServer(SETTINGS, environment, options=()) as server:
        pin(server.pid, SERVER_CORE)
        system = System(("127.0.0.1", server.port), server.pid, environment)
        system.add_items(items)
        if verbose:
            print(machine(system))
        gc.freeze()
        gc.disable()
        yield system
        system.pgconn.close()


def execute(url: str, sql: str, *params: Any) -> None:
    """Run a statement on a database without a server on it."""
    with closing(psycopg2.connect(url)) as pgconn:
        pgconn.cursor().execute(sql, params)
        pgconn.commit()


def machine(system: System) -> str:
    own = ", ".join(f"{name} {version(name)}" for name in ("django", "psycopg2-binary", "orjson"))
    load = Path("/proc/loadavg").read_text().split()[0]
    postgresql = system.query("SHOW server_version")
    return f"{peers.machine()}, {own}, PostgreSQL {postgresql}\nload before: {load}"


def pin(pid: int, core: int) -> None:
    """Keep a process on one core, if the machine has that many."""
    if core < (os.cpu_count() or 1) and platform.system() == "Linux":
        os.sched_setaffinity(pid, {core})


def cpu(pid: int) -> float:
    """Seconds of processor time that a process has used, to the nanosecond (Linux: its CPU-time clock)."""
    return time.clock_gettime((~pid << 3) | 2)


def resident(pid: int) -> float:
    """Kilobytes of a process that are in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def percentile(values: Sequence[float], share: int) -> float:
    """The value below which ``share`` percent lie."""
    return sorted(values)[min(len(values) - 1, len(values) * share // 100)]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def arguments(*defaults: int) -> list[int]:
    """The numbers of the command line, the rest by default."""
    given = [int(argument) for argument in sys.argv[1:]]
    return [*given, *defaults[len(given) :]]
