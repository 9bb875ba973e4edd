"""What becomes of capture while the server runs is told, once for each change."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from io import StringIO

import gevent
import pytest
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext, override_settings

from dddp.api.registry import API
from dddp.runtime.drift import DriftWatch
from dddp.runtime.pool import Pool
from tests.api.test_registry import Papers
from tests.transport.peers import until

MEND = "run: manage.py ddp_triggers install --database default"
HIDDEN = """
REVOKE SELECT ON pg_trigger FROM PUBLIC; CREATE ROLE anybody; GRANT SELECT ON dddp_table TO anybody; SET ROLE anybody
"""


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch, db: None) -> Iterator[None]:
    """One collection, captured by triggers."""
    monkeypatch.setattr(API, "collections", {"app.paper": Papers()})
    monkeypatch.setattr(API, "publications", {})
    with override_settings(DDDP={"CAPTURE": "triggers"}):
        install()
        yield


@pytest.fixture
def readers() -> Iterator[Pool]:
    readers = Pool("test", 1)
    readers.start()
    yield readers
    readers.stop()


@pytest.fixture
def watch(papers: None, readers: Pool) -> DriftWatch:
    """It is not started: the tests look."""
    return DriftWatch("default", API.captured_tables(), readers)


@pytest.fixture
def watch_of_nothing(monkeypatch: pytest.MonkeyPatch, db: None, readers: Pool) -> Iterator[DriftWatch]:
    """No table was captured in this transaction: one that has marks to send does not let the mark be altered."""
    monkeypatch.setattr(API, "collections", {})
    monkeypatch.setattr(API, "publications", {})
    with override_settings(DDDP={"CAPTURE": "triggers"}):
        yield DriftWatch("default", [], readers)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What has been logged since the last call."""
    caplog.set_level(logging.WARNING, "dddp.runtime.drift")

    def messages() -> list[str]:
        found = [record.getMessage() for record in caplog.records]
        caplog.clear()
        return found

    return messages


def install() -> None:
    call_command("ddp_triggers", "install", stdout=StringIO())


def execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def look_without_rights(watch: DriftWatch) -> None:
    savepoint = transaction.savepoint()
    execute(HIDDEN)
    watch.look()
    transaction.savepoint_rollback(savepoint)


def test_nothing_is_told_where_all_is_well(watch: DriftWatch, told: Callable[[], list[str]]) -> None:
    watch.look()

    assert told() == []


def test_dropped_trigger_is_told_once_and_so_is_the_mend(
    watch: DriftWatch, told: Callable[[], list[str]]
) -> None:
    execute("DROP TRIGGER dddp_capture_update_v1 ON app_paper")
    watch.look()
    watch.look()
    (message,) = told()
    install()
    watch.look()
    watch.look()

    assert f"app.paper: update trigger on public.app_paper is missing; {MEND}" in message
    assert told() == ["= capture in the database 'default' is up to date again"]


def test_each_change_is_told(watch: DriftWatch, told: Callable[[], list[str]]) -> None:
    execute("CREATE TABLE more_papers () INHERITS (app_paper)")
    watch.look()
    execute("ALTER TABLE app_paper DISABLE TRIGGER dddp_capture_insert_v1")
    watch.look()
    inheriting, disabled = told()
    missing = "app.paper: insert, update, delete, truncate trigger on public.more_papers is missing"

    assert f"{missing}; {MEND}" in inheriting
    assert f"app.paper: insert trigger on public.app_paper is changed; {missing}; {MEND}" in disabled


def test_what_has_not_changed_costs_one_query(watch: DriftWatch) -> None:
    watch.look()
    with CaptureQueriesContext(connection) as queries:
        watch.look()

    assert len(queries) == 1


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE dddp_mark DISABLE TRIGGER ALL",
        "ALTER TABLE dddp_mark ENABLE TRIGGER dddp_flush",  # not where session_replication_role is replica
        "DROP TRIGGER dddp_flush ON dddp_mark",
    ],
)
def test_triggers_of_the_mark(
    watch_of_nothing: DriftWatch, told: Callable[[], list[str]], change: str
) -> None:
    """All that is captured is sent by them."""
    watch_of_nothing.look()
    execute(change)
    watch_of_nothing.look()
    (message,) = told()

    assert (
        f"the triggers of dddp_mark are missing or changed, so nothing is sent at commit; {MEND}" in message
    )


def test_mend_of_the_triggers_of_the_mark(
    watch_of_nothing: DriftWatch, told: Callable[[], list[str]]
) -> None:
    execute("DROP TRIGGER dddp_flush ON dddp_mark")
    watch_of_nothing.look()
    told()
    install()
    watch_of_nothing.look()

    assert told() == ["= capture in the database 'default' is up to date again"]


def test_many_relations_are_counted(watch: DriftWatch, told: Callable[[], list[str]]) -> None:
    for number in range(12):
        execute(f"CREATE TABLE papers_{number} () INHERITS (app_paper)")
    watch.look()
    (message,) = told()

    assert message.count("is missing") == 5
    assert f"; and 7 more; {MEND}" in message


def test_tables_of_dddp_that_are_gone(watch: DriftWatch, told: Callable[[], list[str]]) -> None:
    execute("DROP TABLE dddp_table CASCADE")
    watch.look()
    (message,) = told()

    assert "dddp's tables are missing; run: manage.py migrate" in message


def test_role_that_may_not_read_the_catalogue_is_told_so(
    watch: DriftWatch, told: Callable[[], list[str]]
) -> None:
    execute(HIDDEN)
    watch.look()
    (message,) = told()

    assert (
        "it cannot be seen whether its triggers are there: permission denied for table pg_trigger" in message
    )


def test_catalogue_that_may_be_read_again(watch: DriftWatch, told: Callable[[], list[str]]) -> None:
    """All is well, as it was when it was last seen; that is told."""
    watch.look()
    look_without_rights(watch)
    (message,) = told()
    watch.look()

    assert "it cannot be seen" in message
    assert told() == ["= capture in the database 'default' is up to date again"]


def test_drift_from_before_the_catalogue_could_not_be_read(
    watch: DriftWatch, told: Callable[[], list[str]]
) -> None:
    execute("DROP TRIGGER dddp_capture_update_v1 ON app_paper")
    watch.look()
    look_without_rights(watch)
    first, _ = told()
    watch.look()

    assert told() == [first]


def test_database_that_is_away_is_left_to_others(watch: DriftWatch, told: Callable[[], list[str]]) -> None:
    """The listener tells of it, and has us look again afterwards."""
    watch.look()
    away = connections["default"].copy()
    away.settings_dict = {**away.settings_dict, "HOST": "127.0.0.1", "PORT": "1"}
    here, connections["default"] = connections["default"], away
    try:
        watch.look()
    finally:
        connections["default"] = here

    assert told() == []


class CountingWatch(DriftWatch):
    """Counts its looks, which need no database here."""

    looks = 0

    def look(self) -> None:
        self.looks += 1


def test_look_comes_by_itself_and_again(readers: Pool) -> None:
    watch = CountingWatch("default", [], readers, interval=0.01)
    watch.start()
    until(lambda: watch.looks > 2)
    watch.stop()


def test_look_comes_soon_after_interruptions_and_once(readers: Pool) -> None:
    watch = CountingWatch("default", [], readers, interval=1000.0)
    watch.start()
    for _ in range(3):
        watch.look_soon()
        gevent.sleep(0.01)
    until(lambda: watch.looks)
    watch.stop()

    assert watch.looks == 1


def test_triggers_that_nothing_here_needs_are_no_drift(
    papers: None, readers: Pool, told: Callable[[], list[str]]
) -> None:
    """Newer code beside this one may publish more."""
    DriftWatch("default", [], readers).look()

    assert told() == []
