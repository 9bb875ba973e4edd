"""Models of the tests. The first part belongs to tests/feed."""

from __future__ import annotations

import uuid

from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.db import models

# ---------------------------------------------------------------------------------------------- for tests/feed


class Place(models.Model):
    name = models.CharField(max_length=100)
    secret = models.CharField(max_length=100, default="")

    class Meta:
        app_label = "app"


class Restaurant(Place):
    """Multi-table inheritance: a save writes two tables."""

    stars = models.IntegerField(default=0)

    class Meta:
        app_label = "app"


class ProxyPlace(Place):
    class Meta:
        app_label = "app"
        proxy = True


class Label(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    name = models.CharField(max_length=100)
    places = models.ManyToManyField(Place, related_name="labels")
    friends = models.ManyToManyField("self")

    class Meta:
        app_label = "app"


class ShopAuthor(models.Model):
    """A table of the database that tests/feed makes for itself."""

    name = models.TextField(null=True)
    secret = models.TextField(null=True)

    class Meta:
        app_label = "app"
        managed = False
        db_table = '"shop"."author"'


class ShopBook(models.Model):
    title = models.TextField(null=True)
    author = models.ForeignKey(ShopAuthor, on_delete=models.CASCADE, null=True, related_name="books")
    secret = models.TextField(null=True)
    editor = models.ForeignKey(ShopAuthor, on_delete=models.SET_NULL, null=True, related_name="edited")

    class Meta:
        app_label = "app"
        managed = False
        db_table = '"shop"."book"'


class Note(models.Model):
    """Cascades from a place; refers to anything."""

    place = models.ForeignKey(Place, on_delete=models.CASCADE, null=True)
    content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE, null=True)
    object_id = models.TextField(default="")
    about = GenericForeignKey("content_type", "object_id")

    class Meta:
        app_label = "app"
