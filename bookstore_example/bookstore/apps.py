"""The app's label, ``bookstore``, begins its collections' names: ``bookstore.author``, ``bookstore.book``."""

from __future__ import annotations

from django.apps import AppConfig


class BookstoreConfig(AppConfig):
    name = "bookstore"
    label = "bookstore"
    verbose_name = "Bookstore"
