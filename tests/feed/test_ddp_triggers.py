"""``manage.py ddp_triggers``, on the tables of the test app."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from django.test.utils import override_settings

from dddp.api.registry import API
from dddp.feed import capture
from tests.api.test_registry import Papers

pytestmark = pytest.mark.django_db

EVENTS = "insert, update, delete, truncate"


@pytest.fixture(autouse=True)
def papers(monkeypatch, db):
    """One collection, captured by triggers that are not there yet."""
    monkeypatch.setattr(API, "collections", {"app.paper": Papers()})
    monkeypatch.setattr(API, "publications", {})
    with override_settings(DDDP={"CAPTURE": "triggers"}):
        yield


def ddp_triggers(*arguments: str) -> str:
    out = StringIO()
    call_command("ddp_triggers", *arguments, stdout=out, stderr=out, no_color=True)
    return out.getvalue()


def triggers() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgname FROM pg_trigger WHERE tgrelid = 'app_paper'::regclass AND NOT tgisinternal"
        )
        return {name for (name,) in cursor.fetchall()}


def lines(output: str) -> list[list[str]]:
    """The words of each line about papers."""
    return [line.split(maxsplit=3) for line in output.splitlines() if line.startswith("app.paper ")]


def test_install_creates_the_triggers():
    assert "installed" in ddp_triggers("install")

    assert triggers() == {f"dddp_capture_{event}_v1" for event in EVENTS.split(", ")}
    assert ddp_triggers("check") == "Everything is as it should be.\n"


def test_install_with_signals_is_refused():
    """The next migrate would undo it."""
    with override_settings(DDDP={"CAPTURE": "signals"}), pytest.raises(CommandError, match="CAPTURE"):
        ddp_triggers("install")

    assert triggers() == set()


def test_remove_drops_the_triggers_and_says_what_follows():
    ddp_triggers("install")

    assert "no change is seen" in ddp_triggers("remove")
    assert triggers() == set()


def test_remove_with_signals_is_silent():
    ddp_triggers("install")

    with override_settings(DDDP={"CAPTURE": "signals"}):
        assert ddp_triggers("remove") == "The triggers are removed.\n"


def test_check_names_what_is_missing():
    ddp_triggers("install")
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER dddp_capture_delete_v1 ON app_paper")

    out = StringIO()
    with pytest.raises(CommandError, match=r"out of date for app\.paper"):
        call_command("ddp_triggers", "check", stdout=out)
    assert "app.paper: delete trigger on public.app_paper is missing" in out.getvalue()


def test_list_shows_each_table_with_its_state():
    assert ["app.paper", "public.app_paper", "missing", EVENTS] in lines(ddp_triggers("list"))

    ddp_triggers("install")
    assert ["app.paper", "public.app_paper", "installed", EVENTS] in lines(ddp_triggers("list"))

    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE app_paper DISABLE TRIGGER dddp_capture_delete_v1")
    assert sorted(lines(ddp_triggers("list"))) == [
        ["app.paper", "public.app_paper", "changed", "delete"],
        ["app.paper", "public.app_paper", "installed", "insert, update, truncate"],
    ]


def test_list_shows_what_nobody_publishes_any_more(monkeypatch):
    ddp_triggers("install")
    monkeypatch.setattr(API, "collections", {})

    assert lines(ddp_triggers("list")) == [["app.paper", "public.app_paper", "superfluous", EVENTS]]


def test_list_without_tables_says_so(monkeypatch):
    monkeypatch.setattr(API, "collections", {})

    assert "No table is captured" in ddp_triggers("list")


def test_database_before_migrate_is_told_to_migrate():
    capture.drop(connection)

    for action in ("install", "remove", "check", "list"):
        with pytest.raises(CommandError, match=r"run: manage\.py migrate --database default"):
            ddp_triggers(action)


def test_database_that_is_not_postgresql_is_refused(monkeypatch):
    monkeypatch.setattr(type(connections["default"]), "vendor", "sqlite")

    with pytest.raises(CommandError, match="not PostgreSQL"):
        ddp_triggers("list")


class ElsewhereRouter:
    def allow_migrate(self, db: str, app_label: str, **hints: object) -> bool:
        return app_label != "dddp"


def test_database_that_routers_keep_dddp_out_of_is_refused():
    with (
        override_settings(DATABASE_ROUTERS=[ElsewhereRouter()]),
        pytest.raises(CommandError, match="ROUTERS"),
    ):
        ddp_triggers("list")


@pytest.mark.parametrize("option", ["--lock-timeout=0", "--attempts=0"])
def test_no_patience_at_all_is_refused(option):
    with pytest.raises(CommandError, match="at least 1"):
        ddp_triggers("install", option)
