"""Whether a column's type that has changed under a running server makes a difference."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection

from dddp.orm import columns
from dddp.orm.columns import column_types, retyped
from tests import postgres
from tests.orm.models import Work


@pytest.fixture(autouse=True)
def known(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process knows of types, as of before the test."""
    monkeypatch.setattr(columns, "_known", {})
    assert retyped(Work, "default", NAMES) == []


NAMES = ["id", "title", "year", "writer_id"]


@pytest.mark.parametrize(
    ("change", "differing"),
    [
        ("ALTER title TYPE char(50)", ["title"]),
        ('ALTER title TYPE varchar(50) COLLATE "C"', ["title"]),
        ("ALTER year TYPE numeric, ALTER year DROP NOT NULL", ["year"]),
        ("ALTER year DROP NOT NULL", ["year"]),
        ("ALTER year TYPE bigint, ALTER title TYPE text", []),
        ("ALTER title TYPE varchar(60)", []),
        ("ALTER writer_id SET NOT NULL", []),
        ("DROP COLUMN year", []),
        ("ADD COLUMN more integer", []),
    ],
)
def test_changed_type(change: str, differing: list[str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE app_work {change}")

    assert retyped(Work, "default", NAMES) == differing


def test_database_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not taken for one without the table; nothing is remembered."""
    monkeypatch.setattr(columns, "_known", {})
    with postgres.away(), pytest.raises(OperationalError, match="refused"):
        column_types(Work, "default")

    assert column_types(Work, "default")["year"].name == "integer"
