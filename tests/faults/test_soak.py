"""Random faults, random writers, random clients, for ``DDDP_SOAK_SECONDS`` (60).

``DDDP_SOAK_SEED`` replays a schedule: the same faults in the same order, to one process or to several workers, among
the same writers and clients.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.arena import Arena, Trial
from tests.faults.faults import ANYWHERE, FAULTS, OF_WORKERS

SECONDS = float(os.environ.get("DDDP_SOAK_SECONDS", "60"))
SEED = int(os.environ.get("DDDP_SOAK_SEED", random.randrange(2**32)))

WORKERS = [1, 2]  # how many processes the server of a round is
SESSIONS = [
    "",
    "",
    "SET lock_timeout = '20ms'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET statement_timeout = '50ms'",
]


@pytest.mark.parametrize("capture", ["triggers", "signals"])
def test_soak(arenas: Callable[..., Arena], capture: str) -> None:
    """Half of the time for each way of capturing."""
    began, rounds = time.monotonic(), 0
    while time.monotonic() < began + SECONDS / 2 or not rounds:
        chance = random.Random(f"{SEED} {capture} {rounds}")
        workers = chance.choice(WORKERS)
        faults = schedule(chance, workers)
        name = f"soak, DDDP_SOAK_SEED={SEED}, round {rounds}: {', '.join(faults)}"
        try:
            with arenas(capture, workers).trial(name, **options(chance)) as trial:
                for fault in faults:
                    FAULTS[fault].make(trial)
                    pause(chance, trial)
        except BaseException as error:
            error.add_note(f"{name}; capture by {capture}, {workers} workers")
            raise
        rounds += 1


def schedule(chance: random.Random, workers: int) -> list[str]:
    """Which faults, in which order; where there are several workers, at least one is about them."""
    if workers == 1:
        return chance.sample(ANYWHERE, chance.randint(1, 4))
    faults = chance.sample(OF_WORKERS, chance.randint(1, 2)) + chance.sample(ANYWHERE, chance.randint(0, 2))
    return chance.sample(faults, len(faults))


def options(chance: random.Random) -> dict[str, Any]:
    """Of the trial: who writes and who watches."""
    work = {
        "pause": chance.choice([0.0, 0.005, 0.02]),
        "orderly": chance.random() < 0.7,
        "session": chance.choice(SESSIONS),
        "seed": chance.randrange(2**32),
    }
    return {
        "work": work,
        "accounts": chance.choice([4, 12, 24]),
        "customers": chance.randint(1, 5),
        "tolerant": True,
    }


def pause(chance: random.Random, trial: Trial) -> None:
    """Some faults come one upon the other, others when all is well again."""
    if chance.random() < 0.5:
        trial.progress(chance.randint(1, 20))
