"""The harness itself: a judge who never finds anything proves nothing."""

from __future__ import annotations

import pytest

from tests.client import Entry
from tests.faults import arena as arenas
from tests.faults.arena import Arena
from tests.faults.customers import check_history
from tests.properties.judge import Broken

CONNECTED = {"msg": "connected", "session": "a" * 17}


def log(*messages: dict) -> list[Entry]:
    return [Entry(0.0, "<", message) for message in (CONNECTED, *messages)]


def test_a_write_that_the_server_did_not_hear_of_is_found(
    arena: Arena, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made where neither triggers nor signals see it."""
    monkeypatch.setattr(arenas, "CONVERGENCE_LIMIT", 1.0)
    before = len(arenas.REPORTS)
    try:
        with pytest.raises(Broken, match="is not there after"), arena.trial("a lost write") as trial:
            trial.rest()
            trial.progress = lambda *args: None
            arena.execute("ALTER TABLE bank_account DISABLE TRIGGER ALL")
            arena.execute("UPDATE bank_account SET last = 'nobody knows' WHERE id = 1")
    finally:
        restore(arena)
    assert len(arenas.REPORTS) == before


def restore(arena: Arena) -> None:
    arena.execute("ALTER TABLE bank_account ENABLE TRIGGER ALL")
    for name in triggers(arena):
        arena.execute(f'ALTER TABLE bank_account ENABLE ALWAYS TRIGGER "{name}"')
    arena.server.restart()


def triggers(arena: Arena) -> list[str]:
    query = "SELECT tgname FROM pg_trigger WHERE tgrelid = 'bank_account'::regclass AND tgname LIKE 'dddp%'"
    return [name for (name,) in arena.execute(query)]


def test_a_state_that_never_was_is_found() -> None:
    shown = {"msg": "added", "collection": "bank.account", "id": "1", "fields": {"balance": 7, "version": 3}}
    for states in ({}, {("1", 3): 8}):
        with pytest.raises(Broken, match="never was"):
            check_history(log(shown), states, set())
    assert check_history(log(shown), {("1", 3): 7}, set()) == 1


def test_a_step_backwards_is_found() -> None:
    one, two = (
        {"collection": "bank.account", "id": "1", "fields": {"balance": 7, "version": version}}
        for version in (2, 1)
    )
    with pytest.raises(Broken, match="version 2 was known"):
        check_history(
            log({"msg": "added", **one}, {"msg": "changed", **two}), {("1", 1): 7, ("1", 2): 7}, set()
        )


def test_a_transfer_that_was_undone_is_found() -> None:
    shown = {"msg": "added", "collection": "bank.transfer", "id": "1", "fields": {"number": "ann-1-0-7"}}
    with pytest.raises(Broken, match="not made"):
        check_history(log(shown), {}, {"ann-1-0-8"})
