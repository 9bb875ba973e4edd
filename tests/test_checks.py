"""What ``manage.py check`` says about databases that cannot notify, and what ``migrate`` does about it."""

from __future__ import annotations

import pytest
from django.core.checks import run_checks
from django.core.management import call_command
from django.db import connections
from django.test.utils import override_settings

from dddp import checks
from dddp.api.registry import API
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
