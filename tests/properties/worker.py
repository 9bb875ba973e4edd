"""A plain program of the library: several writers, each with a connection of its own. Never imports gevent.

Reads jobs from its standard input, one JSON object per line, ``{"id", "writer", "do", "with"}``, and answers
``{"id", "value"}`` or ``{"id", "error"}`` when they are done. The jobs of one writer run in order in a thread.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from collections import defaultdict
from typing import Any

import django

django.setup()

from django.db import DatabaseError, connection, transaction  # noqa: E402

from dddp.api.registry import API  # noqa: E402
from tests.properties.library import operations  # noqa: E402

answering = threading.Lock()


class Writer(threading.Thread):
    """One connection. Whatever fails takes the whole open transaction with it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.jobs: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self.open: list[transaction.Atomic] = []
        self.start()

    def run(self) -> None:
        while True:
            job = self.jobs.get()
            try:
                answer = {"id": job["id"], "value": getattr(self, job["do"])(*job["with"])}
            except (DatabaseError, transaction.TransactionManagementError) as error:
                self.rollback()
                answer = {"id": job["id"], "error": f"{type(error).__name__}: {error}"}
            with answering:
                print(json.dumps(answer), flush=True)  # noqa: T201 - the program's output

    def begin(self) -> None:
        """Begin a transaction, or in one a savepoint."""
        atomic = transaction.atomic()
        atomic.__enter__()
        self.open.append(atomic)

    def write(self, *writes: list[Any]) -> None:
        for write in writes:
            operations.perform(write)

    def transact(self, *writes: list[Any]) -> int | None:
        """Write in a transaction of its own; its id."""
        with transaction.atomic():
            self.write(*writes)
            return operations.transaction_id()

    def reset(self) -> None:
        with transaction.atomic():
            operations.reset()

    def release(self) -> None:
        """End the innermost savepoint or the transaction, and keep its writes."""
        if self.open:
            self.open.pop().__exit__(None, None, None)

    def undo(self) -> None:
        """End the innermost savepoint or the transaction, and undo its writes."""
        if self.open:
            transaction.set_rollback(True)
            self.open.pop().__exit__(None, None, None)

    def commit(self) -> None:
        while self.open:
            self.release()

    def rollback(self) -> None:
        while self.open:
            if connection.in_atomic_block:
                transaction.set_rollback(True)
            self.open.pop().__exit__(None, None, None)

    def evaluate(self, name: str, params: list[Any], user: str | None) -> list[Any]:
        """Run a publication's querysets; for each its collection's name and its rows' (key, n)."""
        publication = API.publications[name](params, user, None, None)
        return [
            [selection.collection.name, [(row.pk, row.n) for row in selection.queryset.all()]]
            for selection in publication.resolve()
        ]


def main() -> None:
    writers: defaultdict[str, Writer] = defaultdict(Writer)
    for line in sys.stdin:
        job = json.loads(line)
        writers[job["writer"]].jobs.put(job)


if __name__ == "__main__":
    main()
