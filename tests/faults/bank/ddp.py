"""Each class of live query over the bank: all rows, indexed, joined, ranges, windows, and those that are run again."""

from __future__ import annotations

import ctypes
import gc
import os
from pathlib import Path
from typing import Any

from django.db.models import Q

from dddp.api import API, Call, Collection, Publication, method
from tests.faults.bank import models, transfers

ALL_ACCOUNTS = models.Account.objects.all()


class Account(Collection):
    model = models.Account
    filter_fields = ()
    exclude = ("memo",)


class Transfer(Collection):
    model = models.Transfer


class Branch(Collection):
    model = models.Branch


class Memo(Collection):
    """The accounts with the column that may be dropped."""

    name = "memo"
    model = models.Account
    fields = ("owner", "memo")


class Bank(Publication):
    def get_queries(self, trial: int) -> Any:
        return [
            (ALL_ACCOUNTS, "bank.account"),
            models.Transfer.objects.filter(trial=trial),
        ]


class Country(Publication):
    def get_queries(self, country: str) -> Any:
        return ALL_ACCOUNTS.filter(branch__country=country), "bank.account"


class Rich(Publication):
    def get_queries(self, least: int) -> Any:
        return ALL_ACCOUNTS.filter(balance__gte=least), "bank.account"


class Poorest(Publication):
    def get_queries(self, count: int) -> Any:
        return ALL_ACCOUNTS.order_by("balance", "pk")[:count], "bank.account"


class Recent(Publication):
    """No predicate is known for it: it is run again."""

    def get_queries(self, digit: str) -> Any:
        return ALL_ACCOUNTS.filter(last__iregex=f"{digit}$"), "bank.account"


class Statement(Publication):
    def get_queries(self, trial: int, account: int) -> Any:
        return models.Transfer.objects.filter(Q(source_id=account) | Q(target_id=account), trial=trial)


class Memos(Publication):
    queries = [(ALL_ACCOUNTS, "memo")]


@method
def transfer(call: Call, way: str, number: str, trial: int, source: int, target: int, amount: int) -> str:
    """Move money in one transaction; the transfer's number."""
    transfers.WAYS[way](transfers.Order(number, trial, source, target, amount))
    return number


@method(atomic=False)
def resident(call: Call) -> int:
    """Bytes of memory that this process holds, after all that is garbage has gone."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@method
def count_transfers(call: Call) -> int:
    return models.Transfer.objects.count()


API.register([Account, Transfer, Branch, Memo])
API.register([Bank, Country, Rich, Poorest, Recent, Statement, Memos])
API.register([transfer, resident, count_transfers])
