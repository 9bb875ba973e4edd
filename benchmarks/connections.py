"""What an idle WebSocket client costs the transport: resident memory, and CPU time of its connect.

The server runs in a process of its own, which is measured from outside through /proc; a second process holds
the clients, each of which has sent one message and has read its echo.
Run it as ``python -m benchmarks.connections [clients]``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

from benchmarks import peers

SERVE = "serve"


@contextmanager
def server() -> Iterator[tuple[int, tuple[str, int]]]:
    """Run the echo server in its own process; give its process id and its address."""
    command = [sys.executable, "-m", "benchmarks.connections", SERVE]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, ("127.0.0.1", int(process.stdout.readline()))
    finally:
        process.terminate()
        process.wait()


def resident(pid: int) -> float:
    """Return the kilobytes of a process that are in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def cpu(pid: int) -> float:
    """Return the seconds of CPU time a process has used, the system's part included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(clients: int) -> dict[str, float]:
    with server() as (pid, address):
        with peers.connected(address, 50) as warm:
            warm.stdout.readline()  # type: ignore[union-attr]
        memory, used = resident(pid), cpu(pid)
        with peers.connected(address, clients) as process:
            seconds = float(process.stdout.readline())  # type: ignore[union-attr]
            used = cpu(pid) - used
            gevent.sleep(1)  # what the handshakes left behind is let go
            memory = resident(pid) - memory
    return {
        "KB resident per idle client": memory / clients,
        "connections per second": clients / seconds,
        "µs of CPU per connection": used / clients * 1e6,
    }


def main(clients: int = 2000) -> None:
    print(peers.machine())
    print(f"{clients} clients")
    for name, value in measure(clients).items():
        print(f"{value:10.1f} {name}")


def serve() -> None:
    running = peers.serve()
    print(running.addresses[0][1], flush=True)
    running.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == [SERVE]:
        serve()
    else:
        main(*map(int, sys.argv[1:]))
