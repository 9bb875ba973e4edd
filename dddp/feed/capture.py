"""Capture as it is installed in one database: the SQL of ``sql/``, the registry of tables, the statement triggers.

``migrate`` creates the functions (``create``) and then says what to capture (``install``). Knows Django's connection,
nothing of models. Locks on the project's tables are taken one table per transaction and waited for briefly, since
writers queue up behind whoever waits.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass, field
from operator import attrgetter
from typing import Any, TypeAlias

from django.db import OperationalError, transaction

from dddp.changes import Table
from dddp.errors import DDDPError
from dddp.feed.catalogue import (
    TRANSITIONS,
    CapturedTable,
    Entry,
    Trigger,
    describe,
    fingerprint,
    functions,
    hidden,
    installed_triggers,
    is_created,
    is_stable,
    mark_is_guarded,
    named,
    registered_entries,
    schema_of,
    sealed,
    unreadable,
    unseen,
    wanted_triggers,
)
from dddp.feed.scripts import FUNCTIONS, literal, quoted, script

__all__ = [
    "UNGUARDED",
    "CapturedTable",
    "Patience",
    "Status",
    "TableBusy",
    "announce",
    "create",
    "drop",
    "install",
    "report",
    "status",
    "triggered_tables",
]

Connection: TypeAlias = Any
"""Django's connection to one database (``django.db.connections[alias]``)."""

VENDOR = "postgresql"
LOCK_NOT_AVAILABLE = "55P03"
PAUSE_FIRST, PAUSE_MOST = 0.5, 5.0  # seconds between attempts, doubled: writers that queued up go first


@dataclass(frozen=True, slots=True)
class Patience:
    """How to wait for the lock on a table."""

    lock_timeout: float = 1.0  #: seconds of one attempt: for so long at most its writers are held up
    attempts: int = 10


class TableBusy(DDDPError):
    """The lock on a table was not to be had. Nothing is half done: each table is a transaction of its own."""


@dataclass(frozen=True, slots=True)
class Status:
    """What ``migrate`` has yet to do before a database captures what it should; nothing when ``ready``."""

    supported: bool = True  #: False: not PostgreSQL
    created: bool = True  #: False: dddp's own migrations have not run
    hidden: str | None = None  #: why this role does not see dddp's tables, with the mend
    sound: bool = True  #: False: dddp's functions are another release's, or somebody changed them
    tables: tuple[Table, ...] = ()  #: tables of which not every change would be told
    uncaptured: tuple[Table, ...] = ()  #: those of them that lack it themselves, not only a partition
    differing: tuple[Table, ...] = ()  #: tables told of otherwise than declared, as by a newer release
    unreadable: tuple[str, ...] = ()  #: tables that this role may not read, with the mend
    triggers: bool = field(default=True, compare=False)  #: False: signal handlers tell of every change
    details: tuple[str, ...] = field(default=(), compare=False)  #: what is otherwise, one sentence each
    unseen: tuple[str, ...] = field(default=(), compare=False)  #: what no trigger can see, and why

    @property
    def ready(self) -> bool:
        return self == Status()

    @property
    def consequence(self) -> str:
        """What is the matter until that is mended."""
        if not (self.supported and self.created) or (self.tables and self.triggers):
            return "changes will not reach DDP clients"
        if self.unreadable:
            return "queries of what may not be read fail"
        if not self.sound:
            return "changes may not reach DDP clients"
        return "changes cost more reads"

    def __str__(self) -> str:
        if not self.supported:
            return "not PostgreSQL: its changes cannot be captured"
        if self.hidden:
            return self.hidden
        if not self.created:
            return "dddp's tables are missing; run: manage.py migrate"
        return "; ".join([*self._deviation(), *self.unreadable]) or "ready"

    def _deviation(self) -> Iterator[str]:
        """What is not as ``migrate`` makes it: the gravest, which names the mend of all."""
        if self.tables:
            yield f"capture is out of date for {', '.join(self.tables)}; run: manage.py migrate"
        elif self.differing:
            what = f"capture of {', '.join(self.differing)} is not what is declared"
            yield f"{what}, though it tells of every change; run: manage.py migrate"
        elif not self.sound:
            yield "dddp's functions are not those of this release; run: manage.py migrate"


def create(connection: Connection) -> None:
    """Create dddp's tables and functions in the connection's current schema; nothing on other databases."""
    if connection.vendor != VENDOR:
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(current_schema())")
        (schema,) = cursor.fetchone()
        for name in ("tables.sql", *FUNCTIONS, "mark_triggers.sql"):
            cursor.execute(script(name, schema=schema))
        _seal(cursor, schema)


def drop(connection: Connection) -> None:
    """Undo ``create``, and remove every capture trigger."""
    if connection.vendor != VENDOR:
        return
    with connection.cursor() as cursor:
        cursor.execute(script("drop.sql", schema=schema_of(cursor)))


def install(
    connection: Connection,
    tables: Sequence[CapturedTable],
    triggers: bool,
    patience: Patience | None = None,
) -> None:
    """Make the database capture exactly these tables: by statement triggers, or by what signal handlers note.

    Repeatable; where nothing has changed it only reads. Tables that do not exist (yet) are left out. Of a table that
    gets a trigger it says that it changed as a whole: who listens reads again what was written before.

    Raises:
        TableBusy: some table stayed locked; those before it are done.
    """
    if connection.vendor != VENDOR:
        return
    with connection.cursor() as cursor:
        if not is_created(cursor):
            return
        plan = _plan(cursor, tables, triggers)
    patience = patience or Patience()
    if not (plan.sound and plan.complete and plan.entries == plan.registered):
        _patiently(connection, "dddp_table", plan.apply_to_functions, patience)
    if not plan.guarded:
        _patiently(connection, "dddp_mark", plan.apply_to_mark, patience)
    for relation in plan.relations():
        _patiently(connection, relation, plan.apply_to_triggers, patience)


def announce(connection: Connection) -> None:
    """Say that all captured tables changed: every process that listens reads its queries again."""
    if connection.vendor != VENDOR:
        return
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if is_created(cursor):
            cursor.execute("SELECT dddp_note_table(label) FROM dddp_table")


def status(connection: Connection, tables: Sequence[CapturedTable], triggers: bool) -> Status:
    """Whether the database captures these tables as it should; reads only."""
    if connection.vendor != VENDOR:
        return Status(supported=False)
    with connection.cursor() as cursor:
        if not is_created(cursor):
            return Status(created=False, hidden=hidden(cursor))
        plan = _plan(cursor, tables, triggers)
        forbidden = [sentence for entry in plan.entries for sentence in unreadable(cursor, entry)]
        blind = [sentence for entry in plan.entries if triggers for sentence in unseen(cursor, entry)]
    return Status(
        sound=plan.sound and plan.guarded,
        tables=plan.untold(),
        uncaptured=plan.uncaptured(),
        differing=plan.differing(),
        unreadable=tuple(sorted(forbidden)),
        details=tuple(plan.details()),
        unseen=tuple(sorted(blind)),
        triggers=triggers,
    )


def report(connection: Connection, tables: Sequence[CapturedTable]) -> list[tuple[Trigger, str]]:
    """Every capture trigger that is there or should be, with its state: "installed", "missing", "changed" (it is not
    as we make it), "superfluous" (nothing here publishes its table)."""
    with connection.cursor() as cursor:
        plan = _plan(cursor, tables, triggers=True)
    states = [(trigger, plan.state_of(trigger)) for trigger in plan.wanted | plan.installed]
    return sorted(
        ((trigger, state) for trigger, state in states if state),
        key=lambda each: (each[0].label, each[0].relation, list(TRANSITIONS).index(each[0].event)),
    )


def triggered_tables(cursor: Any) -> frozenset[Table]:
    """The tables whose writes our triggers note, whoever writes."""
    return frozenset(trigger.label for trigger in installed_triggers(cursor) if trigger.event == "insert")


# ------------------------------------------------------------------------------------------------ the two sides


UNGUARDED = "the triggers of dddp_mark are missing or changed, so nothing is sent at commit"


@dataclass(frozen=True, slots=True)
class _Plan:
    """From what is installed to what should be."""

    schema: str  #: of dddp's tables and functions, quoted
    sound: bool  #: the functions are as we make them
    complete: bool  #: the functions of all wanted triggers are there
    guarded: bool  #: the mark has its triggers
    entries: frozenset[Entry]
    registered: frozenset[Entry]
    wanted: frozenset[Trigger]
    installed: frozenset[Trigger]

    def untold(self) -> tuple[Table, ...]:
        """The tables that are misplaced, or that lack a trigger on themselves or on a member of their family."""
        return tuple(sorted(self._misplaced() | {each.label for each in self.wanted - self.installed}))

    def uncaptured(self) -> tuple[Table, ...]:
        """Those among them that lack it on themselves."""
        own = {(each.label, each.relation) for each in self.entries}
        missing = {each.label for each in self.wanted - self.installed if (each.label, each.relation) in own}
        return tuple(sorted(self._misplaced() | missing))

    def _misplaced(self) -> set[Table]:
        """The tables whose keys are not read from where they should be."""
        registered = {each.place for each in self.registered}
        return {each.label for each in self.entries if each.place not in registered}

    def differing(self) -> tuple[Table, ...]:
        """The others that are not as declared. Columns too many are ignored, missing ones read again."""
        others = (self.entries ^ self.registered) | (self.wanted ^ self.installed)
        return tuple(sorted({each.label for each in others} - set(self.untold())))

    def relations(self) -> list[str]:
        return sorted({trigger.relation for trigger in self.wanted ^ self.installed})

    def details(self) -> Iterable[str]:
        if not self.sound:
            yield "dddp's functions: not those of this release, or changed by somebody"
        if not self.guarded:
            yield UNGUARDED
        for entry in sorted(self.entries ^ self.registered, key=attrgetter("label")):
            word = "registered" if entry in self.registered else "declared"
            yield f"{entry.label}: {word} with the columns {', '.join(entry.columns)}"
        for trigger in sorted(self.wanted ^ self.installed, key=attrgetter("label", "relation", "event")):
            if state := self.state_of(trigger):
                yield f"{trigger.label}: {trigger} is {state}"

    def state_of(self, trigger: Trigger) -> str | None:
        """A word for it; None for what is the wanted side of a changed one, told already."""
        if trigger in self.wanted & self.installed:
            return "installed"
        others = self.installed if trigger in self.wanted else self.wanted
        replaced = any((each.relation, each.name) == (trigger.relation, trigger.name) for each in others)
        if trigger in self.wanted:
            return None if replaced else "missing"
        return "changed" if replaced else "superfluous"

    def apply_to_functions(self, cursor: Any, relation: str) -> None:
        """No table of the project is locked for these."""
        for name in FUNCTIONS:
            cursor.execute(script(name, schema=self.schema))
        # Asked again: another migrate may have come first.
        registered = registered_entries(cursor)
        for entry in registered - self.entries:
            cursor.execute("DELETE FROM dddp_table WHERE label = %s", (entry.label,))
        for entry in self.entries - registered:
            values = [list(value) if isinstance(value, tuple) else value for value in astuple(entry)]
            cursor.execute("INSERT INTO dddp_table VALUES (%s, %s, %s, %s, %s, %s)", values)
        branches = _search(sorted(self.entries, key=attrgetter("label")))
        cursor.execute(script("read.sql", schema=self.schema, branches=branches))
        self._create_capture_functions(cursor)
        _seal(cursor, self.schema)

    def _create_capture_functions(self, cursor: Any) -> None:
        keys = {each.label: each for each in self.entries}
        functions = {each.function: keys[each.label] for each in self.wanted if each.event != "truncate"}
        for function, entry in functions.items():
            settings = "" if is_stable(entry.key_type) else TEXT_SETTINGS
            names = {"schema": self.schema, "function": function, "settings": settings}
            cursor.execute(script("capture.sql", key=quoted(entry.key_column), **names))

    def apply_to_mark(self, cursor: Any, relation: str) -> None:
        cursor.execute(script("mark_triggers.sql", schema=self.schema))
        # Without them nothing was sent.
        cursor.execute(f"SELECT {self.schema}.dddp_note_table(label) FROM {self.schema}.dddp_table")

    def apply_to_triggers(self, cursor: Any, relation: str) -> None:
        # Asked again: another migrate may have come first.
        installed = {each for each in installed_triggers(cursor) if each.relation == relation}
        wanted = {each for each in self.wanted if each.relation == relation}
        for trigger in installed - wanted:
            cursor.execute(f"DROP TRIGGER {quoted(trigger.name)} ON {relation}")
        for trigger in wanted - installed:
            cursor.execute(
                f"CREATE TRIGGER {trigger.name} AFTER {trigger.event} ON {relation} {TRANSITIONS[trigger.event]} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {self.schema}.{trigger.function}(%s)",
                (trigger.label,),
            )
            cursor.execute(f"ALTER TABLE {relation} ENABLE ALWAYS TRIGGER {trigger.name}")
        # What was written before reached nobody. The lock that CREATE TRIGGER took has waited for its writers.
        for label in sorted({each.label for each in wanted - installed}):
            cursor.execute(f"SELECT {self.schema}.dddp_note_table(%s)", (label,))


def _search(entries: Sequence[Entry]) -> str:
    """PL/pgSQL that finds a label's branch by halving: with 100 tables a chain made each write a third dearer."""
    if len(entries) < 2:
        return "".join(entry.branch for entry in entries)
    lower, upper = entries[: len(entries) // 2], entries[len(entries) // 2 :]
    border = literal(upper[0].label)
    return f'IF label COLLATE "C" < {border} THEN\n{_search(lower)}ELSE\n{_search(upper)}END IF;\n'


TEXT_SETTINGS = (
    "SET TimeZone = 'UTC' SET DateStyle = 'ISO, YMD' SET IntervalStyle = 'postgres' "
    "SET bytea_output = 'hex' SET extra_float_digits = 1"
)


def _plan(cursor: Any, tables: Iterable[CapturedTable], triggers: bool) -> _Plan:
    found = [describe(cursor, captured) for captured in tables]
    entries = frozenset(entry for entry in found if entry is not None)
    wanted = named(each for entry in entries if triggers for each in wanted_triggers(cursor, entry))
    return _Plan(
        schema=schema_of(cursor),
        sound=sealed(cursor) == fingerprint(cursor),
        complete={each.function for each in wanted} <= functions(cursor),
        guarded=mark_is_guarded(cursor),
        entries=entries,
        registered=registered_entries(cursor),
        wanted=wanted,
        installed=installed_triggers(cursor),
    )


def _seal(cursor: Any, schema: str) -> None:
    """Leave the fingerprint of the functions, so that a later change of them is noticed."""
    cursor.execute(f"COMMENT ON TABLE {schema}.dddp_table IS {literal(fingerprint(cursor))}")


# ------------------------------------------------------------------------------------------------------------ locks

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('dddp'), hashtext('install'))"

HOLDERS = """
SELECT a.pid, a.application_name, a.state, extract(epoch FROM now() - a.xact_start)::int
FROM pg_locks l JOIN pg_stat_activity a USING (pid)
WHERE l.relation = to_regclass(%s) AND l.granted AND pid <> pg_backend_pid() ORDER BY a.xact_start LIMIT 3
"""


def _patiently(
    connection: Connection, relation: str, change: Callable[[Any, str], None], patience: Patience
) -> None:
    """Change one relation in a transaction of its own, trying again while others hold its lock."""
    pause = PAUSE_FIRST
    for attempt in range(1, patience.attempts + 1):
        try:
            with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
                cursor.execute("SELECT set_config('lock_timeout', %s, true)", (f"{patience.lock_timeout}s",))
                cursor.execute(ONE_AT_A_TIME)
                change(cursor, relation)
            return
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", None) != LOCK_NOT_AVAILABLE:
                raise
            if attempt == patience.attempts:
                raise TableBusy(_busy(connection, relation, patience)) from error
        time.sleep(pause)
        pause = min(2 * pause, PAUSE_MOST)


def _busy(connection: Connection, relation: str, patience: Patience) -> str:
    with connection.cursor() as cursor:
        cursor.execute(HOLDERS, (relation,))
        holders = [
            f"session {pid} ({name or 'no application name'}, {state}, in a transaction for {seconds} s)"
            for pid, name, state, seconds in cursor.fetchall()
        ]
    return (
        f"{relation} stayed locked through {patience.attempts} attempts of {patience.lock_timeout} s"
        f"{' by ' + ', '.join(holders) if holders else ''}. Tables before it are done; end what holds the lock, "
        "then run: manage.py ddp_triggers install"
    )
