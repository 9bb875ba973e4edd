"""Books, who wrote them, who may see them.

``n`` and ``txn`` are set by the database at every write of a row, whoever writes: ``n`` counts all writes, so that
of two states of a row the higher is the newer; ``txn`` is the transaction's id.
"""

from __future__ import annotations

from decimal import Decimal

from django.contrib.auth.models import User
from django.db import models
from django.utils import timezone


class Written(models.Model):
    n = models.BigIntegerField(default=0)
    txn = models.BigIntegerField(default=0)

    class Meta:
        abstract = True


class Team(Written):
    name = models.TextField()
    members = models.ManyToManyField(User, related_name="teams")


class Author(Written):
    name = models.TextField()
    email = models.TextField()
    good = models.BooleanField(default=True)


class Tag(Written):
    name = models.TextField()


class Book(Written):
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")
    owner = models.ForeignKey(User, models.SET_NULL, null=True)
    team = models.ForeignKey(Team, models.SET_NULL, null=True)
    title = models.TextField()
    value = models.IntegerField()
    price = models.DecimalField(max_digits=8, decimal_places=2, default=Decimal("1.50"))
    data = models.JSONField(default=dict)
    published = models.DateField(null=True)
    added = models.DateTimeField(default=timezone.now)
    tags = models.ManyToManyField(Tag)
    pad = models.TextField(default="")
