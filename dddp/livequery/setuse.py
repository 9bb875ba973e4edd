"""How a predicate uses live sets: which column is tested against which set, and in which sense."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from dddp.livequery.predicate import And, Column, Expression, InSet, Not, Or, SetSpec

__all__ = ["SetUse", "uses_of"]


@dataclass(frozen=True, slots=True)
class SetUse:
    """How a predicate uses a set."""

    column: Column  #: of the query's rows, tested against the set
    values: SetSpec
    negated: bool  #: rows may enter the query when a value leaves the set


def uses_of(expression: Expression) -> Iterator[SetUse]:
    """Every use of a set in an expression; negations stand right above what they negate (``predicate.negate``)."""
    match expression:
        case InSet(column, values):
            yield SetUse(column, values, negated=False)
        case Not(InSet(column, values)):
            yield SetUse(column, values, negated=True)
        case And(parts) | Or(parts):
            for part in parts:
                yield from uses_of(part)
        case Not(part):
            for use in uses_of(part):
                yield SetUse(use.column, use.values, not use.negated)
