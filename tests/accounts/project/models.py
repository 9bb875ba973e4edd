"""Diaries: each is one user's."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from dddp.models import AleaIdMixin


class Entry(AleaIdMixin):
    text = models.CharField(max_length=20)
    stars = models.IntegerField(default=0)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)


class Event(models.Model):
    """What Django's signals of logins have told."""

    kind = models.CharField(max_length=20)
    username = models.CharField(max_length=150)
    address = models.CharField(max_length=50)
