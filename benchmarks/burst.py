"""Much at once: a transaction that changes 1,000 documents, and first loads of 1,000 documents by 100 new clients.

Both against a bare write of the same bytes to as many sockets. The clients only count bytes until the last has come, so
that their own work is in neither; then what they got is checked.
Run it as ``python -m benchmarks.burst [clients] [documents]``.
"""

from __future__ import annotations

import time

from benchmarks import bare, harness
from benchmarks.bare import Bare
from benchmarks.clients import Clients, subscribe, subscriptions
from benchmarks.harness import System, cpu, median

ROUNDS = 9  # of one digit
FIELDS = ("name", "note", "shelf", "maker", "price", "count", "minimum", "weight", "sold", "added")


def main(clients: int, documents: int) -> None:
    with harness.served(documents) as system, bare.running() as limit:
        harness.pin(limit.pid, harness.SERVER_CORE)
        ours = subscriptions(system.address, ["AllItems"])
        ours.open(clients)
        theirs = limit.clients(clients)
        print(f"{clients} clients, {documents} documents; medians of {ROUNDS}")
        burst(system, ours, limit, theirs, documents)
        print("as many new clients subscribe, all at once")
        load(system, clients, documents, limit, theirs, "AllItems")
        print("the same, to a query made for each of them anew")
        load(system, clients, documents, limit, theirs, "SomeFields", *FIELDS)


def burst(system: System, ours: Clients, limit: Bare, theirs: Clients, documents: int) -> None:
    frames = len(ours.all) * documents
    change_all(system, 0)
    before = ours.bytes
    ours.receive_frames(frames)
    total = ours.bytes - before
    rounds = []
    for number in range(1, ROUNDS + 1):
        spent = cpu(system.pid)
        committed = change_all(system, number)
        rounds.append((*arrival(system, ours, total, frames, committed, spent), *write(limit, theirs, total)))
    print("one transaction changes them all")
    report(rounds, total // len(ours.all))


def change_all(system: System, digit: int) -> float:
    """Change one column of every row; when COMMIT returned."""
    return system.execute("UPDATE stock_item SET note = rpad(%s, 60, 'x')", str(digit))


def load(
    system: System, clients: int, documents: int, limit: Bare, theirs: Clients, name: str, *params: str
) -> None:
    frames, rounds, total = clients * (documents + 1), [], 0
    with_query = subscriptions(system.address, [name, *params])
    with_query.open(1)  # so that it lives
    for _ in range(ROUNDS + 1):
        new = subscriptions(system.address)
        new.open(clients)
        before, spent, began = new.bytes, cpu(system.pid), time.perf_counter()
        for client in new.all.values():
            subscribe(client, name, *params)
        if total:
            rounds.append((*arrival(system, new, total, frames, began, spent), *write(limit, theirs, total)))
        else:
            new.receive_frames(frames)
            total = new.bytes - before
        new.close()
        time.sleep(0.2)
    with_query.close()
    report(rounds, total // clients)


def arrival(
    system: System, clients: Clients, total: int, frames: int, began: float, spent: float
) -> tuple[float, float]:
    """Wait for so many bytes in so many messages; the seconds since then, and the server's CPU seconds beyond those."""
    clients.receive_bytes(total)
    seconds = time.perf_counter() - began
    time.sleep(0.01)
    used = cpu(system.pid) - spent
    assert clients.messages() == frames
    return seconds, used


def write(limit: Bare, theirs: Clients, total: int) -> tuple[float, float]:
    """Seconds and CPU seconds of writing so many bytes to all clients together."""
    size = total // len(theirs.all) // 1000 * 1000
    began = time.perf_counter()
    limit.tell(f"write {size}")
    theirs.receive_bytes(size * len(theirs.all))
    seconds = time.perf_counter() - began
    for client in theirs.all.values():
        client.taken.clear()
    return seconds, float(limit.answer())


def report(rounds: list[tuple[float, ...]], size: int) -> None:
    seconds, spent, bare_seconds, bare_spent = map(median, zip(*rounds, strict=True))
    print(f"  {size / 1e3:,.0f} kB per client")
    print(f"  dddp {seconds * 1e3:7.1f} ms, {spent * 1e3:6.1f} ms CPU")
    print(f"  bare {bare_seconds * 1e3:7.1f} ms, {bare_spent * 1e3:6.1f} ms CPU")
    print(
        f"  {seconds / bare_seconds:.2f} times the time, {spent / bare_spent:.2f} times the CPU of the bare write"
    )


if __name__ == "__main__":
    main(*harness.arguments(100, 1000))
