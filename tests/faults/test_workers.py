"""Several workers behind one address: killed in every state, hung, reloaded, orphaned, while transfers go on."""

from __future__ import annotations

import os
import signal
import socket

import psutil
import pytest

from tests.faults.arena import Arena
from tests.faults.faults import FAULTS, OF_WORKERS, replaced
from tests.server import DDDPServer

TOGETHER = ["server_killed", "server_restarted", "restarted_fast", "feed_frozen", "clients_cut"]
"""What is tried with several workers as with one; the soak tries everything."""


@pytest.mark.parametrize("name", [*OF_WORKERS, *TOGETHER])
def test_nothing_is_lost_with_workers(workers: Arena, name: str) -> None:
    fault = FAULTS[name]
    with workers.trial(fault.description) as trial:
        fault.make(trial)
        trial.progress()


def test_no_connection_is_refused_while_new_code_is_brought_in(workers: Arena) -> None:
    """One worker at a time: whoever connects meanwhile is accepted."""
    with workers.trial("the workers are reloaded (SIGHUP)") as trial:
        before, refused, attempts = workers.worker_pids(), 0, 0
        os.kill(workers.server.pid, signal.SIGHUP)
        trial.fault()
        while not replaced(trial, before):
            attempts += 1
            refused += not answers(workers.server)
        trial.name += f", {attempts} connections meanwhile, {refused} refused"
    assert attempts > 0
    assert refused == 0


def answers(server: DDDPServer) -> bool:
    """Whether the server takes a connection and answers a request."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET /sockjs/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_supervisor_is_killed(workers: Arena) -> None:
    """Its workers stop by themselves, so that another can take the address."""
    with workers.trial("the supervisor is killed and started again") as trial:
        orphans = [psutil.Process(pid) for pid in workers.worker_pids()]
        workers.server.kill()
        trial.fault()
        _, alive = psutil.wait_procs(orphans, 20)
        assert alive == []
        workers.server.start()
