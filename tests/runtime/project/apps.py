"""The project's one app."""

from __future__ import annotations

from django.apps import AppConfig


class ProjectConfig(AppConfig):
    name = "tests.runtime.project"
    label = "shop"
