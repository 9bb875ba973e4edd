"""The test's side of those who move money: processes with connections of their own, and one who calls the method.

Each writes into a ledger what became of every transfer: ``committed``, ``undone``, ``failed`` or ``unknown``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import websocket

from tests.client import StrictClient
from tests.server import ROOT
from tests.strict import RemoteError

__all__ = ["ONLINE", "Ledger", "OnlineTeller", "Teller"]

ONLINE = "online"  # how the numbers of transfers by the method begin
LIMIT = 30.0  # seconds for one transfer
UNCERTAIN = "may or may not"
"""In the reason of an error that says that nobody knows whether the method's transaction has committed."""


class Ledger:
    """What became of the transfers of one trial, by number."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.errors: Counter[str] = Counter()  #: what went wrong how often
        self._changed = threading.Condition()

    def note(self, number: str, outcome: str, error: str | None = None) -> None:
        with self._changed:
            self.outcomes[number] = outcome
            if error is not None:
                self.errors[re.sub(r"\d+", "N", error)] += 1
            self._changed.notify_all()

    def count(self, outcome: str = "committed", prefix: str = "") -> int:
        with self._changed:
            return sum(was == outcome and number.startswith(prefix) for number, was in self.outcomes.items())

    def failures(self, word: str) -> int:
        """How often something went wrong with this in its text."""
        with self._changed:
            return sum(count for error, count in self.errors.items() if word in error)

    def wake(self) -> None:
        """Have those who wait look again, though nothing new is in here."""
        with self._changed:
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool], limit: float, hope: str) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, limit), f"not within {limit} s: {hope}"


class Teller:
    """A process that runs ``bank.teller``."""

    def __init__(self, name: str, env: Mapping[str, str]) -> None:
        self.name = name
        self.ledger = Ledger()
        path = os.pathsep.join([str(ROOT), str(ROOT / "bookstore_example")])
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.bank.teller"],
            env={**os.environ, "PYTHONPATH": path, **env},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._resting = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def work(self, ledger: Ledger, trial: int, **work: Any) -> None:
        """Begin to move money; the fields of ``bank.teller.Work``."""
        self.ledger = ledger
        self._order("work", name=f"{self.name}-{trial}", trial=trial, **work)

    def rest(self, *, finish: bool = False) -> None:
        """Stop, and wait until all transfers have ended; with ``finish``, all that were to be made."""
        self._resting.clear()
        self._order("finish" if finish else "rest")
        assert self._resting.wait(LIMIT if not finish else 4 * LIMIT), f"teller {self.name} does not rest"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()

    def _order(self, do: str, **fields: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **fields}) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = json.loads(line)
            if "resting" in message:
                self._resting.set()
            else:
                self.ledger.note(**message)


class OnlineTeller:
    """A DDP client that calls ``transfer`` again and again, and comes back when its connection ends.

    ``clients`` are all it has been; each is subscribed to the bank, so that promise 5 can be judged.
    """

    def __init__(self, url: str, ledger: Ledger, trial: int, accounts: int, way: str, pause: float) -> None:
        self.clients: list[StrictClient] = []
        self._url = url
        self._ledger = ledger
        self._trial = trial
        self._accounts = accounts
        self._way = way
        self._stopping = threading.Event()
        self._pause = pause
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._failure: BaseException | None = None
        self._thread.start()

    def rest(self) -> None:
        """Stop, and raise what has gone wrong."""
        self._stopping.set()
        self._thread.join(LIMIT)
        assert not self._thread.is_alive(), "a call is not answered"
        for client in self.clients:
            client.close()
        self.check()

    @property
    def failed(self) -> bool:
        """Whether something has gone wrong, so that it calls no more."""
        return self._failure is not None

    def check(self) -> None:
        """Raise what has gone wrong."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        numbers = itertools.count()
        try:
            while not self._stopping.is_set():
                with contextlib.suppress(ConnectionError, OSError, websocket.WebSocketException):
                    self.clients.append(StrictClient(self._url, time_limit=LIMIT))
                    self._serve(self.clients[-1], numbers)
                time.sleep(0.05)
        except BaseException as error:  # noqa: BLE001 - raised by ``check``
            self._failure = error
            self._ledger.wake()

    def _serve(self, client: StrictClient, numbers: itertools.count[int]) -> None:
        subscription = client.subscribe("Bank", self._trial)
        try:
            client.wait(lambda view: subscription.ready or subscription.ended)
        except TimeoutError as error:  # it is an OSError, as those of a connection that was lost
            raise AssertionError(f"a subscription was not answered in {LIMIT} s") from error
        while not self._stopping.is_set() and not subscription.ended:
            count = next(numbers)
            number = f"{ONLINE}-{self._trial}-{count}"
            self._ledger.note(number, "unknown")
            self._ledger.note(number, *self._call(client, number, count % self._accounts))
            time.sleep(self._pause)

    def _call(self, client: StrictClient, number: str, source: int) -> tuple[str, str | None]:
        target = (source + 1) % self._accounts
        try:
            client.call("transfer", self._way, number, self._trial, source + 1, target + 1, 1)
        except TimeoutError as error:
            raise AssertionError(f"the call {number} was not answered in {LIMIT} s") from error
        except RemoteError as error:
            assert error.error in (500, 503), error
            return "unknown" if UNCERTAIN in str(error.reason) else "failed", str(error)
        return "committed", None
