"""Authors and their books: plain Django models, which know nothing of DDP."""

from __future__ import annotations

from django.core.validators import MaxValueValidator, MinValueValidator, ProhibitNullCharactersValidator
from django.db import models
from django.utils import timezone

__all__ = ["Author", "Book"]

YEAR = [MinValueValidator(-3000), MaxValueValidator(2100)]
BC = "Years before Christ are negative."
TEXT = [ProhibitNullCharactersValidator()]  # PostgreSQL cannot store U+0000; say so before it does


class Author(models.Model):
    """A writer, known to the shop by e-mail."""

    name = models.CharField(max_length=100, validators=TEXT)
    email = models.EmailField("e-mail", unique=True)
    born = models.IntegerField("year of birth", null=True, blank=True, validators=YEAR, help_text=BC)

    class Meta:
        ordering = ["name", "id"]

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    """A title on the shelf, with the year and language it first appeared in."""

    title = models.CharField(max_length=200, validators=TEXT)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    published = models.IntegerField("first published", validators=YEAR, help_text=BC)
    language = models.CharField("original language", max_length=40, default="English", validators=TEXT)
    price = models.DecimalField(max_digits=7, decimal_places=2, validators=[MinValueValidator(0)])
    added = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        ordering = ["title", "id"]

    def __str__(self) -> str:
        return self.title
