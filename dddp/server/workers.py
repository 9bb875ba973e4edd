"""``dddp --workers N``: the project loaded once, then N processes that serve it behind the same sockets.

What a worker does in its own process, and what the supervisor has to keep for all of them. Processes and signals are
``server.supervisor``'s, new code is ``server.reload``'s.
"""

from __future__ import annotations

import gc
import logging
import os
import random
import signal
import socket as _names
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import gevent
from django.db import connections
from gevent import socket

from dddp.conf import Settings
from dddp.server.address import Address
from dddp.server.failure import sentence
from dddp.server.reload import Inheritance, Reload, inheritance
from dddp.server.supervisor import BEAT, READY, Supervisor, close
from dddp.transport.handover import Siblings
from dddp.transport.server import listen

if TYPE_CHECKING:
    from dddp.runtime.worker import Worker

__all__ = ["AUTO", "Sockets", "number_of_workers", "supervise"]

logger = logging.getLogger(__name__)

AUTO = "auto"
"""As a number of workers: one per processor that this process may use."""

FAREWELL_EXTRA = 5.0
"""Seconds that a worker has to stop beyond twice ``SHUTDOWN_TIME_LIMIT``: for methods, then for clients."""


def number_of_workers(text: str) -> int:
    """Read ``--workers``: a number, or ``AUTO``.

    Raises:
        ValueError: neither.
    """
    if text == AUTO:
        return len(os.sched_getaffinity(0))
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"{text!r} is no number of workers; give 1 or more, or {AUTO}")
    return int(text)


@dataclass(frozen=True, slots=True)
class Sockets:
    """What all workers listen on, and where each of them takes connections over: descriptors, and a folder."""

    shared: Sequence[int]
    handed: Sequence[int]
    folder: Path

    @classmethod
    def opened(cls, addresses: Sequence[Address], count: int) -> Sockets:
        """New ones.

        Raises:
            CannotListen: an address is in use or not ours.
        """
        shared = [opened.detach() for address in addresses for opened in listen(address)]
        folder = Path(tempfile.mkdtemp(prefix="dddp-"))  # nobody else may enter it
        handed = []
        for number in range(count):
            taker = _names.socket(_names.AF_UNIX)
            taker.bind(str(folder / str(number)))
            taker.listen(1024)
            handed.append(taker.detach())
        return cls(shared, handed, folder)

    @classmethod
    def inherited(cls, kept: Inheritance) -> Sockets:
        """Those of this process before it became new code."""
        return cls(kept.sockets["shared"], kept.sockets["handed"], Path(kept.folder))

    @property
    def paths(self) -> list[str]:
        """Where each worker takes connections over."""
        return [str(self.folder / str(number)) for number in range(len(self.handed))]

    def close(self) -> None:
        """Accept nothing more in this process."""
        for descriptor in self.shared:
            close(descriptor)

    def remove(self) -> None:
        """Leave nothing behind; others may do the same."""
        with suppress(FileNotFoundError):
            for path in self.paths:
                Path(path).unlink(missing_ok=True)
            self.folder.rmdir()


def supervise(
    make: Callable[[], Worker],
    settings: Settings,
    addresses: Sequence[Address],
    count: int,
    command: Sequence[str],
    started: Callable[[], None],
) -> int:
    """Serve with several workers until a signal ends it. Returns the exit code.

    Args:
        make: makes a worker, in its own process.
        count: how many; after a reload, as many as before it.
        command: what this process was started with.
        started: called once, when all serve.

    Raises:
        CannotListen: an address is in use or not ours.
    """
    kept = inheritance()
    sockets = Sockets.inherited(kept) if kept else Sockets.opened(addresses, count)

    def keep() -> Inheritance:
        kinds = {"shared": sockets.shared, "handed": sockets.handed}
        return Inheritance(kinds, supervisor.workers, supervisor.leaving, str(sockets.folder))

    supervisor = Supervisor(
        len(sockets.handed),
        work=lambda number, pipe: _work(make, sockets, number, pipe),
        silence=settings.worker_time_limit,
        farewell=2 * settings.shutdown_time_limit + FAREWELL_EXTRA,
        started=started,
        stopping=sockets.close,
        reload=Reload(command, keep),
    )
    connections.close_all()
    gc.collect()
    gc.freeze()  # what is loaded stays on pages that all workers share
    try:
        return supervisor.run(dict(kept.workers), kept.leaving) if kept else supervisor.run()
    finally:
        sockets.remove()


def _work(make: Callable[[], Worker], sockets: Sockets, number: int, pipe: int) -> int:
    """What a worker's process does, from the fork to its end; its exit code."""
    gevent.reinit()
    random.seed()  # else all workers would choose alike
    # Ctrl-C reaches all processes; the supervisor tells when to go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        worker = _started(make, sockets, number)
    except Exception as error:  # noqa: BLE001 - the outer edge of this process: people get one line
        if logger.isEnabledFor(logging.INFO):
            traceback.print_exception(error)
        sys.stderr.write(f"dddp: {sentence(error)}\n")
        return 1
    gevent.signal_handler(signal.SIGTERM, worker.stop)
    gevent.spawn(_beat, worker, sockets, pipe, os.getppid())
    worker.serve_forever()
    return 0


def _started(make: Callable[[], Worker], sockets: Sockets, number: int) -> Worker:
    worker = make()
    worker.start(
        [socket.socket(fileno=descriptor) for descriptor in sockets.shared],
        Siblings(number, sockets.paths),
        socket.socket(fileno=sockets.handed[number]),
    )
    return worker


def _beat(worker: Worker, sockets: Sockets, pipe: int, supervisor: int) -> None:
    """Tell the supervisor that this process is alive; stop when there is none any more."""
    os.write(pipe, READY)
    while os.getppid() == supervisor:
        os.write(pipe, BEAT)
        gevent.sleep(1)
    logger.error("! the supervisor is gone; this worker stops")
    sockets.remove()
    worker.stop()
