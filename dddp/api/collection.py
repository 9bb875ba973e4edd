"""Collections: which rows of a model clients may hold, and what a row looks like to them (design.md section 4).

Declared as a class, used as an instance that the registry makes. Knows the ORM through its public interface and the
shape of documents through ``orm``; nothing of subscriptions, sessions or the feed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, TypeVar

from django.core.exceptions import FieldDoesNotExist, FieldError
from django.db.models import Model, Q, QuerySet

from dddp.api import schema
from dddp.api.access import User
from dddp.api.mutators import RULES
from dddp.api.user_rel import UserPath
from dddp.changes import Table
from dddp.errors import ImproperlyDeclared
from dddp.orm.documents import Computed, ModelShape
from dddp.orm.queries import restrict
from dddp.orm.tables import table_of, tables_read

__all__ = ["Collection", "computed"]

F = TypeVar("F", bound=Callable[..., Any])

MARK = "_dddp_computed"


def computed(*fields: str) -> Callable[[F], F]:
    """Make a function ``f(self, *values)`` of a collection a field of its documents, under the function's name.

    Args:
        fields: names of the model's fields whose values it is given, published or not. Their columns travel in the
            feed, and nothing but them may decide the result.
    """

    def mark(function: F) -> F:
        setattr(function, MARK, fields)
        return function

    return mark


class Collection:
    """The documents that one model's rows become. Subclass it, set ``model``, register the class.

    Attributes:
        model: the Django model; the only one that must be set.
        name: on the wire; by default the model's label in lower case, ``bookstore.book``.
        fields: names of the model's fields to publish. By default every concrete field but the primary key, which
            is the document's id; many-to-many fields only when named.
        exclude: names of fields not to publish.
        user_rel: path from the model to the user, or several: each user gets the rows from which one of them leads
            to that user; nobody else gets any.
        always_allow_superusers: superusers get every row in spite of ``user_rel``, as in django-ddp.
        qs_filter: a ``Q`` or a dict of lookups that every published row meets.
        order_by: decides which rows a slice takes whose queryset has no order of its own.
        filter_fields: fields that queries filter on without publishing them; their columns travel in the feed,
            which every role of the database can read.
        select_related, prefetch_related: what ``serialize`` walks; changes of those rows are live.
    """

    model: ClassVar[type[Model]]
    name: str = ""
    fields: Sequence[str] | None = None
    exclude: Sequence[str] = ()
    user_rel: str | Sequence[str] = ()
    always_allow_superusers: bool = True
    qs_filter: Q | Mapping[str, Any] | None = None
    order_by: Sequence[str] = ()
    filter_fields: Sequence[str] = ()
    select_related: Sequence[str] = ()
    prefetch_related: Sequence[Any] = ()

    def __init__(self) -> None:
        model = getattr(self, "model", None)
        if not (isinstance(model, type) and issubclass(model, Model)):
            raise ImproperlyDeclared(
                f"collection {type(self).__name__}: set model to a Django model, not {model!r}"
            )
        self.name = self.name or model._meta.label_lower

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"

    def serialize(self, obj: Any) -> Mapping[str, Any]:
        """Override to give documents a shape of their own: field name -> value, without the id.

        What it touches besides the object, ``select_related`` and ``prefetch_related`` is not live.
        """
        raise NotImplementedError

    def allow_insert(self, user: User, obj: Any) -> bool:
        """Override to let clients insert by Meteor's ``insert``: whether this user may store this new object.

        The object is not checked yet. The rule may complete it: ``obj.owner = user``.
        """
        return False

    def allow_update(self, user: User, obj: Any, changes: Mapping[str, Any]) -> bool:
        """Override to let clients update: whether this user may change the object, locked and still as it was.

        Args:
            changes: names of fields in the document -> new values.
        """
        return False

    def allow_remove(self, user: User, obj: Any) -> bool:
        """Override to let clients remove: whether this user may delete the object, locked."""
        return False

    @cached_property
    def rules(self) -> frozenset[str]:
        """The operations that have an allow rule."""
        own, base = type(self), Collection
        return frozenset(
            each for each in RULES if getattr(own, f"allow_{each}") is not getattr(base, f"allow_{each}")
        )

    def schema(self) -> dict[str, dict[str, Any]]:
        """The published fields for forms on the client, in the words of Meteor's SimpleSchema."""
        return schema.describe(self.shape)

    @cached_property
    def shape(self) -> ModelShape:
        """How rows become documents.

        Raises:
            ImproperlyDeclared: ``fields`` or ``exclude`` names what the model has not.
        """
        overridden = type(self).serialize is not Collection.serialize
        return ModelShape(
            self.name,
            self.model,
            self.fields,
            self.exclude,
            serialize=self.serialize if overridden else None,
            select_related=self.select_related,
            prefetch_related=self.prefetch_related,
            computed=self._computed(),
        )

    def _computed(self) -> dict[str, Computed]:
        """What ``@computed`` marks; looks at the classes, so no property is run to find it."""
        own = type(self)
        names = dict.fromkeys(name for each in reversed(own.__mro__) for name in vars(each))
        marked = {name: getattr(getattr(own, name, None), MARK, None) for name in names}
        return {name: (fields, getattr(self, name)) for name, fields in marked.items() if fields is not None}

    @cached_property
    def user_paths(self) -> tuple[UserPath, ...]:
        """``user_rel``, checked.

        Raises:
            ImproperlyDeclared: a path does not lead to the user.
        """
        paths = (self.user_rel,) if isinstance(self.user_rel, str) else self.user_rel
        return tuple(UserPath(self.model, path) for path in paths)

    def restrict(self, queryset: QuerySet[Any], user: User | None) -> QuerySet[Any]:
        """Leave only the rows that this user may see; a slice is one of those rows.

        Args:
            user: None or Django's ``AnonymousUser`` for a client that has not logged in.
        """
        condition = self._static_condition()
        if not self._sees_all(user):
            if user is None or not user.is_authenticated:
                return queryset.none()
            condition &= self._rows_of(user)
        return self._ordered(restrict(queryset, condition) if condition else queryset)

    def check(self) -> None:
        """Find mistakes at start.

        Raises:
            ImproperlyDeclared: a field, path or filter that the model has not.
            QueryRefused: ``qs_filter`` or ``order_by`` cannot be kept live.
        """
        self.columns()
        if type(self).serialize is not Collection.serialize and self.rules - {"remove"}:
            raise ImproperlyDeclared(
                "allow_insert and allow_update do not go with serialize: its fields are not the model's. Take them "
                "away, and give clients a method"
            )
        try:
            self.tables()
        except FieldError as error:
            raise ImproperlyDeclared(f"qs_filter or order_by: {error}") from error

    def tables(self) -> frozenset[Table]:
        """Every table that restricting, ordering and making documents reads, whoever the user is."""
        rows = self._ordered(self.model._base_manager.filter(self._static_condition()))
        reads = [tables_read(rows), *(tables_read(path.rows()) for path in self.user_paths)]
        return frozenset().union(*reads) | self.shape.reads

    def columns(self) -> dict[Table, tuple[str, ...]]:
        """The columns, by table, whose values the feed carries for this collection."""
        columns = {self.shape.table: self.shape.columns}
        for name in self.filter_fields:
            field = self._filter_field(name)
            table = table_of(field.model)
            columns[table] = (*columns.get(table, ()), field.column)
        return columns

    def _sees_all(self, user: User | None) -> bool:
        allowed = self.always_allow_superusers and user is not None and getattr(user, "is_superuser", False)
        return not self.user_paths or bool(allowed)

    def _static_condition(self) -> Q:
        if self.qs_filter is None:
            return Q()
        return self.qs_filter if isinstance(self.qs_filter, Q) else Q(**self.qs_filter)

    def _rows_of(self, user: User) -> Q:
        condition = Q()
        for path in self.user_paths:
            condition |= path.condition(user)
        return condition

    def _ordered(self, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.order_by or queryset.ordered:
            return queryset
        low, high = queryset.query.low_mark, queryset.query.high_mark
        ordered = queryset.all()
        ordered.query.clear_limits()
        return ordered.order_by(*self.order_by)[low:high]

    def _filter_field(self, name: str) -> Any:
        try:
            field = self.model._meta.get_field(name)
        except FieldDoesNotExist:
            field = None
        if field is None or not field.concrete or field.many_to_many:
            raise ImproperlyDeclared(
                f"collection {self.name}: filter_fields names {name!r}, which is no column of {self.model._meta.label}"
            )
        return field
