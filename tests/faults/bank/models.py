"""Accounts with balances, and the transfers between them.

An account's ``version`` counts its transfers. A transfer names the states it left its two accounts in, so that the
ledger tells for every state of an account whether it has ever been.
"""

from __future__ import annotations

from django.db import models


class Branch(models.Model):
    name = models.TextField()
    country = models.TextField()


class Account(models.Model):
    branch = models.ForeignKey(Branch, models.CASCADE)
    owner = models.TextField()
    balance = models.IntegerField()
    version = models.IntegerField(default=0)
    last = models.TextField(default="")  #: number of the last transfer
    memo = models.TextField(null=True)  #: nobody writes it: a column that can be dropped


class Transfer(models.Model):
    number = models.TextField(unique=True)
    trial = models.IntegerField()
    source = models.ForeignKey(Account, models.CASCADE, related_name="paid")
    target = models.ForeignKey(Account, models.CASCADE, related_name="received")
    amount = models.IntegerField()
    source_version = models.IntegerField()
    source_balance = models.IntegerField()
    target_version = models.IntegerField()
    target_balance = models.IntegerField()
