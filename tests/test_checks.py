"""What ``manage.py check`` says about databases that cannot notify, and what ``migrate`` does about it."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError, call_command
from django.db import connections
from django.test.utils import override_settings

from dddp import checks
from dddp.api.registry import API
from dddp.apps import install_capture
from dddp.feed.capture import TableBusy
from tests.api.test_registry import Papers


@pytest.fixture
def papers(monkeypatch):
    """The registry of the program holds one collection and nothing else."""
    monkeypatch.setattr(API, "collections", {"app.paper": Papers()})
    monkeypatch.setattr(API, "publications", {})


def test_postgresql_is_fine():
    assert checks.check_databases() == []


def test_no_postgresql_is_a_warning(monkeypatch):
    monkeypatch.setattr(type(connections["default"]), "vendor", "sqlite")

    assert [message.id for message in checks.check_databases()] == ["dddp.W001"]


def test_a_database_nobody_asked_about_is_not_connected_to():
    """pytest-django fails a test without ``db`` that touches the database."""
    assert checks.check_capture(databases=None) == []


def test_capture_that_lags_behind_the_declarations_is_a_warning(db, papers):
    (message,) = checks.check_capture(databases=["default"])

    assert message.id == "dddp.W002"
    assert "capture is out of date for app.paper" in message.msg
    assert "run: manage.py migrate" in message.msg


def test_what_lags_is_named(db, papers):
    call_command("migrate", verbosity=0)
    with connections["default"].cursor() as cursor:
        cursor.execute("COMMENT ON TABLE dddp_table IS NULL")

    (message,) = checks.check_capture(databases=["default"])

    assert message.id == "dddp.W002"
    assert "functions" in message.msg
    assert "dddp's functions: not those of this release" in message.hint


@override_settings(DDDP={"CAPTURE": "triggers"})
def test_table_that_triggers_cannot_see_is_a_warning(db, papers):
    """A published model whose table is a view, or has a foreign partition."""
    with connections["default"].cursor() as cursor:
        cursor.execute("ALTER TABLE app_paper RENAME TO paper; CREATE VIEW app_paper AS SELECT * FROM paper")
    call_command("migrate", verbosity=0)

    (message,) = checks.check_capture(databases=["default"])

    assert message.id == "dddp.W004"
    assert "app.paper: public.app_paper is a view" in message.msg


def test_busy_table_stops_migrate_with_one_sentence(db, papers, monkeypatch):
    def busy(*args: object, **options: object) -> None:
        raise TableBusy("app_paper stayed locked")

    monkeypatch.setattr("dddp.feed.capture.install", busy)

    with pytest.raises(CommandError, match=r"The migrations have run, but app_paper stayed locked\."):
        call_command("migrate", verbosity=0)


def test_migrations_that_ran_are_announced(db, monkeypatch):
    """Servers read again what a migration may have changed; a migrate with nothing to do disturbs nobody."""
    announced = []
    monkeypatch.setattr("dddp.feed.capture.announce", announced.append)

    call_command("migrate", verbosity=0)
    assert announced == []
    install_capture(using="default", plan=["a migration"])
    assert announced == [connections["default"]]


def test_migrate_brings_capture_into_line(db, papers):
    call_command("migrate", verbosity=0)

    assert checks.check_capture(databases=["default"]) == []


@override_settings(DDDP={"CAPTURE": "triggers"})
def test_migrate_installs_triggers_where_they_are_asked_for(db, papers):
    call_command("migrate", verbosity=0)

    with connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app_paper'::regclass AND NOT tgisinternal"
        )
        assert cursor.fetchone()[0] > 0
    assert checks.check_capture(databases=["default"]) == []


def test_migrate_itself_is_not_told_to_migrate(db, papers, monkeypatch):
    """The command line runs the checks before it mends what they say."""
    monkeypatch.setattr("sys.argv", ["manage.py", "migrate"])

    assert checks.check_capture(databases=["default"]) == []


def test_the_checks_are_djangos(db, papers):
    found = {message.id for message in run_checks(databases=["default"], include_deployment_checks=False)}

    assert "dddp.W002" in found
