"""One change to many equal subscribers, from COMMIT in PostgreSQL to the clients, against a bare loop of sends.

Rounds of both take turns, each as soon as all clients have the one before; then changes come at a steady rate.
Run it as ``python -m benchmarks.fanout [clients] [rounds]``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks import bare, harness
from benchmarks.bare import Bare
from benchmarks.clients import Clients, subscriptions
from benchmarks.harness import System, cpu, median, percentile

FRAME = 214
"""Bytes of a frame, as in the measurements of other servers."""

NOTE = FRAME - len(b'..xx{"msg":"changed","collection":"stock.item","id":"1","fields":{"note":""}}')
DELIVERIES, SECONDS, TURNS = 20_000, 2, 7
"""At a steady rate: messages delivered a second (20 changes to 1,000 clients), seconds of a turn, turns."""


class Steady(NamedTuple):
    """Milliseconds, and the share of a core."""

    p50: float
    p99: float
    core: float

    def __str__(self) -> str:
        return f"p50 {self.p50:.1f} ms, p99 {self.p99:.1f} ms, {self.core:.0%} of a core"


def main(clients: int, rounds: int) -> None:
    with harness.served() as system, bare.running() as limit:
        harness.pin(limit.pid, harness.SERVER_CORE)
        ours = subscriptions(system.address, ["AllItems"])
        ours.open(clients)
        theirs = limit.clients(clients)
        print(f"{clients} clients, frames of {FRAME} bytes, one change each")
        compare(system, ours, limit, theirs, rounds)
        rate = DELIVERIES / clients
        print(
            f"{rate:g} changes a second, from COMMIT to each client, medians of {TURNS} turns of {SECONDS} s"
        )
        turns = [
            (
                steady(ours, system.pid, rate, lambda: system.change(NOTE)),
                steady(theirs, limit.pid, rate, lambda: send(limit)),
            )
            for _ in range(TURNS)
        ]
        for name, values in zip(("dddp", "bare sends"), zip(*turns, strict=True), strict=True):
            print(f"  {name:10} {Steady(*map(median, zip(*values, strict=True)))}")


def compare(system: System, ours: Clients, limit: Bare, theirs: Clients, rounds: int) -> None:
    """Take turns, each as soon as all clients have got the one before; print the medians."""
    clients = len(ours.all)
    spent, bound, last = [], [], []
    for _ in range(rounds):
        before, received = cpu(system.pid), ours.bytes
        committed = system.change(NOTE)
        times = ours.receive_frames(clients)
        assert ours.bytes - received == FRAME * clients, "frames of another size"
        time.sleep(0.002)  # what the server does behind its last send counts too
        spent.append((cpu(system.pid) - before) / clients * 1e6)
        last.append((max(times) - committed) * 1e3)
        send(limit)
        theirs.receive_frames(clients)
        bound.append(float(limit.answer()) / clients * 1e6)
    share = median(bound) / median(spent)
    print(f"  {median(bound):.2f} µs CPU per message, bare loop of sends")
    print(f"  {median(spent):.2f} µs CPU per delivered message, dddp: {share:.0%} of the limit")
    print(f"  {1e6 / median(spent):,.0f} messages/s per core; all clients {median(last):.1f} ms after COMMIT")


def send(limit: Bare) -> float:
    limit.tell(f"send {FRAME}")
    return time.perf_counter()


def steady(clients: Clients, pid: int, rate: float, change: Callable[[], float]) -> Steady:
    """Changes at a steady rate: the latency of their messages, and the server's share of a core."""
    committed: list[float] = []
    latencies: list[float] = []
    seen = {client: client.frames for client in clients.all.values()}
    before, began = cpu(pid), time.perf_counter()
    total = int(rate * SECONDS)
    while len(latencies) < total * len(seen):
        due = began + len(committed) / rate if len(committed) < total else began + 10 * SECONDS
        if time.perf_counter() >= due:
            committed.append(change())
        for client, arrived in clients.receive(max(0.0, due - time.perf_counter())):
            first = client.frames - arrived - seen[client]
            now = time.perf_counter()
            latencies += [(now - committed[first + number]) * 1e3 for number in range(arrived)]
    core = (cpu(pid) - before) / (time.perf_counter() - began)
    return Steady(percentile(latencies, 50), percentile(latencies, 99), core)


if __name__ == "__main__":
    main(*harness.arguments(1000, 200))
