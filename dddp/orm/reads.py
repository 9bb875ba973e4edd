"""Snapshot reads: the rows of queries, and the one snapshot that says which transactions they show (design section 5).

Runs on the calling greenlet's Django connection and does all its work in one read-only transaction. The token that it
leaves in the feed comes back after every transaction that the snapshot shows. Knows no position, no live query.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeAlias, cast

from django.db import Error, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from dddp.changes import Key, Row, Snapshot
from dddp.errors import QueryFailed
from dddp.livequery.predicate import SetSpec
from dddp.livequery.read import MoveIn, Related
from dddp.livequery.spec import Fields, QuerySpec
from dddp.livequery.window import Window
from dddp.orm.documents import ModelShape, document_id
from dddp.orm.failures import first_line, mend
from dddp.protocol.ejson import member

__all__ = ["Documents", "ReadFailed", "ReadResult", "read"]

Documents: TypeAlias = dict[Key, Fields]
"""The documents of one query, in no order."""

NO_KEYS: Mapping[QuerySpec, Collection[Key]] = {}
Source: TypeAlias = Callable[[], models.QuerySet[Any]]
"""Gives a queryset to run."""

NO_SETS: Mapping[SetSpec, Source] = {}

#: Rows between two chances for other greenlets to run: some milliseconds of encoding.
ROWS_PER_SLICE = 500

#: Keys per query where documents are looked up by key: far below PostgreSQL's limits, few round trips.
KEYS_PER_QUERY = 10_000

#: Seconds after which a read begins no further query: quick ones go together, a slow one keeps nobody waiting but those
#: that stand behind it. A read that holds dispatch holds it for so long and one query more.
TIME_FOR_MORE = 0.1

#: One round trip. The snapshot of REPEATABLE READ is taken by the first query, so it is the one that is reported.
BEGIN = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;
SET LOCAL statement_timeout = %s; -- milliseconds, for each query
SELECT pg_current_snapshot()::text
"""


class ReadFailed(QueryFailed):
    """A read that gave nothing; ``__cause__`` is the error of the database or of ``serialize``.

    ``spec`` is the query that failed; None when it was the transaction around the queries.
    """

    def __init__(self, spec: QuerySpec | None, cause: BaseException) -> None:
        self.spec = spec
        self.cause = cause
        super().__init__(spec, cause)

    def __str__(self) -> str:
        what = f"The live query of collection {self.spec.shape.name}" if self.spec else "The snapshot read"
        return f"{what} failed: {type(self.cause).__name__}: {first_line(self.cause)}{mend(self.cause)}"


@dataclass(frozen=True, slots=True)
class ReadResult:
    """What a read has seen: whole documents, whatever part of them a query publishes."""

    snapshot: Snapshot
    rows: dict[QuerySpec, Documents]
    related: Related


def read(
    database: str,
    specs: Sequence[QuerySpec],
    token: str,
    channel: str,
    time_limit_ms: int,
    on_snapshot: Callable[[Snapshot], None] | None = None,
    *,
    keys: Mapping[QuerySpec, Collection[Key]] = NO_KEYS,
    sets: Mapping[SetSpec, Source] = NO_SETS,
    move_ins: Sequence[MoveIn] = (),
) -> ReadResult:
    """Run queries in one snapshot, and leave a token in the feed behind it.

    The first one is run in any case, those behind it while there is time (``TIME_FOR_MORE``); the others have no rows.

    Args:
        database: alias that all specs belong to.
        channel: where the token is notified at the end.
        time_limit_ms: for each query; 0 is none.
        on_snapshot: told the snapshot before the first query runs. Must neither block nor raise.
        keys: of these queries only the rows that have one of these keys are read.
        sets: live sets to be read too, each with what gives the queryset of its rows.
        move_ins: rows to be read by the values of a column.

    Raises:
        ReadFailed: nothing was read and no token left; the connection is usable again.
    """
    connection = connections[database]
    try:
        with transaction.atomic(using=database, durable=True):
            snapshot = _begin(connection, time_limit_ms)
            if on_snapshot is not None:
                on_snapshot(snapshot)
            links: dict[QuerySpec, dict[Key, Row]] = {}
            rows = {spec: _documents(spec, links, keys.get(spec)) for spec in _in_time(specs)}
            members = {values: _members(values, source, specs) for values, source in sets.items()}
            entered = {question: _entered(question, database) for question in move_ins}
            _notify(connection, channel, token)
    except ReadFailed:
        connection.close_if_unusable_or_obsolete()
        raise
    except Error as error:
        connection.close_if_unusable_or_obsolete()
        raise ReadFailed(None, error) from error
    return ReadResult(snapshot, rows, Related(members, links, entered))


def _in_time(specs: Sequence[QuerySpec]) -> Iterator[QuerySpec]:
    """The queries, until the time for more of them is over."""
    deadline = time.monotonic() + TIME_FOR_MORE
    for number, spec in enumerate(specs):
        if number and time.monotonic() >= deadline:
            return
        yield spec


def _begin(connection: BaseDatabaseWrapper, time_limit_ms: int) -> Snapshot:
    with connection.cursor() as cursor:
        cursor.execute(BEGIN, [time_limit_ms])
        (text,) = cursor.fetchone()
    return Snapshot.parse(text)


def _notify(connection: BaseDatabaseWrapper, channel: str, token: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, token])


def _documents(
    spec: QuerySpec, links: dict[QuerySpec, dict[Key, Row]], keys: Collection[Key] | None
) -> Documents:
    documents: Documents = {}
    shape = cast(ModelShape, spec.shape)
    try:
        if spec.window is not None:
            links[spec], documents = _ranked_documents(spec, shape, spec.window)
            return documents
        if spec.sets:
            links[spec], documents = _linked_documents(spec, shape)
            return documents
        source = spec.source()
        source = source if keys is None else source.filter(pk__in=keys)
        for queryset in _querysets(source, shape):
            documents.update(_documents_of(queryset, shape))
    except Exception as error:  # whatever an own serialize() raises too
        raise ReadFailed(spec, error) from error
    return documents


def _linked_documents(spec: QuerySpec, shape: ModelShape) -> tuple[dict[Key, Row], Documents]:
    """The documents of a query that uses live sets; with the columns that its predicate needs of each."""
    assert spec.predicate is not None
    columns = spec.predicate.columns
    links: dict[Key, Row] = {}
    documents: Documents = {}
    source = spec.source()
    shape.load(source.query, also=columns)
    for row in _paced(_rows(source)):
        key = shape.key(row)
        links[key] = {name: row[name] for name in columns}
        documents[key] = shape.concrete_members(row)
    return links, documents


def _ranked_documents(spec: QuerySpec, shape: ModelShape, window: Window) -> tuple[dict[Key, Row], Documents]:
    """The documents of a window; with what orders them, and the rows before them."""
    ranked: dict[Key, Row] = {}
    documents: Documents = {}
    source = spec.source()
    source.query.low_mark = 0
    shape.load(source.query, also=window.columns)
    for rank, row in enumerate(_paced(_rows(source))):
        key = shape.key(row)
        ranked[key] = {name: row[name] for name in window.columns}
        if rank >= window.start:
            documents[key] = shape.concrete_members(row)
    return ranked, documents


def _members(values: SetSpec, source: Source, specs: Iterable[QuerySpec]) -> dict[Key, Any]:
    """The rows of a live set: key -> value, as the set's column compares it. A failure blames a query that uses it."""
    read = values.column.reader()
    name = values.column.name
    try:
        rows = _paced(source().values_list("pk", name))
        return {document_id(pk): read({name: value}) for pk, value in rows}
    except Exception as error:  # whatever a field's own conversion raises too
        raise ReadFailed(next((spec for spec in specs if values in spec.sets), None), error) from error


def _entered(question: MoveIn, database: str) -> dict[Key, tuple[Row, Fields]]:
    """The rows that have one of the values, with their documents."""
    shape = cast(ModelShape, question.shape)
    found: dict[Key, tuple[Row, Fields]] = {}
    objects = shape.model._base_manager.using(database).order_by()
    shape.load(objects.query, also=question.columns)
    for values in _chunks(question.values):
        for row in _paced(_rows(objects.filter(**{f"{question.column}__in": values}))):
            columns = {name: row[name] for name in question.columns}
            found[shape.key(row)] = (columns, shape.concrete_members(row))
    return found


def _querysets(source: models.QuerySet[Any], shape: ModelShape) -> Iterator[models.QuerySet[Any]]:
    """What to run for a query: its queryset, or for a union the rows of the keys it has.

    The parts of a union may load different columns, and take no prefetching.
    """
    if not source.query.combinator:
        yield source
        return
    objects = shape.model._base_manager.using(source.db)
    shape.load(objects.query)
    for keys in _chunks(row[shape.pk.attname] for row in _rows(source)):
        yield objects.filter(pk__in=keys)


def _documents_of(queryset: models.QuerySet[Any], shape: ModelShape) -> Mapping[Key, Fields]:
    if shape.serialize:
        objects = queryset.prefetch_related(*shape.prefetch_related)
        return {document_id(obj.pk): shape.members(shape.serialize(obj)) for obj in _paced(objects)}
    documents: dict[Key, dict[str, bytes]] = {}
    keys = []
    for row in _paced(_rows(queryset)):
        keys.append(row[shape.pk.attname])
        documents[shape.key(row)] = shape.concrete_members(row)
    for name, field in shape.many.items():
        _add_many(documents, keys, name, field, queryset.db)
    return documents


def _add_many(
    documents: dict[Key, dict[str, bytes]], keys: list[Any], name: str, field: Any, database: str
) -> None:
    """Add the ids that a many-to-many field leads to, sorted by key, in the read's snapshot."""
    related: dict[Key, list[Key]] = {key: [] for key in documents}
    source, target = f"{field.m2m_field_name()}__pk", f"{field.m2m_reverse_field_name()}__pk"
    links = field.remote_field.through._base_manager.using(database).order_by(target)
    for chunk in _chunks(keys):
        for key, other in links.filter(**{f"{source}__in": chunk}).values_list(source, target):
            related[document_id(key)].append(document_id(other))
    for key, ids in related.items():
        documents[key][name] = member(name, ids)


def _rows(queryset: models.QuerySet[Any]) -> Iterator[dict[str, Any]]:
    """The rows as model instances would be made of: attribute name -> value; annotations are left out."""
    compiler = queryset.all().query.get_compiler(using=queryset.db)
    results = compiler.execute_sql()
    fields = compiler.klass_info["select_fields"]
    start, stop = fields[0], fields[-1] + 1
    names = [column.target.attname for column, _, _ in compiler.select[start:stop]]
    for values in compiler.results_iter(results):
        yield dict(zip(names, values[start:stop], strict=True))


def _chunks(keys: Iterable[Any]) -> Iterator[list[Any]]:
    remaining = iter(keys)
    while chunk := list(islice(remaining, KEYS_PER_QUERY)):
        yield chunk


def _paced(rows: Iterable[Any]) -> Iterator[Any]:
    """The same rows; other greenlets run in between (under gevent, sleeping is giving way)."""
    for number, row in enumerate(rows, 1):
        yield row
        if number % ROWS_PER_SLICE == 0:
            time.sleep(0)
