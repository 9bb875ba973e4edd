"""Gates: what runs in the server waits at one until a test opens it (method ``open``), so that no test has to sleep."""

from __future__ import annotations

from collections import defaultdict

from gevent.event import Event

_gates: defaultdict[str, Event] = defaultdict(Event)
_arrived: defaultdict[str, Event] = defaultdict(Event)


def wait_at(name: str) -> None:
    """Wait until the gate is open."""
    _arrived[name].set()
    _gates[name].wait()


def arrive(name: str) -> None:
    """Tell whoever waits for the arrival, without waiting."""
    _arrived[name].set()


def wait_for_arrival(name: str) -> None:
    """Wait until somebody waits, or has waited, at the gate."""
    _arrived[name].wait()


def open_gate(name: str) -> None:
    """Let everybody through, for ever."""
    _gates[name].set()
