"""New code without a refused connection: the supervisor becomes a fresh interpreter that keeps sockets and workers.

First another process loads the project; what does not load is not changed to. Then this one replaces itself by
``exec``: its process id, its listening sockets and its children stay, and it replaces these one after the other.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from dddp.server.supervisor import SIGNALS, Child, waitpid

__all__ = ["Inheritance", "Reload", "inheritance", "inherits"]

logger = logging.getLogger(__name__)

VARIABLE = "DDDP_INHERITANCE"
"""The environment variable by which a supervisor tells itself what it has."""


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a supervisor keeps when it becomes new code.

    Args:
        sockets: for each kind of listening socket their descriptors.
        workers: number -> process, as it goes on.
        leaving: processes that have been asked to go.
        folder: where the paths of the sockets are.
    """

    sockets: Mapping[str, Sequence[int]]
    workers: Mapping[int, Child]
    leaving: Sequence[Child]
    folder: str

    def text(self) -> str:
        """What is passed on."""
        workers = {number: asdict(child) for number, child in self.workers.items()}
        leaving = [asdict(child) for child in self.leaving]
        sockets = {kind: list(descriptors) for kind, descriptors in self.sockets.items()}
        told = {"sockets": sockets, "workers": workers, "leaving": leaving, "folder": self.folder}
        return json.dumps(told)

    @property
    def descriptors(self) -> list[int]:
        """All that must stay open."""
        pipes = [child.pipe for child in (*self.workers.values(), *self.leaving)]
        return [*pipes, *(each for kind in self.sockets.values() for each in kind)]


def inherits() -> bool:
    """Whether this process has become new code and has not taken its inheritance yet."""
    return VARIABLE in os.environ


def inheritance() -> Inheritance | None:
    """What this process had before it became new code; None when it has just begun."""
    text = os.environ.pop(VARIABLE, None)
    if text is None:
        return None
    told = json.loads(text)
    workers = {int(number): Child(**child) for number, child in told["workers"].items()}
    leaving = [Child(**child) for child in told["leaving"]]
    kept = Inheritance(told["sockets"], workers, leaving, told["folder"])
    for descriptor in kept.descriptors:
        os.set_inheritable(descriptor, False)
    return kept


class Reload:
    """Brings new code in, a step at each call.

    Args:
        command: the program and the arguments that this process was started with.
        kept: tells what is to be kept.
    """

    def __init__(self, command: Sequence[str], kept: Callable[[], Inheritance]) -> None:
        self._command = list(command)
        self._kept = kept
        self._check: int | None = None  # process id of the one that loads the new code

    def __call__(self) -> bool:
        """Go on. Returns whether it is still under way; False when the new code does not load or cannot be run."""
        try:
            return self._step()
        except OSError as error:  # such as an interpreter that is not there, while it is being replaced
            logger.error("! the new code cannot be run: %s; the old one goes on", error)
            return False

    def _step(self) -> bool:
        if self._check is None:
            logger.warning("the new code is loaded, to see whether it can be")
            self._check = os.posix_spawn(sys.executable, [*self._command, "--check"], os.environ)
        pid, status = waitpid(self._check, os.WNOHANG)
        if pid:
            self._check = None
            if not os.waitstatus_to_exitcode(status):
                self._become()
            logger.error("! the new code does not load; the old one goes on")
        return not pid

    def _become(self) -> NoReturn:
        """Replace this process.

        Raises:
            OSError: it cannot be; then it is as it was.
        """
        kept = self._kept()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # what comes meanwhile is told afterwards
        try:
            for descriptor in kept.descriptors:
                os.set_inheritable(descriptor, True)
            os.execve(sys.executable, self._command, {**os.environ, VARIABLE: kept.text()})
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            for descriptor in kept.descriptors:
                os.set_inheritable(descriptor, False)
