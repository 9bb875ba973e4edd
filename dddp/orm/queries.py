"""From a queryset to a ``QuerySpec``: what may be kept live, under which identity, and by which tables' changes.

Nothing here runs a query; a connection is used to write out SQL as it would be sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, cast

from django.db import connections, models, router
from django.db.models.constants import LOOKUP_SEP
from django.db.models.query import ModelIterable
from django.db.models.sql import Query

from dddp.changes import Table
from dddp.errors import QueryRefused
from dddp.livequery.predicate import Predicate, SetSpec
from dddp.livequery.spec import Identity, QuerySpec
from dddp.livequery.window import Window
from dddp.orm.columns import Refused
from dddp.orm.compiler import NotCompilable, compile_predicate, nothing, sets_of
from dddp.orm.documents import ModelShape
from dddp.orm.kept import Kept
from dddp.orm.sets import CannotWrite
from dddp.orm.tables import (
    compiled_sql,
    leads_to_many,
    nodes,
    refuse_opaque,
    relations_in,
    table_of,
    used_aliases,
)
from dddp.orm.windows import window_of

__all__ = ["database_of", "restrict", "specify"]

OF_TEXT = (
    models.CharField,
    models.DateField,
    models.DecimalField,
    models.GenericIPAddressField,
    models.IntegerField,
    models.TextField,
    models.TimeField,
    models.UUIDField,
)
"""Fields whose values a lookup takes from the text that ``str()`` makes of them; DateTimeField is a DateField."""


def specify(
    queryset: models.QuerySet[Any],
    shape: ModelShape,
    *,
    database: str | None = None,
    captured: frozenset[Table],
    columns: Mapping[Table, Iterable[str]] | None = None,
    living: Callable[[Identity], QuerySpec | None] | None = None,
) -> QuerySpec:
    """Make the spec of a queryset's documents in a shape.

    Args:
        database: alias; by default ``database_of`` the queryset.
        captured: the tables whose changes reach the feed.
        columns: what the feed carries of them besides keys, foreign keys and the fields of the shape.
        living: gives the spec that a query with this identity has already, if there is one.

    Raises:
        QueryRefused: it cannot be kept live; the message names why and what to change.
    """
    _refuse_unfit(queryset, shape)
    alias = database or database_of(queryset)
    source = queryset.using(alias)
    _load_documents(source.query, shape)
    sql, params, query = compiled_sql(source, alias)
    relations = relations_in(sql)
    reads = _one(shape.reads | {shape.table, *relations})
    _refuse_uncaptured(reads - captured, shape)
    fields = _published_fields(queryset.query, shape)
    identity = (alias, shape.name, _as_sent(sql, params, alias), fields)
    known = living(identity) if living is not None else None
    if known is not None:
        return known
    spec = partial(
        QuerySpec,
        identity=identity,
        shape=shape,
        reads=reads,
        fields=fields,
        row_by_row=_is_row_by_row(relations, query, shape),
        source=Kept(source, packed=not shape.serialize),
    )
    try:
        predicate, sets, window = _compiled(sql, query, shape, alias, columns or {})
    except (Refused, CannotWrite) as refused:
        return spec(reason=str(refused))
    return spec(predicate=predicate, sets=sets, window=window)


def restrict(
    queryset: models.QuerySet[Any], condition: models.Q | models.QuerySet[Any]
) -> models.QuerySet[Any]:
    """The rows of a queryset that also satisfy a condition, before its slice is cut: the first n *of those*.

    Args:
        condition: a Q, or a queryset of the model's own rows. No row is doubled, whatever relations it goes through.
    """
    restricted = queryset.all()
    if restricted.query.combinator:
        restricted.query.combined_queries = tuple(_restricted_parts(queryset, condition))
        return restricted
    limits = restricted.query.low_mark, restricted.query.high_mark
    restricted.query.clear_limits()
    restricted = restricted.filter(_as_filter(condition, restricted))
    restricted.query.set_limits(*limits)
    return restricted


def database_of(queryset: models.QuerySet[Any]) -> str:
    """Where a queryset is kept live: its own database, else where its model is written: a replica does not notify."""
    return _own_database(queryset) or router.db_for_write(queryset.model)


def _own_database(queryset: Any) -> str | None:
    """The alias that ``using()`` has given the queryset."""
    alias: str | None = queryset._db
    return alias


def _restricted_parts(queryset: models.QuerySet[Any], condition: Any) -> Iterable[Query]:
    for part in queryset.query.combined_queries:
        yield restrict(_queryset_of(part, queryset), condition).query


def _queryset_of(query: Query, like: models.QuerySet[Any]) -> models.QuerySet[Any]:
    return models.QuerySet(like.model, query=query.chain(), using=_own_database(like))


def _as_filter(condition: Any, queryset: models.QuerySet[Any]) -> models.Q:
    if isinstance(condition, models.QuerySet):
        return models.Q(pk__in=condition.values("pk"))
    # Not queryset.db: that may be a replica, and a subquery must name the same database as its query, or none.
    satisfying = queryset.model._base_manager.using(_own_database(queryset)).filter(condition)
    if _is_single_valued(satisfying.query):
        return models.Q(condition)
    return models.Q(pk__in=satisfying.values("pk"))


def _is_single_valued(query: Query) -> bool:
    """Whether no join of the query can double a row: forward foreign keys and one-to-one both ways."""
    return not any(leads_to_many(query.alias_map[alias]) for alias in used_aliases(query))


# -- What is refused


def _refuse_unfit(queryset: Any, shape: ModelShape) -> None:
    refuse_opaque(queryset)
    where = f"The queryset of {queryset.model._meta.label} for collection {shape.name}"
    if queryset.query.select_for_update:
        raise QueryRefused(f"{where} locks rows, which a live query must not. Leave out select_for_update().")
    if queryset._fields is not None or not issubclass(queryset._iterable_class, ModelIterable):
        raise QueryRefused(
            f"{where} gives no model rows. Use .only() instead of values(), values_list() or dates()."
        )
    if getattr(queryset.model._meta, "is_composite_pk", False):
        raise QueryRefused(f"{where} has a composite primary key; a document's id is one value.")
    for model in _models_in(queryset.query):
        if table_of(model) != shape.table:
            raise QueryRefused(
                f"{where} gives rows of {model._meta.label}; the collection's are {shape.table}."
            )


def _models_in(query: Query) -> set[type[models.Model]]:
    """The model whose rows a query gives, and those of each part of a union."""
    return {cast(type[models.Model], query.model)}.union(*map(_models_in, query.combined_queries))


def _refuse_uncaptured(tables: frozenset[Table], shape: ModelShape) -> None:
    if tables:
        raise QueryRefused(
            f"The queryset for collection {shape.name} reads {', '.join(sorted(tables))}, whose changes are not "
            f'captured. Add {", ".join(map(repr, sorted(tables)))} to DDDP["CAPTURE_MODELS"], and run migrate.'
        )


# -- What the spec is made of


def _load_documents(query: Query, shape: ModelShape) -> None:
    """Make a query load whole documents, and give up its order where no slice needs one.

    The document is whole although ``.only()`` publishes a part, since all queries share it. The parts of a union
    stay as they are, their columns have to fit; what they lack is read by key.
    """
    query.clear_ordering(force=False, clear_default=True)
    if not query.combinator:
        shape.load(query)


def _published_fields(query: Query, shape: ModelShape) -> frozenset[str] | None:
    """The document fields that ``.only()`` and ``.defer()`` leave; None for all."""
    parts = query.combined_queries or (query,)
    loading = {(frozenset(names), deferred) for names, deferred in (part.deferred_loading for part in parts)}
    if len(loading) > 1:
        raise QueryRefused(
            f"The parts of a union for collection {shape.name} publish different fields; make them equal."
        )
    names, deferred = loading.pop()
    if not names:
        return None
    if shape.serialize:
        raise QueryRefused(
            f"Collection {shape.name} makes its fields by serialize(); only() and defer() do not apply."
        )
    fields = _one(frozenset(_left(names, deferred, shape)))
    return None if fields == shape.field_names else fields


def _left(names: Iterable[str], deferred: bool, shape: ModelShape) -> Iterable[str]:
    if deferred:  # defer("author__name") leaves author_id; only("author__name") names it
        named = {name for name in names if LOOKUP_SEP not in name}
    else:
        named = {name.split(LOOKUP_SEP)[0] for name in names}
    for name, field in {**shape.concrete, **shape.many}.items():
        if field.primary_key or (field.name in named or field.attname in named) != deferred:
            yield name


@lru_cache(maxsize=4096)
def _one(names: frozenset[Any]) -> frozenset[Any]:
    """One object for equal ones: a hundred thousand queries have few."""
    return names


def _as_sent(sql: str, params: tuple[Any, ...], database: str) -> bytes:
    """What stands for the SQL with its parameters written in: comparable, whatever types the parameters have."""
    sent = sql.encode()
    if params:
        with connections[database].cursor() as cursor:
            sent = cursor.mogrify(sql, params)
    return hashlib.sha256(sent).digest()


def _is_row_by_row(relations: Sequence[Table], query: Query, shape: ModelShape) -> bool:
    """Whether a row belongs to a query, and is the document it is, whatever the other rows of its table are.

    Args:
        relations: the tables after each FROM and JOIN of its SQL.
    """
    if relations.count(shape.table) != 1 or shape.serialize or not _is_of_text(shape.pk):
        return False
    if query.is_sliced or query.combinator or query.distinct_fields or query.group_by not in (None, True):
        return False
    return not any(isinstance(node, models.Window) for node in nodes(query))


def _is_of_text(key: Any) -> bool:
    """Whether a lookup takes the text of a key for the key: so rows are asked for by the ids of their documents."""
    while key.is_relation:
        key = key.target_field
    return isinstance(key, OF_TEXT) and not hasattr(key, "from_db_value")


def _compiled(
    sql: str, query: Query, shape: ModelShape, database: str, columns: Mapping[Table, Iterable[str]]
) -> tuple[Predicate, Mapping[SetSpec, Any], Window | None]:
    """The predicate of a query, the live sets that it uses, and the window that its slice is.

    Raises:
        Refused: it can only be run again.
    """
    if not sql:
        return nothing, {}, None
    if not shape.is_row_backed:
        raise Refused(f"documents of collection {shape.name} are made of more than one row")
    window = None
    if query.is_sliced:
        if not _is_single_valued(query):
            raise Refused("a row may be in its slice more than once")
        window = window_of(query, shape, database, columns)
        query.clear_limits()
    predicate = compile_predicate(query, shape, database, columns)
    if isinstance(predicate, NotCompilable):
        raise Refused(predicate.reason)
    return predicate, sets_of(predicate, database), window
