"""How money is moved, in several ways of writing. Needs Django, knows nothing of DDP. All need a transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from django.db import connection
from django.db.models import F

from tests.faults.bank.models import Account, Transfer

__all__ = ["WAYS", "Order"]


@dataclass(frozen=True)
class Order:
    """One transfer, before it is made."""

    number: str
    trial: int
    source_id: int
    target_id: int
    amount: int
    orderly: bool = True  #: lock the accounts in the order of keys; else two transfers may be in a deadlock

    @property
    def accounts(self) -> Sequence[tuple[int, int]]:
        """What each account is given, in the order of locking."""
        moves = [(self.source_id, -self.amount), (self.target_id, self.amount)]
        return sorted(moves) if self.orderly else moves


def by_orm(order: Order) -> None:
    """Objects are loaded, changed and saved: signals see it."""
    moved = {}
    for key, amount in order.accounts:
        account = Account.objects.select_for_update().get(pk=key)
        account.balance += amount
        account.version += 1
        account.last = order.number
        account.save(update_fields=["balance", "version", "last"])
        moved[key] = (account.version, account.balance)
    Transfer.objects.create(**_entry(order, moved))


def by_update(order: Order) -> None:
    """By ``update()`` and ``bulk_create``, which send no signals."""
    for key, amount in order.accounts:
        Account.objects.filter(pk=key).update(
            balance=F("balance") + amount, version=F("version") + 1, last=order.number
        )
    keys = [order.source_id, order.target_id]
    moved = {
        row[0]: row[1:] for row in Account.objects.filter(pk__in=keys).values_list("pk", "version", "balance")
    }
    Transfer.objects.bulk_create([Transfer(**_entry(order, moved))])


UPDATE = """
UPDATE bank_account SET balance = balance + %s, version = version + 1, last = %s WHERE id = %s
RETURNING version, balance
"""


def by_sql(order: Order) -> None:
    """As a program without Django would."""
    moved = {}
    with connection.cursor() as cursor:
        for key, amount in order.accounts:
            cursor.execute(UPDATE, [amount, order.number, key])
            moved[key] = cursor.fetchone()
        entry = _entry(order, moved)
        columns, places = ", ".join(entry), ", ".join(["%s"] * len(entry))
        cursor.execute(f"INSERT INTO bank_transfer ({columns}) VALUES ({places})", list(entry.values()))


def _entry(order: Order, moved: dict[int, tuple[int, int]]) -> dict[str, int | str]:
    """The transfer's columns; ``moved`` is version and balance of each account afterwards."""
    entry = asdict(order)
    del entry["orderly"]
    for side in ("source", "target"):
        entry[f"{side}_version"], entry[f"{side}_balance"] = moved[entry[f"{side}_id"]]
    return entry


WAYS: dict[str, Callable[[Order], None]] = {"orm": by_orm, "update": by_update, "sql": by_sql}
