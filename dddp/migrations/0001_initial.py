"""The mark, the registry and the functions of capture, on PostgreSQL; nothing on other databases."""

from __future__ import annotations

from typing import Any

from django.db import migrations

from dddp.feed import capture


def create(apps: Any, schema_editor: Any) -> None:
    capture.create(schema_editor.connection)


def drop(apps: Any, schema_editor: Any) -> None:
    capture.drop(schema_editor.connection)


class Migration(migrations.Migration):
    initial = True
    operations = [migrations.RunPython(create, drop)]
