"""A change that touches one of many live queries, end to end: from COMMIT in PostgreSQL to the one client that sees it.

The other queries are distinct, and held by sessions that subscribe to 100 each. Printed for few queries and for many,
both on a server of their own: the time to the client, the server's processor time for one change, and the memory that
one more idle live query takes, with all that the process keeps for it: query, index entry, subscription.

Run it as ``python -m benchmarks.touched [queries] [rounds]``.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from benchmarks import harness
from benchmarks.clients import Clients, subscribe, subscriptions
from benchmarks.harness import System, cpu, median, percentile, resident

FEW = 100
PER_SESSION = 100
WARM = 10  #: changes before those that count
PAUSE = 0.005  #: seconds between changes: the server is idle


class Touched(NamedTuple):
    """Milliseconds, microseconds, kilobytes."""

    p50: float
    p99: float
    cpu: float
    memory: float


def main(queries: int, rounds: int) -> None:
    few, many = (measure(count, rounds, verbose=count == FEW) for count in (FEW, queries))
    print(
        f"{queries:,} queries to {FEW}: {many.p50 / few.p50:.2f} times the time, {many.cpu / few.cpu:.2f} the CPU"
    )
    print(f"memory per idle live query: {many.memory:.2f} KB (target: 4)")


def measure(queries: int, rounds: int, *, verbose: bool) -> Touched:
    with harness.served(verbose=verbose) as system:
        watcher = subscriptions(system.address, ["Shelf", "shelf 1"])
        watcher.open(1)
        before = resident(system.pid)
        others = idle(system, queries - 1)
        memory = (resident(system.pid) - before) / max(1, queries - 1)
        times, spent = changes(system, watcher, rounds)
        touched = Touched(median(times), percentile(times, 99), median(spent), memory)
        print(
            f"{queries:7,} live queries: COMMIT to received p50 {touched.p50:.2f} ms, p99 {touched.p99:.2f} ms; "
            f"{touched.cpu:.0f} µs CPU of the server per change"
        )
        others.close()
        return touched


def idle(system: System, queries: int) -> Clients:
    """So many queries that see no change, each of another shelf."""
    others = subscriptions(system.address)
    for first in range(0, queries, PER_SESSION):
        known = set(others.all)
        others.open(1)
        (opened,) = others.all.keys() - known
        numbers = range(first, min(first + PER_SESSION, queries))
        for number in numbers:
            subscribe(others.all[opened], "Shelf", f"empty {number}", id=f"s{number}")
        others.receive_frames(len(numbers))
    return others


def changes(system: System, watcher: Clients, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds from COMMIT to the client, and microseconds of the server's processor time, of each change."""
    times, spent = [], []
    for number in range(WARM + rounds):
        before = cpu(system.pid)
        committed = system.change()
        (received,) = watcher.receive_frames(1)
        time.sleep(PAUSE)  # what the server does behind its send counts too
        if number >= WARM:
            times.append((received - committed) * 1e3)
            spent.append((cpu(system.pid) - before) * 1e6)
    return times, spent


if __name__ == "__main__":
    main(*harness.arguments(100_000, 300))
