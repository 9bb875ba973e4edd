"""Several workers behind one address: forked, watched, replaced when dead or silent, reloaded one at a time.

What lives here: processes, signals and pipes, and nothing of Django or DDP. The supervisor waits in plain system
calls; no event loop runs in it, so that what it forks inherits none. A worker writes to its pipe: `READY` once it
serves, and a `BEAT` each second from then on. One that loses its supervisor stops by itself.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from gevent import monkey

__all__ = ["BEAT", "READY", "Child", "Supervisor"]

logger = logging.getLogger(__name__)

READY, BEAT = b"r", b"."

TURN = 1.0
"""Seconds between two looks at the clock."""

BACK_OFF = (0, 0, 1, 2, 4, 8, 16, 30)
"""Seconds before a worker is replaced, by the number of failures in a row; with more, the last."""

YOUNG = 10.0
"""Seconds a worker has to live so that its death counts as the first one."""

KILLED_AT_ONCE = 130
"""The exit code after a second signal, as shells give it for Ctrl-C."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)

# gevent's would wait in an event loop, which the children would inherit, or leave the work to one that does not run.
close: Callable[[int], None] = monkey.get_original("os", "close")
fork: Callable[[], int] = monkey.get_original("os", "fork")
waitpid: Callable[[int, int], tuple[int, int]] = monkey.get_original("os", "waitpid")
poll: Callable[[], select.poll] = monkey.get_original("select", "poll")


@dataclass(slots=True)
class Child:
    """One worker process.

    Args:
        pipe: where its signs of life are read.
        heard: when the last one came, by the monotonic clock.
    """

    pid: int
    pipe: int
    heard: float
    born: float
    ready: bool = False
    leaving: float | None = None  #: when it is killed, once it has been asked to go

    def read(self) -> None:
        """Take its signs of life."""
        with suppress(BlockingIOError):
            signs = os.read(self.pipe, 4096)
            if signs:
                self.heard = time.monotonic()
                self.ready |= READY in signs


@dataclass(slots=True)
class _Place:
    """One of the numbered places for a worker."""

    current: Child | None = None
    successor: Child | None = None  #: of a reload, until it serves
    failures: int = 0  #: in a row: deaths of young ones, and forks that failed
    not_before: float = 0.0  #: when the next one may be forked

    def back_off(self, failures: int) -> int:
        """Have the next one wait the longer, the more failures there were; how many seconds."""
        self.failures = failures
        pause = BACK_OFF[min(failures, len(BACK_OFF) - 1)]
        self.not_before = time.monotonic() + pause
        return pause


@dataclass
class Supervisor:
    """Keeps a number of workers alive.

    Args:
        count: how many.
        work: what a worker does in its process, with its number and the pipe to write to; returns the exit code.
        silence: seconds without a sign of life after which a worker is killed.
        farewell: seconds that a worker has to stop in order.
        started: called once, when all serve.
        stopping: called once, when all are asked to go: nothing more is to be accepted.
        reload: called after SIGHUP, each turn until it says that it is not under way any more. When new code can be
            had it does not return: this process becomes that code, and its supervisor adopts the workers.
    """

    count: int
    work: Callable[[int, int], int]
    silence: float
    farewell: float
    started: Callable[[], None]
    stopping: Callable[[], None]
    reload: Callable[[], bool]
    _places: list[_Place] = field(default_factory=list, init=False)
    _leaving: list[Child] = field(default_factory=list, init=False)
    _rolling: list[int] = field(default_factory=list, init=False)  #: numbers still to be replaced
    _stopping: bool = field(default=False, init=False)
    _reloading: bool = field(default=False, init=False)  #: also: once all run the new code, there is newer
    _announced: bool = field(default=False, init=False)
    _exit_code: int = field(default=0, init=False)
    _turned: float = field(default_factory=time.monotonic, init=False)  #: when the last turn began
    _wake: tuple[int, int] = field(default=(-1, -1), init=False)

    def run(self, adopted: dict[int, Child] | None = None, leaving: Sequence[Child] = ()) -> int:
        """Supervise until a signal ends it. Returns the exit code.

        Args:
            adopted: workers of the same process before it became new code, by number: each is replaced. Where there
                are none left, it has served all the same: those that do not start are tried again.
            leaving: those that it had asked to go already.
        """
        self._leaving = list(leaving)
        self._announced = adopted is not None
        adopted = adopted or {}
        for child in adopted.values():
            child.heard = time.monotonic()  # nobody has listened while the new code was loaded
        self._places = [_Place(adopted.get(number)) for number in range(self.count)]
        self._rolling = sorted(adopted)
        self._catch_signals()
        try:
            while self._step():
                self._wait()
        finally:
            signal.set_wakeup_fd(-1)
        return self._exit_code

    @property
    def workers(self) -> dict[int, Child]:
        """Those in their places, by number."""
        return {
            number: place.current for number, place in enumerate(self._places) if place.current is not None
        }

    @property
    def leaving(self) -> Sequence[Child]:
        """Those that have been asked to go and are still there."""
        return self._leaving

    # --- one turn

    def _step(self) -> bool:
        """Do what is due; False when nothing is left to do."""
        self._excuse_absence()
        self._reap()
        self._kill_overdue()
        if self._stopping:
            return bool(list(self._children()))
        if self._reloading and self._announced and not self._rolling:
            self._reloading = self.reload()
        self._fill()
        self._roll()
        if not self._announced and all(place.current and place.current.ready for place in self._places):
            self._announced = True
            self.started()
        return True

    def _excuse_absence(self) -> None:
        """While this process did not run either, as in a container that was paused, nobody was silent or late."""
        now = time.monotonic()
        missed = now - self._turned - TURN
        self._turned = now
        if missed > TURN:
            for child in self._children():
                child.heard += missed
                if child.leaving is not None:
                    child.leaving += missed

    def _children(self) -> Iterator[Child]:
        for place in self._places:
            yield from filter(None, (place.current, place.successor))
        yield from self._leaving

    def _fill(self) -> None:
        """Fork where a worker is missing. At first one alone: what stops one from starting would stop all."""
        first = self._places[0].current
        for number, place in enumerate(self._places):
            waits = number > 0 and not self._announced and (first is None or not first.ready)
            if place.current is None and not waits:
                place.current = self._fork_due(number, place)

    def _roll(self) -> None:
        """Replace the workers of old code, one after the other: a new one serves before an old one goes."""
        if not self._rolling or self._leaving:
            return
        number = self._rolling[0]
        place = self._places[number]
        if place.successor is None:
            place.successor = self._fork_due(number, place)
        elif place.successor.ready:
            old, place.current, place.successor = place.current, place.successor, None
            self._rolling.pop(0)
            if old is not None:
                self._dismiss(old)
            if not self._rolling:
                logger.warning("all workers run the new code")

    def _wait(self) -> None:
        """Wait until a worker or a signal is heard, at most for a turn."""
        poller = poll()
        poller.register(self._wake[0], select.POLLIN)
        by_pipe = {child.pipe: child for child in self._children()}
        for pipe in by_pipe:
            poller.register(pipe, select.POLLIN)
        for pipe, _ in poller.poll(TURN * 1000):
            if pipe in by_pipe:
                by_pipe[pipe].read()
            else:
                self._take_signals()

    # --- children

    def _fork_due(self, number: int, place: _Place) -> Child | None:
        """A new worker; None before its time, or while the system has none to give: those that are there go on."""
        if time.monotonic() < place.not_before:
            return None
        try:
            return self._fork(number)
        except OSError as error:
            pause = place.back_off(max(place.failures, 1) + 1)
            logger.error("! worker %d cannot be forked: %s; it is tried again in %d s", number, error, pause)
            return None

    def _fork(self, number: int) -> Child:
        """A new worker.

        Raises:
            OSError: no process or descriptor is to be had.
        """
        reading, writing = os.pipe()
        # What reached the child before it has its own way with signals would be told to the parent.
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            pid = fork()
            if pid == 0:
                self._become_worker(number, reading, writing)
        except OSError:
            close(reading)
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            close(writing)
        os.set_blocking(reading, False)
        now = time.monotonic()
        return Child(pid, reading, now, now)

    def _become_worker(self, number: int, reading: int, writing: int) -> None:
        """In the child: work, and never come back. What ends it by an error is in the log."""
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for caught in SIGNALS:
                signal.signal(caught, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            for pipe in (reading, *self._wake, *(child.pipe for child in self._children())):
                close(pipe)
            code = self.work(number, writing)
        except BaseException:  # the outer edge of this process, SystemExit included
            logger.exception("! worker %d (process %d) has failed", number, os.getpid())
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for child in list(self._children()):
            pid, status = waitpid(child.pid, os.WNOHANG)
            if pid:
                self._bury(child, os.waitstatus_to_exitcode(status))

    def _bury(self, child: Child, code: int) -> None:
        """A child has ended."""
        child.read()
        close(child.pipe)
        if child in self._leaving:
            self._leaving.remove(child)
            return
        for number, place in enumerate(self._places):
            if place.successor is child:
                place.successor = None
                self._rolling = []
                logger.error(
                    "! a worker of the new code ended with %s; those of the old code stay", _ending(code)
                )
            elif place.current is child:
                place.current = None
                self._mourn(number, place, child, code)

    def _mourn(self, number: int, place: _Place, child: Child, code: int) -> None:
        """Have a worker that nobody has asked to go replaced; or give up, when none has ever served."""
        if not self._announced and not child.ready:
            self._exit_code = code if code > 0 else 1
            self._stop()
            return
        young = time.monotonic() - child.born < YOUNG
        pause = place.back_off(place.failures + 1 if young else 0)
        logger.error(
            "! worker %d (process %d) ended with %s; it is replaced in %d s",
            number,
            child.pid,
            _ending(code),
            pause,
        )

    def _kill_overdue(self) -> None:
        now = time.monotonic()
        for child in self._children():
            if child.leaving is None and now - child.heard > self.silence:
                logger.error("! process %d has been silent for %d s and is killed", child.pid, self.silence)
                child.leaving = now
            if child.leaving is not None and now >= child.leaving:
                _signal(child, signal.SIGKILL)

    def _dismiss(self, child: Child) -> None:
        """Ask a worker to stop in order."""
        child.leaving = time.monotonic() + self.farewell
        self._leaving.append(child)
        _signal(child, signal.SIGTERM)

    # --- signals

    def _catch_signals(self) -> None:
        self._wake = os.pipe()
        for end in self._wake:
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, _noticed)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def _take_signals(self) -> None:
        for number in os.read(self._wake[0], 4096):
            if number in (signal.SIGTERM, signal.SIGINT):
                self._end()
            elif number == signal.SIGHUP:
                self._reloading = True

    def _end(self) -> None:
        if self._stopping:
            for child in self._children():
                _signal(child, signal.SIGKILL)
            self._exit_code = KILLED_AT_ONCE
            return
        self._stop()

    def _stop(self) -> None:
        self._stopping = True
        self.stopping()
        self._rolling = []
        for place in self._places:
            for child in filter(None, (place.current, place.successor)):
                self._dismiss(child)
            place.current = place.successor = None


def _noticed(number: int, frame: object) -> None:
    """Let the signal's number come through the wake-up pipe."""


def _signal(child: Child, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(child.pid, number)


def _ending(code: int) -> str:
    """An exit code, or the name of the signal that ended a process."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
