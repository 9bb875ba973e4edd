"""Several workers behind one address: killed in every state, hung, reloaded, orphaned, while transfers go on."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator

import psutil
import pytest

from tests.faults.arena import SETTINGS, Arena, Trial
from tests.server import DDDPServer

pytestmark = pytest.mark.parametrize("arena", ["triggers"], indirect=True, scope="module")

COUNT = 2
OPTIONS = '{"WORKER_TIME_LIMIT": 4, "SHUTDOWN_TIME_LIMIT": 3, "HANDLER_POOL_SIZE": 3, "READ_POOL_SIZE": 2}'


@pytest.fixture(scope="module")
def workers(arena: Arena) -> Iterator[DDDPServer]:
    """A server of several workers beside the arena's own."""
    env = {**arena.environment(arena.cluster.port), "BANK_DDDP": OPTIONS}
    with DDDPServer(SETTINGS, env, options=["-v2", "--workers", str(COUNT)]) as server:
        yield server


def pids(server: DDDPServer) -> set[int]:
    """Of the worker processes that there are now."""
    return {child.pid for child in psutil.Process(server.pid).children()}


def replaced(server: DDDPServer, gone: set[int]) -> Callable[[], bool]:
    """Whether there are as many workers as before, none of them among those that had to go."""
    return lambda: len(pids(server) - gone) == COUNT and not pids(server) & gone


def harm(trial: Trial, server: DDDPServer, pid: int, *signals: signal.Signals) -> None:
    """Send a worker signals, and wait until another has taken its place."""
    for number in signals:
        os.kill(pid, number)
    trial.fault()
    trial.until(replaced(server, {pid}), "another worker in its place")


def test_worker_is_killed_while_it_serves(arena: Arena, workers: DDDPServer) -> None:
    with arena.trial("each of two workers is killed", urls=[workers.url]) as trial:
        for pid in pids(workers):
            harm(trial, workers, pid, signal.SIGKILL)
            trial.progress(5)


def test_all_workers_are_killed(arena: Arena, workers: DDDPServer) -> None:
    with arena.trial("all workers are killed at once", urls=[workers.url]) as trial:
        before = pids(workers)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        trial.fault(len(before))
        trial.until(replaced(workers, before), "other workers in their places")


def test_worker_is_killed_while_it_starts(arena: Arena, workers: DDDPServer) -> None:
    with arena.trial(
        "a worker is killed, and so is its successor before it serves", urls=[workers.url]
    ) as trial:
        before = pids(workers)
        os.kill(min(before), signal.SIGKILL)
        trial.until(lambda: pids(workers) - before, "a successor")
        for pid in pids(workers) - before:
            harm(trial, workers, pid, signal.SIGKILL)
        trial.fault()


def test_worker_is_killed_while_it_drains(arena: Arena, workers: DDDPServer) -> None:
    with arena.trial("a worker is told to stop, and killed at once", urls=[workers.url]) as trial:
        harm(trial, workers, min(pids(workers)), signal.SIGTERM, signal.SIGKILL)


def test_worker_hangs(arena: Arena, workers: DDDPServer) -> None:
    """The supervisor hears nothing of it, and replaces it; its clients come back to another."""
    with arena.trial("a worker hangs (SIGSTOP) and is replaced", urls=[workers.url]) as trial:
        harm(trial, workers, min(pids(workers)), signal.SIGSTOP)


def test_reload(arena: Arena, workers: DDDPServer) -> None:
    """One worker at a time: whoever connects meanwhile is accepted."""
    with arena.trial("the workers are reloaded (SIGHUP)", urls=[workers.url]) as trial:
        before, refused, attempts = pids(workers), 0, 0
        os.kill(workers.pid, signal.SIGHUP)
        trial.fault()
        done = replaced(workers, before)
        while not done() or not attempts:
            attempts += 1
            refused += not answers(workers)
        trial.name += f", {attempts} connections meanwhile, {refused} refused"
    assert refused == 0


def answers(server: DDDPServer) -> bool:
    """Whether the server takes a connection and answers a request."""
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
            connection.sendall(b"GET /sockjs/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(100).startswith(b"HTTP/1.1 200")
    except OSError:
        return False


def test_supervisor_is_killed(arena: Arena, workers: DDDPServer) -> None:
    """Its workers stop by themselves, so that another can take the address."""
    with arena.trial("the supervisor is killed and started again", urls=[workers.url]) as trial:
        orphans = [psutil.Process(pid) for pid in pids(workers)]
        workers.kill()
        trial.fault()
        _, alive = psutil.wait_procs(orphans, 20)
        assert alive == []
        workers.start()


def test_stopped_in_order(arena: Arena, workers: DDDPServer) -> None:
    with arena.trial(
        "all workers are stopped in order (SIGTERM) and started again", urls=[workers.url]
    ) as trial:
        workers.restart()
        trial.fault()
