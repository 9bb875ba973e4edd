"""The system's limit of open files, in a process of its own for each test."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
from dddp.runtime.descriptors import connections_allowed
soft, hard, wanted = map(eval, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(connections_allowed(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def allowed(soft: int, hard: int, wanted: int | None) -> tuple[list[int], str]:
    """Connections and the soft limit then, and the log."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, (soft, hard, wanted))],
        capture_output=True,
        text=True,
        check=True,
    )
    return list(map(int, done.stdout.split())), done.stderr


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [
        (1024, 4096, 500, [500, 1024]),
        (1024, 4096, 2000, [2000, 2200]),
        (1024, 4096, None, [3896, 4096]),
    ],
)
def test_soft_limit_is_raised_as_far_as_needed(
    soft: int, hard: int, wanted: int | None, expected: list[int]
) -> None:
    assert allowed(soft, hard, wanted) == (expected, "")


def test_hard_limit_leaves_fewer_connections_and_says_so() -> None:
    numbers, log = allowed(256, 1024, 20_000)

    assert numbers == [824, 1024]
    assert log.strip() == "! the system allows 1024 open files, so 824 connections and not 20000"
