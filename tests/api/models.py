"""Papers that belong to people, alone or in teams: what collections, paths to the user and ids are tried on."""

from __future__ import annotations

from django.conf import settings
from django.core.validators import MinLengthValidator
from django.db import models

from dddp.models import AleaIdMixin


class Team(models.Model):
    name = models.CharField(max_length=50)
    members = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="teams")

    class Meta:
        app_label = "app"


class Paper(models.Model):
    class Status(models.TextChoices):
        DRAFT = "draft", "Draft"
        PRINTED = "printed", "In print"

    title = models.CharField("Headline", max_length=50, validators=[MinLengthValidator(2)])
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.DRAFT)
    weight = models.FloatField(null=True, blank=True)
    secret = models.CharField(max_length=50, blank=True, default="")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, null=True, blank=True, related_name="papers"
    )
    team = models.ForeignKey(Team, models.CASCADE, null=True, blank=True)
    readers = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="reads")

    class Meta:
        app_label = "app"


class PrintedPaper(Paper):
    class Meta:
        app_label = "app"
        proxy = True


class LongPaper(Paper):
    """A table of its own beside that of papers."""

    pages = models.IntegerField(default=0)

    class Meta:
        app_label = "app"


class Stamp(AleaIdMixin):
    name = models.CharField(max_length=50, blank=True, default="")

    class Meta:
        app_label = "app"
