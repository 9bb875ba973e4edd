"""The table that is written to."""

from __future__ import annotations

from django.db import models

__all__ = ["Item"]


class Item(models.Model):
    """Something in stock; ten columns, of which the benchmarks change one or all."""

    name = models.CharField(max_length=200)
    note = models.TextField()
    shelf = models.CharField(max_length=20)
    maker = models.CharField(max_length=50)
    price = models.DecimalField(max_digits=9, decimal_places=2)
    count = models.IntegerField()
    minimum = models.IntegerField()
    weight = models.FloatField()
    sold = models.BooleanField()
    added = models.DateTimeField(auto_now_add=True)
