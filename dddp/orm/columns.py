"""How the values of a column compare: in PostgreSQL, by the type that the column has there, and so in Python.

A model may stand on a table that something else made, and a migration may have changed a column by hand; so types and
collations are looked up, once per table and process, as the decoding of its rows is.

=======================  =============================================================================================
type                     compared by
=======================  =============================================================================================
integers                 value; also with numeric columns, and their digits as text
numeric, double          value; NaN equals itself and is greater than all; a double with doubles only
boolean, uuid, bytea     value
text, varchar            equality, LIKE without case folding; where the collation is deterministic; never order
date, timestamptz        value; parts of a date, of a time stamp those in UTC
time, interval           value; hour and minute of a time
inet                     equality
arrays                   value; length; elements that are had or shared; of integers, booleans, uuids, texts and dates
JSON                     keys that have a text or a boolean, or are not there; not numbers, whose digits Python cuts
=======================  =============================================================================================

``char(n)`` has no place here, whose spaces count or not, nor has ``real``, which Python has not.

Some values of dates, times, intervals and arrays are loaded as another value is (``orm.rows``, LOOKALIKES). Rows of the
feed that have one are read again, not compared. Rows that a read has loaded are compared too where a query uses live
sets; there these types compare by less (``AS_READ``).
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from ipaddress import ip_interface
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connections, models
from psycopg2.extensions import Binary
from psycopg2.extras import Inet

from dddp.livequery.predicate import Column, nan_last

__all__ = [
    "ARRAYS",
    "AS_READ",
    "DATE",
    "FAMILIES",
    "INTEGER",
    "MOMENT",
    "NUMBERS",
    "STRANGE",
    "TEXT",
    "ColumnType",
    "DocumentKey",
    "Family",
    "Operand",
    "Refused",
    "column_types",
    "retyped",
]


class Refused(Exception):
    """Python's answer may not be PostgreSQL's; the reason completes "re-run, because ..."."""


#: The type's name is for people. A type without collations counts as deterministic.
LOOK_UP = """
SELECT a.attname, a.atttypid::bigint, format_type(a.atttypid, a.atttypmod), a.attcollation::bigint,
       COALESCE(c.collisdeterministic, true), a.attnotnull
  FROM pg_catalog.pg_attribute a
  LEFT JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation
 WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped
"""


@dataclass(frozen=True, slots=True)
class ColumnType:
    """The type of one column."""

    oid: int
    name: str  #: as SQL writes it
    collation: int  #: 0 for types that have none
    deterministic: bool  #: texts are equal when their bytes are
    not_null: bool  #: no row has NULL there

    def stands_for(self, other: ColumnType) -> bool:
        """Whether what was concluded from another type of the column holds for this one."""
        if (self.collation, self.deterministic) != (other.collation, other.deterministic):
            return False
        alike = self.oid == other.oid or any({self.oid, other.oid} <= each for each in ALIKE)
        return alike and self.not_null >= other.not_null


#: Types of which one may take the other's place: smallint, integer and bigint; text and varchar.
ALIKE = (frozenset({20, 21, 23}), frozenset({25, 1043}))

_known: dict[tuple[str, str], Mapping[str, ColumnType]] = {}


def column_types(model: type[models.Model], database: str) -> Mapping[str, ColumnType]:
    """The columns of a model's table by name; none of them when the table is not there.

    Raises:
        DatabaseError, InterfaceError: Django's. Who took that for "no columns" would conclude from an outage.
    """
    table = connections[database].ops.quote_name(model._meta.db_table)
    types = _known.get((database, table))
    if types is None:
        types = _ask(table, database)
        if types:
            _known[database, table] = types
    return types


def retyped(model: type[models.Model], database: str, names: Iterable[str]) -> list[str]:
    """The columns whose values may load or compare otherwise now than by the types that ``column_types`` gives.

    Args:
        names: columns to look at; those that are not there now are left out.

    Raises:
        DatabaseError, InterfaceError: Django's.
    """
    known = column_types(model, database)
    now = _ask(connections[database].ops.quote_name(model._meta.db_table), database)
    return [name for name in names if name in known and name in now and not now[name].stands_for(known[name])]


def _ask(table: str, database: str) -> Mapping[str, ColumnType]:
    with connections[database].cursor() as cursor:
        cursor.execute(LOOK_UP, [table])
        return {name: ColumnType(*facts) for name, *facts in cursor.fetchall()}


# -- Families


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Types whose values compare by one rule."""

    name: str
    constants: tuple[type, ...]  #: what a parameter must be, exactly
    ordered: bool = True  #: whether ``<`` is PostgreSQL's
    paired: bool = True  #: whether two columns may be compared
    comparable: Callable[[Any], Any] | None = None  #: see ``Column``
    as_text: Callable[[Any], str] | None = None  #: what ``::text`` gives
    prepared: Callable[[Any], Any] | None = None  #: from a parameter to a constant; raises Refused


def _finite(value: Any) -> Any:
    if isinstance(value, Decimal) and not value.is_finite():
        raise Refused(f"{value} is no number of a decimal column")
    return value


def _text(value: str) -> str:
    if "\0" in value:
        raise Refused("PostgreSQL has no text with a NUL character")
    return value


STRANGE = frozenset(
    [
        datetime.time.min,
        datetime.date.min,
        datetime.date.max,
        *(
            end.replace(tzinfo=zone)
            for end in (datetime.datetime.min, datetime.datetime.max)
            for zone in (None, datetime.UTC)
        ),
    ]
)
"""What PostgreSQL's infinite dates and its 24:00 are loaded as; so are the true first and last dates, and midnight."""


def _date(value: datetime.date) -> datetime.date:
    if value in STRANGE:
        raise Refused(f"PostgreSQL's infinite dates are loaded as {value} too")
    return value


def _moment(value: datetime.datetime) -> datetime.datetime:
    if (value.tzinfo is not None) != settings.USE_TZ:
        raise Refused("the time's zone does not fit USE_TZ")
    return value.astimezone(datetime.UTC) if settings.USE_TZ else value


def _finite_moment(value: datetime.datetime) -> datetime.datetime:
    moment = _moment(value)
    if moment in STRANGE:
        raise Refused(f"PostgreSQL's infinite times are loaded as {moment} too")
    return moment


def _time(value: datetime.time) -> datetime.time:
    if value in STRANGE:
        raise Refused("PostgreSQL's 24:00 is loaded as midnight too")
    return value


def _address(value: Any) -> Any:
    return ip_interface(value.addr)


INTEGER = Family("an integer", (int,), as_text=str)
NUMERIC = Family("a decimal", (Decimal, int), comparable=nan_last, prepared=_finite)
DOUBLE = Family("a float", (float,), comparable=nan_last, prepared=nan_last)
BOOLEAN = Family("a boolean", (bool,))
TEXT = Family("a text", (str,), ordered=False, as_text=str, prepared=_text)
IDENTIFIER = Family("a UUID", (UUID,), as_text=str)
BYTES = Family("bytes", (Binary,), comparable=bytes, prepared=lambda parameter: bytes(parameter.adapted))
DATE = Family("a date", (datetime.date,))
MOMENT = Family("a time stamp", (datetime.datetime,), prepared=_moment)
TIME = Family("a time", (datetime.time,))
DURATION = Family("a duration", (datetime.timedelta,))
ADDRESS = Family("an address", (Inet,), ordered=False, comparable=ip_interface, prepared=_address)

#: Families of which a read may have loaded a value that looks like another -> as what they compare then, if at all.
AS_READ: dict[Family, Family | None] = {
    DATE: Family("a date", (datetime.date,), paired=False, prepared=_date),
    MOMENT: Family("a time stamp", (datetime.datetime,), paired=False, prepared=_finite_moment),
    TIME: Family("a time", (datetime.time,), ordered=False, paired=False, prepared=_time),
    DURATION: None,
}

#: By PostgreSQL's type OIDs, which are fixed.
FAMILIES = {
    16: BOOLEAN,
    17: BYTES,
    20: INTEGER,
    21: INTEGER,
    23: INTEGER,
    25: TEXT,
    701: DOUBLE,
    869: ADDRESS,
    1043: TEXT,
    1082: DATE,
    1083: TIME,
    1184: MOMENT,
    1186: DURATION,
    1700: NUMERIC,
    2950: IDENTIFIER,
}

#: Arrays by the family of their elements. Django casts constants to decimals of the column's scale, which rounds them.
ARRAYS: dict[int, Family | None] = {
    1000: BOOLEAN,
    1005: INTEGER,
    1007: INTEGER,
    1009: TEXT,
    1015: TEXT,
    1016: INTEGER,
    1022: None,  # double
    1182: DATE,
    1185: MOMENT,
    1231: None,  # numeric
    2951: IDENTIFIER,
}

PARTS_OF_DATES: dict[str, Callable[[Any], Any]] = {
    "MONTH": attrgetter("month"),
    "DAY": attrgetter("day"),
    "QUARTER": lambda date: (date.month + 2) // 3,
    "WEEK": lambda date: date.isocalendar().week,
    "DOW": lambda date: date.isoweekday() % 7,
    "ISODOW": lambda date: date.isoweekday(),
}

PARTS_OF_TIMES: dict[str, Callable[[Any], Any]] = {"HOUR": attrgetter("hour"), "MINUTE": attrgetter("minute")}

#: What ``EXTRACT`` takes from a value; of a time stamp in UTC.
PARTS = {
    DATE: PARTS_OF_DATES,
    TIME: PARTS_OF_TIMES,
    MOMENT: PARTS_OF_DATES | PARTS_OF_TIMES | {"DATE": datetime.datetime.date},
}

JSONB = 3802

NUMBERS = {INTEGER, NUMERIC}
"""Families whose columns may be compared with each other's."""


@dataclass(frozen=True, slots=True)
class Operand:
    """A column of the row as a lookup names it."""

    field: Any
    type: ColumnType
    converters: tuple[Any, ...]  #: what the field makes of a value when it is loaded
    zone: str  #: in which times are loaded
    read: bool  #: rows that a read has loaded are compared, not only those of the feed

    @property
    def name(self) -> str:
        """For people."""
        return str(self.field.name)

    @property
    def family(self) -> Family:
        return self._family(FAMILIES)

    @property
    def elements(self) -> Family:
        """The family of an array's elements."""
        return self._family(ARRAYS)

    def _family(self, families: Mapping[int, Family | None]) -> Family:
        family = families.get(self.type.oid)
        if family is MOMENT and self.zone != "UTC":
            raise Refused(f"{self.name} is loaded in {self.zone}, where an hour may come twice in autumn")
        if family is not None and self.read:
            family = AS_READ.get(family, family)
        if family is None:
            raise Refused(f"Python does not compare {self.type.name} ({self.name}) as PostgreSQL does")
        if family is TEXT and not self.type.deterministic:
            raise Refused(f"the collation of {self.name} is not deterministic: different texts may be equal")
        return family

    def column(self, comparable: Callable[[Any], Any] | None = None) -> Column:
        if self.converters:
            raise Refused(f"{self.name} is loaded as something else than what the column holds")
        return _column(self.field.attname, comparable)

    def part(self, name: str) -> Column:
        """The column, for a part of its dates or times, as ``EXTRACT`` names it."""
        part = PARTS.get(self.family, {}).get(name)
        if part is None:
            raise Refused(
                f"Python does not take {name} from {self.type.name} ({self.name}) as PostgreSQL does"
            )
        return self.column(part)

    def array(self) -> Column:
        """The column of arrays that are compared as a whole."""
        if self.read:
            raise Refused(f"arrays that do not count from 1 are loaded as others of {self.name} are")
        return self.column(as_tuple)

    def document_key(self, path: Any) -> Column:
        """The column of a JSON field, for what its documents have at a path of keys."""
        keys = tuple(path) if isinstance(path, list) else (path,)
        loads = getattr(type(self.field), "from_db_value", None)
        plain = loads is models.JSONField.from_db_value and self.field.decoder is None
        if self.type.oid != JSONB or not plain or len(self.converters) != 1:
            raise Refused(f"{self.name} is loaded as something else than plain JSON")
        if not all(isinstance(key, str) and not _is_number(key) for key in keys):
            raise Refused(f"a number as a key of {self.name} means an array's element or an object's key")
        return _column(self.field.attname, DocumentKey(keys))

    def constant(self, family: Family, parameter: Any) -> Any:
        """A parameter as what the column's values are compared with."""
        if isinstance(parameter, str):
            parameter = str.__str__(parameter)  # choices and safe strings are sent as the text they are
        if type(parameter) not in family.constants:
            raise Refused(
                f"{self.name}, {family.name}, is compared with something else: {type(parameter).__name__}"
            )
        try:
            return family.prepared(parameter) if family.prepared else parameter
        except (OverflowError, ValueError) as error:
            raise Refused(f"{self.name} is compared with an odd value: {error}") from error


@lru_cache(maxsize=4096)  # the keys of JSON documents may come from clients
def _column(name: str, comparable: Callable[[Any], Any] | None) -> Column:
    """One object for all the queries that name the column."""
    return Column(name, comparable)


def as_tuple(elements: Iterable[Any]) -> tuple[Any, ...]:
    """An array, of any dimensions, as something hashable."""
    return tuple(as_tuple(each) if isinstance(each, list) else each for each in elements)


class Unequal(enum.Enum):
    """What a JSON document may have at a key that equals neither a text nor a boolean."""

    NULL = "null"
    OTHER = "other"  #: a number, an array, an object


@dataclass(frozen=True, slots=True)
class DocumentKey:
    """What a JSON document has at a path of keys; None, which is NULL, where it is not so deep."""

    path: tuple[str, ...]

    def __call__(self, document: Any) -> Any:
        for key in self.path:
            if type(document) is not dict or key not in document:
                return None
            document = document[key]
        if document is None:
            return Unequal.NULL
        return document if type(document) in (str, bool) else Unequal.OTHER


def _is_number(key: str) -> bool:
    try:
        int(key)
    except ValueError:
        return False
    return True
