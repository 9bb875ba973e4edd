"""The harness itself: a judge who never finds anything proves nothing."""

from __future__ import annotations

import pytest

from tests.client import Entry
from tests.faults import arena as arenas
from tests.faults.arena import ACCOUNTS, Arena
from tests.faults.customers import check_history, check_nothing_vanishes, check_own_writes
from tests.faults.faults import FAULTS
from tests.faults.test_transfers import Sum
from tests.properties.judge import Broken
from tests.server import ROOT

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
            trial.progress = lambda *args, **kwargs: None
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


def test_document_that_vanishes_is_found() -> None:
    """It may while not all have come, and when the subscription ends."""
    sub = Entry(0.0, ">", {"msg": "sub", "id": "b", "name": "Bank", "params": [1]})
    shown = {"msg": "added", "collection": "bank.account", "id": "1", "fields": {"balance": 7, "version": 3}}
    removed = {"msg": "removed", "collection": "bank.account", "id": "1"}
    ready, nosub, ping = {"msg": "ready", "subs": ["b"]}, {"msg": "nosub", "id": "b"}, {"msg": "ping"}
    check_nothing_vanishes([sub, *log(shown, removed, ready, shown, removed, nosub, ping)])
    with pytest.raises(Broken, match="removed"):
        check_nothing_vanishes([sub, *log(shown, ready, removed, ping)])


def test_every_fault_is_in_the_table_of_outcomes() -> None:
    told = (ROOT / "docs" / "explanation" / "reliability.rst").read_text()

    assert [name for name in FAULTS if f"``{name}``" not in told] == []


def test_updated_before_its_data_is_found() -> None:
    call = Entry(
        0.0, ">", {"msg": "method", "id": "m1", "method": "transfer", "params": ["sql", "online-1-0"]}
    )
    shown = {"msg": "added", "collection": "bank.transfer", "id": "1", "fields": {"number": "online-1-0"}}
    updated = {"msg": "updated", "methods": ["m1"]}
    check_own_writes([call, *log(shown, updated)])
    check_own_writes([call, *log({"msg": "nosub", "id": "s"}, updated)])
    with pytest.raises(Broken, match="online-1-0"):
        check_own_writes([call, *log(updated, shown)])


def account(key: int, balance: int, version: int) -> dict:
    fields = {"balance": balance, "version": version}
    return {
        "msg": "changed" if version else "added",
        "collection": "bank.account",
        "id": str(key),
        "fields": fields,
    }


def transfer(source: tuple[int, int], target: tuple[int, int]) -> dict:
    fields = {f"{side}_id": str(key) for side, (key, _) in (("source", source), ("target", target))}
    fields |= {f"{side}_version": version for side, (_, version) in (("source", source), ("target", target))}
    return {"msg": "added", "collection": "bank.transfer", "id": f"{source} {target}", "fields": fields}


@pytest.mark.parametrize(
    ("messages", "word"),
    [
        (
            [account(1, 990, 1), account(3, 1000, 1), transfer((1, 1), (2, 1)), account(2, 1010, 1)],
            "two transactions",
        ),
        ([account(1, 990, 1), account(2, 1000, 1), transfer((1, 1), (2, 1))], "the balances are"),
        ([account(1, 990, 1), transfer((1, 1), (2, 1)), transfer((3, 1), (2, 2))], "a second transfer"),
    ],
    ids=["interleaved", "money lost", "incomplete"],
)
def test_half_of_a_transaction_is_found(messages: list[dict], word: str) -> None:
    seen = Sum()
    for message in [*(account(key, 1000, 0) for key in range(1, ACCOUNTS + 1)), {"msg": "ready"}]:
        seen.apply(message)
    with pytest.raises(Broken, match=word):
        for message in messages:
            seen.apply(message)
