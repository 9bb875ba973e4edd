from __future__ import annotations

from django.apps import AppConfig


class DiaryConfig(AppConfig):
    name = "tests.accounts.project"
    label = "diary"

    def ready(self) -> None:
        from tests.accounts.project import signals

        signals.connect()
