"""What the others notice of one client that has stopped reading, among 1,000: their latencies with and without it.

It subscribes to whole documents and is sent megabytes that it does not read; the others publish one column and get
none of that. Then that column changes at a steady rate. Run it as ``python -m benchmarks.stalled [clients]``.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks import harness
from benchmarks.clients import subscriptions
from benchmarks.fanout import steady
from benchmarks.harness import System, median

ROUNDS = 3
RATE = 20  # changes per second
LARGE, TIMES = 100_000, 140
"""Bytes that the stalled client is sent, and how often: more than its socket takes, less than its limit."""


def main(clients: int) -> None:
    with harness.served() as system:
        ours = subscriptions(system.address, ["SomeFields", "name"])
        ours.open(clients - 1)
        memory = harness.resident(system.pid)
        numbers = iter(range(1_000_000))

        def rename() -> float:
            return system.execute("UPDATE stock_item SET name = %s WHERE id = 1", f"{next(numbers):0100}")

        found: dict[str, list[float]] = {"without": [], "with": []}
        kept = 0.0
        for _ in range(ROUNDS):
            found["without"].append(steady(ours, system.pid, RATE, rename).p99)
            with stalled(system):
                kept = max(kept, harness.resident(system.pid) - memory)
                found["with"].append(steady(ours, system.pid, RATE, rename).p99)
    ratio = median(found["with"]) / median(found["without"])
    print(
        f"{clients} clients, {RATE} changes/s, {ROUNDS} rounds; median p99 of the others, COMMIT to received"
    )
    print(f"  {LARGE * TIMES / 1e6:.0f} MB unread; the server grew by {kept / 1024:.1f} MB")
    for name, values in found.items():
        print(f"  {median(values):6.1f} ms {name} a stalled reader")
    print(f"  {ratio:.2f} times (target: 1.2)")


@contextmanager
def stalled(system: System) -> Iterator[None]:
    """A client that leaves megabytes unread; another one that reads them paces the changes."""
    lazy, witness = (subscriptions(system.address, ["AllItems"]) for _ in range(2))
    lazy.open(1)
    witness.open(1)
    for _ in range(TIMES):
        system.change(LARGE)
        witness.receive_frames(1)
    system.change(10)
    witness.receive_frames(1)
    witness.close()
    yield
    lazy.close()
    time.sleep(0.5)


if __name__ == "__main__":
    main(*harness.arguments(1000))
