"""Every way of writing, under capture by triggers: one property over one table of ways.

The property: who knew the tables before and applies what the feed reports knows them afterwards. ``Mirror`` does so,
and keeps account of what it had to read again, which is the outcome that docs/explanation/capture.rst states.
"""

from __future__ import annotations

import io
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import psycopg2
import pytest
from django.db import connections, transaction
from django.db.models import F
from psycopg2 import extras, sql
from psycopg2.extensions import ISOLATION_LEVEL_SERIALIZABLE

from dddp.changes import Kind, Table, Transaction
from dddp.feed import capture
from dddp.feed.capture import CapturedTable
from tests.app.models import ShopAuthor, ShopBook
from tests.feed.conftest import ALIAS
from tests.feed.recording import RecordingFeed, captured, run

AUTHOR = captured("bookstore.author", "shop.author", "name")
BOOK = captured("bookstore.book", "shop.book", "title", "author_id", "editor_id")
TABLES = [AUTHOR, BOOK]

SEED = """
INSERT INTO shop.author SELECT n, 'author ' || n, 'sesame' FROM generate_series(1, 3) n;
INSERT INTO shop.book SELECT n, 'book ' || n, 1 + n % 3, 'sesame', 1 + n % 2 FROM generate_series(1, 6) n;
"""

ROWS, KEYS, WHOLE = (
    "rows",
    "keys",
    "whole",
)  # what comes; of keys the row is read again, of whole all of the table


class Mirror:
    """What a process knows of some tables."""

    def __init__(self, pgconn: Any, tables: Sequence[CapturedTable]) -> None:
        self._pgconn = pgconn
        self._tables = {each.table: each for each in tables}
        self.known = self.truth()
        self.outcomes: set[str] = set()

    def truth(self) -> dict[Table, dict[str, dict[str, str | None]]]:
        return {table: self._read(table) for table in self._tables}

    def apply(self, transactions: list[Transaction]) -> None:
        for each in transactions:
            for table in each.tables:
                self.outcomes.add(WHOLE)
                self.known[table] = self._read(table)
            for change in each.changes:
                rows = self.known[change.table]
                if change.kind is Kind.ROW:
                    assert change.row is not None
                    self.outcomes.add(ROWS)
                    rows[change.key] = dict(change.row)
                elif change.kind is Kind.GONE:
                    self.outcomes.add(ROWS)
                    rows.pop(change.key, None)
                else:
                    self.outcomes.add(KEYS)
                    rows.pop(change.key, None)
                    rows |= self._read(change.table, change.key)

    def _read(self, table: Table, key: str | None = None) -> dict[str, dict[str, str | None]]:
        names = self._tables[table].carried()
        columns = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in names)
        query = sql.SQL("SELECT {} FROM {} WHERE %s IS NULL OR {}::text = %s").format(
            columns, sql.SQL(self._tables[table].relation), sql.Identifier(names[0])
        )
        with self._pgconn.cursor() as cursor:
            cursor.execute(query, (key, key))
            return {row[0]: dict(zip(names, row, strict=True)) for row in cursor.fetchall()}


class Shop:
    """Tables with rows, a program that writes to them, and one that follows.

    Args:
        django: Django's connection to the database.
    """

    def __init__(self, dsn: str, writer: Any, connect: Callable[..., Any], django: Any) -> None:
        self.dsn = dsn
        self.writer = writer
        self.connect = connect
        self.django = django

    def capture(self, *tables: CapturedTable) -> None:
        """Capture and follow these tables, from now on."""
        self.tables = tables
        self.install()
        self.feed = RecordingFeed(self.connect(autocommit=True), [each.table for each in tables])
        self.mirror = Mirror(self.connect(autocommit=True), tables)

    def install(self) -> None:
        capture.install(self.django, self.tables, triggers=True)

    def status(self) -> capture.Status:
        return capture.status(self.django, self.tables, triggers=True)

    def run(self, *statements: str) -> None:
        """Execute in one transaction."""
        run(self.writer, *statements)

    def told(self) -> set[str]:
        """Have the follower apply what was committed; returns the outcomes."""
        self.mirror.apply(self.feed.transactions())
        assert self.mirror.known == self.mirror.truth()
        return self.mirror.outcomes


@pytest.fixture
def follower(tables: Any, dsn: str, connect: Callable[..., Any]) -> Shop:
    writer = connect()
    run(writer, SEED)
    shop = Shop(dsn, writer, connect, tables)
    shop.capture(*TABLES)
    return shop


books = ShopBook._base_manager.using(ALIAS)
authors = ShopAuthor._base_manager.using(ALIAS)

Way = Callable[[Shop], object]


def says(*statements: str) -> Way:
    """The statements as one transaction."""
    return lambda shop: shop.run(*statements)


# ---------------------------------------------------------------------------------------------------- Django's ORM


def create(shop: Shop) -> None:
    books.create(id=7, title="new", author_id=1)


def save_again(shop: Shop) -> None:
    book = books.get(id=1)
    book.title = "saved"
    book.save(using=ALIAS, update_fields=["title"])


def bulk_create(shop: Shop) -> None:
    books.bulk_create([ShopBook(id=number, title="bulk", author_id=1) for number in range(10, 60)])


def bulk_create_with_conflicts(shop: Shop) -> None:
    books.bulk_create(
        [ShopBook(id=number, title="bulk") for number in range(4, 9)],
        update_conflicts=True,
        unique_fields=["id"],
        update_fields=["title"],
    )


def bulk_update(shop: Shop) -> None:
    found = list(books.all())
    for book in found:
        book.title = f"{book.title}!"
    books.bulk_update(found, ["title"], batch_size=2)


def update_expression(shop: Shop) -> None:
    books.filter(id__gt=3).update(author_id=F("editor_id"), title="updated")


def queryset_delete(shop: Shop) -> None:
    books.filter(id__in=[1, 2]).delete()


def raw_delete(shop: Shop) -> None:
    """What Django does where no signal listens: one DELETE."""
    books.filter(id__in=[1, 2])._raw_delete(ALIAS)


def django_cascade(shop: Shop) -> None:
    """Django collects and deletes the books of the author, and takes her from those she edited."""
    authors.get(id=1).delete()


def atomic_with_savepoints(shop: Shop) -> None:
    with transaction.atomic(using=ALIAS):
        books.create(id=7, title="kept")
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=ALIAS):
            books.all().update(title="undone")
            raise ZeroDivisionError
        books.filter(id=1).update(title="kept")


def django_cursor(shop: Shop) -> None:
    with connections[ALIAS].cursor() as cursor:
        cursor.executemany("UPDATE shop.book SET title = %s WHERE id = %s", [("a", 1), ("b", 2)])


# -------------------------------------------------------------------------------------------------- other programs


def psql(shop: Shop) -> None:
    script = "UPDATE shop.book SET title = 'psql' WHERE id = 1; DELETE FROM shop.book WHERE id = 2;"
    subprocess.run(["psql", "-qX1", "-d", shop.dsn], input=script, check=True, text=True)


def psql_copy(shop: Shop) -> None:
    script = "\\copy shop.book (id, title) from stdin\n7\tseven\n8\teight\n\\.\n"
    subprocess.run(["psql", "-qX", "-d", shop.dsn], input=script, check=True, text=True)


def copy(shop: Shop) -> None:
    with shop.writer.cursor() as cursor:
        cursor.copy_expert("COPY shop.book (id, title) FROM STDIN", io.StringIO("7\tseven\n8\teight\n"))
    shop.writer.commit()


def copy_freeze(shop: Shop) -> None:
    with shop.writer.cursor() as cursor:
        cursor.execute("TRUNCATE shop.book")
        cursor.copy_expert("COPY shop.book (id, title) FROM STDIN (FREEZE)", io.StringIO("7\tseven\n"))
    shop.writer.commit()


def autocommit(shop: Shop) -> None:
    run(
        shop.connect(autocommit=True),
        "UPDATE shop.book SET title = 'a'",
        "DELETE FROM shop.book WHERE id = 1",
    )


def execute_values(shop: Shop) -> None:
    with shop.writer.cursor() as cursor:
        extras.execute_values(cursor, "INSERT INTO shop.book (id, title) VALUES %s", [(7, "a"), (8, "b")])
    shop.writer.commit()


def serializable(shop: Shop) -> None:
    shop.writer.set_session(isolation_level=ISOLATION_LEVEL_SERIALIZABLE)
    shop.run("UPDATE shop.book SET title = 'a' WHERE id < 3", "DELETE FROM shop.book WHERE id = 6")


def role_without_rights_on_dddp(shop: Shop) -> None:
    """It may write its table and nothing else; not even use the schema that our functions are in."""
    shop.run(
        "DO $$BEGIN CREATE ROLE outsider; EXCEPTION WHEN duplicate_object THEN END$$",
        "GRANT USAGE ON SCHEMA shop TO outsider",
        "GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON shop.book TO outsider",
        "REVOKE USAGE ON SCHEMA public FROM PUBLIC",
    )
    try:
        shop.run(
            "SET LOCAL ROLE outsider",
            "INSERT INTO shop.book VALUES (7, 'outside')",
            "UPDATE shop.book SET title = 'a' WHERE id = 1",
            "DELETE FROM shop.book WHERE id = 2",
        )
        shop.run("SET LOCAL ROLE outsider", "TRUNCATE shop.book")
    finally:
        shop.run("GRANT USAGE ON SCHEMA public TO PUBLIC")


# ------------------------------------------------------------------------------------------ triggers of the project


def application_trigger(body: str, after: bool = False, deferred: bool = False) -> Way:
    """Give the books a row trigger with this body, then write."""
    kind = "CONSTRAINT TRIGGER" if deferred else "TRIGGER"
    time = "AFTER" if after or deferred else "BEFORE"
    deferral = "DEFERRABLE INITIALLY DEFERRED" if deferred else ""

    def way(shop: Shop) -> None:
        shop.run(
            f"CREATE FUNCTION shop.own() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN {body} END$$",
            f"CREATE {kind} own {time} INSERT OR UPDATE ON shop.book {deferral} "
            "FOR EACH ROW EXECUTE FUNCTION shop.own()",
        )
        shop.run(
            "INSERT INTO shop.book VALUES (7, 'seven', 1)", "UPDATE shop.book SET title = 'b' WHERE id < 3"
        )

    return way


WAYS: dict[str, tuple[Way, set[str]]] = {
    "save of a new object": (create, {ROWS}),
    "save of an object that is there": (save_again, {ROWS}),
    "bulk_create": (bulk_create, {ROWS}),
    "bulk_create with update_conflicts": (bulk_create_with_conflicts, {ROWS}),
    "bulk_update": (bulk_update, {ROWS}),
    "update": (update_expression, {ROWS}),
    "delete of a queryset": (queryset_delete, {ROWS}),
    "delete of a queryset in one statement": (raw_delete, {ROWS}),
    "cascade and set null by Django": (django_cascade, {ROWS}),
    "atomic blocks with a savepoint rolled back": (atomic_with_savepoints, {ROWS}),
    "raw SQL through Django's cursor": (django_cursor, {ROWS}),
    "psql": (psql, {ROWS}),
    "psql \\copy": (psql_copy, {ROWS}),
    "COPY": (copy, {ROWS}),
    "COPY with FREEZE into a truncated table": (copy_freeze, {WHOLE}),
    "another program in autocommit": (autocommit, {ROWS}),
    "another program's many values": (execute_values, {ROWS}),
    "INSERT from SELECT": (says("INSERT INTO shop.book SELECT id + 10, title FROM shop.book"), {ROWS}),
    "UPDATE from a join": (
        says("UPDATE shop.book b SET title = a.name FROM shop.author a WHERE a.id = b.author_id"),
        {ROWS},
    ),
    "DELETE by a join": (
        says("DELETE FROM shop.book b USING shop.author a WHERE a.id = b.author_id AND a.id = 2"),
        {ROWS},
    ),
    "ON CONFLICT DO NOTHING": (
        says("INSERT INTO shop.book VALUES (1, 'x'), (7, 'y') ON CONFLICT DO NOTHING"),
        {ROWS},
    ),
    "ON CONFLICT DO UPDATE": (
        says(
            "INSERT INTO shop.book VALUES (1, 'x'), (7, 'y') ON CONFLICT (id) DO UPDATE SET title = excluded.title"
        ),
        {ROWS},
    ),
    "MERGE": (
        says(
            "MERGE INTO shop.book b USING (VALUES (1, 'x'), (2, NULL), (7, 'y')) v(id, title) ON b.id = v.id "
            "WHEN MATCHED AND v.title IS NULL THEN DELETE WHEN MATCHED THEN UPDATE SET title = v.title "
            "WHEN NOT MATCHED THEN INSERT (id, title) VALUES (v.id, v.title)"
        ),
        {ROWS},
    ),
    "WITH that writes two tables": (
        says(
            "WITH gone AS (DELETE FROM shop.book WHERE author_id = 1 RETURNING id), "
            "new AS (INSERT INTO shop.author VALUES (4, 'four') RETURNING id) "
            "UPDATE shop.book SET editor_id = NULL, title = 'left' WHERE author_id = 2"
        ),
        {ROWS},
    ),
    "a block of PL/pgSQL": (
        says(
            "DO $$BEGIN FOR n IN 1 .. 6 LOOP UPDATE shop.book SET title = n::text WHERE id = n; "
            "BEGIN DELETE FROM shop.book WHERE id = n; RAISE division_by_zero; "
            "EXCEPTION WHEN division_by_zero THEN END; END LOOP; END$$"
        ),
        {ROWS},
    ),
    "through a view": (
        says(
            "CREATE VIEW shop.titles AS SELECT id, title FROM shop.book",
            "UPDATE shop.titles SET title = 'seen'",
            "INSERT INTO shop.titles VALUES (7, 'seven')",
        ),
        {ROWS},
    ),
    "through a rule": (
        says(
            "CREATE RULE also AS ON UPDATE TO shop.author DO ALSO "
            "UPDATE shop.book SET title = 'ruled' WHERE author_id = new.id",
            "UPDATE shop.author SET name = 'ruler' WHERE id = 1",
            "DROP RULE also ON shop.author",
        ),
        {ROWS},
    ),
    "TRUNCATE": (says("TRUNCATE shop.book"), {WHOLE}),
    "TRUNCATE CASCADE": (says("TRUNCATE shop.author CASCADE"), {WHOLE}),
    "TRUNCATE and rows after it": (
        says("TRUNCATE shop.book", "INSERT INTO shop.book VALUES (9, 'x')"),
        {WHOLE},
    ),
    "cascade by the database": (says("DELETE FROM shop.author WHERE id = 3"), {ROWS}),
    "set null by the database": (
        says("UPDATE shop.book SET author_id = 3", "DELETE FROM shop.author WHERE id = 1"),
        {ROWS},
    ),
    "a key that changes": (says("UPDATE shop.book SET id = 100 WHERE id = 1"), {ROWS}),
    "keys that change places": (
        says(
            "UPDATE shop.book SET id = -id WHERE id < 3",
            "UPDATE shop.book SET id = 3 + id WHERE id < 0",
        ),
        {ROWS},
    ),
    "a key that changes with its references": (says("UPDATE shop.author SET id = 10 WHERE id = 1"), {ROWS}),
    "a trigger that changes the row": (
        application_trigger("NEW.title := upper(NEW.title); RETURN NEW;"),
        {ROWS},
    ),
    "a trigger that turns a write into nothing": (application_trigger("RETURN NULL;"), set()),
    "a trigger that updates the same table": (
        application_trigger(
            "IF pg_trigger_depth() = 1 THEN UPDATE shop.book SET title = title || '*'; END IF; RETURN NULL;",
            after=True,
        ),
        {ROWS},
    ),
    "a trigger that writes another table": (
        application_trigger(
            "UPDATE shop.author SET name = NEW.title WHERE id = NEW.author_id; RETURN NULL;", after=True
        ),
        {ROWS},
    ),
    "a deferred trigger that updates the same table": (
        application_trigger(
            "UPDATE shop.book SET title = 'late' WHERE id = NEW.id AND title <> 'late'; RETURN NULL;",
            deferred=True,
        ),
        {ROWS},
    ),
    "session_replication_role": (
        says("SET LOCAL session_replication_role = replica", "UPDATE shop.book SET title = 'replicated'"),
        {ROWS},
    ),
    "SERIALIZABLE": (serializable, {KEYS}),
    "SET CONSTRAINTS ALL IMMEDIATE in the middle": (
        says(
            "UPDATE shop.book SET title = 'a'",
            "SET CONSTRAINTS ALL IMMEDIATE",
            "UPDATE shop.book SET title = 'b'",
        ),
        {ROWS},
    ),
    "RESET ALL in the middle": (
        says(
            "UPDATE shop.book SET title = 'a'", "RESET ALL", "UPDATE shop.book SET title = 'b' WHERE id = 1"
        ),
        {WHOLE, ROWS},
    ),
    "DISCARD ALL between transactions": (
        lambda shop: run(
            shop.connect(autocommit=True),
            "UPDATE shop.book SET title = 'a'",
            "DISCARD ALL",
            "UPDATE shop.book SET title = 'b'",
        ),
        {ROWS},
    ),
    "a column renamed in the transaction": (
        says(
            "UPDATE shop.book SET title = 'a'",
            "ALTER TABLE shop.book RENAME secret TO hidden",
            "ALTER TABLE shop.book RENAME hidden TO secret",
        ),
        {ROWS},
    ),
    "a role without rights on dddp": (role_without_rights_on_dddp, {ROWS, WHOLE}),
    "more than 10,000 keys": (
        says("INSERT INTO shop.book (id) SELECT n FROM generate_series(100, 10100) n"),
        {WHOLE},
    ),
    "a row larger than an envelope": (
        says("UPDATE shop.book SET title = repeat('x', 9000) WHERE id = 1"),
        {KEYS},
    ),
}


@pytest.mark.parametrize("name", WAYS)
def test_who_follows_the_feed_knows_the_tables(follower, name):
    way, outcomes = WAYS[name]

    way(follower)

    assert follower.told() == outcomes


# ------------------------------------------------------------------------------------------- tables of other shapes

SALE = captured("bookstore.sale", "shop.sale", "day", "title")
PARTITIONS = """
CREATE TABLE shop.sale (id bigint, day date, title text, PRIMARY KEY (id, day)) PARTITION BY RANGE (day);
CREATE TABLE shop.sale_2026 PARTITION OF shop.sale FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE TABLE shop.sale_2027 PARTITION OF shop.sale FOR VALUES FROM ('2027-01-01') TO ('2028-01-01')
    PARTITION BY HASH (id);
CREATE TABLE shop.sale_2027_0 PARTITION OF shop.sale_2027 FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE shop.sale_2027_1 PARTITION OF shop.sale_2027 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO shop.sale SELECT n, '2026-07-01'::date + n * 30, 'sale' FROM generate_series(1, 10) n;
"""
NEW_LEAF = (
    "CREATE TABLE shop.sale_2028 PARTITION OF shop.sale FOR VALUES FROM ('2028-01-01') TO ('2029-01-01')"
)


@pytest.fixture
def sales(follower: Shop) -> Shop:
    """A partitioned table; one of its partitions is partitioned again."""
    follower.run(PARTITIONS)
    follower.capture(SALE)
    return follower


PARTITION_WAYS = {
    "an INSERT into the parent": (
        "INSERT INTO shop.sale VALUES (20, '2026-03-03'), (21, '2027-03-03')",
        {ROWS},
    ),
    "an INSERT into a leaf": ("INSERT INTO shop.sale_2026 VALUES (20, '2026-03-03')", {ROWS}),
    "an INSERT into a branch": ("INSERT INTO shop.sale_2027 VALUES (20, '2027-03-03')", {ROWS}),
    "an UPDATE of the parent": ("UPDATE shop.sale SET title = 'x'", {ROWS}),
    "an UPDATE of a leaf": ("UPDATE shop.sale_2026 SET title = 'x'", {ROWS}),
    "an UPDATE that moves rows to another partition": ("UPDATE shop.sale SET day = day + 150", {ROWS}),
    "an UPDATE of the key that moves rows": ("UPDATE shop.sale SET id = id + 101, day = day + 150", {ROWS}),
    "a DELETE from the parent": ("DELETE FROM shop.sale WHERE id < 9", {ROWS}),
    "a DELETE from a leaf": ("DELETE FROM shop.sale_2026", {ROWS}),
    "a MERGE into the parent": (
        "MERGE INTO shop.sale s USING (VALUES (1), (30)) v(id) ON s.id = v.id WHEN MATCHED THEN DELETE "
        "WHEN NOT MATCHED THEN INSERT VALUES (v.id, '2027-01-01')",
        {ROWS},
    ),
    "a TRUNCATE of the parent": ("TRUNCATE shop.sale", {WHOLE}),
    "a TRUNCATE of a leaf": ("TRUNCATE shop.sale_2026", {WHOLE}),
    "a partition attached": (
        "CREATE TABLE shop.more (LIKE shop.sale INCLUDING ALL); INSERT INTO shop.more VALUES (50, '2028-02-02');"
        "ALTER TABLE shop.sale ATTACH PARTITION shop.more FOR VALUES FROM ('2028-01-01') TO ('2029-01-01');"
        "SELECT dddp_note_table('bookstore.sale')",
        {WHOLE},
    ),
    "a partition detached": (
        "ALTER TABLE shop.sale DETACH PARTITION shop.sale_2026; SELECT dddp_note_table('bookstore.sale')",
        {WHOLE},
    ),
    "a partition dropped": ("DROP TABLE shop.sale_2026; SELECT dddp_note_table('bookstore.sale')", {WHOLE}),
    "a new partition, through the parent": (
        f"{NEW_LEAF}; INSERT INTO shop.sale VALUES (60, '2028-02-02')",
        {ROWS},
    ),
}


@pytest.mark.parametrize("name", PARTITION_WAYS)
def test_who_follows_a_partitioned_table_knows_it(sales, name):
    statement, outcomes = PARTITION_WAYS[name]

    sales.run(statement)

    assert sales.told() == outcomes


def test_new_partition_is_found_and_then_captured_by_its_own_name(sales):
    sales.run(NEW_LEAF)

    assert sales.status().tables == (SALE.table,)
    assert sales.status().uncaptured == ()
    assert "bookstore.sale: insert trigger on shop.sale_2028 is missing" in sales.status().details
    sales.run("INSERT INTO shop.sale_2028 VALUES (59, '2028-02-01')")  # seen by nobody
    assert sales.feed.events() == []
    sales.install()
    assert sales.told() == {WHOLE}

    sales.run("INSERT INTO shop.sale_2028 VALUES (60, '2028-02-02')")
    assert sales.told() == {WHOLE, ROWS}


def test_detached_partition_keeps_no_trigger_of_its_old_parent(sales):
    sales.run(
        "ALTER TABLE shop.sale DETACH PARTITION shop.sale_2026", "SELECT dddp_note_table('bookstore.sale')"
    )
    sales.told()
    sales.install()

    sales.run("INSERT INTO shop.sale_2026 VALUES (60, '2026-02-02')")

    assert sales.feed.events() == []


def test_partition_that_is_a_table_of_its_own_too_reports_as_both(sales):
    part = captured("bookstore.sale2026", "shop.sale_2026", "title")
    sales.capture(SALE, part)

    sales.run("INSERT INTO shop.sale_2026 VALUES (60, '2026-02-02', 'x')")

    (reported,) = sales.feed.transactions()
    assert {change.table for change in reported.changes} == {SALE.table, part.table}
    assert sales.status().ready


MAGAZINES = """
CREATE TABLE shop.magazine (number integer, PRIMARY KEY (id)) INHERITS (shop.book);
INSERT INTO shop.magazine (id, title, number) VALUES (70, 'seventy', 1), (71, 'seventy-one', 2);
"""

INHERITANCE_WAYS = {
    "an INSERT into the child": "INSERT INTO shop.magazine (id, title) VALUES (72, 'x')",
    "an UPDATE of the parent": "UPDATE shop.book SET title = 'x' WHERE id > 5",
    "an UPDATE of the child": "UPDATE shop.magazine SET title = 'x'",
    "an UPDATE of the parent only": "UPDATE ONLY shop.book SET title = 'x'",
    "a DELETE from the parent": "DELETE FROM shop.book WHERE id > 5",
    "a DELETE from the child": "DELETE FROM shop.magazine",
}


@pytest.mark.parametrize("name", INHERITANCE_WAYS)
def test_who_follows_a_table_that_others_inherit_from_knows_it(follower, name):
    follower.run(MAGAZINES)
    follower.capture(*TABLES)

    follower.run(INHERITANCE_WAYS[name])

    assert follower.told() == {ROWS}


def test_table_that_lacks_a_trigger_itself_is_told_from_one_whose_partition_does(sales):
    sales.run("DROP TRIGGER dddp_capture_insert_v1 ON shop.sale")

    assert sales.status().uncaptured == (SALE.table,)


def test_partition_without_triggers_that_is_a_table_of_its_own_too_is_uncaptured(sales):
    part = captured("bookstore.sale2026", "shop.sale_2026", "title")
    sales.capture(SALE, part)

    sales.run("ALTER TABLE shop.sale_2026 DISABLE TRIGGER USER")

    assert sales.status().tables == (SALE.table, part.table)
    assert sales.status().uncaptured == (part.table,)


def test_table_that_inherits_without_triggers_leaves_its_parent_captured(follower):
    follower.run(MAGAZINES)

    assert follower.status().tables == (BOOK.table,)
    assert follower.status().uncaptured == ()


# ------------------------------------------------------------------------------------------------ what is refused


def test_prepare_transaction_is_refused_with_the_reason(follower):
    with pytest.raises(psycopg2.errors.FeatureNotSupported) as refused, follower.writer.cursor() as cursor:
        cursor.execute("UPDATE shop.book SET title = 'x'")
        cursor.execute("PREPARE TRANSACTION 'two phases'")

    assert "captured by dddp cannot be prepared" in refused.value.diag.message_primary
    assert "ddp_triggers remove" in refused.value.diag.message_hint


def test_prepare_transaction_without_captured_tables_is_no_affair_of_ours(follower):
    with pytest.raises(psycopg2.Error) as refused, follower.writer.cursor() as cursor:
        cursor.execute("CREATE TABLE shop.other (id int)")
        cursor.execute("PREPARE TRANSACTION 'two phases'")

    assert "max_prepared_transactions" in f"{refused.value.diag.message_hint}"


def test_table_with_a_foreign_partition_is_left_alone_and_named(sales):
    """Transition tables do not go with foreign partitions: with our triggers such a write would fail."""
    sales.run(
        "ALTER TABLE shop.sale DROP CONSTRAINT sale_pkey",  # no foreign partition goes with it
        "DROP FOREIGN DATA WRAPPER IF EXISTS elsewhere CASCADE",
        "CREATE FOREIGN DATA WRAPPER elsewhere",
        "CREATE SERVER elsewhere FOREIGN DATA WRAPPER elsewhere",
        "CREATE FOREIGN TABLE shop.sale_far PARTITION OF shop.sale FOR VALUES FROM ('2030-01-01') "
        "TO ('2031-01-01') SERVER elsewhere",
    )
    sales.install()

    status = sales.status()

    assert status.ready
    assert status.unseen == (
        "bookstore.sale: shop.sale_far is a foreign table, whose changes triggers do not see",
    )
    sales.run("INSERT INTO shop.sale VALUES (60, '2026-02-02')")
    assert sales.feed.events() == []


def test_triggers_disabled_for_a_restore_are_found(follower):
    """``pg_restore --disable-triggers``: what it writes is not seen, and afterwards ours are ordinary triggers."""
    follower.run(
        "ALTER TABLE shop.book DISABLE TRIGGER ALL",
        "INSERT INTO shop.book VALUES (7, 'restored')",
        "ALTER TABLE shop.book ENABLE TRIGGER ALL",
    )
    assert follower.feed.events() == []

    assert follower.status().tables == (BOOK.table,)
    follower.install()
    assert follower.told() == {WHOLE}


def test_rewrite_of_a_column_is_told_by_hand(follower):
    """ALTER TABLE changes values without a statement that a trigger could see."""
    follower.run("ALTER TABLE shop.book ALTER title TYPE text USING upper(title)")
    assert follower.feed.events() == []

    follower.run("SELECT dddp_note_table('bookstore.book')")
    assert follower.told() == {WHOLE}
