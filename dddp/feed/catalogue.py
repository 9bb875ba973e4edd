"""What a database has of capture and what it should have: the registry's entries and the triggers, both as values.

Reads PostgreSQL's catalogue through any DB-API cursor and changes nothing; ``capture`` makes one side the other.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dddp.changes import Table
from dddp.feed.scripts import literal, quoted, script, version

__all__ = [
    "TRANSITIONS",
    "CapturedTable",
    "Entry",
    "Trigger",
    "describe",
    "fingerprint",
    "functions",
    "hidden",
    "installed_triggers",
    "is_created",
    "is_stable",
    "mark_is_guarded",
    "named",
    "registered_entries",
    "schema_of",
    "sealed",
    "unreadable",
    "unseen",
    "wanted_triggers",
]

TRIGGER_PREFIX = "dddp_capture_"
TRIGGER_VERSION = "v1"

TRANSITIONS = {
    "insert": "REFERENCING NEW TABLE AS dddp_new",
    "update": "REFERENCING OLD TABLE AS dddp_old NEW TABLE AS dddp_new",
    "delete": "REFERENCING OLD TABLE AS dddp_old",
    "truncate": "",
}
"""Event -> the transition tables its trigger reads."""

STABLE_KEYS = frozenset(
    f"pg_catalog.{name}"
    for name in ("int2", "int4", "int8", "uuid", "text", "varchar", "bpchar", "bool", "numeric")
)
"""Keys whose text does not depend on the session. For all others the capture function fixes the settings, which
costs some microseconds per statement."""


@dataclass(frozen=True, slots=True)
class CapturedTable:
    """One table to capture, and which of its columns an envelope may carry."""

    table: Table
    relation: str  #: as SQL names it, quoted: '"bookstore_book"'
    key_column: str  #: unquoted
    #: Unquoted; the key column is carried first whether it is named here or not.
    columns: tuple[str, ...] = ()

    def carried(self) -> list[str]:
        return [self.key_column, *(name for name in self.columns if name != self.key_column)]


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the registry, ``dddp_table``."""

    label: Table
    relation: str
    key_column: str
    key_type: str
    columns: tuple[str, ...]
    branch: str

    @property
    def place(self) -> tuple[str, str, str]:
        """Whose keys these are, and where they stand."""
        return self.label, self.relation, self.key_column


@dataclass(frozen=True, slots=True)
class Trigger:
    """A statement trigger on one relation."""

    relation: str
    event: str
    function: str
    label: Table
    name: str
    sound: bool = True  #: False: disabled for some sessions, or no statement trigger of ours but for its name

    def __str__(self) -> str:
        return f"{self.event} trigger on {self.relation}"


def is_stable(key_type: str) -> bool:
    """Whether the key's text does not depend on the session's settings."""
    return key_type in STABLE_KEYS


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

FAMILY = """
WITH RECURSIVE family(oid) AS (
    SELECT to_regclass(%s)::oid
    UNION SELECT i.inhrelid FROM pg_inherits i JOIN family ON i.inhparent = family.oid)
SELECT format('%%I.%%I', n.nspname, c.relname), c.relkind::text
FROM family JOIN pg_class c USING (oid) JOIN pg_namespace n ON n.oid = c.relnamespace ORDER BY 1
"""
"""A table with its partitions, or with the tables that inherit from it: what they hold is in it too."""

TABLE_KINDS = "rp"
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


def describe(cursor: Any, captured: CapturedTable) -> Entry | None:
    """The registry's row for a table; None while the table or its key column does not exist."""
    carried = captured.carried()
    cursor.execute(DESCRIBE, (captured.key_column, carried, captured.relation))
    found = cursor.fetchone()
    if found is None or found[1] is None:
        return None
    relation, key_type, existing = found
    columns = tuple(name for name in carried if name in existing)
    branch = _branch(captured.table, relation, key_type, columns)
    return Entry(captured.table, relation, captured.key_column, key_type, columns, branch)


def wanted_triggers(cursor: Any, entry: Entry) -> list[Trigger]:
    """The triggers of a table and of its family, each of which may be written to by its own name.

    None where a member is foreign: PostgreSQL has no transition tables there, and would refuse the writes.
    """
    family = _family(cursor, entry)
    if any(kind == "f" for _, kind in family):
        return []
    return [
        Trigger(relation, event, _function(event, entry), entry.label, _trigger_name(event))
        for relation, kind in family
        if kind in TABLE_KINDS
        for event in TRANSITIONS
    ]


def unseen(cursor: Any, entry: Entry) -> list[str]:
    """What of a table no trigger can see, as sentences with the reason."""
    return [
        f"{entry.label}: {relation} is {KINDS[kind]}, whose changes triggers do not see"
        for relation, kind in _family(cursor, entry)
        if kind in KINDS
    ]


def unreadable(cursor: Any, entry: Entry) -> list[str]:
    """That the connection's role may not read the table, as a sentence with the mend; empty when it may."""
    cursor.execute(
        "SELECT quote_ident(current_user) WHERE NOT has_table_privilege(%s, 'SELECT')", (entry.relation,)
    )
    return [
        f"the role {role} may not read {entry.label}; run as its owner: GRANT SELECT ON {entry.relation} TO {role}"
        for (role,) in cursor.fetchall()
    ]


def named(triggers: Iterable[Trigger]) -> frozenset[Trigger]:
    """The same, with names that differ where a relation serves several labels (it is a partition of one)."""
    rivals: dict[tuple[str, str], list[Trigger]] = defaultdict(list)
    for trigger in triggers:
        rivals[trigger.relation, trigger.event].append(trigger)
    return frozenset(
        replace(each, name=_trigger_name(each.event, "" if place == 0 else each.label))
        for group in rivals.values()
        for place, each in enumerate(sorted(group, key=lambda trigger: trigger.label))
    )


def _family(cursor: Any, entry: Entry) -> list[tuple[str, str]]:
    cursor.execute(FAMILY, (entry.relation,))
    return [(relation, kind) for relation, kind in cursor.fetchall()]


def _trigger_name(event: str, label: str = "") -> str:
    rival = f"_{hashlib.sha256(label.encode()).hexdigest()[:8]}" if label else ""
    return f"{TRIGGER_PREFIX}{event}{rival}_{TRIGGER_VERSION}"


def _branch(label: Table, relation: str, key_type: str, columns: Sequence[str]) -> str:
    """The part of dddp_read that reads one table."""
    return script(
        "branch.sql",
        label=literal(label),
        header=literal(f',"c":{json.dumps(columns, ensure_ascii=False, separators=(",", ":"))}'),
        key=f"r.{quoted(columns[0])}",
        texts=", ".join(f"r.{quoted(column)}::text" for column in columns),
        relation=relation,
        key_type=key_type,
    )


def _function(event: str, entry: Entry) -> str:
    """One function serves all tables with this key column: its text names the column."""
    if event == "truncate":
        return "dddp_capture_truncate"
    identity = f"{entry.key_column}:{is_stable(entry.key_type)}"
    readable = re.sub(r"\W", "", entry.key_column.lower(), flags=re.ASCII)[:20]
    return f"{TRIGGER_PREFIX}{readable}_{hashlib.sha256(identity.encode()).hexdigest()[:8]}_{TRIGGER_VERSION}"


# --------------------------------------------------------------------------------------------------- what is there

INSTALLED = r"""
SELECT format('%I.%I', n.nspname, c.relname), t.tgname, p.proname, t.tgargs,
       CASE t.tgtype WHEN 4 THEN 'insert' WHEN 8 THEN 'delete' WHEN 16 THEN 'update' WHEN 32 THEN 'truncate' END,
       t.tgenabled = 'A' AND t.tgqual IS NULL AND t.tgattr::text = ''
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgname LIKE 'dddp\_capture\_%'
  AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('dddp_table'))
"""
"""tgtype is a set of bits; these values are AFTER ... FOR EACH STATEMENT of one event."""

FINGERPRINT = r"""
SELECT md5(string_agg(concat_ws('|', p.proname, oidvectortypes(p.proargtypes), p.prosecdef, p.provolatile,
                                p.proconfig, p.prosrc), E'\n' ORDER BY p.proname, p.proargtypes::text))
FROM pg_proc p
WHERE p.proname LIKE 'dddp\_%'
  AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('dddp_table'))
"""

FUNCTION_NAMES = r"""
SELECT p.proname FROM pg_proc p
WHERE p.proname LIKE 'dddp\_%'
  AND p.pronamespace = (SELECT relnamespace FROM pg_class WHERE oid = to_regclass('dddp_table'))
"""

GUARDED = """
SELECT count(*) = 2 FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = to_regclass('dddp_mark') AND t.tgenabled = 'A' AND t.tginitdeferred
  AND (t.tgname, p.proname, t.tgtype) IN (('dddp_flush', 'dddp_flush', 5), ('dddp_probe', 'dddp_probe', 9))
"""
"""tgtype: 1, for each row, and 4 for INSERT, 8 for DELETE."""

HIDDEN = r"""
SELECT quote_ident(current_user), quote_ident(n.nspname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = 'dddp_table' AND NOT has_schema_privilege(n.oid, 'USAGE')
  AND quote_ident(n.nspname) = ANY (regexp_split_to_array(
        replace(current_setting('search_path'), '"$user"', quote_ident(current_user)), '\s*,\s*'))
"""


def is_created(cursor: Any) -> bool:
    """Whether dddp's own migrations have run."""
    cursor.execute("SELECT to_regclass('dddp_table') IS NOT NULL")
    return bool(cursor.fetchone()[0])


def hidden(cursor: Any) -> str | None:
    """That the connection's role may not use the schema of dddp's tables, as a sentence with the mend; None if it may,
    or there is none."""
    cursor.execute(HIDDEN)
    found = cursor.fetchone()
    if found is None:
        return None
    role, schema = found
    return (
        f"the role {role} may not use the schema {schema}, which has dddp's tables; run as its owner: "
        f"GRANT USAGE ON SCHEMA {schema} TO {role}"
    )


def schema_of(cursor: Any) -> str:
    """The schema of dddp's tables and functions, quoted."""
    cursor.execute(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = to_regclass('dddp_table')"
    )
    return str(cursor.fetchone()[0])


def registered_entries(cursor: Any) -> frozenset[Entry]:
    cursor.execute("SELECT label, relation, key_column, key_type, columns, branch FROM dddp_table")
    return frozenset(
        Entry(label, relation, key_column, key_type, tuple(columns), branch)
        for label, relation, key_column, key_type, columns, branch in cursor.fetchall()
    )


def installed_triggers(cursor: Any) -> frozenset[Trigger]:
    cursor.execute(INSTALLED)
    return frozenset(
        Trigger(
            relation=relation,
            event=event or "other",
            function=function,
            label=Table(bytes(arguments).rstrip(b"\0").decode()),
            name=name,
            sound=sound,
        )
        for relation, name, function, arguments, event, sound in cursor.fetchall()
    )


def fingerprint(cursor: Any) -> str:
    """What the functions are now, and which of our scripts made them."""
    cursor.execute(FINGERPRINT)
    return f"dddp {version()} {cursor.fetchone()[0]}"


def sealed(cursor: Any) -> str | None:
    """The fingerprint that was left, as a comment, when the functions were last made."""
    cursor.execute("SELECT obj_description(to_regclass('dddp_table'), 'pg_class')")
    comment = cursor.fetchone()[0]
    return None if comment is None else str(comment)


def functions(cursor: Any) -> frozenset[str]:
    """The names of dddp's functions."""
    cursor.execute(FUNCTION_NAMES)
    return frozenset(name for (name,) in cursor.fetchall())


def mark_is_guarded(cursor: Any) -> bool:
    """Whether the mark has its two triggers."""
    cursor.execute(GUARDED)
    return bool(cursor.fetchone()[0])
