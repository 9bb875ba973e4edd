"""How long one thing takes on an idle server: a change, a method call that writes, an ORM save.

The method call is set against a bare transaction and the round trip of its NOTIFY, by SQL and by the ORM, the save
against a save without any capture, all in this run. Run it as ``python -m benchmarks.latency [rounds]``.
"""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_AUTOCOMMIT

from benchmarks import harness
from benchmarks.clients import Clients, call, subscriptions
from benchmarks.harness import System, median, percentile
from benchmarks.saves import Saver, saver

PAUSE = 0.01  # seconds between rounds: the server is idle
SUBSCRIPTIONS = (0, 10, 100, 1000)


def main(rounds: int) -> None:
    with harness.served() as system:
        ours = subscriptions(system.address, ["AllItems"])
        ours.open(1)
        changes(system, ours, rounds)
        methods(system, ours, rounds)
    saves(rounds)


def changes(system: System, ours: Clients, rounds: int) -> None:
    times = []
    for _ in range(rounds):
        committed = system.change()
        times.append((ours.receive_frames(1)[0] - committed) * 1e3)
        time.sleep(PAUSE)
    print(
        f"COMMIT to received: p50 {median(times):.2f} ms, p99 {percentile(times, 99):.2f} ms (target: p50 1.5)"
    )


def methods(system: System, ours: Clients, rounds: int) -> None:
    """A call's messages are ``changed``, ``updated`` and ``result``; only ours comes after all is written."""
    (client,) = ours.all.values()
    bare, by_orm, called = [], [], []
    with closing(psycopg2.connect(system.database)) as listener, bare_saver() as django:
        harness.pin(django.pid, harness.SERVER_CORE)
        listener.set_isolation_level(ISOLATION_LEVEL_AUTOCOMMIT)
        listener.cursor().execute("LISTEN benchmark")
        system.execute("CREATE TABLE plain AS SELECT * FROM stock_item")
        system.execute("ALTER TABLE plain ADD PRIMARY KEY (id)")
        for number in range(rounds):
            began = time.perf_counter()
            call(client, "annotate", 1, f"called {number}")
            called.append((ours.receive_frames(3)[-1] - began) * 1e3)
            time.sleep(PAUSE)
            with server_core():  # as far from PostgreSQL as the server is
                bare.append(round_trip(system, listener, number) * 1e3)
            time.sleep(PAUSE)
            by_orm.append(django.notify())
            time.sleep(PAUSE)
    print(f"method call until updated: p50 {median(called):.2f} ms (target: 2 times a bare transaction)")
    for name, times in (("SQL", bare), ("Django's ORM", by_orm)):
        ratio = median(called) / median(times)
        print(
            f"  a bare transaction and its NOTIFY, by {name}: p50 {median(times):.2f} ms: {ratio:.2f} times"
        )


@contextmanager
def bare_saver() -> Iterator[Saver]:
    """A process that writes to a database without any capture."""
    with harness.database(CAPTURE="none") as environment:
        harness.execute(environment["DATABASE_URL"], harness.ITEM, 1, 1)
        with saver(environment) as bare:
            yield bare


@contextmanager
def server_core() -> Iterator[None]:
    """Be on the server's core for a while."""
    harness.pin(os.getpid(), harness.SERVER_CORE)
    yield
    harness.pin(os.getpid(), harness.OTHER_CORE)


def round_trip(system: System, listener: psycopg2.extensions.connection, number: int) -> float:
    """Seconds from the start of a transaction that writes and notifies until another connection has heard of it."""
    began = time.perf_counter()
    with system.pgconn.cursor() as cursor:
        cursor.execute("UPDATE plain SET note = %s WHERE id = 1", (f"bare {number}",))
        cursor.execute("SELECT pg_notify('benchmark', %s)", (str(number),))
    system.pgconn.commit()
    while not listener.notifies:
        select.select([listener], [], [])
        listener.poll()
    listener.notifies.clear()
    return time.perf_counter() - began


def saves(rounds: int) -> None:
    print("one ORM save, in turns with one without any capture")
    with bare_saver() as bare:
        for capture, target in (("triggers", 1.4), ("signals", 2.0)):
            print(f"  {capture} (target: {target} times, whatever the subscriptions)")
            captured(capture, bare, rounds)


def captured(capture: str, bare: Saver, rounds: int) -> None:
    with (
        harness.served(verbose=False, CAPTURE=capture) as system,
        saver({**system.environment}) as ours,
    ):
        clients = subscriptions(system.address, ["AllItems"])
        for count in SUBSCRIPTIONS:
            clients.open(count - len(clients.all))
            taken: dict[Saver, list[float]] = {bare: [], ours: []}
            for _ in range(rounds):
                taken[bare].append(bare.save())
                taken[ours].append(ours.save())
                clients.receive_frames(count)
            without, spent = median(taken[bare]), median(taken[ours])
            print(
                f"    {count:5} subscriptions: {spent:.2f} ms, {spent / without:.2f} times {without:.2f} ms"
            )


if __name__ == "__main__":
    main(*harness.arguments(300))
