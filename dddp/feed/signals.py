"""Capture by Django's signals: each handler notes what was written, on the database and in the transaction it was
written in.

Silent where it cannot work: other databases, before ``migrate``, after a transaction broke. The note bypasses Django's
cursor, so that query logs and ``assertNumQueries`` see what the project does and nothing of ours.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.apps import apps
from django.db import connections
from django.db.models import ForeignKey, ManyToManyField, Model, Q
from django.db.models.signals import m2m_changed, post_delete, post_migrate, post_save, pre_delete

from dddp.changes import Table
from dddp.feed.capture import VENDOR, CapturedTable, triggered_tables

__all__ = ["connect_signals", "disconnect_signals"]

Connection: TypeAlias = Any

CHECK_INTERVAL = 10.0
"""Seconds after which a database is asked again whether it has our functions and triggers: how long a process may
overlook a ``migrate`` that another one ran."""

NOTED_ACTIONS = frozenset({"post_add", "pre_remove", "pre_clear"})
"""Of m2m_changed: rows to be deleted are noted while they are there; the flush reads them when they are gone."""

NOTE = "SELECT dddp_note(%s, %s::text[])"

NOTE_AFTERWARDS = "SELECT dddp_note(%s, %s::text[], false), set_config('synchronous_commit', 'off', true)"
"""In autocommit mode the row is committed already: the flush must read it under a lock. This transaction changes
nothing that would have to outlive a crash, so it need not wait for the disk."""

UID = "dddp.feed"


def connect_signals(tables: Sequence[CapturedTable]) -> None:
    """Note the writes of every model that writes one of these tables; of no other any more."""
    disconnect_signals()
    capture = SignalCapture(captured.table for captured in tables)
    for model in apps.get_models(include_auto_created=True):
        if capture.tables_of(model):
            post_save.connect(capture.saved, sender=model, weak=False, dispatch_uid=UID)
        if capture.captures(model) and not model._meta.auto_created:
            # Not for a child of a captured model: a listener makes Django load the rows of a bulk delete.
            post_delete.connect(capture.deleted, sender=model, weak=False, dispatch_uid=UID)
        if links := capture.links_to(model):
            pre_delete.connect(capture.unlinked(links), sender=model, weak=False, dispatch_uid=UID)
        for relation in model._meta.local_many_to_many:
            through = relation.remote_field.through
            if through is not None and capture.captures(through):
                m2m_changed.connect(capture.relinked(relation), sender=through, weak=False, dispatch_uid=UID)
    post_migrate.connect(capture.forget, weak=False, dispatch_uid=UID)


def disconnect_signals() -> None:
    """Undo ``connect_signals``."""
    for model in apps.get_models(include_auto_created=True):
        for signal in (post_save, pre_delete, post_delete, m2m_changed):
            signal.disconnect(sender=model, dispatch_uid=UID)
    post_migrate.disconnect(dispatch_uid=UID)


@dataclass(frozen=True, slots=True)
class Installed:
    """What a database had when it was asked."""

    noting: bool  #: our functions are there
    triggered: frozenset[Table]  #: tables that our triggers watch: nothing to note for them
    until: float  #: when to ask again, time.monotonic


class SignalCapture:
    """The handlers for one set of captured tables."""

    def __init__(self, tables: Iterable[Table]) -> None:
        self._tables = frozenset(tables)
        self._written: dict[type[Model], list[type[Model]]] = {}
        self._installed: dict[str, Installed] = {}

    def captures(self, model: type[Model]) -> bool:
        """Whether the table of this model's own is captured (a proxy's is its original's)."""
        return _table(model) in self._tables

    def tables_of(self, model: type[Model]) -> list[type[Model]]:
        """The models whose captured tables a save of ``model`` writes: itself and its parents."""
        if model not in self._written:
            family = [model, *model._meta.get_parent_list()]
            self._written[model] = list(
                {_table(each): each for each in family if self.captures(each)}.values()
            )
        return self._written[model]

    def links_to(self, model: type[Model]) -> list[ForeignKey[Any, Any]]:
        """The foreign keys to this model in captured many-to-many tables that Django has made by itself."""
        return [
            field
            for through in apps.get_models(include_auto_created=True)
            if through._meta.auto_created and self.captures(through)
            for field in through._meta.local_fields
            if isinstance(field, ForeignKey) and _table(field.related_model) == _table(model)
        ]

    def saved(
        self, sender: type[Model], instance: Model, using: str, update_fields: Any = None, **options: Any
    ) -> None:
        for model in self.tables_of(sender):
            if update_fields is None or _writes(model, update_fields):
                self._note(using, model, [_key(instance, model)])

    def deleted(self, sender: type[Model], instance: Model, using: str, **options: Any) -> None:
        # A child's parents are deleted, and announced, as instances of their own.
        self._note(using, sender, [_key(instance, sender)])

    def unlinked(self, links: list[ForeignKey[Any, Any]]) -> Any:
        """The pre_delete handler of a model at an end of these: Django deletes their rows without a signal."""

        def handle(sender: type[Model], instance: Model, using: str, **options: Any) -> None:
            for link in links:
                if self._must_note(using, link.model):
                    rows = link.model._base_manager.using(using).filter(**{link.name: instance})
                    self._note(using, link.model, list(rows.values_list("pk", flat=True)))

        return handle

    def relinked(self, relation: ManyToManyField[Any, Any]) -> Any:
        """The m2m_changed handler of one many-to-many field: notes the rows of its table in between."""

        def handle(
            sender: type[Model],
            instance: Model,
            action: str,
            reverse: bool,
            pk_set: Any,
            using: str,
            **options: Any,
        ) -> None:
            if action not in NOTED_ACTIONS or not self._must_note(using, sender):
                return
            if relation.remote_field.symmetrical and action == "post_add":
                # The mirrored rows are inserted after the signal: their keys are not known here.
                _execute(connections[using], "SELECT dddp_note_table(%s)", _table(sender))
            else:
                rows = sender._base_manager.using(using).filter(_links(relation, instance, reverse, pk_set))
                self._note(using, sender, list(rows.values_list("pk", flat=True)))

        return handle

    def forget(self, using: str, **options: Any) -> None:
        """After a ``migrate`` in this process everything may be different."""
        self._installed.pop(using, None)

    def _must_note(self, using: str, model: type[Model]) -> bool:
        connection = connections[using]
        if connection.vendor != VENDOR or connection.needs_rollback:
            return False
        installed = self._installed.get(using)
        if installed is None or time.monotonic() >= installed.until:
            installed = self._installed[using] = _ask(connection)
        return installed.noting and _table(model) not in installed.triggered

    def _note(self, using: str, model: type[Model], keys: list[Any]) -> None:
        if not keys or not self._must_note(using, model):
            return
        connection = connections[using]
        statement = NOTE if not connection.get_autocommit() else NOTE_AFTERWARDS
        _execute(connection, statement, _table(model), [_text(key) for key in keys])


def _execute(connection: Connection, statement: str, *values: Any) -> None:
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute(statement, values)


def _ask(connection: Connection) -> Installed:
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.cursor() as cursor:
        cursor.execute("SELECT to_regprocedure('dddp_note(text, text[], boolean)') IS NOT NULL")
        noting = bool(cursor.fetchone()[0])
        triggered = triggered_tables(cursor) if noting else frozenset()
    return Installed(noting, triggered, time.monotonic() + CHECK_INTERVAL)


def _table(model: type[Model]) -> Table:
    return Table((model._meta.concrete_model or model)._meta.label_lower)


def _key(instance: Model, model: type[Model]) -> Any:
    """The key of the instance's row in the table of ``model``, the instance's own or a parent's."""
    assert model._meta.pk is not None
    return getattr(instance, model._meta.pk.attname)


def _writes(model: type[Model], update_fields: Iterable[str]) -> bool:
    concrete = model._meta.concrete_model or model
    own = {name for field in concrete._meta.local_concrete_fields for name in (field.name, field.attname)}
    return not own.isdisjoint(update_fields)


def _links(relation: ManyToManyField[Any, Any], instance: Model, reverse: bool, pk_set: set[Any] | None) -> Q:
    """The rows between the instance and the given keys of the other side; without keys, all of the instance's."""
    near, far = relation.m2m_field_name(), relation.m2m_reverse_field_name()
    if reverse:
        near, far = far, near
    rows = Q(**{near: instance})
    if pk_set is not None:
        rows &= Q(**{f"{far}__in": pk_set})
    if relation.remote_field.symmetrical:
        mirrored = Q(**{far: instance})
        rows |= mirrored if pk_set is None else mirrored & Q(**{f"{near}__in": pk_set})
    return rows


def _text(key: Any) -> str:
    """A key as text that PostgreSQL reads under any settings; the flush normalises it."""
    if isinstance(key, bytes | bytearray | memoryview):
        return "\\x" + bytes(key).hex()
    return str(key)
