"""From a queryset's WHERE to a predicate over one row: the only place where a query is understood, not just run.

What is not understood is no error: the query is kept by running it again. A predicate must give PostgreSQL's answer
for every row of the table, or not exist.

The tree of ANDs, ORs and NOTs is Django's; a single lookup is understood by the SQL it makes, whatever class made it:
``year=2000`` is the BETWEEN that it writes, and a constant is the parameter that is sent. Whether Python's
comparison of the column's values is PostgreSQL's is said in ``orm.columns``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections
from django.db.models import Func
from django.db.models.expressions import Col
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode
from django.utils import timezone
from psycopg2.extras import Json

from dddp.livequery.predicate import (
    ALWAYS,
    NEVER,
    Compare,
    CompareColumns,
    Elements,
    Expression,
    In,
    IsNull,
    MatchesText,
    Predicate,
    all_of,
    any_of,
    negate,
)
from dddp.orm.columns import (
    ARRAYS,
    FAMILIES,
    INTEGER,
    MOMENT,
    NUMBERS,
    TEXT,
    Family,
    Operand,
    Refused,
    column_types,
)
from dddp.orm.documents import ModelShape
from dddp.orm.tables import concrete, nodes

__all__ = ["NotCompilable", "compile_predicate", "everything", "nothing"]

everything = Predicate(ALWAYS)
"""The predicate of an unfiltered query: each row of the table belongs to it."""

nothing = Predicate(NEVER)
"""The predicate of ``none()`` and of filters that no row can pass."""


@dataclass(frozen=True, slots=True)
class NotCompilable:
    """The query has no predicate; it is kept by running it again."""

    reason: str  #: completes "re-run, because ..."


def compile_predicate(
    query: Query, shape: ModelShape, database: str, carried: Iterable[str] = ()
) -> Predicate | NotCompilable:
    """The predicate of a query over one table, or why there is none that is certain.

    Args:
        query: as compiling it to SQL left it, so that the joins of its ordering are there too.
        carried: columns that the feed carries besides the key, the foreign keys and those of the shape.
    """
    try:
        _refuse_more_than_where(query)
        expression = _Where(query, shape, database, frozenset(carried)).expression(query.where)
    except Refused as refused:
        return NotCompilable(str(refused))
    return everything if expression == ALWAYS else nothing if expression == NEVER else Predicate(expression)


# -- The query around the WHERE


def _refuse_more_than_where(query: Query) -> None:
    """Refuse what lets another row in or out than WHERE does."""
    used = [alias for alias, count in query.alias_refcount.items() if count]
    found = {
        "it is a slice": query.is_sliced,
        "it combines queries": bool(query.combinator),
        "it is distinct": query.distinct,
        "it contains raw SQL": bool(query.extra or query.extra_tables),
        "it aggregates": query.group_by is not None,
        # An inner join drops rows even for the sake of ordering.
        "it joins tables": used not in ([], [query.base_table]),
        "an annotation may give several rows": any(map(_may_multiply, query.annotations.values())),
    }
    for reason, applies in found.items():
        if applies:
            raise Refused(reason)


def _may_multiply(annotation: Any) -> bool:
    """Whether an annotation may be a function that returns sets, which adds and drops rows."""
    return any(isinstance(node, Func) and not _is_scalar(node) for node in nodes(annotation))


def _is_scalar(function: Func) -> bool:
    own = type(function) is Func or not type(function).__module__.startswith("django.")
    renamed = {"function", "template"} & function.extra.keys()
    return not (own or renamed or getattr(function, "set_returning", False))


# -- The WHERE

OPERATOR = r"(=|<>|!=|<=|>=|<|>)"
PLACES = r"(%s(?:, %s)*)"
ITEMS = r"((?:%s|NULL)(?:, (?:%s|NULL))*)"

#: What stands for the columns of a lookup in its SQL. psycopg2's SQL has no other ``$``.
COLUMN = r"\$(\d)"

FOLDING = {"iexact", "icontains", "istartswith", "iendswith"}
PATTERNS = {"regex", "iregex"}


class _Where:
    """Translates the WHERE of one query."""

    def __init__(self, query: Query, shape: ModelShape, database: str, carried: frozenset[str]) -> None:
        self.model = concrete(shape.model)
        self.connection = connections[database]
        self.compiler: Any = query.get_compiler(using=database)
        self.base = query.base_table
        self.types = column_types(self.model, database)
        self.carried = carried | set(shape.columns)

    def expression(self, node: Any) -> Expression:
        if isinstance(node, WhereNode):
            return self._connected(node)
        if isinstance(node, NothingNode):
            return NEVER
        if isinstance(node, Lookup):
            return self._lookup(node)
        raise Refused(f"{type(node).__name__} is understood by PostgreSQL only")

    def _connected(self, node: WhereNode) -> Expression:
        if not node.children:
            return ALWAYS
        if node.connector not in (AND, OR):
            raise Refused("XOR is understood by PostgreSQL only")
        join = all_of if node.connector == AND else any_of
        joined = join([self.expression(child) for child in node.children])
        return negate(joined) if node.negated else joined

    def _lookup(self, lookup: Lookup[Any]) -> Expression:
        try:
            sql, parameters = self.compiler.compile(lookup)
        except EmptyResultSet:
            return NEVER
        except FullResultSet:
            return ALWAYS
        sql, columns = self._with_columns_marked(lookup, sql)
        for form, translate in FORMS:
            match = form.fullmatch(sql)
            if match:
                operands = [self._operand(columns[int(n)]) for n in COLUMN_NUMBER.findall(sql)]
                self._refuse_other_zone(lookup, operands[0])
                return translate(match, operands, list(parameters))
        raise Refused(_reason(lookup, sql))

    def _with_columns_marked(self, lookup: Any, sql: str) -> tuple[str, list[Any]]:
        """The SQL with ``$0``, ``$1`` for its columns, and these."""
        columns = {self.compiler.compile(node)[0]: node for node in nodes(lookup) if type(node) is Col}
        for number, column in enumerate(columns):
            sql = sql.replace(column, f"${number}")
        return sql, list(columns.values())

    def _operand(self, col: Any) -> Operand:
        field = col.target
        if col.alias != self.base or field not in self.model._meta.local_concrete_fields:
            raise Refused(f"{field.name} is a column of another table")
        if not (field.primary_key or field.is_relation or field.column in self.carried):
            raise Refused(
                f"{field.name} is not in the feed: publish it, or name it in the collection's filter_fields"
            )
        loaded = field.get_col(self.model._meta.db_table)
        converters = (
            *self.connection.ops.get_db_converters(loaded),
            *loaded.get_db_converters(self.connection),
        )
        type_ = self.types.get(field.column)
        if type_ is None:
            raise Refused(f"the database does not tell the type of {field.name}; run migrate")
        return Operand(field, type_, converters, self.connection.timezone_name)

    def _refuse_other_zone(self, lookup: Lookup[Any], operand: Operand) -> None:
        """Refuse parts of a time stamp in the current zone, when whoever runs the query again may have another."""
        transformed = type(lookup.lhs) is not Col and FAMILIES.get(operand.type.oid) is MOMENT
        if transformed and timezone.get_current_timezone() != timezone.get_default_timezone():
            raise Refused(f"a part of {operand.name} is compared in a time zone other than TIME_ZONE")


def _reason(lookup: Any, sql: str) -> str:
    if lookup.lookup_name in FOLDING:
        return f"{lookup.lookup_name} ignores case as the database's locale says"
    if lookup.lookup_name in PATTERNS:
        return f"{lookup.lookup_name} patterns mean something else in Python"
    if "(SELECT " in sql:
        return "it contains a subquery"
    return f"the lookup {lookup.lookup_name!r} is understood by PostgreSQL only: {sql}"


# -- The forms of a lookup's SQL


def _is_true(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    return _compared(operands[0], "=", match[1] is None)


def _is_null(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    (operand,) = operands
    family = FAMILIES.get(operand.type.oid)
    test = IsNull(operand.column(family.comparable if family else _present))
    return negate(test) if match[2] else test


def _present(value: Any) -> bool:
    """What is left of a value that is not NULL, where values cannot be compared."""
    return True


def _comparison(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    return _compared(operands[0], match[2], parameters[0])


def _compared(operand: Operand, operator: str, parameter: Any) -> Expression:
    family = operand.family
    _refuse_order(operand, family, operator)
    column = operand.column(family.comparable)
    return Compare(column, _standard(operator), operand.constant(family, parameter))


def _standard(operator: str) -> str:
    return "<>" if operator == "!=" else sys.intern(operator)


def _refuse_order(operand: Operand, family: Family, operator: str) -> None:
    if not family.ordered and operator not in ("=", "<>", "!="):
        raise Refused(f"Python does not order {operand.type.name} ({operand.name}) as PostgreSQL does")


def _comparison_of_columns(
    match: re.Match[str], operands: list[Operand], parameters: list[Any]
) -> Expression:
    one, other = operands
    families = {one.family, other.family}
    if not (families <= NUMBERS or (len(families) == 1 and one.family.paired)):
        raise Refused(
            f"Python does not compare {one.type.name} ({one.name}) with {other.type.name} ({other.name}) "
            "as PostgreSQL does"
        )
    if one.type.collation != other.type.collation:
        raise Refused(f"{one.name} and {other.name} have different collations")
    _refuse_order(one, one.family, match[2])
    left, right = (operand.column(operand.family.comparable) for operand in operands)
    return CompareColumns(left, _standard(match[2]), right)


def _membership(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    (operand,) = operands
    family = operand.family
    values = frozenset(operand.constant(family, parameter) for parameter in parameters)
    return In(operand.column(family.comparable), values)


def _range(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    low, high = parameters
    return all_of([_compared(operands[0], ">=", low), _compared(operands[0], "<=", high)])


def _like(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    (operand,) = operands
    family = operand.family
    if family.as_text is None:
        raise Refused(f"PostgreSQL's text of {operand.type.name} ({operand.name}) is not Python's")
    how, text = _pattern(operand.constant(TEXT, parameters[0]))
    return MatchesText(operand.column(None if family is TEXT else family.as_text), how, text)


def _pattern(pattern: str) -> tuple[str, str]:
    r"""What a pattern of LIKE asks for: ``%50\%`` is ("endswith", "50%")."""
    first, literal, last = LIKE.fullmatch(pattern).groups()  # type: ignore[union-attr]  # anything matches
    if literal is None:
        raise Refused(f"the pattern {pattern!r} is more than a part of a text")
    how = "contains" if first and last else "startswith" if last else "endswith"
    if not (first or last):
        raise Refused(f"the pattern {pattern!r} is no part of a text")
    return how, ESCAPED.sub(r"\1", literal)


LIKE = re.compile(r"(%?)((?:\\.|[^\\%_])*)(%?)|.*", re.DOTALL)
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def _length(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    operand = operands[0]
    if operand.type.oid not in ARRAYS:
        raise Refused(f"{operand.type.name} ({operand.name}) may be loaded in another form than a list")
    return Compare(operand.column(len), _standard(match[2]), operand.constant(INTEGER, parameters[0]))


def _elements(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    (operand,) = operands
    family = operand.elements
    written = match[3]  # ARRAY[...]; else a list is sent: an empty one, or one of NULLs
    known = parameters if written else [value for value in parameters[0] if value is not None]
    has_null = "NULL" in written if written else bool(parameters[0])
    constants = frozenset(_element(operand, family, value) for value in known)
    return Elements(operand.column(), match[2], constants, has_null)


def _element(operand: Operand, family: Family, value: Any) -> Any:
    constant = operand.constant(family, value)
    limit = getattr(operand.field.base_field, "max_length", None)
    if isinstance(constant, str) and limit is not None and len(constant) > limit:
        raise Refused(f"PostgreSQL cuts {constant!r} to the length of {operand.name}'s elements")
    return constant


def _document_key(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    (operand,) = operands
    path, *documents = parameters
    column = operand.document_key(path)
    if not documents:
        return negate(IsNull(column)) if match[2] else IsNull(column)
    return In(column, frozenset(_document(operand, document) for document in documents))


def _document(operand: Operand, parameter: Any) -> Any:
    document = parameter.adapted if isinstance(parameter, Json) else parameter
    if not isinstance(parameter, Json) or type(document) not in (str, bool):
        raise Refused(f"in {operand.name} only texts and booleans compare in Python as in PostgreSQL")
    return operand.constant(TEXT, document) if isinstance(document, str) else document


COLUMN_NUMBER = re.compile(COLUMN)

FORMS: list[tuple[re.Pattern[str], Callable[[re.Match[str], list[Operand], list[Any]], Expression]]] = [
    (re.compile(rf"(NOT )?{COLUMN}"), _is_true),
    (re.compile(rf"{COLUMN} IS (NOT )?NULL"), _is_null),
    (re.compile(rf"{COLUMN} {OPERATOR} %s"), _comparison),
    (re.compile(rf"{COLUMN} {OPERATOR} \({COLUMN}\)"), _comparison_of_columns),
    (re.compile(rf"{COLUMN} IN \({PLACES}\)"), _membership),
    (re.compile(rf"\({COLUMN} (?:->|#>) %s\) (?:= %s|IN \(%s(?:, %s)*\)|IS (NOT )?NULL)"), _document_key),
    (re.compile(rf"{COLUMN} BETWEEN %s AND %s"), _range),
    (re.compile(rf"{COLUMN}::text LIKE %s"), _like),
    (re.compile(rf"{COLUMN} (@>|<@|&&) (?:\(ARRAY\[{ITEMS}\]\)|%s)::[\w ]+(?:\(\d+\))?\[\]"), _elements),
    (
        re.compile(
            rf"CASE WHEN {COLUMN} IS NULL THEN NULL ELSE coalesce\(array_length\(\$\d, 1\), 0\) END {OPERATOR} %s"
        ),
        _length,
    ),
]
"""Each form of a lookup's SQL with what it means. Whatever has none of them is not compiled."""
