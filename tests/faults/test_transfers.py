"""Promise 6: what a transaction did arrives whole, so no client ever sees money that is not there.

Where a transaction ends a client knows by its marker: each transfer's transaction writes a document of its own, which
names the versions that it left its two accounts in. Its set is these three, and it is complete when the last of them
has arrived, in whatever order. From ``ready`` on, each message must belong to the set that is incomplete, and whenever
a set is complete the balances must add up.
"""

from __future__ import annotations

from contextlib import ExitStack

from tests.client import StrictClient
from tests.faults.arena import ACCOUNTS, OPENING_BALANCE, Arena
from tests.properties.judge import Broken

TOTAL = ACCOUNTS * OPENING_BALANCE
WATCHERS = 6
ATTEMPTS = 280  # of each of four threads; a tenth is rolled back on purpose


class Sum:
    """What one client knows of the balances, message by message."""

    def __init__(self) -> None:
        self.balances: dict[str, int] = {}
        self.versions: dict[str, int] = {}
        self.ready = False
        self.whole = 0  #: transactions that were complete after ``ready``
        self._touched: set[tuple[str, int]] = set()
        self._marker: set[tuple[str, int]] | None = None

    def apply(self, message: dict) -> None:
        kind = message.get("msg")
        if kind == "ready":
            self.ready = True
            self._check(message)
        elif kind in ("added", "changed"):
            note = self._account if message["collection"] == "bank.account" else self._transfer
            note(message)
            if self.ready:
                self._end(message)

    def _account(self, message: dict) -> None:
        key, fields = message["id"], message["fields"]
        self.balances[key] = fields.get("balance", self.balances.get(key))
        self.versions[key] = fields["version"]
        self._touched.add((key, fields["version"]))

    def _transfer(self, message: dict) -> None:
        if self._marker is not None and self.ready:
            raise Broken(f"a second transfer before the first is complete: {message}")
        fields = message["fields"]
        self._marker = {(fields[f"{side}_id"], fields[f"{side}_version"]) for side in ("source", "target")}

    def _end(self, message: dict) -> None:
        if len(self._touched) > 2 or (self._marker is not None and not self._touched <= self._marker):
            raise Broken(f"two transactions at once: {self._touched}, {self._marker}, at {message}")
        if self._touched == self._marker:
            self._check(message)
            self.whole += 1

    def _check(self, message: dict) -> None:
        if sum(self.balances.values()) != TOTAL:
            raise Broken(f"the balances are {sum(self.balances.values())}, not {TOTAL}, at {message}")
        self._touched, self._marker = set(), None


def check_totals(client: StrictClient) -> int:
    """How many transactions it was told after ``ready``, each of them whole."""
    seen = Sum()
    for message in client.received():
        seen.apply(message)
    assert seen._touched == set(), "a part of a transaction never came"
    return seen.whole


def test_no_client_sees_a_total_that_differs(arena: Arena) -> None:
    """A thousand concurrent transfers, by four connections of two processes and by a method."""
    work = {"count": ATTEMPTS, "pause": 0.0}
    with ExitStack() as clients, arena.trial("a thousand concurrent transfers", work=work) as trial:
        watchers = [clients.enter_context(arena.server.client()) for _ in range(WATCHERS)]
        for number, watcher in enumerate(watchers):
            trial.progress(20 * number + 1)  # they begin in the midst of it
            subscription = watcher.subscribe("Bank", trial.number)
            watcher.wait(lambda view, subscription=subscription: subscription.ready)
        trial.rest(finish=True)
        made = trial.ledger.count()
        for watcher in watchers:
            watcher.wait(lambda view: len(view.documents("bank.transfer")) >= made)
        whole = [check_totals(watcher) for watcher in watchers]
        trial.name += f", {min(whole)} to {max(whole)} of them seen whole by each of {WATCHERS} clients"
    assert made >= 1000
    assert min(whole) > 0
