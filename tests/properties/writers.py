"""The test's side of ``worker``: jobs for writers in another process, done in order per writer."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

from tests.server import ROOT

__all__ = ["Refused", "Worker"]

TIME_LIMIT = 20.0


class Refused(Exception):
    """The database refused; the writer's open transaction has been rolled back."""


class Worker:
    """One worker process.

    Args:
        env: what its environment has besides ours; the Django settings above all.
    """

    def __init__(self, env: Mapping[str, str]) -> None:
        path = os.pathsep.join([str(ROOT), str(ROOT / "bookstore_example")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.properties.worker"],
            env={**os.environ, "PYTHONPATH": path, **env},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._ids = itertools.count()
        self._jobs: dict[int, Future[Any]] = {}
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def submit(self, writer: str, do: str, *arguments: Any) -> Future[Any]:
        """Have a writer do something; the result, or Refused, comes when it is done."""
        job: Future[Any] = Future()
        number = next(self._ids)
        self._jobs[number] = job
        assert self._process.stdin is not None
        self._process.stdin.write(
            json.dumps({"id": number, "writer": writer, "do": do, "with": arguments}) + "\n"
        )
        self._process.stdin.flush()
        return job

    def run(self, writer: str, do: str, *arguments: Any) -> Any:
        """``submit`` and wait.

        Raises:
            Refused: the database refused.
        """
        return self.submit(writer, do, *arguments).result(TIME_LIMIT)

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(TIME_LIMIT)
        self._reader.join()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                answer = json.loads(line)
                job = self._jobs.pop(answer["id"])
                if "error" in answer:
                    job.set_exception(Refused(answer["error"]))
                else:
                    job.set_result(answer["value"])
        for job in self._jobs.values():
            job.set_exception(RuntimeError("the worker process has ended"))
