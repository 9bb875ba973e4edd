"""How a publication's querysets are kept live, in words: for ``manage.py ddp_explain`` and the system checks.

Says what ``orm`` and ``livequery`` have decided and decides nothing itself. It reads the types of columns from the
database, never a row of a published queryset.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connections

from dddp.api.publication import Publication, Selection
from dddp.api.registry import Registry
from dddp.changes import Table
from dddp.errors import QueryRefused
from dddp.livequery.index import Index
from dddp.livequery.predicate import ALWAYS, Anchor, Predicate, SetSpec
from dddp.livequery.setuse import uses_of
from dddp.livequery.spec import QuerySpec
from dddp.livequery.window import Window
from dddp.orm.queries import database_of, specify

__all__ = ["Explanation", "explain", "explain_static", "is_static"]

MEANINGS = {
    "unfiltered": "every row of the table belongs to it",
    "empty": "no row can ever belong to it",
    "indexed": "a changed row finds it by the values of its columns",
    "joined": "the related rows that let a row in are kept as a live set",
    "scanned": "each changed row is held against it",
    "windowed": "rows of some ranks in an order; a changed row is held against the last of them",
    "re-run": "what a change does to it is left to PostgreSQL",
    "refused": "it cannot be kept live; whoever subscribes gets an error",
}
"""The classes of querysets, by how they are kept."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """How one queryset is kept live."""

    collection: str  #: its name on the wire
    kind: str  #: one of MEANINGS
    found_by: str  #: how a change of the table finds it
    reads: tuple[Table, ...]  #: the tables whose changes it listens to
    cost: str  #: of one change
    reason: str | None = None  #: why it is run again, or refused

    @property
    def meaning(self) -> str:
        """The kind in a few words."""
        return MEANINGS[self.kind]

    @property
    def is_rerun(self) -> bool:
        """Whether a change costs a run of the query."""
        return self.kind == "re-run"


def is_static(publication: type[Publication]) -> bool:
    """Whether its querysets are known from the code alone: they are its ``queries``."""
    return bool(publication.tables())


def explain(
    registry: Registry, publication: type[Publication], params: Sequence[Any], user_id: str | None
) -> list[Explanation] | None:
    """How the querysets of a subscription would be kept; None when the publication sends its documents by hand.

    The publication runs as for a client, but for a subscription that is over: what it sends by hand goes nowhere.

    Raises:
        MeteorError: 403 when the user may not subscribe, 400 when the parameters do not fit.
    """
    selections = publication(params, user_id, _NoConnection(), _Ended()).resolve()
    return None if selections is None else [_explained(registry, each) for each in selections]


def explain_static(registry: Registry, publication: type[Publication]) -> list[Explanation]:
    """How the ``queries`` of a publication would be kept for some logged-in user, whoever that is."""
    return [
        _explained(registry, _for_some_user(each)) for each in publication.selections(publication.queries)
    ]


def _for_some_user(selection: Selection) -> Selection:
    collection = selection.collection
    user = _some_user() if collection.user_paths else None
    return Selection(collection.restrict(selection.queryset, user), collection)


def _some_user() -> Any:
    """A user whom no row belongs to; made, not read."""
    model: Any = get_user_model()
    return model(pk=model._meta.pk.to_python(0))


# -- One queryset


def _explained(registry: Registry, selection: Selection) -> Explanation:
    try:
        return _of_spec(_specified(registry, selection))
    except QueryRefused as refused:
        return Explanation(selection.collection.name, "refused", "nothing", (), "nothing", str(refused))


def _specified(registry: Registry, selection: Selection) -> QuerySpec:
    queryset = selection.queryset
    alias = database_of(queryset)
    if connections[alias].vendor != "postgresql":
        raise QueryRefused(f"The database {alias!r} is not PostgreSQL: its rows cannot be kept live")
    columns = {each.table: each.columns for each in registry.captured_tables(alias)}
    shape = selection.collection.shape
    return specify(queryset, shape, database=alias, captured=frozenset(columns), columns=columns)


def _of_spec(spec: QuerySpec) -> Explanation:
    reads = tuple(sorted(spec.reads))
    if spec.predicate is None:
        found_by = "any change of a table it listens to"
        return Explanation(spec.shape.name, "re-run", found_by, reads, _cost_of_rerun(spec), spec.reason)
    return Explanation(
        spec.shape.name, _kind(spec, spec.predicate), _found_by(spec, spec.predicate), reads, _cost(spec)
    )


def _kind(spec: QuerySpec, predicate: Predicate) -> str:
    if predicate.anchors == ():
        return "empty"
    if spec.window is not None:
        return "windowed"
    if predicate.expression == ALWAYS:
        return "unfiltered"
    if spec.sets:
        return "joined"
    return "scanned" if predicate.anchors is None else "indexed"


def _found_by(spec: QuerySpec, predicate: Predicate) -> str:
    anchors = predicate.anchors
    if anchors is None:
        return f"every change of {spec.shape.table}"
    return " or ".join(dict.fromkeys(_key(each) for each in anchors)) or "nothing"


def _key(anchor: Anchor) -> str:
    """The index key of one way of belonging to a query: what has to be so of a row."""
    parts = [column.name for column, _ in anchor.equal if column.name in _indexed(anchor)]
    if anchor.member:
        column, values = anchor.member
        parts = [name for name in parts if name != column.name]  # a key to one row of the set is named once
        parts.append(f"{column.name} (in the live set of {values.table}.{values.column.name})")
    elif anchor.within:
        parts.append(f"{anchor.within[0].name} (a range)")
    return " and ".join(parts)


def _indexed(anchor: Anchor) -> set[str]:
    """The columns that the index uses of an anchor: not those whose values would multiply to too many keys."""
    index: Index[None] = Index()
    index.add(None, _Way((anchor,)))
    return {name for columns in index.groups for name in columns}


def _cost(spec: QuerySpec) -> str:
    if spec.window is not None:
        return _cost_of_window(spec, spec.window)
    if not spec.sets:
        return "no SQL"
    assert spec.predicate is not None
    used = {use.values for use in uses_of(spec.predicate.expression)}
    near, far = _tables(used), _tables(spec.sets.keys() - used)
    cost = f"no SQL; for rows that enter through {near}: one read per transaction, shared by all queries"
    return f"{cost}; where {far} alters that of {near}: one read more" if far else cost


def _cost_of_rerun(spec: QuerySpec) -> str:
    run = "one run of the query per batch of changes"
    if not spec.row_by_row:
        return run
    related = " or ".join(sorted(spec.reads - {spec.shape.table}))
    return f"{run}, for the changed rows alone" + (f"; for all, where {related} changes" if related else "")


def _cost_of_window(spec: QuerySpec, window: Window) -> str:
    unseen = [f"rows of {_tables(spec.sets)} change"] if spec.sets else []
    if window.start or window.stop is not None:
        unseen.append("a row moves in that was beyond it")
    if not window.ordered:
        unknown = ", ".join(order.column.name for order in window.orders if not order.ordered)
        unseen.append(f"the order by {unknown} has to be asked for")
    return f"no SQL; one run of the query where {' or '.join(unseen)}" if unseen else "no SQL"


def _tables(sets: Iterable[SetSpec]) -> str:
    return " or ".join(sorted({values.table for values in sets}))


@dataclass(frozen=True, slots=True)
class _Way:
    """One way of belonging to a query, as the index takes it in."""

    anchors: tuple[Anchor, ...]

    def __call__(self, row: Mapping[str, Any], sets: Any = ()) -> bool:
        return True


# -- A subscription that is over


class _NoConnection:
    """A client that has gone."""

    id = ""
    client_address = ""
    http_headers: Mapping[str, str] = {}

    def close(self) -> None:
        """It is closed."""

    def on_close(self, callback: Callable[[], object]) -> None:
        callback()


class _Ended:
    """A subscription that has ended: all it is told does nothing."""

    active = False

    def added(self, collection: str, id: str, fields: Mapping[str, Any]) -> None: ...

    def changed(self, collection: str, id: str, fields: Mapping[str, Any]) -> None: ...

    def removed(self, collection: str, id: str) -> None: ...

    def ready(self) -> None: ...

    def unblock(self) -> None: ...

    def error(self, exception: BaseException) -> None:
        raise exception

    def stop(self) -> None: ...

    def on_stop(self, callback: Callable[[], object]) -> None:
        callback()

    def watch(self, selection: Selection, callback: Callable[[frozenset[str]], object]) -> None: ...
