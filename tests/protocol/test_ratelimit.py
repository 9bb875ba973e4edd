"""Rate limits on a clock of the test's own (ddp-wire 10)."""

from __future__ import annotations

from typing import Any

import pytest

from dddp.errors import MeteorError
from dddp.protocol import ratelimit
from dddp.protocol.ratelimit import Event, RateLimiter, Rule

LOGIN = Rule(5, 10, type="method", names=("login", "createUser"))


def event(name: str = "login", connection: str = "c1", **members: Any) -> Event:
    return Event(**{"type": "method", "name": name, "connection": connection, **members})


def refused(limiter: RateLimiter, *events: Event, now: float = 0.0) -> list[bool]:
    return [limiter.check(each, now) is not None for each in events]


def test_the_sixth_of_five_is_refused() -> None:
    assert refused(RateLimiter([LOGIN], 0), *[event()] * 7) == [False] * 5 + [True] * 2


def test_error_is_meteors() -> None:
    limiter = RateLimiter([LOGIN], 0)
    refused(limiter, *[event()] * 5)
    error = limiter.check(event(), 7.6545)

    assert isinstance(error, MeteorError)
    assert (error.error, error.details) == ("too-many-requests", {"timeToReset": 2346})
    assert error.reason == (
        "Error, too many requests. Please slow down. You must wait 3 seconds before trying again."
    )


def test_message_of_a_rule() -> None:
    error = RateLimiter([Rule(0, 9.5, message="Wait {seconds} s; {not a field}")], 0).check(event(), 0)

    assert error is not None and error.reason == "Wait 10 s; {not a field}"


def test_window_is_the_rules_and_begins_anew_after_the_interval() -> None:
    limiter = RateLimiter([LOGIN], 0)
    refused(limiter, *[event()] * 6, now=9.0)

    assert refused(limiter, event(), now=9.99) == [True]
    assert refused(limiter, *[event()] * 6, now=10.0) == [False] * 5 + [True]
    assert refused(limiter, event(), now=19.99) == [True]
    assert refused(limiter, event(), now=25.0) == [False]


def test_names_of_a_rule_count_apart() -> None:
    limiter = RateLimiter([LOGIN], 0)
    refused(limiter, *[event()] * 6)

    assert refused(limiter, event("createUser"), event("logout")) == [False, False]


def test_rule_without_names_counts_all_together() -> None:
    limiter = RateLimiter([Rule(2, 1)], 0)

    assert refused(limiter, event("a"), event("b"), event("c")) == [False, False, True]


def test_type_of_a_rule() -> None:
    limiter = RateLimiter([Rule(1, 1, type="subscription")], 0)
    sub = event("Books", type="subscription")

    assert refused(limiter, event(), event(), sub, sub) == [False, False, False, True]


@pytest.mark.parametrize(
    ("per", "same", "other"),
    [
        (("connection",), {"user": "2", "address": "b"}, {"connection": "c2"}),
        (("user",), {"connection": "c2", "address": "b"}, {"user": "2"}),
        (("address",), {"connection": "c2", "user": "2"}, {"address": "b"}),
        (("user", "address"), {"connection": "c2"}, {"user": "2"}),
        ((), {"connection": "c2", "user": "2", "address": "b"}, None),
    ],
)
def test_what_is_counted_by(per: tuple[str, ...], same: dict[str, Any], other: dict[str, Any] | None) -> None:
    limiter = RateLimiter([Rule(1, 1, per)], 0)
    known = {"user": "1", "address": "a"}

    assert refused(limiter, event(**known), event(**{**known, **same})) == [False, True]
    if other:
        assert refused(limiter, event(**{**known, **other})) == [False]


@pytest.mark.parametrize("per", ["user", "address"])
def test_unknown_users_and_addresses_count_one_by_one(per: str) -> None:
    limiter = RateLimiter([Rule(1, 1, (per,))], 0)

    assert refused(limiter, event(), event(), event(connection="c2")) == [False, True, False]


def test_longest_wait_of_several_rules_counts() -> None:
    limiter = RateLimiter([Rule(0, 1, message="short"), Rule(0, 5, message="long"), Rule(9, 60)], 0)
    error = limiter.check(event(), 0.5)

    assert error is not None and (error.reason, error.details) == ("long", {"timeToReset": 4500})


def test_refused_by_one_rule_is_counted_by_the_others() -> None:
    limiter = RateLimiter([Rule(1, 1), Rule(3, 60)], 0)
    refused(limiter, *[event()] * 3)

    assert refused(limiter, event(), now=2) == [True]


def test_counts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten; the newest still counts."""
    monkeypatch.setattr(ratelimit, "COUNTS_LIMIT", 10)
    limiter = RateLimiter([Rule(1, 60)], 0)
    refused(limiter, *(event(connection=str(number)) for number in range(100)))

    assert [len(window.counts) for window in limiter.windows("method", "login")] == [10]
    assert refused(limiter, event(connection="99"), event(connection="0")) == [True, False]
