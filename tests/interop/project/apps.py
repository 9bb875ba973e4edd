"""The app of the project."""

from __future__ import annotations

from django.apps import AppConfig


class NotesConfig(AppConfig):
    name = "tests.interop.project"
    label = "notes"
