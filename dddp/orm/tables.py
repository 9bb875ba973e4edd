"""Tables, models and the SQL between them: which captured tables a queryset reads.

The one truth about what a queryset reads is the SQL that Django makes of it, joins for ordering and subqueries of
subqueries included; so that text is scanned rather than the query tree, whose nested parts are copied while they are
compiled. Django writes every table as ``FROM "name"`` or ``JOIN "name"``, values travel as parameters, and what a
developer wrote as raw SQL is refused.

What cannot be seen: tables that a database function, a view or the template of an own ``Func`` reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.apps import apps
from django.core.exceptions import EmptyResultSet
from django.db import models
from django.db.models import FilteredRelation, Lookup
from django.db.models.expressions import BaseExpression, RawSQL
from django.db.models.fields.related import ForeignObject
from django.db.models.functions import Now, Random
from django.db.models.sql import Query
from django.db.models.sql.datastructures import Join
from django.db.models.sql.where import ExtraWhere
from django.utils.tree import Node

from dddp.changes import Table
from dddp.errors import QueryRefused

__all__ = [
    "compiled_sql",
    "concrete",
    "leads_to_many",
    "model_of",
    "nodes",
    "refuse_opaque",
    "relations_in",
    "table_of",
    "tables_in",
    "tables_read",
    "used_aliases",
]

#: A relation after FROM or JOIN. What a dot follows is a column (``EXTRACT(YEAR FROM "book"."added")``), what a
#: parenthesis follows is a function.
RELATION = re.compile(r'\b(?:FROM|JOIN)\s+(?:ONLY\s+)?((?:"[^"]++"\.)?"[^"]++"|[A-Za-z_]\w*+)(?!\s*[.(])')


def table_of(model: type[models.Model]) -> Table:
    """The table of a model's own rows; proxies share their concrete model's."""
    return Table(concrete(model)._meta.label_lower)


def model_of(table: Table) -> type[models.Model]:
    """The model of a table, automatic many-to-many models included.

    Raises:
        LookupError: no installed app has it.
    """
    return apps.get_model(table)


def tables_read(queryset: models.QuerySet[Any]) -> frozenset[Table]:
    """Every table of a model that the queryset's SQL reads, the model's own included.

    Raises:
        QueryRefused: part of it is raw SQL, whose tables nobody knows.
    """
    refuse_opaque(queryset)
    sql, _, _ = compiled_sql(queryset, queryset.db)
    return tables_in(sql) | {table_of(queryset.model)}


def compiled_sql(queryset: models.QuerySet[Any], database: str) -> tuple[str, tuple[Any, ...], Query]:
    """The SQL, its parameters, and the query as compiling left it: with the joins that ordering takes.

    A query that can have no rows has no SQL: the text is empty then.
    """
    query = queryset.query.chain()
    try:
        sql, params = query.get_compiler(using=database).as_sql()
    except EmptyResultSet:
        return "", (), query
    return sql, tuple(params), query


def refuse_opaque(queryset: models.QuerySet[Any]) -> None:
    """Refuse what cannot be followed: raw SQL, and functions whose value changes while no row does.

    Raises:
        QueryRefused: with the construct and what to use instead.
    """
    if not isinstance(queryset, models.QuerySet):
        raise QueryRefused(
            f"{type(queryset).__name__} cannot be kept live, only a queryset can: raw SQL does not tell which tables "
            "it reads. Write it with filter(), annotate() and subqueries."
        )
    for node in nodes(queryset.query):
        reason = _opaque(node)
        if reason:
            raise QueryRefused(f"The queryset of {queryset.model._meta.label} cannot be kept live: {reason}")


def used_aliases(query: Query) -> list[str]:
    """The tables that a query really reads from; others are left over from what it was made of."""
    return [alias for alias, count in query.alias_refcount.items() if count]


def leads_to_many(source: Any) -> bool:
    """Whether a source of rows is a join that may find several for one row: not so for foreign keys and one-to-one."""
    if not isinstance(source, Join):
        return False
    relation: Any = source.join_field
    if isinstance(relation, ForeignObject):
        return not (relation.many_to_one or relation.one_to_one)
    return not isinstance(relation, models.OneToOneRel)


def nodes(query: Any) -> Iterator[Any]:
    """Everything a query is built of, depth first: expressions, where nodes and nested queries, itself included."""
    waiting: list[Any] = [query]
    seen: dict[int, Any] = {}  # by identity, and kept: the id of a freed object is given to another
    while waiting:
        node = waiting.pop()
        if node is None or id(node) in seen:
            continue
        seen[id(node)] = node
        yield node
        waiting.extend(_parts(node))


def _parts(node: Any) -> list[Any]:
    if isinstance(node, Query):
        return _parts_of_query(node)
    if isinstance(node, (list, tuple, set)):
        return list(node)
    if isinstance(node, Node):
        return list(node.children)
    if isinstance(node, FilteredRelation):
        return [getattr(node, "resolved_condition", None)]  # None until a join uses it
    if isinstance(node, Lookup):
        # A list on its right side is no source expression, though its items may be.
        return [node.lhs, node.rhs]
    return list(node.get_source_expressions()) if isinstance(node, BaseExpression) else []


def _parts_of_query(query: Query) -> list[Any]:
    parts: list[Any] = [query.where, *query.annotations.values(), *query.select, *query.combined_queries]
    parts += query.order_by or (query.default_ordering and query.model and query.get_meta().ordering) or ()
    if isinstance(query.group_by, tuple):
        parts += query.group_by
    for join in query.alias_map.values():
        parts.append(join.filtered_relation)
    return parts


def _opaque(node: Any) -> str:
    """Why a node cannot be followed; empty when it can."""
    if isinstance(node, Query) and (node.extra or node.extra_tables or node.extra_order_by):
        return "extra() is raw SQL, and does not tell which tables it reads. Use annotate() and filter()."
    if isinstance(node, Query) and node.is_sliced and "?" in node.order_by:
        return "a slice of a random order is another one at each run. Order by something of the row."
    if isinstance(node, (RawSQL, ExtraWhere)):
        return "raw SQL does not tell which tables it reads. Use expressions and subqueries."
    if isinstance(node, Now) or type(node).__name__ == "TransactionNow":
        return "Now() changes while no row does. Pass django.utils.timezone.now() as a value."
    if isinstance(node, Random) or type(node).__name__ == "RandomUUID":
        return "Random() has a new value at each run. Leave the order to the client."
    return ""


def tables_in(sql: str) -> frozenset[Table]:
    """Every table of a model that a text of SQL names after FROM or JOIN."""
    return frozenset(relations_in(sql))


def relations_in(sql: str) -> list[Table]:
    """The tables of models after each FROM and JOIN of a text of SQL."""
    known = _tables_by_name(tuple(apps.get_models(include_auto_created=True)))
    return [known[name] for name in RELATION.findall(sql) if name in known]


@lru_cache(maxsize=1)
def _tables_by_name(all_models: tuple[type[models.Model], ...]) -> dict[str, Table]:
    """Each model's table by its name as SQL may write it, quoted and bare; a managed model's before an unmanaged."""
    by_name: dict[str, Table] = {}
    for model in sorted(all_models, key=lambda model: model._meta.managed):
        name = model._meta.db_table
        by_name[name] = by_name[_quoted(name)] = table_of(model)
    return by_name


def _quoted(name: str) -> str:
    """A table's name as Django writes it in SQL."""
    return name if name.startswith('"') and name.endswith('"') else f'"{name}"'


def concrete(model: type[models.Model]) -> type[models.Model]:
    """The model that has the rows: a proxy's is the one it stands for."""
    concrete = model._meta.concrete_model
    if concrete is None:
        raise QueryRefused(f"{model.__name__} is abstract: it has no table.")
    return concrete
