"""From a formula over joined rows to a test of one row: what the joins and subqueries of SQL ask for, as live sets.

A row belongs to a query when *some* combination of the rows that it joins makes the WHERE true; an outer join that
finds no row gives one whose columns are all NULL. So the WHERE, with its NOTs pushed down to single tests (``At``),
is cut along the joins: what it says of a joined table becomes "there is such a row", a membership in a live set.
"There is" goes into an OR, and into an AND of tests of different joins; tests of one and the same row of many stay
together. Knows Django's joins, nothing of lookups.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from django.db import connections, models
from django.db.models.expressions import Col
from django.db.models.sql import Query
from django.db.models.sql.constants import INNER
from django.db.models.sql.datastructures import Join

from dddp.changes import Table
from dddp.livequery.predicate import (
    ALWAYS,
    NEVER,
    And,
    Column,
    Expression,
    InSet,
    IsNull,
    Not,
    Or,
    Predicate,
    SetSpec,
    all_of,
    any_of,
    in_set,
    negate,
    untrue,
)
from dddp.orm.columns import ColumnType, DocumentKey, Operand, Refused, column_types
from dddp.orm.tables import concrete, leads_to_many, nodes, table_of, used_aliases

__all__ = ["At", "Joins", "Level", "references"]

Formula: TypeAlias = Any
"""ALWAYS, NEVER, an ``At``, or an And or Or of formulas."""

#: Combinations of ORs about the same joined row, beyond which a query is not compiled.
MAX_COMBINATIONS = 64


@dataclass(frozen=True, slots=True)
class At:
    """A test of one of the rows that are joined."""

    alias: str
    true: Expression
    false: Expression | str  #: what is TRUE when the test is FALSE; a text says why that is not known

    def negated(self) -> At:
        if isinstance(self.false, str):
            raise Refused(self.false)
        return At(self.alias, self.false, self.true)


@dataclass(frozen=True, slots=True)
class Level:
    """One table of a query."""

    model: type[models.Model]
    types: Mapping[str, ColumnType]
    carried: frozenset[str]  #: columns in the feed besides keys and foreign keys
    connection: Any
    read: bool = False  #: see ``Operand``

    @property
    def table(self) -> Table:
        """Whose changes it has."""
        return table_of(self.model)

    def operand(self, field: Any) -> Operand:
        """A column as lookups, orders and joins compare it.

        Raises:
            Refused: it is another table's, or the feed does not carry it.
        """
        if field not in self.model._meta.local_concrete_fields:
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
        return Operand(field, type_, converters, self.connection.timezone_name, self.read)

    def operand_of(self, column: str) -> Operand:
        """The same by the name that SQL knows it by."""
        return self.operand(
            next(each for each in self.model._meta.local_concrete_fields if each.column == column)
        )

    def nullable(self, column: Column) -> bool:
        """Whether a column may be NULL in a row that is there: the database's word."""
        if isinstance(column.comparable, DocumentKey):
            return True
        fields = self.model._meta.local_concrete_fields
        name = next(each.column for each in fields if each.attname == column.name)
        type_ = self.types.get(str(name))
        return type_ is None or not type_.not_null


def references(own: Operand, other: Operand) -> tuple[Column, Column]:
    """Two columns whose values are looked up in each other's.

    Raises:
        Refused: equal values there may differ here, or the other way round.
    """
    if own.family is not other.family or own.type.collation != other.type.collation:
        raise Refused(f"{own.type.name} ({own.name}) is compared with {other.type.name} ({other.name})")
    for operand in own, other:
        if operand.family.comparable is not None or not operand.family.paired:
            raise Refused(f"{operand.name} joins tables by values that Python compares in another form")
    return own.column(), other.column()


@dataclass(frozen=True, slots=True)
class _Edge:
    """How the rows of a table lead to those of the next."""

    to: str  #: the next table's alias
    own: str  #: column here
    other: str  #: and there
    inner: bool
    refers: bool  #: ``own`` is a foreign key: NULL, or there is one row
    single: bool  #: to one row at most
    constrained: bool  #: the database keeps the references whole


def _edges(join: Any) -> tuple[_Edge, _Edge]:
    """A join as it leads from its parent, and back: who comes from a joined row knows that it is there."""
    relation = join.join_field
    ((own, other),) = join.join_cols
    forward = isinstance(relation, models.ForeignKey)
    inner = join.join_type == INNER
    key: Any = relation if forward else getattr(relation, "field", None)
    constrained = isinstance(key, models.ForeignKey) and bool(getattr(key, "db_constraint", False))
    to = _Edge(join.table_alias, own, other, inner, forward, not leads_to_many(join), constrained)
    single = not forward or isinstance(relation, models.OneToOneField)
    return to, _Edge(join.parent_alias, other, own, True, not forward, single, constrained)


class Joins:
    """The tables of one query, and how they hang together.

    Args:
        carried: columns in the feed besides keys and foreign keys, by table.
        read: see ``Operand``.
        plain: the alias of the query's own rows, whose tests stay as they are written.
    """

    def __init__(
        self,
        query: Query,
        database: str,
        carried: Mapping[Table, frozenset[str]],
        *,
        read: bool,
        plain: str | None = None,
    ) -> None:
        self.query = query
        self.database = database
        self.carried = carried
        self.read = read
        self.plain = plain
        self._levels: dict[str, Level] = {}
        self._combinations = 0
        self._neighbours: dict[str, list[_Edge]] = defaultdict(list)
        for alias in used_aliases(query):
            self._join(query.alias_map[alias])

    def _join(self, source: Any) -> None:
        """Take a join in, both ways."""
        if not isinstance(source, Join):
            return
        to, back = _edges(source)
        parent = self.query.alias_map[str(source.parent_alias)]
        if to.inner and isinstance(parent, Join) and parent.join_type != INNER:
            raise Refused("it has an inner join behind an outer one")
        self._neighbours[str(source.parent_alias)].append(to)
        self._neighbours[to.to].append(back)

    def level(self, alias: str) -> Level:
        """The table behind an alias."""
        if alias not in self._levels:
            model = concrete(self._model(alias))
            carried = self.carried.get(table_of(model), frozenset())
            types = column_types(model, self.database)
            self._levels[alias] = Level(model, types, carried, connections[self.database], self.read)
        return self._levels[alias]

    def _model(self, alias: str) -> type[models.Model]:
        source: Any = self.query.alias_map[alias]
        if isinstance(source, Join):
            relation: Any = source.join_field
            return cast(type[models.Model], relation.related_model)
        assert self.query.model is not None
        if source.table_name == self.query.model._meta.db_table:
            return self.query.model
        # The subqueries of exclude() begin with a table that was joined once.
        targets = (
            each.target for each in nodes(self.query.where) if type(each) is Col and each.alias == alias
        )
        for target in targets:
            if target.model._meta.db_table == source.table_name:
                model: type[models.Model] = target.model
                return model
        raise Refused(f"{source.table_name} is read in an unknown way")

    # -- Cutting along the joins

    def rows(self, alias: str, formula: Formula) -> Expression:
        """What a row of one of the tables must be so that some combination it is part of satisfies a formula."""
        return self._test(alias, formula, None)

    def _test(self, alias: str, formula: Formula, before: str | None) -> Expression:
        """The same of the rows it leads to, but back to where was come from."""
        there = self._implied(alias, formula, before)
        wanted = [each for each in self._leading(alias, before) if each.inner and each.to not in there]
        found = self._some(alias, formula, before)
        return all_of([found, *(self._joined(alias, each, ALWAYS) for each in wanted)])

    def never_null(self, alias: str) -> bool:
        """Whether there always is a row of the table: no outer join leads to it."""
        source = self.query.alias_map[alias]
        return not isinstance(source, Join) or (
            source.join_type == INNER and self.never_null(source.parent_alias)
        )

    def _leading(self, alias: str, before: str | None) -> Iterable[_Edge]:
        return (each for each in self._neighbours[alias] if each.to != before)

    def _ways(self, alias: str, before: str | None) -> dict[str, _Edge | None]:
        """By which edge each table is reached; None is the row itself."""
        found: dict[str, _Edge | None] = {alias: None}
        for edge in self._leading(alias, before):
            found.update(dict.fromkeys(self._ways(edge.to, alias), edge))
        return found

    def _implied(self, alias: str, formula: Formula, before: str | None) -> set[str]:
        """The neighbours of which there is a row whenever the formula is TRUE."""
        ways = self._ways(alias, before)
        if isinstance(formula, And):
            return set().union(*(self._implied(alias, part, before) for part in formula.parts))
        touched = _touched(formula, ways)
        if len(touched) == 1:
            (edge,) = touched
            return {edge.to} if edge is not None else set()
        if isinstance(formula, Or):
            return set.intersection(*(self._implied(alias, part, before) for part in formula.parts))
        return set()

    def _some(self, alias: str, formula: Formula, before: str | None) -> Expression:
        ways = self._ways(alias, before)
        touched = _touched(formula, ways)
        if len(touched) <= 1:
            (edge,) = touched or (None,)
            return self._own(alias, formula) if edge is None else self._joined(alias, edge, formula)
        parts = self._together(formula, ways)
        if isinstance(formula, Or):
            return any_of(self._some(alias, part, before) for part in parts)
        entangled = next((part for part in parts if self._entangled(alias, part, parts, ways)), None)
        if entangled is None:
            return all_of(self._some(alias, part, before) for part in parts)
        self._combinations += len(entangled.parts)
        if self._combinations > MAX_COMBINATIONS:
            raise Refused("its ORs about the same related row make too many combinations")
        others = [part for part in parts if part is not entangled]
        return any_of(self._some(alias, all_of([each, *others]), before) for each in entangled.parts)

    def _together(self, formula: Any, ways: Mapping[str, _Edge | None]) -> list[Formula]:
        """The parts of an AND or OR; what goes the same way is one of them."""
        join = all_of if isinstance(formula, And) else any_of
        together: dict[Any, list[Formula]] = {}
        for part in formula.parts:
            touched = _touched(part, ways)
            together.setdefault(tuple(touched) if len(touched) == 1 else id(part), []).append(part)
        return [join(parts) for parts in together.values()]

    def _entangled(
        self, alias: str, part: Formula, parts: Iterable[Formula], ways: Mapping[str, _Edge | None]
    ) -> bool:
        """Whether an OR speaks of one of many rows that another part of the AND speaks of too."""
        if not isinstance(part, Or):
            return False
        others = {edge for each in parts if each is not part for edge in _touched(each, ways)}
        return any(edge in others and self._is_many(alias, edge) for edge in _touched(part, ways) if edge)

    def _is_many(self, alias: str, edge: _Edge) -> bool:
        return not edge.single or any(self._is_many(edge.to, each) for each in self._leading(edge.to, alias))

    def _own(self, alias: str, formula: Formula) -> Expression:
        """A formula about the row itself; NULL is not asked for where a related row never has it."""
        if isinstance(formula, And):
            return all_of(self._own(alias, part) for part in formula.parts)
        if isinstance(formula, Or):
            return any_of(self._own(alias, part) for part in formula.parts)
        if not isinstance(formula, At):
            constant: Expression = formula
            return constant
        return formula.true if alias == self.plain else _certain(formula.true, self.level(alias))

    def _joined(self, alias: str, edge: _Edge, formula: Formula) -> Expression:
        """A formula about the rows that an edge leads to, as a test of the row."""
        if not edge.constrained:
            raise Refused("it joins tables without a foreign key constraint")
        level = self.level(edge.to)
        test = self._test(edge.to, formula, alias)
        own, other = references(self.level(alias).operand_of(edge.own), level.operand_of(edge.other))
        link = _Link(own, other, level.table, edge.refers, self.level(alias).nullable(own))
        or_none = not edge.inner and _holds_for_nulls(formula)
        if not edge.single:
            return any_of([link.to(test), negate(link.to(ALWAYS))]) if or_none else link.to(test)
        return self._joined_one(link, test, untrue(test, level.nullable), or_none=or_none)

    def _joined_one(self, link: _Link, test: Expression, other: Expression, *, or_none: bool) -> Expression:
        """The same of one row at most: it may be known by the set of those that pass, or of those that do not."""
        by_others = _is_indexed(other) and not _is_indexed(test)
        if or_none:
            if by_others or not link.refers:
                return negate(link.to(other))
            return any_of([link.to(test), link.none])
        if by_others and link.refers:
            return all_of([negate(link.none), negate(link.to(other))])
        return link.to(test)


@dataclass(frozen=True, slots=True)
class _Link:
    """The columns that lead from a row to others."""

    own: Column
    other: Column
    table: Table  #: theirs
    refers: bool
    nullable: bool

    @property
    def none(self) -> Expression:
        """The row refers to nothing."""
        return IsNull(self.own) if self.nullable else NEVER

    def to(self, test: Expression) -> Expression:
        """There is a row of which the test is TRUE."""
        if self.refers and test == ALWAYS:
            return negate(self.none)
        if self.refers and isinstance(test, InSet) and test.column == self.other:
            return InSet(self.own, test.values)  # each reference has its row, so the row need not be asked
        return in_set(self.own, SetSpec(self.table, test, self.other))


def _touched(formula: Formula, ways: Mapping[str, _Edge | None]) -> dict[_Edge | None, None]:
    """The ways that a formula goes, in the order of its parts."""
    if isinstance(formula, At):
        if formula.alias not in ways:
            raise Refused("it names a table that it does not join")
        return {ways[formula.alias]: None}
    parts = formula.parts if isinstance(formula, And | Or) else ()
    return {edge: None for part in parts for edge in _touched(part, ways)}


def _certain(test: Expression, level: Level) -> Expression:
    """The test without asking for NULL in a column that cannot have it."""
    match test:
        case And(parts):
            return all_of(_certain(part, level) for part in parts)
        case Or(parts):
            return any_of(_certain(part, level) for part in parts)
        case IsNull(column) if not level.nullable(column):
            return NEVER
        case Not(IsNull(column)) if not level.nullable(column):
            return ALWAYS
    return test


def _holds_for_nulls(formula: Formula) -> bool:
    """Whether a formula is TRUE of rows that are not there: all their columns are NULL."""
    if isinstance(formula, And):
        return all(map(_holds_for_nulls, formula.parts))
    if isinstance(formula, Or):
        return any(map(_holds_for_nulls, formula.parts))
    return Predicate(formula.true if isinstance(formula, At) else formula)(_NULLS)


class _Nulls(Mapping[str, Any]):
    """A row that an outer join has not found."""

    def __getitem__(self, name: str) -> None:
        return None

    def __iter__(self) -> Any:
        return iter(())

    def __len__(self) -> int:
        return 0


_NULLS = _Nulls()


def _is_indexed(test: Expression) -> bool:
    """Whether an index finds the rows of which a test is TRUE: there are few of them, or so it is hoped."""
    return Predicate(test).anchors is not None
