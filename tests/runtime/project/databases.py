"""Which models live in the second database."""

from __future__ import annotations

from typing import Any

from django.db.models import Model

ARCHIVED = {"record"}


class ArchiveRouter:
    """Records in ``archive``, everything else in ``default``; the feed's own tables in both."""

    def db_for_read(self, model: type[Model], **hints: Any) -> str:
        return "archive" if model._meta.model_name in ARCHIVED else "default"

    db_for_write = db_for_read

    def allow_migrate(
        self, db: str, app_label: str, model_name: str | None = None, **hints: Any
    ) -> bool | None:
        if app_label == "dddp" or model_name is None:
            return None
        return (db == "archive") is (model_name in ARCHIVED)
