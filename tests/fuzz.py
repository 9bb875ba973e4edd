"""What the fuzz tests share: how many inputs, from which seed, and how something valid is spoilt.

``DDDP_FUZZ_INPUTS`` inputs go to each target, by default 3,500. A failure names the seed of its input; with that as
``DDDP_FUZZ_SEED`` it is the first one.
"""

from __future__ import annotations

import os
import random
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["bounded", "inputs", "spoiled"]

MEMORY = 256 * 1024
"""Kilobytes by which a run of any length may grow the process: a leak of 1 KB per input shows in a million."""

SECONDS = 2.0
"""What one input may take, on a machine that does other things too."""


def inputs() -> Iterator[tuple[int, random.Random]]:
    """Give the seed and the dice of each input."""
    first = int(os.environ.get("DDDP_FUZZ_SEED", "0"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for seed in range(first, first + int(os.environ.get("DDDP_FUZZ_INPUTS", "3500"))):
        yield seed, random.Random(seed)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < MEMORY, f"{grown} KB more than before"


@contextmanager
def bounded(seed: int) -> Iterator[None]:
    """Add the seed to whatever goes wrong with one input, and look at the time it takes."""
    began = time.process_time()
    try:
        yield
    except Exception as error:
        error.add_note(f"DDDP_FUZZ_SEED={seed}")
        raise
    took = time.process_time() - began
    assert took < SECONDS, f"{took:.1f} s for one input, DDDP_FUZZ_SEED={seed}"


def spoiled(valid: bytes, dice: random.Random) -> bytes:
    """Replace, drop, insert or repeat a few bytes; sometimes none."""
    spoilt = bytearray(valid)
    for _ in range(dice.choice((0, 0, 1, 1, 3, 8))):
        place = dice.randrange(len(spoilt) + 1)
        size = dice.choice((0, 1, 1, 2, 10))
        other = dice.randrange(len(spoilt) + 1)
        spoilt[place : place + size] = dice.choice(
            (dice.randbytes(dice.randrange(3)), bytes(spoilt[other : other + 20]), b"")
        )
    return bytes(spoilt)
