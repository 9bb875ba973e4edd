"""What is published: the whole table, a part of its columns, or the rows of one shelf."""

from __future__ import annotations

from django.db.models import QuerySet

from benchmarks.project.stock.models import Item
from dddp.api import API, Call, Collection, Publication, method


class ItemCollection(Collection):
    model = Item


class AllItems(Publication):
    queries = [Item.objects.all()]


class SomeFields(Publication):
    def get_queries(self, *names: str) -> QuerySet:
        return Item.objects.only(*names)


class Shelf(Publication):
    def get_queries(self, shelf: str) -> QuerySet:
        return Item.objects.filter(shelf=shelf)


@method("annotate")
def annotate(call: Call, key: int, note: str) -> int:
    return Item.objects.filter(pk=key).update(note=note)


@method("nothing")
def nothing(call: Call) -> None:
    """For the price of a call as such."""


API.register([ItemCollection, AllItems, SomeFields, Shelf, annotate, nothing])
