"""What one database's live queries make of the feed; the reads that they ask for are not run here."""

from __future__ import annotations

import pytest

from dddp.api.registry import Registry
from dddp.changes import Change, Key, Kind, Mark, Snapshot, Transaction, Xid
from dddp.livequery.query import LiveQuery, Phase
from dddp.orm.tables import table_of
from dddp.runtime.live import LiveDatabase
from dddp.runtime.pool import Pool
from tests.api.models import Paper
from tests.api.test_registry import Papers

pytestmark = pytest.mark.django_db

PAPER = table_of(Paper)


@pytest.fixture
def live() -> LiveDatabase:
    """Its listener and its readers are not started; the types of its table's columns are known."""
    registry = Registry()
    registry.register([Papers])
    live = LiveDatabase("default", registry, "test", Pool("test", 1), 1.0, 5.0)
    live._row_types[PAPER] = live._row_type(PAPER)
    return live


def settled_query(live: LiveDatabase) -> LiveQuery:
    """A query of the whole table, which is empty."""
    query, _ = live.router.open(live.specs.spec(Paper.objects.all(), Papers().shape))
    live.router.begin(query)
    read = live.router.next_read()
    assert read is not None
    list(live.router.snapshot_taken(read, Snapshot(1, 1)))
    list(live.router.rows_read(read, {query.spec: {}}))
    list(live.router.receive(Mark(read.token)))
    assert query.phase is Phase.SETTLED
    return query


def test_keys_that_cannot_be_read(live: LiveDatabase) -> None:
    """The table has changed as a whole: all who read it look again, nobody else does."""
    query = settled_query(live)
    unreadable = tuple(Change(PAPER, Key(f"no number {place}"), Kind.KEY_ONLY) for place in range(3))
    live.receive([Transaction(Xid(2), unreadable)])

    assert live.router.epoch == 0
    assert query.reading is not None
    assert query.reading.keys.get(query.spec) is None
