"""Clocks that jump: the server's wall clock by libfaketime; all durations are measured on the monotonic one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.faults.arena import Arena
from tests.server import DDDPServer

LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
SECONDS = {"+1h": 3600, "-1h": -3600, "+400d": 400 * 86_400, "-400d": -400 * 86_400, "+0": 0}
JUMPS = list(SECONDS)

pytestmark = [
    pytest.mark.faketime,
    pytest.mark.parametrize("arena", ["triggers"], indirect=True, scope="module"),
]


class Clock:
    """The wall clock of one server."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump("+0")

    def jump(self, offset: str) -> None:
        """Show the true time and this."""
        self._file.with_suffix(".new").write_text(offset)
        self._file.with_suffix(".new").rename(self._file)

    @property
    def env(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(LIBRARIES[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path / "clock")


@pytest.fixture
def server(arena: Arena, clock: Clock) -> Iterator[DDDPServer]:
    with arena.new_server(arena.cluster.port, **clock.env) as server:
        yield server


def test_clock_jumps(arena: Arena, server: DDDPServer, clock: Clock) -> None:
    """Forwards and backwards, by an hour and by more than a year."""
    with arena.trial("the server's clock jumps", servers=[server]) as trial:
        for jump in JUMPS:
            clock.jump(jump)
            trial.fault()
            trial.progress(10)
            assert abs(lead_of(server) - SECONDS[jump]) < 60
            trial.let_pass(1.2)  # longer than a heartbeat of the feed


def test_clock_jumps_while_the_feed_is_interrupted(arena: Arena, server: DDDPServer, clock: Clock) -> None:
    with arena.trial("the server's clock jumps while the feed is interrupted", servers=[server]) as trial:
        for jump in JUMPS:
            clock.jump(jump)
            trial.arena.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'dddp %%'"
            )
            trial.fault(2)
            trial.progress(10)


def lead_of(server: DDDPServer) -> float:
    """Seconds by which the server's clock, as it tells it, is ahead of ours: or the tests would prove nothing."""
    with urlopen(f"{server.http}/sockjs/info") as response:
        return parsedate_to_datetime(response.headers["Date"]).timestamp() - time.time()
