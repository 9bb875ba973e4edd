"""A plain program that moves money until it is told to rest, and says of every transfer what became of it.

Never imports gevent. Reads orders from its standard input, one JSON object per line: ``{"do": "work", ...}`` with the
fields of ``Work``, ``{"do": "rest"}``, or ``{"do": "finish"}``: rest when the work's count is done. Answers
``{"number", "outcome"}`` for each transfer, the outcome being

* ``committed``: COMMIT was answered,
* ``undone``: rolled back on purpose,
* ``failed``: an error came before COMMIT was sent,
* ``unknown``: an error came instead of an answer to COMMIT,

an ``error`` beside it says what went wrong; and ``{"resting": true}`` when all its transfers have ended.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import sys
import threading
import time
from dataclasses import dataclass
from typing import Any

import django

django.setup()

from django.db import DatabaseError, InterfaceError, connection, transaction  # noqa: E402

from tests.faults.bank.transfers import WAYS, Order  # noqa: E402

THREADS = 2
UNDONE = 0.1  # share of the transfers that are rolled back on purpose
AFTER_ERROR = 0.05  # seconds


@dataclass(frozen=True)
class Work:
    """What to do until told otherwise."""

    name: str  #: numbers begin with it
    trial: int
    accounts: int  #: their keys are 1 to this
    ways: list[str]
    pause: float = 0.02  #: seconds between two transfers of a thread
    count: int | None = None  #: transfers of each thread; None for no end
    orderly: bool = True
    session: str = ""  #: SQL that each connection begins with
    seed: int = 0


answering = threading.Lock()


def answer(message: dict[str, Any]) -> None:
    with answering:
        print(json.dumps(message), flush=True)  # noqa: T201 - the program's output


class Teller(threading.Thread):
    """One connection, in a thread that works as long as ``work`` is set."""

    def __init__(self, number: int) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.changed = threading.Condition()
        self.work: Work | None = None
        self.at_work = False
        self.start()

    def order(self, work: Work | None) -> None:
        with self.changed:
            self.work = work
            self.changed.notify_all()

    def wait_idle(self) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.work is None and not self.at_work)

    def run(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.work)
                work, self.at_work = self.work, True
            assert work is not None
            self._work(work)
            with self.changed:
                self.at_work = False
                if self.work is work:
                    self.work = None
                self.changed.notify_all()

    def _work(self, work: Work) -> None:
        chance = random.Random(f"{work.seed} {work.name} {self.number}")
        self._close()
        for count in itertools.count() if work.count is None else range(work.count):
            if self.work is not work:
                return
            source, target = chance.sample(range(1, work.accounts + 1), 2)
            number = f"{work.name}-{self.number}-{count}"
            order = Order(number, work.trial, source, target, chance.randint(1, 9), work.orderly)
            way, undo = chance.choice(work.ways), chance.random() < UNDONE
            answer({"number": number, **self._transfer(order, way, undo, work.session)})
            time.sleep(work.pause)

    def _transfer(self, order: Order, way: str, undo: bool, session: str) -> dict[str, str]:
        outcome = "failed"
        try:
            if connection.connection is None and session:
                with connection.cursor() as cursor:
                    cursor.execute(session)
            with transaction.atomic():
                WAYS[way](order)
                if undo:
                    transaction.set_rollback(True)
                else:
                    outcome = "unknown"
        except (DatabaseError, InterfaceError) as error:
            self._close()
            time.sleep(AFTER_ERROR)
            return {"outcome": outcome, "error": f"{type(error).__name__}: {str(error).splitlines()[0]}"}
        return {"outcome": "undone" if undo else "committed"}

    def _close(self) -> None:
        with contextlib.suppress(DatabaseError, InterfaceError):
            connection.close()


def main() -> None:
    tellers = [Teller(number) for number in range(THREADS)]
    for line in sys.stdin:
        message = json.loads(line)
        kind = message.pop("do")
        work = Work(**message) if kind == "work" else None
        if kind == "finish":
            for teller in tellers:
                teller.wait_idle()
        for teller in tellers:
            teller.order(work)
        if work is None:
            for teller in tellers:
                teller.wait_idle()
            answer({"resting": True})
    os._exit(0)


if __name__ == "__main__":
    main()
