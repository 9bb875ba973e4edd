"""The process as a whole: shutdown, Django's views beside DDP, many clients, bounds."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
import urllib.request
from typing import Any

import psycopg2
import pytest

from tests import polling
from tests.runtime.conftest import Project, serve


def get(project: Project, path: str) -> Any:
    with urllib.request.urlopen(project.server.http + path, timeout=15) as response:
        return response.read().decode()


# --- Django's views


def test_view_is_served_beside_ddp(project: Project) -> None:
    project.add_book("Emma")
    with project.client() as client:
        client.subscribed("Books")
        assert json.loads(get(project, "/titles/")) == {"titles": ["Emma"]}
        client.ping()


def test_view_that_writes_is_seen_by_clients(project: Project) -> None:
    with project.client() as client:
        client.subscribed("Books")
        book = json.loads(get(project, "/add-book/?title=Emma"))["id"]
        client.wait(lambda view: str(book) in view.documents("shop.book"))


def test_view_that_waits_delays_nobody(project: Project) -> None:
    answers: list[str] = []
    waiting = threading.Thread(target=lambda: answers.append(get(project, "/wait/?gate=view")))
    waiting.start()
    with project.client() as client:
        client.call("arrival", "view")
        client.subscribed("Books")
        assert str(client.call("add_book", "Emma")) in client.documents("shop.book")
        assert json.loads(get(project, "/titles/")) == {"titles": ["Emma"]}
        assert answers == []
        client.call("open", "view")
    waiting.join(15)

    assert answers == ["waited"]


def test_signals_capture_shows_views_and_methods(templates: tuple[str, str]) -> None:
    """``signals`` is the default; another migrate takes the triggers away."""
    with serve(templates, CAPTURE="signals", migrate=True) as project, project.client() as client:
        client.subscribed("Books")
        view = json.loads(get(project, "/add-book/?title=Emma"))["id"]
        client.wait(lambda told: str(view) in told.documents("shop.book"))
        method = client.call("add_book", "Persuasion")
        assert str(method) in client.documents("shop.book")


# --- large and many


def test_large_first_batch_is_whole_and_ready_comes_last(project: Project) -> None:
    project.execute(
        "INSERT INTO shop_book (title, price) SELECT repeat('x', 80), n FROM generate_series(1, 8000) n"
    )
    with project.client() as client:
        client.subscribed("Books")
        assert len(client.documents("shop.book")) == 8000
        kinds = [message["msg"] for message in client.received("added", "ready")]
        assert kinds.index("ready") == len(kinds) - 1


def test_changes_during_a_large_first_batch_are_not_lost(project: Project) -> None:
    project.execute(
        "INSERT INTO shop_book (title, price) SELECT repeat('x', 80), n FROM generate_series(1, 8000) n"
    )
    with project.client() as client, project.client() as other:
        subscription = client.subscribe("Books")
        for turn in range(20):
            other.call("add_book", f"turn {turn}")
            project.execute("UPDATE shop_book SET title = %s WHERE price %% 1000 = 0", str(turn))
        client.wait_ready(subscription)
        rows = project.execute("SELECT id::text, title FROM shop_book")
        client.wait(
            lambda view: (
                {key: each["title"] for key, each in view.documents("shop.book").items()} == dict(rows)
            )
        )


def test_client_that_does_not_read_is_disconnected_and_delays_nobody(templates: tuple[str, str]) -> None:
    with serve(templates, OUTBOX_LIMIT=256 * 1024) as project, project.client() as other:
        project.execute("INSERT INTO shop_book (title, price) SELECT 'x', n FROM generate_series(1, 8000) n")
        other.subscribed("Records")
        slow = project.connected()
        slow.send('{"msg":"sub","id":"s","name":"Books"}')
        for number in range(100):
            project.execute("UPDATE shop_book SET title = %s", f"{number:0100}")
            other.call("add_record", str(number))
            if other.call("counts")["connections"] == 1:
                break
        assert other.call("counts")["connections"] == 1
        assert other.call("counts")["default queries"] == 0


# --- shutdown

WAIT_AT_COMMIT = """
CREATE FUNCTION wait_at_commit() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER wait_at_commit AFTER INSERT ON shop_book
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_at_commit();
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_method_in_flight_is_finished_at_shutdown(templates: tuple[str, str], number: signal.Signals) -> None:
    """Its write, its result and its `updated` are there; what came behind it is not begun any more."""
    with serve(templates) as project, contextlib.closing(psycopg2.connect(project.database)) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        client, other = project.client(), project.client()
        client.subscribed("Books")
        call = client.invoke("lock_then_add", 1, "saved")
        other.call("arrival", "1")
        since = len(project.server.log)
        stopper = threading.Thread(target=project.server.stop, args=(number,))
        stopper.start()
        project.server.wait_for_log("Stopping", since=since)
        late = other.invoke("add_book", "late")
        other.ping()
        holder.cursor().execute("SELECT pg_advisory_unlock(1)")
        closed = client.wait_closed()
        stopper.join(30)
        assert call.answered and call.updated and call.error is None
        assert not late.answered
        assert closed.code in (1001, 1012)
        assert other.wait_closed().code in (1001, 1012)
        assert project.execute("SELECT title FROM shop_book") == [("saved",)]


def test_method_that_does_not_end_is_given_up_at_the_limit(templates: tuple[str, str]) -> None:
    """The log says which; those that have ended are not among them."""
    with serve(templates, SHUTDOWN_TIME_LIMIT=0.5) as project:
        client = project.client()
        client.call("echo", 1)
        call = client.invoke("unblocked_wait", "for ever")
        client.invoke("unblocked_wait", "for ever")
        client.invoke("wait", "last")
        project.client().call("arrival", "last")
        project.server.stop()
        assert client.wait_closed().code in (1001, 1012)
        assert not call.answered
        (line,) = (line for line in project.server.log if "cut off" in line)
        assert "3 method calls" in line and line.rstrip().endswith(": unblocked_wait (2), wait (1)")


def test_method_that_is_given_up_at_its_commit_may_have_been_made(templates: tuple[str, str]) -> None:
    """PostgreSQL has been told to commit, and does, though nobody waits for its answer any more."""
    with (
        serve(templates, SHUTDOWN_TIME_LIMIT=0.5) as project,
        contextlib.closing(psycopg2.connect(project.database)) as holder,
    ):
        project.execute(WAIT_AT_COMMIT)
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        client = project.client()
        call = client.invoke("add_book", "Emma")
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        polling.until(lambda: project.execute(waiting) == [(1,)], 10)
        project.server.stop()
        client.wait_closed()
        holder.cursor().execute("SELECT pg_advisory_unlock(1)")
        polling.until(lambda: project.execute("SELECT title FROM shop_book") == [("Emma",)], 10)

        assert call.error is None or "may or may not" in str(call.error.reason)


def test_clients_come_back_after_a_restart(templates: tuple[str, str]) -> None:
    with serve(templates) as project:
        with project.client() as client:
            client.subscribed("Books")
        project.server.restart()
        with project.client() as client:
            client.subscribed("Books")
            assert str(client.call("add_book", "Emma")) in client.documents("shop.book")


def test_database_that_cuts_all_connections_is_survived(project: Project) -> None:
    """Sessions stay open; what was written meanwhile arrives."""
    with project.client() as client:
        client.subscribed("Books")
        since = len(project.server.log)
        project.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        book = project.add_book("meanwhile")
        project.server.wait_for_log("interrupted", since=since)
        client.wait(lambda view: book in view.documents("shop.book"))
        later = project.add_book("later")
        client.wait(lambda view: later in view.documents("shop.book"))
