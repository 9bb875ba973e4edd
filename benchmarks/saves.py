"""A Django process that saves one row through the ORM whenever it is told to; ``latency.py`` tells several in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import django

__all__ = ["Saver", "saver"]


class Saver:
    """The process, from outside."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def save(self) -> float:
        """Save once; the milliseconds it took in the process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("save\n")
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
    for _ in sys.stdin:
        item.count += 1
        began = time.perf_counter()
        item.save()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    django.setup()
    main()
