"""Models: some published, one of the second database, one that no collection has."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class House(models.Model):
    """A publishing house."""

    name = models.CharField(max_length=100)


class Author(models.Model):
    name = models.CharField(max_length=100)
    house = models.ForeignKey(House, models.CASCADE, null=True)


class Book(models.Model):
    title = models.CharField(max_length=100)
    price = models.IntegerField(default=0)
    author = models.ForeignKey(Author, models.CASCADE, null=True)


class PlainBook(Book):
    class Meta:
        proxy = True


class Letter(models.Model):
    """Its owner's alone (``user_rel``)."""

    text = models.CharField(max_length=100)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)


class Record(models.Model):
    """In the second database."""

    text = models.CharField(max_length=100)


class Review(models.Model):
    """Neither published nor captured."""

    book = models.ForeignKey(Book, models.CASCADE)
    stars = models.IntegerField(default=0)
