"""What the log is told of handlers that failed."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import OperationalError
from django.db.utils import DataError

from dddp.errors import FeedUnavailable, MeteorError
from dddp.runtime import failurelog
from dddp.runtime.failurelog import INTERVAL, KINDS, FailureLog

AWAY = OperationalError('connection to server at "db" failed: Connection refused\n\tIs the server running?')


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(failurelog, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_database_that_is_away_is_one_line_for_all_calls(clock: Any, caplog: Any) -> None:
    log = FailureLog()
    for number in range(100):
        log.report(f"method m{number}", AWAY)
    clock.now += INTERVAL
    log.report("publication p", FeedUnavailable("no LISTEN within 3 seconds"))

    assert caplog.messages == [
        '! method m0 failed: the database cannot be reached: connection to server at "db" failed: Connection refused',
        "! publication p failed (and 99 others since the last such line): the database cannot be reached: "
        "no LISTEN within 3 seconds",
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_every_other_error_has_its_traceback(clock: Any, caplog: Any) -> None:
    log = FailureLog()
    errors = [ZeroDivisionError(), DataError(), ZeroDivisionError()]
    for error in errors:
        log.report("method m", error)

    assert [record.exc_info[1] for record in caplog.records] == errors


def test_error_that_the_client_is_told_is_none_of_the_logs(clock: Any, caplog: Any) -> None:
    FailureLog().report("method m", MeteorError("closed"))

    assert caplog.messages == []


def test_same_text_is_told_once_in_an_interval(clock: Any, caplog: Any) -> None:
    log, error = FailureLog(), ZeroDivisionError()
    for _ in range(3):
        log.tell(logging.ERROR, "The live query of collection a failed", error)
    log.tell(logging.WARNING, "publication p: it failed")
    clock.now += INTERVAL
    log.tell(logging.ERROR, "The live query of collection a failed", error)

    assert caplog.messages == [
        "! The live query of collection a failed",
        "! publication p: it failed",
        "! The live query of collection a failed (and 2 others since the last such line)",
    ]
    assert [bool(record.exc_info) for record in caplog.records] == [True, False, True]


def test_endlessly_many_texts_take_no_memory(clock: Any) -> None:
    log = FailureLog()
    for number in range(3 * KINDS):
        log.tell(logging.ERROR, f'invalid input: "{number}"')

    assert len(log._kinds) <= KINDS
