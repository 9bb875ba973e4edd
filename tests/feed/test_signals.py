"""Capture by Django's signals, on the models of the test app."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg2
import pytest
from django.core.management import call_command
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from dddp.changes import Change, Kind, Table
from dddp.feed import capture, signals
from dddp.feed.capture import CapturedTable
from tests.app.models import Label, Place, ProxyPlace, Restaurant
from tests.feed.recording import RecordingFeed, gone, key_only, row

pytestmark = pytest.mark.django_db(transaction=True)

place, restaurant, label = Table("app.place"), Table("app.restaurant"), Table("app.label")
label_places, label_friends = Table("app.label_places"), Table("app.label_friends")

CAPTURED = [
    CapturedTable(place, "app_place", "id", ("name",)),
    CapturedTable(restaurant, "app_restaurant", "place_ptr_id", ("stars",)),
    CapturedTable(label, "app_label", "id", ("name",)),
    CapturedTable(label_places, "app_label_places", "id", ("label_id", "place_id")),
    CapturedTable(label_friends, "app_label_friends", "id", ("from_label_id", "to_label_id")),
]


@pytest.fixture
def feed(transactional_db: None) -> Iterator[RecordingFeed]:
    """Listens to the captured tables, whose writes the signal handlers note."""
    capture.install(connection, CAPTURED, triggers=False)
    signals.connect_signals(CAPTURED)
    pgconn = psycopg2.connect(**_parameters())
    pgconn.autocommit = True
    yield RecordingFeed(pgconn, [each.table for each in CAPTURED])
    pgconn.close()
    signals.disconnect_signals()


def _parameters() -> dict[str, Any]:
    wanted = ("dbname", "user", "password", "host", "port")
    return {name: value for name, value in connection.get_connection_params().items() if name in wanted}


def kinds(changes: list[Change]) -> list[tuple[Table, str, Kind]]:
    return [(change.table, change.key, change.kind) for change in changes]


@pytest.mark.parametrize("atomic", [True, False])
def test_save_is_noted(feed, atomic):
    """Inside atomic and in autocommit."""
    if atomic:
        with transaction.atomic():
            saved = Place.objects.create(name="Bath")
    else:
        saved = Place.objects.create(name="Bath")

    assert feed.changes() == [row(place, saved.pk, name="Bath")]


def test_saves_of_one_transaction_are_folded(feed):
    with transaction.atomic():
        saved = Place.objects.create(name="Bath")
        saved.name = "Lyme"
        saved.save()

    assert feed.changes() == [row(place, saved.pk, name="Lyme")]


def test_delete_is_noted_although_the_instance_loses_its_key(feed):
    saved = Place.objects.create(name="Bath")
    feed.events()
    key = saved.pk

    with transaction.atomic():
        saved.delete()

    assert feed.changes() == [gone(place, key)]


def test_delete_in_autocommit_is_gone_or_to_be_read_again(feed):
    """The row could be back before the note's transaction commits; Django's own atomic makes it plain gone."""
    saved = Place.objects.create(name="Bath")
    feed.events()
    key = saved.pk

    saved.delete()

    assert feed.changes() in ([gone(place, key)], [key_only(place, key)])


def test_queryset_delete_is_noted(feed):
    keys = [Place.objects.create(name=name).pk for name in "ab"]
    feed.events()

    Place.objects.all().delete()

    assert kinds(feed.changes()) == [(place, str(key), Kind.GONE) for key in keys]


def test_child_of_multi_table_inheritance_notes_both_tables(feed):
    with transaction.atomic():
        saved = Restaurant.objects.create(name="Bath", stars=2)

    assert feed.changes() == [
        row(place, saved.pk, name="Bath"),
        Change(restaurant, str(saved.pk), Kind.ROW, {"place_ptr_id": str(saved.pk), "stars": "2"}),
    ]


def test_child_saved_without_the_parents_fields_notes_its_own_table(feed):
    saved = Restaurant.objects.create(name="Bath", stars=2)
    feed.events()

    with transaction.atomic():
        saved.save(update_fields=["stars"])

    assert kinds(feed.changes()) == [(restaurant, str(saved.pk), Kind.ROW)]


def test_deleted_child_deletes_its_parents_row(feed):
    saved = Restaurant.objects.create(name="Bath", stars=2)
    feed.events()
    key = str(saved.pk)

    saved.delete()

    assert kinds(feed.changes()) == [(place, key, Kind.GONE), (restaurant, key, Kind.GONE)]


def test_proxy_is_its_original(feed):
    with transaction.atomic():
        saved = ProxyPlace.objects.create(name="Bath")

    assert feed.changes() == [row(place, saved.pk, name="Bath")]


def test_uuid_key_is_noted(feed):
    with transaction.atomic():
        saved = Label.objects.create(name="old")

    assert feed.changes() == [row(label, str(saved.pk), name="old")]


@pytest.mark.parametrize("reverse", [False, True])
def test_many_to_many_rows_are_noted_as_they_come_and_go(feed, reverse):
    """add, remove, set and clear, from either side."""
    old, bath, lyme = (
        Label.objects.create(name="old"),
        *(Place.objects.create(name=name) for name in ("Bath", "Lyme")),
    )
    feed.events()
    related, others = (bath.labels, [old]) if reverse else (old.places, [bath, lyme])

    related.add(*others)
    added = feed.changes()
    related.remove(others[0])
    removed = feed.changes()
    related.set(others)
    set_again = feed.changes()
    related.clear()
    cleared = feed.changes()

    assert {change.kind for change in added + set_again} == {Kind.ROW}
    assert len(added) == len(others)
    assert {change.kind for change in removed + cleared} == {Kind.GONE}
    assert (len(removed), len(set_again), len(cleared)) == (1, 1, len(others))
    assert {change.table for change in added + removed + set_again + cleared} == {label_places}


@pytest.mark.parametrize("atomic", [True, False])
@pytest.mark.parametrize("bulk", [True, False])
@pytest.mark.parametrize(("end", "table"), [(Label, label), (ProxyPlace, place), (Restaurant, restaurant)])
def test_many_to_many_rows_go_with_either_end(feed, end, table, bulk, atomic):
    """Django deletes the rows of a many-to-many table of its own making without a signal."""
    old, bath = Label.objects.create(name="old"), Restaurant.objects.create(name="Bath", stars=2)
    old.places.add(bath)
    feed.events()

    with transaction.atomic() if atomic else contextlib.nullcontext():
        end.objects.all().delete() if bulk else end.objects.get().delete()

    tables = {change.table for change in feed.changes() if change.kind is Kind.GONE}
    assert {label_places, table} <= tables


def test_symmetrical_many_to_many_rows_go_with_either_end(feed):
    one, two = Label.objects.create(name="1"), Label.objects.create(name="2")
    one.friends.add(two)
    feed.events()

    two.delete()

    assert [change.kind for change in feed.changes() if change.table == label_friends] == [Kind.GONE] * 2


def test_symmetrical_many_to_many_changes_the_table_as_a_whole(feed):
    """Django inserts the mirrored rows after the signal. Rows that go are noted by their keys, both of them."""
    one, two = Label.objects.create(name="1"), Label.objects.create(name="2")
    feed.events()

    one.friends.add(two)
    assert feed.transaction().tables == {label_friends}
    one.friends.remove(two)
    assert [change.kind for change in feed.changes()] == [Kind.GONE, Kind.GONE]


def test_loaddata_is_noted_as_one_transaction(feed, tmp_path):
    """It checks constraints in the middle; raw fixtures are noted too."""
    fixture = tmp_path / "places.json"
    places = [{"model": "app.place", "pk": pk, "fields": {"name": f"place {pk}"}} for pk in (1, 2)]
    fixture.write_text(json.dumps(places))

    call_command("loaddata", str(fixture), verbosity=0)

    assert feed.changes() == [row(place, 1, name="place 1"), row(place, 2, name="place 2")]


NOTE = "SELECT dddp_note('app.place', ARRAY[%s], false)"  # what a save in autocommit mode leaves


@pytest.fixture
def theirs(feed: RecordingFeed, place_row: Place) -> Iterator[Any]:
    """Another writer in the middle of changing the row."""
    pgconn = psycopg2.connect(**_parameters())
    with pgconn.cursor() as cursor:
        cursor.execute("UPDATE app_place SET name = 'theirs' WHERE id = %s", (place_row.pk,))
        cursor.execute("SELECT dddp_note('app.place', ARRAY[%s])", (str(place_row.pk),))
    yield pgconn
    pgconn.close()


@pytest.fixture
def place_row(feed: RecordingFeed) -> Place:
    saved = Place.objects.create(name="Bath")
    feed.events()
    return saved


@pytest.fixture
def noting(feed: RecordingFeed) -> Iterator[Any]:
    pgconn = psycopg2.connect(**_parameters())
    pgconn.autocommit = True
    yield pgconn
    pgconn.close()


def test_note_in_autocommit_waits_for_a_writer_of_the_row(feed, place_row, theirs, noting):
    """The feed ends on the table's state: no report of the row as it was, after the other writer's."""
    with ThreadPoolExecutor(1) as pool, noting.cursor() as cursor:
        note = pool.submit(cursor.execute, NOTE, (str(place_row.pk),))
        _wait_until_blocked(noting.info.backend_pid)
        theirs.commit()
        note.result()

    assert [each.changes for each in feed.transactions()] == [(row(place, place_row.pk, name="theirs"),)] * 2


def _wait_until_blocked(pid: int) -> None:
    with connection.cursor() as cursor:
        for _ in range(10_000):
            cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", (pid,))
            if cursor.fetchone() == (True,):
                return
    raise AssertionError("nothing waits")


def test_note_in_autocommit_that_cannot_lock_the_row_gives_its_key_only(feed, place_row, theirs, noting):
    with noting.cursor() as cursor:
        cursor.execute("SET lock_timeout = '50ms'")
        cursor.execute(NOTE, (str(place_row.pk),))
    theirs.commit()

    first, last = feed.transactions()
    assert first.changes == (key_only(place, place_row.pk),)
    assert last.changes == (row(place, place_row.pk, name="theirs"),)


def test_notes_are_not_among_the_projects_queries(feed):
    with CaptureQueriesContext(connection) as queries, transaction.atomic():
        Place.objects.create(name="Bath")

    assert not [query for query in queries.captured_queries if "dddp" in query["sql"]]


def test_handlers_keep_quiet_where_a_table_has_triggers(feed):
    capture.install(connection, CAPTURED, triggers=True)
    handlers = signals.SignalCapture([place])

    assert not handlers._must_note("default", Place)
    capture.install(connection, CAPTURED, triggers=False)
    handlers.forget("default")
    assert handlers._must_note("default", Place)


def test_handlers_keep_quiet_before_migrate(feed):
    """A save inside a transaction works, and goes on working; after migrate it is noted."""
    capture.drop(connection)
    try:
        signals.connect_signals(CAPTURED)
        with transaction.atomic():
            Place.objects.create(name="Bath")
            Place.objects.create(name="Lyme")
    finally:
        capture.create(connection)
        capture.install(connection, CAPTURED, triggers=False)
    signals.connect_signals(CAPTURED)

    Place.objects.create(name="Bath")

    assert len(feed.changes()) == 1


def test_uncaptured_models_have_no_handlers(feed):
    """A listener would make Django load the rows of a bulk delete."""
    from django.contrib.auth.models import User
    from django.db.models.signals import post_delete, post_save, pre_delete

    assert not post_save.has_listeners(User)
    assert not pre_delete.has_listeners(User)
    assert not post_delete.has_listeners(User)
