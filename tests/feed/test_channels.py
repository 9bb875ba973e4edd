"""Channel names, the same in Python and in SQL."""

from __future__ import annotations

import pytest

from dddp.changes import Table
from dddp.feed.channels import process_channel, table_channel

LABELS = ["bookstore.book", "a." + "b" * 56, "a." + "b" * 57, "é." + "語" * 20, "x" * 500]


@pytest.mark.parametrize("label", LABELS)
def test_table_channel_fits_and_is_the_one_sql_uses(shop, connect, label):
    with connect().cursor() as cursor:
        cursor.execute("SELECT dddp_channel(%s)", (label,))
        assert cursor.fetchone() == (table_channel(Table(label)),)

    assert len(table_channel(Table(label)).encode()) <= 63


def test_channels_of_tables_and_processes_never_meet():
    """A label has no @ at its beginning, nor a #."""
    assert process_channel("a1") == "dddp.@a1"
    assert table_channel(Table("bookstore.book")) == "dddp.bookstore.book"
    assert table_channel(Table("x" * 500)).startswith("dddp.#")
