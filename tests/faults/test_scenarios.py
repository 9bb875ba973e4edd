"""Each fault of ``faults`` while transfers go on: nothing is lost, and nobody is told anything untrue."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.arena import Arena
from tests.faults.faults import ANYWHERE, FAULTS

OPTIONS: dict[str, dict[str, Any]] = {
    "statements_cancelled": {"tolerant": True},
    "statements_time_out": {"tolerant": True},
    "column_lost_and_back": {"tolerant": True, "wants": [("Memos", ())], "work": {"ways": ["sql"]}},
}
"""Where subscriptions may be refused; the clients subscribe again, and must come to the truth all the same."""


WITH_SIGNALS = [
    "restarted_fast",
    "killed",
    "away_for_seconds",
    "backend_stopped",
    "listener_terminated_again_and_again",
    "all_sessions_terminated",
    "feed_frozen",
    "feed_cut_again_and_again",
    "both_links_cut",
    "server_killed",
    "server_restarted",
    "column_added_and_dropped",
]
"""What is tried with signals too; the soak tries everything with both."""

CASES = [("triggers", name) for name in ANYWHERE] + [("signals", name) for name in WITH_SIGNALS]


@pytest.mark.parametrize(("arena", "name"), CASES, indirect=["arena"])
def test_nothing_is_lost(arena: Arena, name: str) -> None:
    fault = FAULTS[name]
    with arena.trial(fault.description, **OPTIONS.get(name, {})) as trial:
        fault.make(trial)
        trial.progress()


def test_nothing_is_lost_without_a_fault(arena: Arena) -> None:
    """What the tests of faults are compared with."""
    with arena.trial("no fault") as trial:
        trial.progress(100)
