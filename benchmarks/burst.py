"""Much at once: a transaction that changes 1,000 documents, and first loads of 1,000 documents by 100 new clients.

Both against a bare write of the same bytes to as many sockets.
Run it as ``python -m benchmarks.burst [clients] [documents]``.
"""

from __future__ import annotations

import time

from benchmarks import bare, harness
from benchmarks.bare import Bare
from benchmarks.clients import Clients, subscribe, subscriptions
from benchmarks.harness import System, cpu, median

ROUNDS = 7


def main(clients: int, documents: int) -> None:
    with harness.served(documents) as system, bare.running() as limit:
        harness.pin(limit.pid, harness.SERVER_CORE)
        ours = subscriptions(system.address, ["AllItems"])
        ours.open(clients)
        theirs = limit.clients(clients)
        print(f"{clients} clients, {documents} documents; medians of {ROUNDS}")
        burst(system, ours, limit, theirs, documents)
        load(system, clients, documents, limit, theirs)


def burst(system: System, ours: Clients, limit: Bare, theirs: Clients, documents: int) -> None:
    clients = len(ours.all)
    rounds = []
    for number in range(ROUNDS):
        before, received = cpu(system.pid), ours.bytes
        committed = system.execute("UPDATE stock_item SET note = rpad(%s, 60, 'x')", str(number))
        ours.receive_frames(clients * documents)
        seconds = time.perf_counter() - committed
        time.sleep(0.01)
        spent = cpu(system.pid) - before
        size = (ours.bytes - received) // clients
        rounds.append((seconds, spent, *write(limit, theirs, size), size))
    report("one transaction changes them all", rounds)


def load(system: System, clients: int, documents: int, limit: Bare, theirs: Clients) -> None:
    rounds = []
    for _ in range(ROUNDS):
        new = subscriptions(system.address)
        new.open(clients)
        before, received, began = cpu(system.pid), new.bytes, time.perf_counter()
        for client in new.all.values():
            subscribe(client, "AllItems")
        new.receive_frames(clients * (documents + 1))
        seconds = time.perf_counter() - began
        time.sleep(0.01)
        spent = cpu(system.pid) - before
        size = (new.bytes - received) // clients
        new.close()
        time.sleep(0.2)
        rounds.append((seconds, spent, *write(limit, theirs, size), size))
    report("as many new clients subscribe, all at once", rounds)


def write(limit: Bare, theirs: Clients, size: int) -> tuple[float, float]:
    """Seconds and CPU seconds of writing so many bytes to each client."""
    size -= size % 1000
    began = time.perf_counter()
    limit.tell(f"write {size}")
    theirs.receive_bytes(size * len(theirs.all))
    return time.perf_counter() - began, float(limit.answer())


def report(what: str, rounds: list[tuple[float, ...]]) -> None:
    seconds, spent, bare_seconds, bare_spent, size = map(median, zip(*rounds, strict=True))
    print(f"{what}: {size / 1e3:,.0f} kB per client")
    print(f"  dddp {seconds * 1e3:7.1f} ms, {spent * 1e3:6.1f} ms CPU")
    print(f"  bare {bare_seconds * 1e3:7.1f} ms, {bare_spent * 1e3:6.1f} ms CPU")
    print(
        f"  {seconds / bare_seconds:.2f} times the time, {spent / bare_spent:.2f} times the CPU of the bare write"
    )


if __name__ == "__main__":
    main(*harness.arguments(100, 1000))
