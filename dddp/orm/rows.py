"""From the feed's text to what the ORM would have loaded: the same typecasters, the same field converters.

A row from the feed is PostgreSQL's text, made with ``TimeZone`` UTC, ``DateStyle`` ISO, ``IntervalStyle``
postgres, ``bytea_output`` hex and ``extra_float_digits`` 1. A cursor of the ORM gets text too, and so both take
one path: psycopg2's typecaster for the column's type, then the converters that Django's compiler applies.

The types of a model's columns are looked up once, when its RowType is made; decoding does no I/O. Of columns whose
values are the same at each decoding (``is_pure``), texts that came before are not decoded again. While the database
has not all of the columns, or denies one, every row is key only: so queries that do without them go on.

``column::text`` differs from what a cursor receives for three types: booleans (``true``, which the typecaster
reads as well), ``inet``, which gets a netmask, and ``char(n)``, which loses its padding; no field of Django makes
the last. Dates that Python has not (before Christ, after 9999) are undecodable here as they are for the ORM.

A few values are loaded as another value is (``LOOKALIKES``), so that nobody can tell how PostgreSQL compares them. A
row with one of them is key only: what it belongs to is for PostgreSQL to say.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import psycopg2.extensions
from django.conf import settings
from django.db import connections, models
from psycopg2.extras import DateTimeTZRange

from dddp.changes import Change, Key, Kind, Row, Table
from dddp.errors import DDDPError, QueryFailed
from dddp.orm.documents import FeedRow, document_id, is_pure
from dddp.orm.memo import Memo
from dddp.orm.readable import readable
from dddp.orm.tables import concrete, table_of

__all__ = ["RowType", "ValueUndecodable"]

Typecaster: TypeAlias = Callable[[str, Any], Any]
"""psycopg2's: from a value's text, and a cursor for the settings it is read with, to the value."""

INET = 869
#: timestamptz, its array, its range and the array of that.
ZONED = frozenset({1184, 1185, 3910, 3911})

INFINITE = re.compile("infinity")
SHIFTED = re.compile(r"^\[")
#: By type OID, the texts of values that psycopg2 loads as it loads others, which PostgreSQL tells apart: infinite dates
#: and times as the first and last that Python has, 24:00 as midnight, a year (in order 360 days) as 365 days, infinite
#: intervals as none, arrays that do not count from 1 as those that do. Types that Python does not compare are left out.
LOOKALIKES = {
    1082: INFINITE,
    1083: re.compile("^24:"),
    1184: INFINITE,
    1186: re.compile("year|infinity"),
    **dict.fromkeys((1000, 1005, 1007, 1009, 1015, 1016, 1182, 1185, 2951), SHIFTED),
}


class ValueUndecodable(DDDPError):
    """A value of the feed that is none of its column's type. Treat the row as key only; it is read again then.

    ``key`` is the row's document id; None when it was the key that could not be read.
    """

    def __init__(self, table: Table, column: str, key: Key | None) -> None:
        self.table = table
        self.column = column
        self.key = key
        super().__init__(table, column, key)

    def __str__(self) -> str:
        return (
            f"The feed's value of {self.table}.{self.column} (key {self.key}) cannot be decoded. If the column's type "
            "has changed, run migrate and restart."
        )


class Column(Memo[Any]):
    """The values of one column by their texts; those that are not there yet are decoded.

    Args:
        load: gives the value that the ORM would load.
        pure: whether a value may be given again.

    Raises:
        ValueUndecodable: without the row's key.
    """

    __slots__ = ("_load", "_pure", "_table", "attname", "name")

    def __init__(
        self, table: Table, name: str, attname: str, load: Callable[[str | None], Any], *, pure: bool
    ) -> None:
        self.name = name
        self.attname = attname
        self._table = table
        self._load = load
        self._pure = pure

    def __missing__(self, text: str | None) -> Any:
        try:
            value = self._load(text)
        except Exception as error:  # a field's own from_db_value() may raise anything
            raise ValueUndecodable(self._table, self.name, None) from error
        return self.remember(text, value) if self._pure else value


class RowType:
    """Decodes the rows of one table of one database.

    Args:
        columns: names of the captured columns; the key's is one of them, named or not.

    Raises:
        QueryFailed: the key cannot be read. The message names what the database has not, or denies, and the mend.
        DatabaseError, InterfaceError: Django's, as of a connection that was lost.
    """

    def __init__(
        self, model: type[models.Model], columns: Iterable[str], *, database: str = "default"
    ) -> None:
        self.table = table_of(model)
        meta: Any = concrete(model)._meta
        fields = {field.column: field for field in meta.local_concrete_fields}
        names = dict.fromkeys(name for name in (meta.pk.column, *columns) if name in fields)
        self._connection = connections[database]
        relation = self._connection.ops.quote_name(meta.db_table)
        found = readable(self._connection, self.table, relation, list(names))
        #: Why some columns cannot be read, with the mend; empty when all can be.
        self.lacks = found.lacks
        if meta.pk.column not in found.names:
            raise QueryFailed(self.lacks)
        self._cursor, types = self._look_up(relation, found.names)
        columns_by_name = {name: self._column(oid, fields[name]) for name, oid in types.items()}
        self._names = columns_by_name.keys()
        self._key_column = columns_by_name[meta.pk.column]
        self._columns = tuple((column.attname, name, column) for name, column in columns_by_name.items())
        #: Of each column with lookalikes its name, and what finds their texts.
        self._doubtful = tuple(
            (name, LOOKALIKES[oid].search) for name, oid in types.items() if oid in LOOKALIKES
        )

    def decode(self, change: Change) -> Change:
        """The same change with its key as a document id and its row as attribute name -> value.

        A row without one of the columns is key only: it was captured before the column was, or the column cannot be
        read. So is one with a value that is loaded as another is.

        Raises:
            ValueUndecodable: a value is none of its column's type.
        """
        key = self.document_id(change.key)
        row = change.row
        if change.kind is not Kind.ROW or row is None:
            return Change(change.table, key, change.kind)
        if self.lacks or not self._names <= row.keys() or self._is_doubtful(row):
            return Change(change.table, key, Kind.KEY_ONLY)
        return Change(change.table, key, Kind.ROW, self._row(row, key))

    def document_id(self, text: str) -> Key:
        """The document id of a key as the feed writes it.

        Raises:
            ValueUndecodable: the text is none of the key's type.
        """
        return document_id(self._key_column[text])

    def _is_doubtful(self, row: Row) -> bool:
        for name, looks in self._doubtful:
            text = row[name]
            if text is not None and looks(text):
                return True
        return False

    def _row(self, row: Row, key: Key) -> FeedRow:
        try:
            return FeedRow(row, {attname: column[row[name]] for attname, name, column in self._columns})
        except ValueUndecodable as error:
            error.key = key
            raise

    def _look_up(self, relation: str, names: list[str]) -> tuple[Any, dict[str, int]]:
        """A cursor to cast with, and the columns' type OIDs."""
        quote = self._connection.ops.quote_name
        cursor = self._connection.cursor()
        cursor.execute(f"SELECT {', '.join(map(quote, names))} FROM {relation} LIMIT 0")
        casting = cursor.cursor
        casting.tzinfo_factory = lambda offset: datetime.UTC
        return casting, {name: part.type_code for name, part in zip(names, cursor.description, strict=True)}

    def _column(self, oid: int, field: Any) -> Column:
        """Decoding as ``SQLCompiler.get_converters`` sets it up for the column."""
        connection, cursor, cast = self._connection, self._cursor, self._typecaster(oid)
        expression = field.get_col(field.model._meta.db_table)
        converters = [
            *connection.ops.get_db_converters(expression),
            *expression.get_db_converters(connection),
        ]

        def load(text: str | None) -> Any:
            value = None if text is None else cast(text, cursor)
            for convert in converters:
                value = convert(value, expression, connection)
            return value

        return Column(self.table, field.column, field.attname, load, pure=is_pure(field))

    def _typecaster(self, oid: int) -> Typecaster:
        known = self._cursor.connection.string_types, psycopg2.extensions.string_types
        cast = next((types[oid] for types in known if oid in types), psycopg2.extensions.UNICODE)
        if oid == INET:
            return lambda text, cursor: cast(_without_full_netmask(text), cursor)
        if oid in ZONED and self._connection.timezone is not datetime.UTC:
            zone = ZoneInfo(self._connection.timezone_name)
            return lambda text, cursor: _in_zone(cast(text, cursor), zone)
        return cast


def _without_full_netmask(text: str) -> str:
    """``inet`` as PostgreSQL outputs it: one address without the netmask that ``::text`` adds."""
    return text.removesuffix("/128" if ":" in text else "/32")


def _in_zone(value: Any, zone: ZoneInfo) -> Any:
    """UTC times as Django's connection reads them: in the database's time zone, naive without ``USE_TZ``."""
    if isinstance(value, datetime.datetime):
        # psycopg2 ignores the offset that tells the two runs of the hour that is repeated in autumn.
        local = value.astimezone(zone).replace(fold=0)
        return local if settings.USE_TZ else local.replace(tzinfo=None)
    if isinstance(value, list):
        return [_in_zone(item, zone) for item in value]
    if isinstance(value, DateTimeTZRange) and not value.isempty:
        bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
        return DateTimeTZRange(_in_zone(value.lower, zone), _in_zone(value.upper, zone), bounds)
    return value
