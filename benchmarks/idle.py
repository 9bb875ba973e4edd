"""What an idle DDP client with one subscription costs, and what its connect costs, with 1 and 1,000 documents in view.

Run it as ``python -m benchmarks.idle [clients]``.
"""

from __future__ import annotations

import time

from benchmarks import harness
from benchmarks.clients import subscriptions
from benchmarks.harness import System, cpu, resident

WARM = 50
DOCUMENTS = 1000


def main(clients: int) -> None:
    one = measure(clients, 1)
    many = measure(clients, DOCUMENTS)
    print(f"{(many - one):.2f} KB more per client with {DOCUMENTS} documents in view than with one")


def measure(clients: int, documents: int) -> float:
    with harness.served(documents) as system:
        warm = subscriptions(system.address, ["AllItems"])
        warm.open(WARM)
        read = scans(system)
        memory, used = resident(system.pid), cpu(system.pid)
        ours = subscriptions(system.address, ["AllItems"])
        seconds = ours.open(clients)
        used = cpu(system.pid) - used
        read = scans(system) - read
        memory = (resident(system.pid) - memory) / clients
        print(f"{clients} clients with one subscription each, {documents} documents in view")
        print(f"  {memory:.1f} KB resident per idle client")
        print(f"  {used / clients * 1e6:.0f} µs CPU per client, from its TCP connect to ready")
        print(
            f"  {clients / used:,.0f} clients/s per core; {clients / seconds:,.0f} on this machine in this run"
        )
        print(f"  {read} reads of the table, all told ({WARM} clients had the query before them)")
        return memory


def scans(system: System) -> int:
    """How often the table has been read so far, by its first loading too."""
    time.sleep(11)  # PostgreSQL's idle backends report what they did after 10 s
    return int(
        system.query(
            "SELECT seq_scan + COALESCE(idx_scan, 0) FROM pg_stat_user_tables WHERE relname = 'stock_item'"
        )
    )


if __name__ == "__main__":
    main(*harness.arguments(2000))
