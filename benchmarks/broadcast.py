"""CPU time of a broadcast per recipient: the transport against a bare loop of C-level sends in the same run.

One process serves, another one holds the clients and reads. The ways of sending take turns on the same
sockets.
Run it as ``python -m benchmarks.broadcast [clients] [rounds]``.
"""

from __future__ import annotations

import gc
import random
import statistics
import sys
import time
from collections.abc import Callable

import gevent

from benchmarks import peers
from dddp.transport import Batch, Server
from dddp.transport.frames import text_frames

MESSAGE_SIZE = 210
"""With its header of 4 bytes a frame of 214, the size of targets.md's measurements."""


def measure(clients: int, rounds: int) -> dict[str, float]:
    """Return the median of the CPU microseconds per delivered message, for each way of sending."""
    server = peers.serve()
    with peers.connected(server.addresses[0], clients):
        peers.wait_for(lambda: len(server.channels) == clients)
        gevent.sleep(0.2)
        gc.collect()
        gc.freeze()
        return _compare(server, rounds)


def _compare(server: Server, rounds: int) -> dict[str, float]:
    channels = list(server.channels)
    sends = [channel._send for channel in channels]

    def bare(message: bytes) -> None:
        frame = text_frames((message,))
        for send in sends:
            send(frame)

    def batch(message: bytes) -> None:
        shared = Batch([message])
        for channel in channels:
            channel.send_batch(shared)

    def single(message: bytes) -> None:
        for channel in channels:
            channel.send(message)

    ways = {"bare": bare, "send_batch": batch, "send": single}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds):
        message = b"%-*d" % (MESSAGE_SIZE, number)
        for name, way in random.sample(list(ways.items()), len(ways)):  # no way always finds a warm cache
            times[name].append(_cpu(way, message) / len(channels) * 1e6)
            peers.wait_for(lambda: not any(channel.buffered for channel in channels))
            gevent.sleep(0.02)  # the clients read
    return {name: statistics.median(values) for name, values in times.items()}


def _cpu(way: Callable[[bytes], None], message: bytes) -> float:
    began = time.process_time()
    way(message)
    return time.process_time() - began


def main(clients: int = 1000, rounds: int = 100) -> None:
    print(peers.machine())
    found = measure(clients, rounds)
    print(f"{clients} clients, {rounds} rounds, frames of {MESSAGE_SIZE + 4} bytes")
    for name, microseconds in found.items():
        share = found["bare"] / microseconds
        print(f"{name:12} {microseconds:6.2f} µs CPU per delivered message, {share:4.0%} of the bare loop")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
