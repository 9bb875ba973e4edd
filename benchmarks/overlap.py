"""Every session needs its own bytes: each sees one document through a pair of queries that no other session has.

The queries publish overlapping sets of fields, so what a change means to a session is computed for it alone.
Run it as ``python -m benchmarks.overlap [clients] [rounds]``.
"""

from __future__ import annotations

import time
from itertools import combinations, islice

from benchmarks import harness
from benchmarks.clients import subscribers
from benchmarks.harness import System, cpu, median

FIELDS = ("name", "note", "shelf", "maker", "price", "count", "minimum", "weight")
PUBLISHED = list(combinations(FIELDS, 4))
"""70 sets of fields, so 2,415 pairs of them."""

CHANGE = (
    "UPDATE stock_item SET name = %s, note = %s, shelf = %s, maker = %s, price = price + 1, count = count + 1, "
    "minimum = minimum + 1, weight = weight + 1 WHERE id = 1"
)


def main(clients: int, rounds: int) -> None:
    pairs = list(islice(combinations(PUBLISHED, 2), clients))
    assert len(pairs) == clients, "at most 2,415 clients"
    with harness.served() as system:
        ours = subscribers(system.address, lambda number: [["SomeFields", *part] for part in pairs[number]])
        ours.open(clients)
        used, size = [], 0
        for number in range(rounds):
            before, received = cpu(system.pid), ours.bytes
            change(system, number)
            ours.receive_frames(clients)
            time.sleep(0.002)
            used.append((cpu(system.pid) - before) / clients * 1e6)
            size = (ours.bytes - received) // clients
    queries = len({part for pair in pairs for part in pair})
    print(f"{clients} clients with 2 of {queries} live queries each, {rounds} changes of 8 columns")
    print(f"  {median(used):.2f} µs CPU per delivered message of {size} bytes (mean)")
    print(f"  {1e6 / median(used):,.0f} messages/s per core (target: 54,000)")


def change(system: System, number: int) -> None:
    system.execute(CHANGE, *(f"{name} {number}" for name in FIELDS[:4]))


if __name__ == "__main__":
    main(*harness.arguments(1000, 50))
