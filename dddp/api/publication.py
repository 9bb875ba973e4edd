"""Publications: what a client gets for a name and parameters (ddp-wire 4.2, design.md section 4).

Declared as a class, instantiated per subscription. Says which querysets; keeping them live is the runtime's, behind
``Source``. Knows nothing of messages or of what other subscriptions send.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Protocol, TypeAlias, overload

from django.db.models import Manager, Model, QuerySet

from dddp.api.access import Permissions, User, check_access, load_user
from dddp.api.arguments import Signature
from dddp.api.collection import Collection
from dddp.api.connection import Connection
from dddp.changes import Table
from dddp.errors import ImproperlyDeclared, MeteorError
from dddp.orm.tables import tables_read
from dddp.protocol.ratelimit import Rule

__all__ = ["Publication", "Selection", "Source", "publication"]

CollectionRef: TypeAlias = "str | type[Collection] | Collection"
"""A collection by its wire name, its class or its instance."""

Item: TypeAlias = "QuerySet[Any] | Manager[Any] | tuple[QuerySet[Any] | Manager[Any], CollectionRef]"
"""What ``queries`` and ``get_queries`` hold."""

Queries: TypeAlias = "Item | Sequence[Item]"


@dataclass(frozen=True, slots=True)
class Selection:
    """A queryset, restricted to what the user may see, and the collection its rows are documents of."""

    queryset: QuerySet[Any]
    collection: Collection


class Collections(Protocol):
    """Where a publication finds the collection of a queryset: the registry it is registered in."""

    def collection_for(self, model: type[Model]) -> Collection: ...

    def collection_of(self, reference: CollectionRef) -> Collection: ...


class Source(Protocol):
    """One subscription as its publication drives it. After its end, and once disconnected, all of it does nothing."""

    @property
    def active(self) -> bool:
        """Whether the subscription is still open."""

    def added(self, collection: str, id: str, fields: Mapping[str, Any]) -> None: ...

    def changed(self, collection: str, id: str, fields: Mapping[str, Any]) -> None: ...

    def removed(self, collection: str, id: str) -> None: ...

    def ready(self) -> None: ...

    def unblock(self) -> None: ...

    def error(self, exception: BaseException) -> None: ...

    def stop(self) -> None: ...

    def on_stop(self, callback: Callable[[], object]) -> None: ...

    def watch(self, selection: Selection, callback: Callable[[frozenset[str]], object]) -> None: ...


class Publication:
    """What is published under a name. Subclass it, give ``queries``, ``get_queries`` or ``publish``, register it.

    Attributes:
        name: what clients subscribe to; by default the name of the class.
        queries: querysets, or pairs (queryset, collection), that take no parameters.
        auto: published to every client without a subscription; then it takes no parameters.
        login_required: only to logged-in users, others get error 403.
        permission_required: a permission, or several, that the user must hold.
        rerun_accepted: why it is fine that changes run ``queries`` again, a sentence; silences check dddp.W003.
        rate_limits: how often clients may subscribe to it, as ``@rate_limit`` has declared.
    """

    name: ClassVar[str] = ""
    queries: ClassVar[Any] = None
    auto: ClassVar[bool] = False
    login_required: ClassVar[bool] = False
    permission_required: ClassVar[Permissions] = None
    rerun_accepted: ClassVar[str] = ""
    rate_limits: ClassVar[tuple[Rule, ...]] = ()

    registry: ClassVar[Collections]  #: where it is registered

    def __init__(
        self, params: Sequence[Any], user_id: str | None, connection: Connection, source: Source
    ) -> None:
        self.params = params
        self.user_id = user_id
        self.connection = connection
        self._source = source

    @classmethod
    def wire_name(cls) -> str:
        """What clients subscribe to."""
        return cls.name or cls.__name__

    @classmethod
    def signature(cls) -> Signature:
        """The parameters it takes.

        Raises:
            ImproperlyDeclared: an annotation that no client can meet.
        """
        if "_signature" not in vars(cls):
            cls._signature = Signature(cls._handler())
        return cls._signature

    _signature: ClassVar[Signature]

    @cached_property
    def user(self) -> User:
        """The user of this subscription, read on first use; Django's ``AnonymousUser`` without a login."""
        return load_user(self.user_id)

    def get_queries(self, *params: Any, **options: Any) -> Queries:
        """Override to make the querysets from the client's parameters."""
        return self.queries  # type: ignore[no-any-return]

    def publish(self, *params: Any, **options: Any) -> Queries | None:
        """Override to send documents by hand; return querysets to have those published too, else call ``ready``."""
        raise NotImplementedError

    def resolve(self) -> list[Selection] | None:
        """What to keep live for this subscription; None when ``publish`` sends by itself.

        Raises:
            MeteorError: 403 when the user may not, 400 when the parameters do not fit.
            ImproperlyDeclared: a queryset without a collection, or something that is no queryset.
        """
        if self.login_required or self.permission_required:
            check_access(self.user, self.login_required, self.permission_required)
        arguments = self.signature().bind(self.params)
        answer = self._handler()(self, *arguments)
        if answer is None and self._is_low_level():
            return None
        return [self._restricted(selection) for selection in self.selections(answer)]

    @classmethod
    def selections(cls, queries: Queries | None) -> list[Selection]:
        """The querysets with their collections, not yet restricted.

        Raises:
            ImproperlyDeclared: a queryset without a collection, or something that is no queryset.
        """
        return [cls._selection(item) for item in _items(cls, queries)]

    @classmethod
    def check(cls) -> None:
        """Find mistakes at start.

        Raises:
            ImproperlyDeclared: nothing is published, a queryset has no collection, an annotation is none that a
                client can meet, or an automatic publication takes parameters.
            QueryRefused: one of ``queries`` is raw SQL.
        """
        signature = cls.signature()
        cls.tables()
        if cls.auto:
            _check_takes_none(signature)

    @classmethod
    def tables(cls) -> frozenset[Table]:
        """Every table that ``queries`` reads; those of ``get_queries`` are not known from the code alone."""
        if cls._handler() is not _queries_of:
            return frozenset()
        return frozenset().union(*(tables_read(each.queryset) for each in cls.selections(cls.queries)))

    def added(self, collection: CollectionRef, id: Any, fields: Mapping[str, Any]) -> None:
        """Give the client a document that this subscription has not given it yet."""
        self._source.added(self._collection_name(collection), str(id), fields)

    def changed(self, collection: CollectionRef, id: Any, fields: Mapping[str, Any]) -> None:
        """Change fields of a document that this subscription has added; the value ``ABSENT`` takes one away."""
        self._source.changed(self._collection_name(collection), str(id), fields)

    def removed(self, collection: CollectionRef, id: Any) -> None:
        """Take back a document that this subscription has added."""
        self._source.removed(self._collection_name(collection), str(id))

    def ready(self) -> None:
        """Tell the client that the initial documents are complete; only the first call counts."""
        self._source.ready()

    def unblock(self) -> None:
        """Let the client's next message start while this subscription is still being made."""
        self._source.unblock()

    def error(self, exception: BaseException) -> None:
        """End the subscription with an error; its documents are removed first."""
        self._source.error(exception)

    def stop(self) -> None:
        """End the subscription without an error; its documents are removed first."""
        self._source.stop()

    def on_stop(self, callback: Callable[[], object]) -> None:
        """Call back once when the subscription has ended, at once if it has already."""
        self._source.on_stop(callback)

    def watch(self, item: Item, callback: Callable[[frozenset[str]], object]) -> None:
        """Follow a queryset without publishing it.

        Args:
            item: a queryset, or a pair of it and its collection, whose ``user_rel`` does not apply here.
            callback: given the ids of its documents, once they are known, and again when they or their published
                fields have changed; until the subscription ends.

        Raises:
            ImproperlyDeclared: a queryset without a collection, or something that is no queryset.
            QueryRefused: it cannot be kept live.
        """
        self._source.watch(self._selection(item), callback)

    @property
    def active(self) -> bool:
        """Whether the subscription is still open: what a loop that adds documents asks."""
        return self._source.active

    @classmethod
    def _is_low_level(cls) -> bool:
        return cls.publish is not Publication.publish

    @classmethod
    def _handler(cls) -> Callable[..., Any]:
        """The function that answers a subscription."""
        if cls._is_low_level():
            return cls.publish
        return _queries_of if cls.get_queries is Publication.get_queries else cls.get_queries

    @classmethod
    def _selection(cls, item: Any) -> Selection:
        given, reference = item if _is_pair(item) else (item, None)
        if not isinstance(given, QuerySet | Manager):
            raise ImproperlyDeclared(
                f"publication {cls.wire_name()}: {given!r} is no queryset; give querysets or pairs of a queryset "
                "and its collection"
            )
        # The declared object itself: what it is as a live query is worked out once for all who subscribe to it.
        queryset = given if isinstance(given, QuerySet) else given.all()
        return Selection(queryset, cls._collection(queryset.model, reference))

    @classmethod
    def _collection(cls, model: type[Model], reference: CollectionRef | None) -> Collection:
        if reference is None:
            return cls.registry.collection_for(model)
        collection = cls.registry.collection_of(reference)
        if collection.model._meta.concrete_model is not model._meta.concrete_model:
            raise ImproperlyDeclared(
                f"publication {cls.wire_name()}: a queryset of {model._meta.label} cannot be published as "
                f"{collection.name}, which is a collection of {collection.model._meta.label}"
            )
        return collection

    def _restricted(self, selection: Selection) -> Selection:
        collection = selection.collection
        user = self.user if collection.user_paths else None
        return Selection(collection.restrict(selection.queryset, user), collection)

    def _collection_name(self, reference: CollectionRef) -> str:
        return reference if isinstance(reference, str) else self.registry.collection_of(reference).name


def _queries_of(instance: Publication) -> Any:
    return instance.queries


def _check_takes_none(signature: Signature) -> None:
    try:
        signature.bind([])
    except MeteorError:
        raise ImproperlyDeclared("auto = True: nobody gives it parameters, so it must not need any") from None


def _items(cls: type[Publication], queries: Any) -> Iterable[Any]:
    if isinstance(queries, QuerySet | Manager) or _is_pair(queries):
        return [queries]
    if isinstance(queries, list | tuple):
        return queries
    raise ImproperlyDeclared(
        f"publication {cls.wire_name()}: expected a list of querysets, got {queries!r}; set queries, or return "
        "them from get_queries"
    )


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and _names_collection(item[1])


def _names_collection(value: Any) -> bool:
    return isinstance(value, str | Collection) or (isinstance(value, type) and issubclass(value, Collection))


@overload
def publication(name: Callable[..., Any], /) -> type[Publication]: ...


@overload
def publication(
    name: str = "",
    /,
    *,
    auto: bool = False,
    login_required: bool = False,
    permission_required: Permissions = None,
) -> Callable[[Callable[..., Any]], type[Publication]]: ...


def publication(
    name: str | Callable[..., Any] = "",
    /,
    *,
    auto: bool = False,
    login_required: bool = False,
    permission_required: Permissions = None,
) -> Any:
    """Make a publication of a function ``f(publication, *params)`` that returns querysets, or sends by hand.

    ``@publication`` takes the function's name, ``@publication("name")`` another; register what it gives.
    """
    if callable(name):
        return publication(name.__name__)(name)

    def declare(function: Callable[..., Any]) -> type[Publication]:
        declared = {
            "__doc__": function.__doc__,
            "__module__": function.__module__,
            "__qualname__": function.__qualname__,
            "name": name or function.__name__,
            "auto": auto,
            "login_required": login_required,
            "permission_required": permission_required,
            "publish": function,
            "rate_limits": getattr(function, "rate_limits", ()),
        }
        return type(function.__name__, (Publication,), declared)

    return declare
