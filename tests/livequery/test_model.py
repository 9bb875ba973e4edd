"""Section 5 of the design, as a model: tens of thousands of random interleavings, no document lost or leaked.

A failing run prints its seed: ``DDDP_MODEL_SEED=<seed> pytest tests/livequery/test_model.py`` replays it alone.
``DDDP_MODEL_RUNS`` sets the number of interleavings (default 20,000).
"""

from __future__ import annotations

import os

from tests.livequery.model import Model

EVENTS = 150
RUNS = int(os.environ.get("DDDP_MODEL_RUNS", "20000"))


def replay(seed: int) -> None:
    try:
        Model(seed).run(EVENTS)
    except Exception as error:
        error.add_note(f"replay with DDDP_MODEL_SEED={seed}")
        raise


def test_random_interleavings_converge_without_loss_leak_or_step_back() -> None:
    """Whatever the order of commits, dispatch, snapshots, rows and cuts, the invariants of the model hold."""
    given = os.environ.get("DDDP_MODEL_SEED")
    for seed in [int(given)] if given else range(RUNS):
        replay(seed)
