"""A Django process that writes one row through the ORM whenever it is told to; ``latency.py`` tells several in turn."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import django
import psycopg2
from django.db import connection, transaction

__all__ = ["Saver", "saver"]


class Saver:
    """The process, from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def save(self) -> float:
        """Save once; the milliseconds it took in the process."""
        return self._tell("save")

    def notify(self) -> float:
        """Update the row, notify and commit; the milliseconds until another connection of the process has heard it."""
        return self._tell("notify")

    def _tell(self, what: str) -> float:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline()) * 1e3


@contextmanager
def saver(environment: Mapping[str, str]) -> Iterator[Saver]:
    command = [sys.executable, "-m", "benchmarks.saves"]
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Saver(process)
        finally:
            process.terminate()


def main() -> None:
    from benchmarks.project.stock.models import Item

    item = Item.objects.get(pk=1)
    listener = psycopg2.connect(os.environ["DATABASE_URL"])
    listener.autocommit = True
    listener.cursor().execute("LISTEN benchmark")

    def save(number: int) -> None:
        item.count = number
        item.save()

    def notify(number: int) -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            Item.objects.filter(pk=1).update(note=f"bare {number}")
            cursor.execute("SELECT pg_notify('benchmark', %s)", [str(number)])
        while not listener.notifies:
            select.select([listener], [], [])
            listener.poll()
        listener.notifies.clear()

    ways = {"save": save, "notify": notify}
    for number, line in enumerate(sys.stdin):
        began = time.perf_counter()
        ways[line.strip()](number)
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    django.setup()
    main()
