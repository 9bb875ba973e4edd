"""Predicates: the WHERE of a query, as data, over one row.

Its law: SQL's logic, and nothing of SQL. A test is TRUE, FALSE or NULL (None) here as there, and a row belongs to a
query when the whole is TRUE. Whoever builds an expression (``orm.compiler``) answers for it that comparing Python's
values gives what PostgreSQL would say of the columns; ``Column.comparable`` is there to make it so. Standard library
only, no I/O, no Django.

A predicate also says what an index may find it by (``anchors``): for each way in which it can be TRUE, values, a
range or a live set that a column must then be in.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, TypeAlias

from dddp.changes import Row, Table

__all__ = [
    "ALWAYS",
    "NEVER",
    "Always",
    "Anchor",
    "And",
    "Between",
    "Column",
    "Compare",
    "CompareColumns",
    "Elements",
    "Expression",
    "In",
    "InSet",
    "IsNull",
    "MatchesText",
    "Never",
    "Not",
    "Or",
    "Predicate",
    "SetSpec",
    "Sets",
    "all_of",
    "any_of",
    "in_set",
    "nan_last",
    "negate",
    "untrue",
]

Sets: TypeAlias = Mapping["SetSpec", Collection[Any]]
"""The live sets that a row is judged by: each set's values as its column's ``comparable`` gives them."""

Test: TypeAlias = Callable[[Row, Sets], bool | None]
"""A compiled expression: True, False, or None for SQL's NULL."""

NO_SETS: Sets = {}

#: Ways of being TRUE beyond which a conjunction leaves some of its parts to the predicate.
MAX_ANCHORS = 64

COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

OPPOSITES = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}

TEXT_TESTS: dict[str, Callable[[str, str], bool]] = {
    "contains": operator.contains,
    "startswith": str.startswith,
    "endswith": str.endswith,
}


class _NotANumber:
    """PostgreSQL's NaN: equal to itself and greater than every number."""

    def __lt__(self, other: object) -> bool:
        return False

    def __le__(self, other: object) -> bool:
        return other is self

    def __gt__(self, other: object) -> bool:
        return other is not self

    def __ge__(self, other: object) -> bool:
        return True

    def __repr__(self) -> str:
        return "NaN"


NAN = _NotANumber()


def nan_last(value: Any) -> Any:
    """A number (float or Decimal) as one that orders and equals as PostgreSQL's do."""
    return value if value == value else NAN


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the row, and how its loaded values are made to compare as PostgreSQL compares.

    Constants that meet the column have to be in the same form.
    """

    name: str  #: attname
    #: From a loaded value, never None; None: they compare as they are.
    comparable: Callable[[Any], Any] | None = None

    def reader(self) -> Callable[[Row], Any]:
        """The comparable value of a row; None where the column is NULL."""
        if self.comparable is None:
            return operator.itemgetter(self.name)
        name, comparable = self.name, self.comparable

        def read(row: Row) -> Any:
            value = row[name]
            return None if value is None else comparable(value)

        return read


# -- What an index may use


@dataclass(frozen=True, slots=True)
class Between:
    """A range of values; a bound that is None is no bound."""

    low: Any = None
    high: Any = None
    low_open: bool = False
    high_open: bool = False

    def narrowed(self, other: Between) -> Between:
        """What is in both ranges; may be empty, low above high."""
        low, high = max(self._low, other._low), min(self._high, other._high)
        return Between(low[1], high[1], low_open=low[2] > 1, high_open=high[2] < 1)

    @property
    def _low(self) -> tuple[int, Any, int]:
        """The lower end as something that orders: after every value below it, and after its own value when open."""
        return (0, None, 0) if self.low is None else (1, self.low, 2 if self.low_open else 0)

    @property
    def _high(self) -> tuple[int, Any, int]:
        return (2, None, 2) if self.high is None else (1, self.high, 0 if self.high_open else 2)

    @property
    def ends(self) -> tuple[tuple[int, Any, int], tuple[int, Any, int]]:
        """Both ends in an order in which ``low <= (1, value, 1) <= high`` says that the value is in the range."""
        return self._low, self._high


@dataclass(frozen=True, slots=True)
class Anchor:
    """What must be so of a row for one way of being TRUE. Without any of the three it may be any row."""

    equal: tuple[tuple[Column, frozenset[Any]], ...] = ()  #: each column has one of the values; None is NULL
    within: tuple[Column, Between] | None = None
    member: tuple[Column, SetSpec] | None = None
    exact: bool = True  #: it is enough, too

    def __bool__(self) -> bool:
        return bool(self.equal or self.within or self.member)


ANY_ROW = (Anchor(exact=False),)


def _joined(one: Anchor, other: Anchor) -> Anchor | None:
    """What must be so for both; None when nothing can be. Of several ranges or sets one is kept."""
    equal = dict(one.equal)
    for column, values in other.equal:
        equal[column] = equal[column] & values if column in equal else values
        if not equal[column]:
            return None
    within, exact = _narrowed(one.within, other.within)
    if within is not None and within[0] in equal:
        within, exact = None, False
    if one.member and other.member:
        exact = False
    ordered = tuple(sorted(equal.items(), key=_column_name))
    return Anchor(ordered, within, one.member or other.member, exact and one.exact and other.exact)


def _column_name(item: tuple[Column, Any]) -> str:
    return item[0].name


def _narrowed(
    one: tuple[Column, Between] | None, other: tuple[Column, Between] | None
) -> tuple[tuple[Column, Between] | None, bool]:
    """Both ranges as one, and whether it says it all."""
    if one is None or other is None:
        return one or other, True
    if one[0] == other[0]:
        return (one[0], one[1].narrowed(other[1])), True
    bounded = one[1].low is not None and one[1].high is not None
    return one if bounded else other, False


def _all_anchors(parts: Iterable[tuple[Anchor, ...]]) -> tuple[Anchor, ...]:
    """The ways in which all parts are TRUE at once."""
    ways: tuple[Anchor, ...] = (Anchor(),)
    for part in sorted(parts, key=len):
        if len(ways) * len(part) > MAX_ANCHORS and any(ways):
            return tuple(replace(way, exact=False) for way in ways)
        joined = (_joined(one, other) for one in ways for other in part)
        ways = tuple(dict.fromkeys(way for way in joined if way is not None))
    return ways


# -- Expressions


@dataclass(frozen=True, slots=True)
class Always:
    """TRUE for every row."""

    columns: ClassVar = frozenset[str]()
    anchors: ClassVar = (Anchor(),)

    def compile(self) -> Test:
        return lambda row, sets: True

    def negated(self) -> Expression:
        return NEVER


@dataclass(frozen=True, slots=True)
class Never:
    """FALSE for every row."""

    columns: ClassVar = frozenset[str]()
    anchors: ClassVar[tuple[Anchor, ...]] = ()

    def compile(self) -> Test:
        return lambda row, sets: False

    def negated(self) -> Expression:
        return ALWAYS


ALWAYS = Always()
NEVER = Never()


class _OfColumn:
    """What is common to tests of one column: it is the column they need, and nothing finds them."""

    __slots__ = ()
    column: Column

    @property
    def columns(self) -> frozenset[str]:
        return frozenset((self.column.name,))

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return ANY_ROW

    def negated(self) -> Expression:
        return Not(self)  # type: ignore[arg-type]  # each subclass is an Expression


@dataclass(frozen=True, slots=True)
class Compare(_OfColumn):
    """``column operator constant``; NULL for NULL on either side."""

    column: Column
    operator: str  #: one of COMPARISONS
    constant: Any

    def compile(self) -> Test:
        if self.constant is None:
            return _null
        read, compare, constant = self.column.reader(), COMPARISONS[self.operator], self.constant

        def test(row: Row, sets: Sets) -> bool | None:
            value = read(row)
            return None if value is None else compare(value, constant)

        return test

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        if self.constant is None:
            return ()
        match self.operator:
            case "=":
                return (Anchor(((self.column, frozenset((self.constant,))),)),)
            case "<" | "<=":
                return (Anchor((), (self.column, Between(None, self.constant, False, self.operator == "<"))),)
            case ">" | ">=":
                return (Anchor((), (self.column, Between(self.constant, None, self.operator == ">"))),)
        return ANY_ROW

    def negated(self) -> Expression:
        return Compare(self.column, OPPOSITES[self.operator], self.constant)


def _null(row: Row, sets: Sets) -> bool | None:
    return None


@dataclass(frozen=True, slots=True)
class In(_OfColumn):
    """``column IN (values)``; with a NULL among them what is not found is NULL, not FALSE."""

    column: Column
    values: frozenset[Any]
    has_null: bool = False

    def compile(self) -> Test:
        read, values, missing = self.column.reader(), self.values, None if self.has_null else False
        empty = False if not values and not self.has_null else None

        def test(row: Row, sets: Sets) -> bool | None:
            value = read(row)
            if value is None:
                return empty
            return True if value in values else missing

        return test

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return (Anchor(((self.column, self.values),)),) if self.values else ()


@dataclass(frozen=True, slots=True)
class IsNull(_OfColumn):
    """``column IS NULL``: TRUE or FALSE, never NULL."""

    column: Column

    def compile(self) -> Test:
        read = self.column.reader()
        return lambda row, sets: read(row) is None

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return (Anchor(((self.column, frozenset((None,))),)),)


@dataclass(frozen=True, slots=True)
class CompareColumns:
    """``left operator right``; NULL when either is."""

    left: Column
    operator: str  #: one of COMPARISONS
    right: Column
    anchors: ClassVar = ANY_ROW

    @property
    def columns(self) -> frozenset[str]:
        return frozenset((self.left.name, self.right.name))

    def compile(self) -> Test:
        left, right, compare = self.left.reader(), self.right.reader(), COMPARISONS[self.operator]

        def test(row: Row, sets: Sets) -> bool | None:
            one, other = left(row), right(row)
            return None if one is None or other is None else compare(one, other)

        return test

    def negated(self) -> Expression:
        return CompareColumns(self.left, OPPOSITES[self.operator], self.right)


@dataclass(frozen=True, slots=True)
class MatchesText(_OfColumn):
    """Whether the text contains, starts or ends with another; cases and accents matter."""

    column: Column
    how: str  #: one of TEXT_TESTS
    text: str

    def compile(self) -> Test:
        read, matches, text = self.column.reader(), TEXT_TESTS[self.how], self.text

        def test(row: Row, sets: Sets) -> bool | None:
            value = read(row)
            return None if value is None else matches(value, text)

        return test


@dataclass(frozen=True, slots=True)
class Elements(_OfColumn):
    """Compares an array's elements, whatever their order and number, with some values. NULLs equal nothing."""

    column: Column
    operator: str  #: ``@>`` has all of them, ``<@`` has no other, ``&&`` has one of them
    values: frozenset[Any]
    has_null: bool = False

    def compile(self) -> Test:
        name = self.column.name
        judge = {"@>": self._has_all, "<@": self._has_no_other, "&&": self._has_one}[self.operator]

        def test(row: Row, sets: Sets) -> bool | None:
            value = row[name]
            return None if value is None else judge(list(_flat(value)))

        return test

    def _has_all(self, elements: Collection[Any]) -> bool:
        return not self.has_null and self.values.issubset(elements)

    def _has_no_other(self, elements: Collection[Any]) -> bool:
        return self.values.issuperset(elements)

    def _has_one(self, elements: Collection[Any]) -> bool:
        return not self.values.isdisjoint(elements)


def _flat(elements: Iterable[Any]) -> Iterator[Any]:
    """An array's elements, whatever its dimensions: PostgreSQL does not fix them."""
    for element in elements:
        if isinstance(element, list):
            yield from _flat(element)
        else:
            yield element


@dataclass(frozen=True, slots=True)
class SetSpec:
    """A set to keep live: the values that a column has in the rows of a table that satisfy a condition.

    Two are equal when they would always have the same values, so that all who need it share one.
    """

    table: Table
    where: Expression  #: over the table's rows; may have sets of its own
    column: Column  #: whose values are the members; NULL is none


@dataclass(frozen=True, slots=True)
class InSet(_OfColumn):
    """Whether a set has the column's value: ``EXISTS``, TRUE or FALSE and never NULL. NULL is in no set.

    So its negation is ``NOT EXISTS``, which is TRUE for NULL.
    """

    column: Column
    values: SetSpec

    def compile(self) -> Test:
        read, key = self.column.reader(), self.values

        def test(row: Row, sets: Sets) -> bool | None:
            value = read(row)
            return value is not None and value in sets[key]

        return test

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return (Anchor(member=(self.column, self.values)),)


@dataclass(frozen=True, slots=True)
class Not:
    """NOT; of NULL it is NULL. Built by ``negate``, which pushes it down to what has no opposite of its own."""

    part: Expression
    anchors: ClassVar = ANY_ROW

    @property
    def columns(self) -> frozenset[str]:
        return self.part.columns

    def compile(self) -> Test:
        inner = self.part.compile()

        def test(row: Row, sets: Sets) -> bool | None:
            value = inner(row, sets)
            return None if value is None else not value

        return test

    def negated(self) -> Expression:
        return self.part


class _OfParts:
    """What is common to AND and OR: they need the columns of their parts."""

    __slots__ = ()
    parts: tuple[Expression, ...]

    @property
    def columns(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.columns for part in self.parts))


@dataclass(frozen=True, slots=True)
class And(_OfParts):
    """FALSE if one part is, else NULL if one is, else TRUE. Built by ``all_of``."""

    parts: tuple[Expression, ...]

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return _all_anchors(part.anchors for part in self.parts)

    def compile(self) -> Test:
        return _folded(tuple(part.compile() for part in self.parts), decisive=False)

    def negated(self) -> Expression:
        return any_of(part.negated() for part in self.parts)


@dataclass(frozen=True, slots=True)
class Or(_OfParts):
    """TRUE if one part is, else NULL if one is, else FALSE. Built by ``any_of``."""

    parts: tuple[Expression, ...]

    @property
    def anchors(self) -> tuple[Anchor, ...]:
        return tuple(dict.fromkeys(anchor for part in self.parts for anchor in part.anchors))

    def compile(self) -> Test:
        return _folded(tuple(part.compile() for part in self.parts), decisive=True)

    def negated(self) -> Expression:
        return all_of(part.negated() for part in self.parts)


Expression: TypeAlias = (
    Always | Never | And | Or | Not | Compare | CompareColumns | In | IsNull | InSet | MatchesText | Elements
)


def _folded(tests: tuple[Test, ...], *, decisive: bool) -> Test:
    """AND and OR of three values: the decisive one wins, then NULL, then the other."""

    def test(row: Row, sets: Sets) -> bool | None:
        result: bool | None = not decisive
        for each in tests:
            value = each(row, sets)
            if value is decisive:
                return decisive
            if value is None:
                result = None
        return result

    return test


def all_of(parts: Iterable[Expression]) -> Expression:
    """The conjunction, as simple as it goes."""
    kept: list[Expression] = []
    for part in parts:
        if part == NEVER:
            return NEVER
        if part != ALWAYS:
            kept.extend(part.parts if isinstance(part, And) else (part,))
    return And(tuple(kept)) if len(kept) > 1 else kept[0] if kept else ALWAYS


def any_of(parts: Iterable[Expression]) -> Expression:
    """The disjunction, as simple as it goes."""
    kept: list[Expression] = []
    for part in parts:
        if part == ALWAYS:
            return ALWAYS
        if part != NEVER:
            kept.extend(part.parts if isinstance(part, Or) else (part,))
    return Or(tuple(kept)) if len(kept) > 1 else kept[0] if kept else NEVER


def in_set(column: Column, values: SetSpec) -> Expression:
    """Whether a set has the column's value; an empty set needs not be kept."""
    return NEVER if values.where == NEVER else InSet(column, values)


def negate(part: Expression) -> Expression:
    """NOT, pushed inwards, so that what can be indexed stays visible."""
    return part.negated()


def untrue(part: Expression, nullable: Callable[[Column], bool]) -> Expression:
    """What is TRUE of just those rows of which ``part`` is not: it is FALSE or NULL.

    Args:
        nullable: whether a column may be NULL.
    """
    match part:
        case And(parts):
            return any_of(untrue(each, nullable) for each in parts)
        case Or(parts):
            return all_of(untrue(each, nullable) for each in parts)
        case In(column, values, True):
            return untrue(In(column, values), nullable)
        case Not(In(has_null=True)):
            return ALWAYS  # what is found makes it FALSE, what is not makes it NULL
        case Compare(constant=None):
            return ALWAYS
    return any_of([negate(part), *(IsNull(column) for column in _nullifying(part) if nullable(column))])


def _nullifying(part: Expression) -> tuple[Column, ...]:
    """The columns of a leaf that make it NULL when they are."""
    match part:
        case Not(inner):
            return _nullifying(inner)
        case CompareColumns(left, _, right):
            return left, right
        case In(values=values) if not values:
            return ()  # nothing is in there, not even an unknown value
        case Compare(column) | In(column) | MatchesText(column) | Elements(column):
            return (column,)
    return ()


# -- A query's predicate


class Predicate:
    """Whether a row belongs to a query: the expression is TRUE of it.

    The closures are made at the first row, since of many queries most never see one.
    """

    __slots__ = ("_test", "expression")

    def __init__(self, expression: Expression) -> None:
        self.expression = expression
        self._test: Test | None = None

    def __call__(self, row: Row, sets: Sets = NO_SETS) -> bool:
        """Judge a row.

        Args:
            row: attname -> value as the ORM loads it, ``columns`` at least.
            sets: the members of every set that an ``InSet`` names.
        """
        test = self._test
        if test is None:
            test = self._test = self.expression.compile()
        return test(row, sets) is True

    def __repr__(self) -> str:
        return f"<Predicate {self.expression}>"

    @property
    def columns(self) -> frozenset[str]:
        """The attnames it needs of a row."""
        return self.expression.columns

    @property
    def anchors(self) -> tuple[Anchor, ...] | None:
        """What an index may use: for each way of being TRUE, what must then be so. None: some way asks for nothing."""
        anchors = self.expression.anchors
        return anchors if all(anchors) else None
