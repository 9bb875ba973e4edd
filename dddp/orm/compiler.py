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
from typing import Any

from django.core.exceptions import EmptyResultSet, FullResultSet
from django.db import connections, models
from django.db.models import Func
from django.db.models.expressions import Col
from django.db.models.lookups import In as InLookup
from django.db.models.lookups import Lookup
from django.db.models.sql import Query
from django.db.models.sql.constants import INNER
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
    Or,
    Predicate,
    SetSpec,
    all_of,
    any_of,
    negate,
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
    ColumnType,
    Family,
    Operand,
    Refused,
    column_types,
)
from dddp.orm.documents import ModelShape
from dddp.orm.sets import rows_of
from dddp.orm.tables import concrete, leads_to_many, nodes, table_of, used_aliases

__all__ = ["Level", "NotCompilable", "compile_predicate", "everything", "nothing", "operand_of", "sets_of"]

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
        expression = _Where(query, database, known).whole()
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
    """Refuse what lets another row in or out than WHERE does."""
    found = {
        "it is a slice": query.is_sliced,
        "it combines queries": bool(query.combinator),
        "it is distinct": query.distinct,
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


@dataclass(frozen=True, slots=True)
class Level:
    """One table of the query."""

    model: type[models.Model]
    types: Mapping[str, ColumnType]
    carried: frozenset[str]


def operand_of(level: Level, field: Any, connection: Any, *, read: bool = False) -> Operand:
    """A column of a table as lookups and orders name it.

    Args:
        read: see ``Operand``.

    Raises:
        Refused: it is another table's, or the feed does not carry it.
    """
    if field not in level.model._meta.local_concrete_fields:
        raise Refused(f"{field.name} is a column of another table")
    if not (field.primary_key or field.is_relation or field.column in level.carried):
        raise Refused(
            f"{field.name} is not in the feed: publish it, or name it in the collection's filter_fields"
        )
    loaded = field.get_col(level.model._meta.db_table)
    converters = (*connection.ops.get_db_converters(loaded), *loaded.get_db_converters(connection))
    type_ = level.types.get(field.column)
    if type_ is None:
        raise Refused(f"the database does not tell the type of {field.name}; run migrate")
    return Operand(field, type_, converters, connection.timezone_name, read)


@dataclass(frozen=True, slots=True)
class _Related:
    """A test of the one row that a row refers to, as a test of the row: what says that it is TRUE, and FALSE."""

    true: Expression
    false: Expression

    def negated(self) -> Any:
        return _Related(self.false, self.true)


class _Where:
    """Translates the WHERE of one query.

    Args:
        joined: it is part of a query that joins tables.
    """

    def __init__(
        self, query: Query, database: str, carried: Mapping[Table, frozenset[str]], *, joined: bool = False
    ) -> None:
        self.query = query
        self.database = database
        self.connection = connections[database]
        self.compiler: Any = query.get_compiler(using=database)
        self.base = query.base_table
        self.carried = carried
        nested = any(isinstance(getattr(node, "rhs", None), Query) for node in self._conjuncts(query.where))
        self.reads_rows = joined or nested or len(used_aliases(query)) > 1
        self.levels: dict[str | None, Level] = {}

    def whole(self) -> Expression:
        """What a row must be so that the query has it, whatever it joins."""
        _refuse_more_than_where(self.query)
        parts: list[Any] = []
        many: dict[str, list[Expression]] = {}  # join to many rows -> what one of them must satisfy
        for node in self._conjuncts(self.query.where):
            alias = self._many(node)
            if alias is not None:
                many.setdefault(alias, []).append(self._of_one_of_many(node, alias))
            else:
                parts.append(self._same_row(node) or self.expression(node))
        implied = {each for node in self._conjuncts(self.query.where) for each in self._implied(node)}
        for alias in used_aliases(self.query):
            if alias != self.base:
                parts += self._existence(alias, many, implied)
        return _settled(all_of(parts))

    def _implied(self, node: Any) -> Iterable[str]:
        """The joined tables of which there is a row where a lookup is TRUE."""
        absence = isinstance(node, Lookup) and node.lookup_name == "isnull" and node.rhs
        if isinstance(node, Lookup) and not absence:
            for alias in self._aliases(node):
                yield from self._path(alias)

    def _aliases(self, lookup: Lookup[Any]) -> set[str]:
        """The tables of this query that a lookup names columns of."""
        columns: list[Any] = [each for each in nodes(lookup) if type(each) is Col]
        return {each.alias for each in columns if each.alias in self.query.alias_map}

    def _conjuncts(self, node: Any) -> Iterable[Any]:
        if isinstance(node, WhereNode) and node.connector == AND and not node.negated:
            for child in node.children:
                yield from self._conjuncts(child)
        else:
            yield node

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

    # -- Other tables

    def level(self, alias: str | None) -> Level:
        """The table behind an alias."""
        if alias not in self.levels:
            joined = alias is not None and alias != self.base
            related: Any = self._join(alias).join_field.related_model if joined else self.query.model
            model = concrete(related)
            carried = self.carried.get(table_of(model), frozenset())
            self.levels[alias] = Level(model, column_types(model, self.database), carried)
        return self.levels[alias]

    def _join(self, alias: str | None) -> Any:
        """The join that brings an alias in."""
        return self.query.alias_map[str(alias)]

    def _link(self, alias: str | None, name: str) -> Column:
        """A column that tables are joined by."""
        level = self.level(alias)
        field = next(each for each in level.model._meta.local_concrete_fields if each.column == name)
        operand = self._operand(level, field)
        if operand.family.comparable is not None or not operand.family.paired:
            raise Refused(f"{operand.name} joins tables by values that Python compares in another form")
        return operand.column()

    def _lifted(self, alias: str | None, expression: Expression, to: str | None = None) -> Expression:
        """A test of a joined table's row as one of the row it is joined to, down to the query's own."""
        while alias not in (self.base, to):
            join = self._join(alias)
            ((own, other),) = join.join_cols
            column = self._link(alias, other)
            if isinstance(expression, InSet) and expression.column == column:
                values = expression.values  # references to the rows of this table: each has one
            else:
                values = SetSpec(table_of(self.level(alias).model), expression, column)
            expression = InSet(self._link(join.parent_alias, own), values)
            alias = join.parent_alias
        return expression

    def _related(self, alias: str, test: Expression) -> Any:
        """A test of the one row that a row refers to; without such a row only IS NULL is true."""
        if isinstance(test, IsNull):
            join = self._join(alias)
            if isinstance(join.join_field, models.ForeignKey) and not self._may_be_null(alias, test.columns):
                # Only the row's own absence makes it NULL: the reference to it is NULL.
                ((own, _),) = join.join_cols
                reference = IsNull(self._link(join.parent_alias, own))
                if join.parent_alias == self.base:
                    return _Related(reference, negate(reference))
                return self._related(join.parent_alias, reference)
            present = self._lifted(alias, negate(test))
            assert isinstance(present, InSet)
            return _Related(any_of([IsNull(present.column), negate(present)]), present)
        if isinstance(test, Not) and isinstance(test.part, IsNull):
            return self._related(alias, test.part).negated()
        true = self._lifted(alias, test)
        # Where nothing can be NULL, what is not TRUE is FALSE, and one set tells both.
        false = negate(true) if self._is_total(alias, test) else self._lifted(alias, negate(test))
        return _Related(true, false)

    def _is_total(self, alias: str, test: Expression) -> bool:
        """Whether a test of a joined row is TRUE or FALSE for every row of the query that has such a row."""
        *between, first = (self._join(each) for each in self._path(alias))
        if isinstance(first.join_field, models.OneToOneRel) or any(map(_may_be_absent, between)):
            return False
        return not self._may_be_null(alias, test.columns)

    def _may_be_null(self, alias: str, names: Collection[str]) -> bool:
        """Whether some column may be NULL in a row that is there."""
        fields = {each.attname: each for each in self.level(alias).model._meta.local_concrete_fields}
        return any(fields[name].null for name in names)

    def _existence(
        self, alias: str, many: Mapping[str, list[Expression]], implied: Collection[str]
    ) -> Iterable[Expression]:
        """What an inner join asks for besides the WHERE: that there is a row."""
        join = self._join(alias)
        _refuse_loose(join)
        if join.join_type != INNER:
            return
        if leads_to_many(join):
            yield self._lifted(alias, all_of(many.get(alias, [])))
        elif _may_be_absent(join) and alias not in implied:
            ((own, _),) = join.join_cols
            yield self._lifted(join.parent_alias, negate(IsNull(self._link(join.parent_alias, own))))

    def _many(self, node: Any) -> str | None:
        """The join to many rows that a lookup goes through."""
        if not isinstance(node, Lookup):
            return None
        path = [each for alias in self._aliases(node) for each in self._path(alias) if self._is_many(each)]
        if len(set(path)) > 1:
            raise Refused("it goes through two relations to many rows")
        return path[0] if path else None

    def _path(self, alias: str | None) -> Iterable[str]:
        """A joined table and those between it and the query's own."""
        while alias is not None and alias != self.base:
            yield alias
            alias = self._join(alias).parent_alias

    def _is_many(self, alias: str) -> bool:
        return leads_to_many(self._join(alias))

    def _of_one_of_many(self, lookup: Lookup[Any], many: str) -> Expression:
        """A test of one of many related rows: lookups in one filter() are about the same one."""
        if self._join(many).join_type != INNER:
            raise Refused("it asks for the absence of related rows")
        alias, test = self._translated(lookup)
        if isinstance(test, IsNull):
            raise Refused("it asks for the absence of related rows")
        return test if alias == many else self._lifted(alias, test, to=many)

    def _same_row(self, node: Any) -> Expression | None:
        """The condition inside ``pk IN (SELECT pk FROM the same table WHERE ...)``."""
        inner = getattr(node, "rhs", None)
        if not (isinstance(node, InLookup) and isinstance(inner, Query) and type(node.lhs) is Col):
            return None
        key = self.level(self.base).model._meta.pk
        selected = list(inner.select)
        same = (
            node.lhs.alias == self.base
            and node.lhs.target == key
            and inner.model is not None
            and concrete(inner.model) is self.level(self.base).model
            and len(selected) == 1
            and type(selected[0]) is Col
            and selected[0].target == key
            and selected[0].alias == inner.base_table
        )
        return _Where(inner, self.database, self.carried, joined=True).whole() if same else None

    def _lookup(self, lookup: Lookup[Any]) -> Expression:
        if self._many(lookup) is not None:
            raise Refused("a relation to many rows is part of OR or NOT")
        alias, test = self._translated(lookup)
        related: Expression = test if alias == self.base else self._related(str(alias), test)
        return related

    def _translated(self, lookup: Lookup[Any]) -> tuple[str | None, Expression]:
        """A lookup as a test of the row of one table, and which."""
        try:
            sql, parameters = self.compiler.compile(lookup)
        except EmptyResultSet:
            return self.base, NEVER
        except FullResultSet:
            return self.base, ALWAYS
        sql, columns = self._with_columns_marked(lookup, sql)
        aliases = {col.alias for col in columns} or {self.base}
        if not aliases <= {self.base, *self.query.alias_map}:
            raise Refused(_reason(lookup, sql))
        if len(aliases) > 1:
            raise Refused("it compares columns of two tables")
        (alias,) = aliases
        for form, translate in FORMS:
            match = form.fullmatch(sql)
            if match:
                level = self.level(alias)
                named = [columns[int(n)].target for n in COLUMN_NUMBER.findall(sql)]
                operands = [self._operand(level, field) for field in named]
                self._refuse_other_zone(lookup, operands[0])
                return alias, translate(match, operands, list(parameters))
        raise Refused(_reason(lookup, sql))

    def _with_columns_marked(self, lookup: Any, sql: str) -> tuple[str, list[Any]]:
        """The SQL with ``$0``, ``$1`` for its columns, and these."""
        columns = {self.compiler.compile(node)[0]: node for node in nodes(lookup) if type(node) is Col}
        for number, column in enumerate(columns):
            sql = sql.replace(column, f"${number}")
        return sql, list(columns.values())

    def _operand(self, level: Level, field: Any) -> Operand:
        return operand_of(level, field, self.connection, read=self.reads_rows)

    def _refuse_other_zone(self, lookup: Lookup[Any], operand: Operand) -> None:
        """Refuse parts of a time stamp in the current zone, when whoever runs the query again may have another."""
        transformed = type(lookup.lhs) is not Col and FAMILIES.get(operand.type.oid) is MOMENT
        if transformed and timezone.get_current_timezone() != timezone.get_default_timezone():
            raise Refused(f"a part of {operand.name} is compared in a time zone other than TIME_ZONE")


def _settled(expression: Any) -> Expression:
    """The expression with what makes each test of a related row TRUE: negations have been pushed down to them."""
    if isinstance(expression, _Related):
        return expression.true
    if isinstance(expression, And | Or):
        return type(expression)(tuple(_settled(part) for part in expression.parts))
    settled: Expression = expression
    return settled


def _foreign_key(join: Any) -> Any:
    """The foreign key that a join follows, in whichever direction."""
    relation = join.join_field
    return relation if isinstance(relation, models.ForeignKey) else getattr(relation, "field", None)


def _refuse_loose(join: Any) -> None:
    if not getattr(_foreign_key(join), "db_constraint", False):
        raise Refused("it joins tables without a foreign key constraint")


def _may_be_absent(join: Any) -> bool:
    """Whether a join to one row may find none."""
    return isinstance(join.join_field, models.OneToOneRel) or bool(_foreign_key(join).null)


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
