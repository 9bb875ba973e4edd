"""What one client, or one address, can do to the others and to the server's memory. Numbers are printed."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.clients import Clients, subscriptions
from tests.faults.arena import REPORTS, Arena
from tests.faults.flood import ADDRESS
from tests.server import ROOT, DDDPServer

pytestmark = pytest.mark.parametrize("arena", ["triggers"], indirect=True, scope="module")

OTHERS = 1000
MEGABYTE = 1_000_000
CHANGES = 40
RATE = 20.0  # changes per second
LARGE = 50_000  # random bytes, twice as much as text: compression does not make them small
FLOODS = ["connections", "subs", "methods"]
SESSIONS_PER_ADDRESS = 1500
OPTIONS = f'{{"RESUMPTION_TIME_LIMIT": 0, "SESSIONS_PER_ADDRESS": {SESSIONS_PER_ADDRESS}}}'


@pytest.fixture(scope="module")
def server(arena: Arena) -> Iterator[DDDPServer]:
    """With the defaults but that it forgets at once who has gone."""
    with arena.new_server(arena.cluster.port, BANK_DDDP=OPTIONS) as server:
        yield server


def address(server: DDDPServer) -> tuple[str, int]:
    return "127.0.0.1", server.port


def p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]


# --- a client that does not read


def test_stalled_reader_does_not_delay_the_others(arena: Arena, server: DDDPServer) -> None:
    """It is sent megabytes that it does not take; a thousand others follow accounts that it is told of too."""
    others = subscriptions(address(server), ["Country", "A"])
    others.open(OTHERS)
    without = latencies(arena, others)
    stalled = subscriptions(address(server), ["Bank", 0])
    stalled.open(1)
    for _ in range(20):
        arena.execute("UPDATE bank_account SET last = %s WHERE branch_id = 3", secrets.token_hex(LARGE))
    with_stalled = latencies(arena, others)
    arena.execute("UPDATE bank_account SET last = '' WHERE branch_id = 3")
    already = stalled.bytes
    while stalled.bytes < already + 2 * MEGABYTE:  # what had been waiting for it
        for _ in stalled.receive():
            pass
    others.close()
    stalled.close()
    REPORTS.append(
        f"a stalled reader among {OTHERS}: p99 of the others from COMMIT to received {p99(with_stalled):.1f} ms,"
        f" {p99(without):.1f} ms without it"
    )
    assert p99(with_stalled) < 3 * p99(without) + 100


def latencies(arena: Arena, clients: Clients) -> list[float]:
    """Milliseconds from COMMIT until each client has each of some changes."""
    found: list[float] = []
    with arena.cluster.session(arena.database) as cursor:
        for number in range(CHANGES):
            began = time.perf_counter()
            cursor.execute("UPDATE bank_account SET last = %s WHERE id = 1", [f"{number} {began}"])
            committed = time.perf_counter()
            found += [1000 * (at - committed) for at in clients.receive_frames(len(clients.all))]
            time.sleep(max(0.0, began + 1 / RATE - time.perf_counter()))
    return found


# --- an address that floods


@pytest.mark.parametrize("kind", FLOODS)
def test_flood_from_one_address_leaves_the_others_served(arena: Arena, server: DDDPServer, kind: str) -> None:
    with server.client() as client:
        client.subscribed("Poorest", 3)
        calm = calls(client.call)
        with flood(kind, server):
            busy = calls(client.call)
            with server.client() as newcomer:
                newcomer.subscribed("Country", "B")
    REPORTS.append(
        f"a flood of {kind} from {ADDRESS}: a call from another address takes {p99(busy):.0f} ms at p99,"
        f" {p99(calm):.0f} ms without it"
    )
    assert p99(busy) < 2000


def calls(call: Callable[..., object]) -> list[float]:
    """Milliseconds that calls take which need the database."""
    found = []
    for _ in range(50):
        began = time.perf_counter()
        call("count_transfers")
        found.append(1000 * (time.perf_counter() - began))
    return found


@contextlib.contextmanager
def flood(kind: str, server: DDDPServer) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.faults.flood", kind, str(server.port)]
    path = os.pathsep.join([str(ROOT), str(ROOT / "bookstore_example")])
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"under way\n"
        time.sleep(1)  # let it swell
        yield
        assert process.poll() is None, "the flood has ended before the test"
    finally:
        process.kill()
        process.communicate()


# --- memory


def test_memory_returns_after_a_thousand_clients_came_and_went(server: DDDPServer) -> None:
    cycle(server, 500)
    before = settled(server, lambda resident: True)
    cycle(server, 1000)
    after = settled(server, lambda resident: resident <= 1.05 * before)
    REPORTS.append(
        f"1,000 clients came, subscribed to three queries and went: {before / 1e6:.1f} MB resident before,"
        f" {after / 1e6:.1f} MB after ({100 * (after / before - 1):+.1f} %)"
    )
    assert after <= 1.05 * before


def cycle(server: DDDPServer, count: int) -> None:
    """Clients come in hundreds, subscribe to queries that they share and to ones of their own, and go."""
    for start in range(0, count, 100):
        clients = subscriptions(address(server), ["Bank", 0], ["Rich", 900 + start], ["Statement", start, 1])
        clients.open(100)
        clients.close()


def settled(server: DDDPServer, enough: Callable[[float], bool]) -> float:
    """Bytes resident once those who have gone are forgotten, which may take a moment."""
    deadline = time.monotonic() + 10
    with server.client() as client:
        resident = client.call("resident")
        while not enough(resident) and time.monotonic() < deadline:
            time.sleep(0.2)
            resident = client.call("resident")
    return float(resident)
