"""Capture as it is installed in one database: the SQL of ``sql/``, the registry of tables, the statement triggers.

``migrate`` creates the functions (``create``) and then says what to capture (``install``). Knows Django's connection,
nothing of models.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from importlib import resources
from operator import attrgetter
from typing import Any, TypeAlias

from django.db import transaction

from dddp.changes import Table

__all__ = ["CapturedTable", "Status", "create", "drop", "install", "status", "triggered_tables"]

Connection: TypeAlias = Any
"""Django's connection to one database (``django.db.connections[alias]``)."""

VENDOR = "postgresql"
TRIGGER_PREFIX = "dddp_capture_"
TRIGGER_VERSION = "v1"
TRANSITIONS = {
    "insert": "REFERENCING NEW TABLE AS dddp_new",
    "update": "REFERENCING OLD TABLE AS dddp_old NEW TABLE AS dddp_new",
    "delete": "REFERENCING OLD TABLE AS dddp_old",
    "truncate": "",
}

STABLE_KEYS = frozenset(
    f"pg_catalog.{name}"
    for name in ("int2", "int4", "int8", "uuid", "text", "varchar", "bpchar", "bool", "numeric")
)
"""Keys whose text does not depend on the session. For all others the capture function fixes the settings, which
costs some microseconds per statement."""

TEXT_SETTINGS = (
    "SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' "
    "SET bytea_output = 'hex' SET extra_float_digits = 1"
)


@dataclass(frozen=True, slots=True)
class CapturedTable:
    """One table to capture, and which of its columns an envelope may carry."""

    table: Table
    relation: str  #: as SQL names it, quoted: '"bookstore_book"'
    key_column: str  #: unquoted
    columns: tuple[
        str, ...
    ] = ()  #: unquoted; the key column is carried first whether it is named here or not

    def carried(self) -> list[str]:
        return [self.key_column, *(name for name in self.columns if name != self.key_column)]


@dataclass(frozen=True, slots=True)
class Status:
    """What ``migrate`` has yet to do before a database captures what it should; nothing when ``ready``."""

    supported: bool = True  #: False: not PostgreSQL
    created: bool = True  #: False: dddp's own migrations have not run
    tables: tuple[Table, ...] = ()  #: tables captured otherwise than they should be

    @property
    def ready(self) -> bool:
        return self == Status()

    def __str__(self) -> str:
        if not self.supported:
            return "not PostgreSQL: its changes cannot be captured"
        if not self.created:
            return "dddp's tables are missing; run: manage.py migrate"
        if self.tables:
            return f"capture is out of date for {', '.join(self.tables)}; run: manage.py migrate"
        return "ready"


def create(connection: Connection) -> None:
    """Create dddp's tables and functions in the connection's current schema; nothing on other databases."""
    if connection.vendor == VENDOR:
        _run(connection, "mark.sql", "note.sql", "flush.sql")


def drop(connection: Connection) -> None:
    """Undo ``create``, and remove every capture trigger."""
    if connection.vendor == VENDOR:
        _run(connection, "drop.sql")


def install(connection: Connection, tables: Sequence[CapturedTable], triggers: bool) -> None:
    """Make the database capture exactly these tables: by statement triggers, or by what signal handlers note.

    Repeatable; where nothing has changed it only reads. Tables that do not exist (yet) are left out.
    """
    if connection.vendor != VENDOR:
        return
    with connection.cursor() as cursor:
        if not _is_created(cursor):
            return
        plan = _plan(cursor, tables, triggers)
        with transaction.atomic(using=connection.alias):
            plan.apply_to_registry(cursor)
        # One transaction for each table: CREATE TRIGGER locks it against writers.
        for relation in plan.relations():
            with transaction.atomic(using=connection.alias):
                plan.apply_to_triggers(cursor, relation)


def status(connection: Connection, tables: Sequence[CapturedTable], triggers: bool) -> Status:
    """Whether the database captures these tables as it should; reads only."""
    if connection.vendor != VENDOR:
        return Status(supported=False)
    with connection.cursor() as cursor:
        if not _is_created(cursor):
            return Status(created=False)
        return Status(tables=_plan(cursor, tables, triggers).tables())


def triggered_tables(cursor: Any) -> frozenset[Table]:
    """The tables whose writes our triggers note, whoever writes."""
    return frozenset(trigger.label for trigger in _installed(cursor) if trigger.event == "insert")


# ------------------------------------------------------------------------------------------------ the two sides


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the registry."""

    label: Table
    relation: str
    key_column: str
    key_type: str
    columns: tuple[str, ...]
    branch: str


@dataclass(frozen=True, slots=True)
class _Trigger:
    """A statement trigger on one relation."""

    relation: str
    event: str
    function: str
    label: Table
    always: bool = True  #: fires whatever session_replication_role says

    @property
    def name(self) -> str:
        return f"{TRIGGER_PREFIX}{self.event}_{TRIGGER_VERSION}"


@dataclass(frozen=True, slots=True)
class _Plan:
    """From what is installed to what should be."""

    schema: str  #: of dddp's tables and functions, quoted
    entries: frozenset[_Entry]
    registered: frozenset[_Entry]
    wanted: frozenset[_Trigger]
    installed: frozenset[_Trigger]

    def tables(self) -> tuple[Table, ...]:
        differing = (self.entries ^ self.registered) | (self.wanted ^ self.installed)
        return tuple(sorted({each.label for each in differing}))

    def relations(self) -> list[str]:
        return sorted({trigger.relation for trigger in self.wanted ^ self.installed})

    def apply_to_registry(self, cursor: Any) -> None:
        for entry in self.registered - self.entries:
            cursor.execute("DELETE FROM dddp_table WHERE label = %s", (entry.label,))
        for entry in self.entries - self.registered:
            values = [list(value) if isinstance(value, tuple) else value for value in astuple(entry)]
            cursor.execute("INSERT INTO dddp_table VALUES (%s, %s, %s, %s, %s, %s)", values)
        if self.registered != self.entries:
            branches = "".join(entry.branch for entry in sorted(self.entries, key=attrgetter("label")))
            cursor.execute(_script("read.sql", schema=self.schema, branches=branches))

    def apply_to_triggers(self, cursor: Any, relation: str) -> None:
        for trigger in self.installed - self.wanted:
            if trigger.relation == relation:
                cursor.execute(f"DROP TRIGGER {trigger.name} ON {relation}")
        for trigger in self.wanted - self.installed:
            if trigger.relation == relation:
                self._create_trigger(cursor, trigger)

    def _create_trigger(self, cursor: Any, trigger: _Trigger) -> None:
        if trigger.event != "truncate":
            self._create_function(cursor, trigger)
        cursor.execute(
            f"CREATE TRIGGER {trigger.name} AFTER {trigger.event} ON {trigger.relation} {TRANSITIONS[trigger.event]} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {self.schema}.{trigger.function}(%s)",
            (trigger.label,),
        )
        cursor.execute(f"ALTER TABLE {trigger.relation} ENABLE ALWAYS TRIGGER {trigger.name}")

    def _create_function(self, cursor: Any, trigger: _Trigger) -> None:
        cursor.execute("SELECT to_regproc(%s)", (f"{self.schema}.{trigger.function}",))
        if cursor.fetchone() == (None,):
            entry = next(entry for entry in self.entries if entry.label == trigger.label)
            settings = "" if entry.key_type in STABLE_KEYS else TEXT_SETTINGS
            names = {"schema": self.schema, "function": trigger.function, "settings": settings}
            cursor.execute(_script("capture.sql", key=_quoted(entry.key_column), **names))


def _plan(cursor: Any, tables: Iterable[CapturedTable], triggers: bool) -> _Plan:
    found = [_entry(cursor, captured) for captured in tables]
    entries = frozenset(entry for entry in found if entry is not None)
    wanted = frozenset(trigger for entry in entries for trigger in _wanted(cursor, entry) if triggers)
    return _Plan(
        schema=_schema(cursor),
        entries=entries,
        registered=_registered(cursor),
        wanted=wanted,
        installed=_installed(cursor),
    )


# ------------------------------------------------------------------------------------------- what should be there

DESCRIBE = """
SELECT format('%%I.%%I', n.nspname, c.relname),
       (SELECT format('%%I.%%I', tn.nspname, t.typname)
        FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid JOIN pg_namespace tn ON tn.oid = t.typnamespace
        WHERE a.attrelid = c.oid AND a.attname = %s AND NOT a.attisdropped),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = ANY (%s) AND NOT a.attisdropped)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = to_regclass(%s)
"""


def _entry(cursor: Any, captured: CapturedTable) -> _Entry | None:
    """The registry's row for a table; None while the table or its key column does not exist."""
    carried = captured.carried()
    cursor.execute(DESCRIBE, (captured.key_column, carried, captured.relation))
    found = cursor.fetchone()
    if found is None or found[1] is None:
        return None
    relation, key_type, existing = found
    columns = tuple(name for name in carried if name in existing)
    branch = _branch(captured.table, relation, key_type, columns)
    return _Entry(captured.table, relation, captured.key_column, key_type, columns, branch)


def _branch(label: Table, relation: str, key_type: str, columns: Sequence[str]) -> str:
    """The part of dddp_read that reads one table."""
    return _script(
        "branch.sql",
        label=_literal(label),
        header=_literal(f',"c":{json.dumps(columns, ensure_ascii=False, separators=(",", ":"))}'),
        key=f"r.{_quoted(columns[0])}",
        texts=", ".join(f"r.{_quoted(column)}::text" for column in columns),
        relation=relation,
        key_type=key_type,
    )


def _wanted(cursor: Any, entry: _Entry) -> list[_Trigger]:
    """The triggers of a table and of its partitions, which may be written to by name (foreign ones cannot have any)."""
    cursor.execute(
        "SELECT format('%%I.%%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE c.relkind IN ('r', 'p') AND (c.oid = to_regclass(%s)"
        " OR c.oid IN (SELECT relid FROM pg_partition_tree(to_regclass(%s))))",
        (entry.relation, entry.relation),
    )
    return [
        _Trigger(relation, event, _function(event, entry), entry.label)
        for (relation,) in cursor.fetchall()
        for event in TRANSITIONS
    ]


def _function(event: str, entry: _Entry) -> str:
    """One function serves all tables with this key column: its text names the column."""
    if event == "truncate":
        return "dddp_capture_truncate"
    identity = f"{entry.key_column}:{entry.key_type in STABLE_KEYS}"
    readable = re.sub(r"\W", "", entry.key_column.lower(), flags=re.ASCII)[:20]
    return f"{TRIGGER_PREFIX}{readable}_{hashlib.sha256(identity.encode()).hexdigest()[:8]}_{TRIGGER_VERSION}"


# --------------------------------------------------------------------------------------------------- what is there

INSTALLED = r"""
SELECT format('%I.%I', n.nspname, c.relname), t.tgname, p.proname, t.tgargs, t.tgenabled = 'A'
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgname LIKE 'dddp\_capture\_%'
  AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('dddp_table'))
"""


def _is_created(cursor: Any) -> bool:
    cursor.execute("SELECT to_regclass('dddp_table') IS NOT NULL")
    return bool(cursor.fetchone()[0])


def _schema(cursor: Any) -> str:
    cursor.execute(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('dddp_table')"
    )
    return str(cursor.fetchone()[0])


def _registered(cursor: Any) -> frozenset[_Entry]:
    cursor.execute("SELECT label, relation, key_column, key_type, columns, branch FROM dddp_table")
    return frozenset(
        _Entry(label, relation, key_column, key_type, tuple(columns), branch)
        for label, relation, key_column, key_type, columns, branch in cursor.fetchall()
    )


def _installed(cursor: Any) -> frozenset[_Trigger]:
    cursor.execute(INSTALLED)
    return frozenset(
        _Trigger(
            relation=relation,
            event=name.removeprefix(TRIGGER_PREFIX).rpartition("_")[0],
            function=function,
            label=Table(bytes(arguments).rstrip(b"\0").decode()),
            always=always,
        )
        for relation, name, function, arguments, always in cursor.fetchall()
    )


def _run(connection: Connection, *scripts: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
        for script in scripts:
            cursor.execute(_script(script, schema=schema))


def _script(name: str, **names: str) -> str:
    """A script of ``sql/`` with its names put in."""
    text = resources.files("dddp.feed").joinpath("sql", name).read_text(encoding="utf-8")
    for placeholder, value in names.items():
        text = text.replace("{" + placeholder + "}", value)
    return text


def _quoted(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
