"""Notes: text, a date and bytes."""

from __future__ import annotations

from django.db import models


class Note(models.Model):
    owner = models.CharField(max_length=100)
    text = models.CharField(max_length=100)
    at = models.DateTimeField(null=True)
    raw = models.BinaryField(null=True)
