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
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections, models
from django.db.models import Exists, Func
from django.db.models.expressions import Col, NegatedExpression
from django.db.models.lookups import Exact, Lookup
from django.db.models.lookups import In as InLookup
from django.db.models.lookups import IsNull as IsNullLookup
from django.db.models.sql import Query
from django.db.models.sql.datastructures import BaseTable, Join
from django.db.models.sql.where import AND, OR, NothingNode, WhereNode
from django.utils import timezone
from psycopg2.extras import Json

from dddp.changes import Table
from dddp.livequery.predicate import (
    ALWAYS,
    NEVER,
    And,
    Column,
    Compare,
    CompareColumns,
    Elements,
    Expression,
    In,
    InSet,
    IsNull,
    MatchesText,
    Not,
    Predicate,
    SetSpec,
    all_of,
    any_of,
    in_set,
    negate,
    untrue,
)
from dddp.livequery.setuse import uses_of
from dddp.orm.columns import (
    ARRAYS,
    DATE,
    FAMILIES,
    INTEGER,
    MOMENT,
    NUMBERS,
    TEXT,
    Family,
    Operand,
    Refused,
)
from dddp.orm.documents import ModelShape
from dddp.orm.joins import At, Joins, Level, references
from dddp.orm.sets import rows_of
from dddp.orm.tables import nodes, table_of, used_aliases

__all__ = ["NotCompilable", "compile_predicate", "everything", "nothing", "sets_of"]

everything = Predicate(ALWAYS)
"""The predicate of an unfiltered query: each row of the table belongs to it."""

nothing = Predicate(NEVER)
"""The predicate of ``none()`` and of filters that no row can pass."""


@dataclass(frozen=True, slots=True)
class NotCompilable:
    """The query has no predicate; it is kept by running it again."""

    reason: str  #: completes "re-run, because ..."


def compile_predicate(
    query: Query, shape: ModelShape, database: str, carried: Mapping[Table, Iterable[str]] | None = None
) -> Predicate | NotCompilable:
    """The predicate of a query's rows, or why there is none that is certain.

    Args:
        query: as compiling it to SQL left it, so that the joins of its ordering are there too.
        carried: columns that the feed carries besides keys, foreign keys and those of the shape, by table.
    """
    known = {table: frozenset(columns) for table, columns in (carried or {}).items()}
    known[shape.table] = known.get(shape.table, frozenset()) | set(shape.columns)
    try:
        if query.model is None or table_of(query.model) != shape.table:
            raise Refused("it joins the tables of a model and its parents")
        if query.is_sliced:
            raise Refused("it is a slice")
        expression = _Where(query, database, known, outermost=True).whole()
    except Refused as refused:
        return NotCompilable(str(refused))
    return everything if expression == ALWAYS else nothing if expression == NEVER else Predicate(expression)


def sets_of(predicate: Predicate, database: str) -> dict[SetSpec, Callable[[], models.QuerySet[Any]]]:
    """The live sets that a predicate uses, and those that these use, each with what gives the queryset of its rows.

    Raises:
        CannotWrite: one cannot be read back.
    """
    found: dict[SetSpec, Callable[[], models.QuerySet[Any]]] = {}
    waiting = [predicate.expression]
    while waiting:
        for use in uses_of(waiting.pop()):
            if use.values not in found:
                rows_of(use.values, database)  # now, to be told what cannot be written
                found[use.values] = partial(rows_of, use.values, database)
                waiting.append(use.values.where)
    return found


# -- The query around the WHERE


def _refuse_more_than_where(query: Query) -> None:
    """Refuse what lets another row in or out than WHERE does. Rows may come twice."""
    found = {
        "it combines queries": bool(query.combinator),
        "it is distinct by some columns": bool(query.distinct_fields),
        "it contains raw SQL": bool(query.extra or query.extra_tables),
        "it aggregates": query.group_by is not None,
        "it joins something else than tables": not all(
            _is_plain(query.alias_map[each]) for each in used_aliases(query)
        ),
        "an annotation may give several rows": any(map(_may_multiply, query.annotations.values())),
    }
    for reason, applies in found.items():
        if applies:
            raise Refused(reason)


def _is_plain(source: Any) -> bool:
    """Whether a source of rows is the base table, or a join on one pair of columns and nothing else."""
    if isinstance(source, BaseTable):
        return True
    plain = isinstance(source, Join) and source.filtered_relation is None and len(source.join_cols) == 1
    return plain and not source.join_field.get_extra_restriction(None, None)


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
COMPARED = rf"(?:{OPERATOR} %s|IN \({PLACES}\))"
ZONE = "AT TIME ZONE %s"
ITEMS = r"((?:%s|NULL)(?:, (?:%s|NULL))*)"

#: What stands for the columns of a lookup in its SQL. psycopg2's SQL has no other ``$``.
COLUMN = r"\$(\d)"

FOLDING = {"iexact", "icontains", "istartswith", "iendswith"}
PATTERNS = {"regex", "iregex"}

#: A column of a query, by alias and attname.
Place: TypeAlias = tuple[str, str]


class _Where:
    """Translates the WHERE of one query, or of a subquery."""

    def __init__(
        self, query: Query, database: str, carried: Mapping[Table, frozenset[str]], *, outermost: bool
    ) -> None:
        _refuse_more_than_where(query)
        self.query, self.base = _with_base(query)
        self.database = database
        self.connection = connections[database]
        self.compiler: Any = self.query.get_compiler(using=database)
        self.carried = carried
        read = not outermost or len(used_aliases(query)) > 1 or _has_subquery(query)
        plain = self.base if outermost else None
        self.joins = Joins(self.query, database, carried, read=read, plain=plain)

    def whole(self) -> Expression:
        """What a row must be so that the query has it, whatever it joins."""
        return self.joins.rows(self.base, self.formula(self.query.where))

    def formula(self, node: Any, present: Collection[Place] = ()) -> Any:
        """A node of the WHERE as a formula over the rows that are joined.

        Args:
            present: columns that the AND around the node says are not NULL.
        """
        if isinstance(node, WhereNode):
            return self._connected(node)
        if isinstance(node, NothingNode):
            return NEVER
        if isinstance(node, Exists):
            return self._exists(node)
        if isinstance(node, NegatedExpression):
            return negate(self.formula(node.expression))
        if isinstance(node, Lookup):
            return self._lookup(node, present)
        raise Refused(f"{type(node).__name__} is understood by PostgreSQL only")

    def _connected(self, node: WhereNode) -> Any:
        if not node.children:
            return ALWAYS
        if node.connector not in (AND, OR):
            raise Refused("XOR is understood by PostgreSQL only")
        present = _asked_for(node.children) if node.connector == AND else ()
        join = all_of if node.connector == AND else any_of
        joined = join([self.formula(child, present) for child in node.children])
        return negate(joined) if node.negated else joined

    def _lookup(self, lookup: Lookup[Any], present: Collection[Place]) -> Any:
        if isinstance(lookup, InLookup) and isinstance(lookup.rhs, Query):
            return self._in_subquery(lookup, present)
        conditional = isinstance(lookup.lhs, Exists | NegatedExpression)
        if conditional and isinstance(lookup, Exact) and isinstance(lookup.rhs, bool):
            condition = self.formula(lookup.lhs)
            return condition if lookup.rhs else negate(condition)
        alias, test = self._translated(lookup)
        return test if test in (ALWAYS, NEVER) else At(alias, test, negate(test))

    def _translated(self, lookup: Lookup[Any]) -> tuple[str, Expression]:
        """A lookup as a test of the row of one table, and which."""
        try:
            sql, parameters = self.compiler.compile(lookup)
        except EmptyResultSet:
            return self.base, NEVER
        except FullResultSet:
            return self.base, ALWAYS
        sql, columns = self._with_columns_marked(lookup, sql)
        aliases = {col.alias for col in columns} or {self.base}
        if any(isinstance(node, Query) for node in nodes(lookup)):
            raise Refused("it contains a subquery in another place than IN and EXISTS")
        if not aliases <= self.query.alias_map.keys():
            raise Refused("a subquery is tied to the row by something else than one pair of equal columns")
        if len(aliases) > 1:
            raise Refused("it compares columns of two tables")
        (alias,) = aliases
        for form, translate in FORMS:
            match = form.fullmatch(sql)
            if match:
                named = [columns[int(n)] for n in COLUMN_NUMBER.findall(sql)]
                operands = [self._operand(column) for column in named]
                self._refuse_other_zone(lookup, operands[0])
                return alias, translate(match, operands, list(parameters))
        raise Refused(_reason(lookup, sql))

    def _with_columns_marked(self, lookup: Any, sql: str) -> tuple[str, list[Any]]:
        """The SQL with ``$0``, ``$1`` for its columns, and these."""
        columns = {self.compiler.compile(node)[0]: node for node in nodes(lookup) if type(node) is Col}
        for number, column in enumerate(columns):
            sql = sql.replace(column, f"${number}")
        return sql, list(columns.values())

    def _operand(self, column: Any) -> Operand:
        return self.joins.level(column.alias).operand(column.target)

    def _refuse_other_zone(self, lookup: Lookup[Any], operand: Operand) -> None:
        """Refuse parts of a time stamp in the current zone, when whoever runs the query again may have another."""
        transformed = type(lookup.lhs) is not Col and FAMILIES.get(operand.type.oid) is MOMENT
        if transformed and timezone.get_current_timezone() != timezone.get_default_timezone():
            raise Refused(f"a part of {operand.name} is compared in a time zone other than TIME_ZONE")

    # -- Subqueries

    def _inner(self, query: Query) -> _Where:
        return _Where(query, self.database, self.carried, outermost=False)

    def _in_subquery(self, lookup: Any, present: Collection[Place]) -> Any:
        """``column IN (SELECT column ...)``."""
        if self._is_empty(lookup):
            return NEVER
        inner, selected = lookup.rhs, [*lookup.rhs.select, *lookup.rhs.annotation_select.values()]
        if inner.is_sliced:
            raise Refused("it contains a subquery that is a slice")
        if type(lookup.lhs) is not Col or len(selected) != 1 or type(selected[0]) is not Col:
            raise Refused("it contains a subquery of something else than a column")
        where = self._inner(inner)
        if lookup.lhs.alias not in self.query.alias_map or selected[0].alias not in where.query.alias_map:
            raise Refused("it contains a subquery that is tied to a row outside of it by more than =")
        test = where.joins.rows(selected[0].alias, where.formula(inner.where))
        own, values = self._set(lookup.lhs, where, selected[0], test)
        found = in_set(own, values)
        missing = negate(found)
        if self._is_own_key(lookup.lhs) and where.selects_own_key(selected[0], self.joins.level(self.base)):
            found, missing = test, untrue(test, self.joins.level(self.base).nullable)
        if not (self._never_null(lookup.lhs, present) and where.gives_no_null(selected[0], values)):
            return At(
                lookup.lhs.alias, found, "it is NOT IN a subquery, and there may be NULL on either side"
            )
        return At(lookup.lhs.alias, found, missing)

    def _is_empty(self, lookup: Any) -> bool:
        """Whether Django knows that nothing passes."""
        try:
            self.compiler.compile(lookup)
        except EmptyResultSet:
            return True
        return False

    def _set(self, own: Any, where: _Where, selected: Any, test: Expression) -> tuple[Column, SetSpec]:
        """A column's comparable form, and the set of the values that a subquery gives to compare with it."""
        outer, inner = references(self._operand(own), where._operand(selected))
        return outer, SetSpec(where.joins.level(selected.alias).table, test, inner)

    def _is_own_key(self, column: Any) -> bool:
        return bool(column.alias == self.base and column.target.primary_key)

    def selects_own_key(self, selected: Any, level: Level) -> bool:
        """Whether a subquery gives primary keys of a table: then it is about the row itself."""
        return bool(self.joins.level(selected.alias).model is level.model and selected.target.primary_key)

    def _never_null(self, column: Any, present: Collection[Place]) -> bool:
        if _place(column) in present:
            return True
        nullable = self.joins.level(column.alias).nullable(self._operand(column).column())
        return not nullable and self.joins.never_null(column.alias)

    def gives_no_null(self, selected: Any, values: SetSpec) -> bool:
        """Whether NULL is not among what a subquery gives."""
        parts = values.where.parts if isinstance(values.where, And) else (values.where,)
        asked = any(_excludes_null(part, values.column) for part in parts)
        never = asked or not self.joins.level(selected.alias).nullable(values.column)
        return never and self.joins.never_null(selected.alias)

    def _exists(self, exists: Exists) -> Any:
        """``EXISTS (SELECT ... WHERE column = outer.column AND ...)``: the outer column is one of some rows' column."""
        query = exists.query
        if query.low_mark or query.high_mark not in (None, 1):
            raise Refused("it contains a subquery that is a slice")
        where = self._inner(query)
        conjuncts = list(_conjuncts(query.where))
        links = [where.link(node) for node in conjuncts]
        rest = all_of(
            where.formula(node) for node, link in zip(conjuncts, links, strict=True) if link is None
        )
        if rest == NEVER:
            return NEVER
        ties = [link for link in links if link is not None]
        if len(ties) != 1:
            raise Refused(
                "it contains a subquery that is not tied to the row by just one pair of equal columns"
            )
        ((inner, outer),) = ties
        if outer.alias not in self.query.alias_map:
            raise Refused("it contains a subquery that is tied to a row outside of the next query")
        own, values = self._set(outer, where, inner, where.joins.rows(inner.alias, rest))
        found = in_set(own, values)
        return At(outer.alias, found, negate(found))

    def link(self, node: Any) -> tuple[Any, Any] | None:
        """The columns, of the subquery and of the outer query, that a lookup says are equal."""
        if not isinstance(node, Exact) or type(node.lhs) is not Col or type(node.rhs) is not Col:
            return None
        sql, _ = self.compiler.compile(node)
        sql, columns = self._with_columns_marked(node, sql)
        within = [column.alias in self.query.alias_map for column in columns]
        if not LINK.fullmatch(sql) or sorted(within) != [False, True]:
            return None
        inner, outer = columns if within[0] else reversed(columns)
        return inner, outer


def _with_base(query: Query) -> tuple[Query, str]:
    """The query, and the alias of the table that it reads from: the first that is read, whatever was left out."""
    for alias in used_aliases(query):
        if isinstance(query.alias_map[alias], BaseTable):
            return query, alias
    own = query.chain()
    return own, str(own.get_initial_alias())


def _has_subquery(query: Query) -> bool:
    return any(isinstance(node, Query) for node in nodes(query.where))


def _conjuncts(node: Any) -> Iterable[Any]:
    if isinstance(node, WhereNode) and node.connector == AND and not node.negated:
        for child in node.children:
            yield from _conjuncts(child)
    else:
        yield node


def _place(column: Any) -> Place:
    return column.alias, column.target.attname


def _asked_for(conjuncts: Iterable[Any]) -> set[Place]:
    """The columns of which one of the lookups says that they are not NULL."""
    asking = (each for each in conjuncts if isinstance(each, IsNullLookup) and each.rhs is False)
    return {_place(each.lhs) for each in asking if type(each.lhs) is Col}


def _excludes_null(test: Expression, column: Column) -> bool:
    """Whether a test is never TRUE where a column is NULL."""
    if isinstance(test, Not):
        return test.part == IsNull(column)
    return isinstance(test, Compare | In | InSet | MatchesText) and test.column.name == column.name


def _reason(lookup: Any, sql: str) -> str:
    if lookup.lookup_name in FOLDING:
        return f"{lookup.lookup_name} ignores case as the database's locale says"
    if lookup.lookup_name in PATTERNS:
        return f"{lookup.lookup_name} patterns mean something else in Python"
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
    if operand.type.oid in ARRAYS:
        return In(operand.array(), frozenset(_array(operand, parameter) for parameter in parameters))
    family = operand.family
    values = frozenset(operand.constant(family, parameter) for parameter in parameters)
    return In(operand.column(family.comparable), values)


def _part(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    name, _, zoned, shift, operator, _ = match.groups()
    (operand,) = operands
    known = _past_zone(operand, parameters) if zoned else parameters
    constants = frozenset(operand.constant(INTEGER, each) - int(shift or 0) for each in known)
    column = operand.part(name)
    return Compare(column, _standard(operator), *constants) if operator else In(column, constants)


def _date_of_moment(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    (operand,) = operands
    known = _past_zone(operand, parameters)
    constants = frozenset(operand.constant(DATE, each) for each in known)
    column = operand.part("DATE")
    return Compare(column, _standard(match[2]), *constants) if match[2] else In(column, constants)


def _past_zone(operand: Operand, parameters: list[Any]) -> list[Any]:
    """The parameters behind a time zone's name. Other zones than UTC may differ between Python and PostgreSQL."""
    zone, *others = parameters
    if zone != "UTC":
        raise Refused(
            f"a part of {operand.name} in {zone} depends on what Python and PostgreSQL know of that zone"
        )
    return others


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


def _whole_array(match: re.Match[str], operands: list[Operand], parameters: list[Any]) -> Expression:
    (operand,) = operands
    written, sent = match[2], iter(parameters)  # ARRAY[...]; else a list is sent
    elements = (
        [None if each == "NULL" else next(sent) for each in written.split(", ")] if written else parameters[0]
    )
    return Compare(operand.array(), "=", _array(operand, elements))


def _array(operand: Operand, elements: Iterable[Any]) -> tuple[Any, ...]:
    """A constant as ``Operand.array`` has the values. The NULLs of two arrays are equal."""
    family = operand.elements
    return tuple(None if each is None else _element(operand, family, each) for each in elements)


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
LINK = re.compile(rf"{COLUMN} = \(?{COLUMN}\)?")

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
    (re.compile(rf"{COLUMN} = (?:\(ARRAY\[{ITEMS}\]\)|%s)::[\w ]+(?:\(\d+\))?\[\]"), _whole_array),
    (re.compile(rf"EXTRACT\((\w+) FROM {COLUMN}( {ZONE})?\)(?: \+ (\d))? {COMPARED}"), _part),
    (re.compile(rf"\({COLUMN} {ZONE}\)::date {COMPARED}"), _date_of_moment),
    (
        re.compile(
            rf"CASE WHEN {COLUMN} IS NULL THEN NULL ELSE coalesce\(array_length\(\$\d, 1\), 0\) END {OPERATOR} %s"
        ),
        _length,
    ),
]
"""Each form of a lookup's SQL with what it means. Whatever has none of them is not compiled."""
