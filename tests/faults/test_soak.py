"""Random faults, random writers, random clients, for ``DDDP_SOAK_SECONDS`` (60).

``DDDP_SOAK_SEED`` replays a schedule: the same faults in the same order, among the same writers and clients.
"""

from __future__ import annotations

import os
import random
import time
from typing import Any

from tests.faults.arena import Arena, Trial
from tests.faults.faults import FAULTS

SECONDS = float(os.environ.get("DDDP_SOAK_SECONDS", "60"))
SEED = int(os.environ.get("DDDP_SOAK_SEED", random.randrange(2**32)))

SESSIONS = [
    "",
    "",
    "SET lock_timeout = '20ms'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL SERIALIZABLE",
    "SET statement_timeout = '50ms'",
]


def test_soak(arena: Arena) -> None:
    """Half of the time for each way of capturing."""
    deadline = time.monotonic() + SECONDS / 2
    rounds = 0
    while time.monotonic() < deadline or not rounds:
        chance = random.Random(f"{SEED} {arena.capture} {rounds}")
        faults = chance.sample(list(FAULTS), chance.randint(1, 4))
        name = f"soak, DDDP_SOAK_SEED={SEED}, round {rounds}: {', '.join(faults)}"
        try:
            with arena.trial(name, **options(chance)) as trial:
                for fault in faults:
                    FAULTS[fault].make(trial)
                    pause(chance, trial)
        except BaseException as error:
            error.add_note(f"DDDP_SOAK_SEED={SEED}, capture by {arena.capture}, round {rounds}: {faults}")
            raise
        rounds += 1


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
