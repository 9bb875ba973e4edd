"""How the rows of one collection become documents: fields, their names, and the value each type has on the wire.

A row here is decoded: attribute name -> the value the ORM loads, be it from the feed (``orm.rows``) or from a read
(``orm.reads``). One encoder per field, chosen once from the field's type, serves both, so both give the same bytes.

===========================================  ========================================================================
field                                        in the document
===========================================  ========================================================================
key                                          not a field: the document's id (published as well only when named)
foreign key                                  under its ``attname``: the text of the value it holds, which is the
                                             related document's id (``to_field``: that field's value)
many-to-many                                 only when named, as ``<name>_ids``: a sorted list of id texts
date and time                                EJSON date; a naive one (``USE_TZ = False``) is taken in Django's default
                                             time zone, in which Django stores it
decimal, UUID, date, time, duration          text, as ``DjangoJSONEncoder`` writes it
integer                                      number; above 2**53 a JavaScript client rounds it
binary                                       EJSON binary
JSON                                         as it is, but for the keys that minimongo refuses (``published_key``)
file, image                                  its name in the storage
array, hstore                                list, object
range                                        ``{"lower", "upper", "bounds"}``, bounds as in ``[)``; ``empty`` when empty
any other type                               as it is where EJSON knows it, else its ``str()``
===========================================  ========================================================================
"""

from __future__ import annotations

import datetime
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from typing import Any, TypeAlias
from uuid import UUID

from django.db import models
from django.db.models.constants import LOOKUP_SEP
from django.db.models.fields.files import FieldFile
from django.db.models.sql import Query
from django.utils import timezone
from psycopg2.extras import Range

from dddp.changes import Key, Row, Table
from dddp.errors import ImproperlyDeclared
from dddp.livequery.spec import Fields
from dddp.orm.memo import Memo
from dddp.orm.tables import concrete, table_of, tables_read
from dddp.protocol.ejson import member

logger = logging.getLogger(__name__)

__all__ = ["FeedRow", "ModelShape", "document_id", "ejson_value", "is_pure", "original_key", "published_key"]

Computed: TypeAlias = tuple[Sequence[str], Callable[..., Any]]
"""Names of fields, and the function that makes one field of the document from their values."""

Encoder: TypeAlias = Callable[[Any], Any]
"""From the value the ORM loads to one that EJSON knows."""


class FeedRow(dict[str, Any]):
    """A decoded row from the feed, which knows what it was decoded from.

    Args:
        texts: column name -> the feed's text.
        values: attribute name -> what the ORM would load.
    """

    __slots__ = ("texts",)

    def __init__(self, texts: Row, values: dict[str, Any]) -> None:
        super().__init__(values)
        self.texts = texts


#: Types whose loaded values EJSON writes as they are. BigIntegerField and the other integers are IntegerFields.
PLAIN = (
    models.BooleanField,
    models.CharField,
    models.DecimalField,
    models.DurationField,
    models.FilePathField,
    models.FloatField,
    models.GenericIPAddressField,
    models.IntegerField,
    models.TextField,
    models.TimeField,
    models.UUIDField,
)


def document_id(value: Any) -> Key:
    """A document's id from the value of its key, be it read from the feed or by the ORM."""
    if isinstance(value, (bytes, memoryview)):
        return Key(bytes(value).hex())
    return Key(str(value))


class ModelShape:
    """The documents of one collection over one model.

    Args:
        name: the collection's name on the wire.
        fields: names of model fields to publish; None publishes every concrete field but the key, and leaves none
            out for its name: exclude what clients must not see.
        exclude: names of model fields not to publish.
        serialize: makes the fields of a document from an object, instead of ``fields``; documents then take a read.
        select_related, prefetch_related: what ``serialize`` walks; loaded with the objects.
        computed: fields of the document that are made from columns of the same row, by name.

    Raises:
        ImproperlyDeclared: a field that the model has not, or a model without one column as its key.
    """

    def __init__(
        self,
        name: str,
        model: type[models.Model],
        fields: Sequence[str] | None = None,
        exclude: Iterable[str] = (),
        *,
        serialize: Callable[[Any], Mapping[str, Any]] | None = None,
        select_related: Sequence[str] = (),
        prefetch_related: Sequence[Any] = (),
        computed: Mapping[str, Computed] | None = None,
    ) -> None:
        self.name = name
        self.model = model
        self.serialize = serialize
        self.select_related = tuple(select_related)
        self.prefetch_related = tuple(prefetch_related)
        self.pk = _key_field(name, model)
        self.table: Table = table_of(model)
        published = _published(name, model, fields, frozenset(exclude))
        #: Concrete fields by their name in the document.
        self.concrete = (
            {} if serialize else {f.attname: f for f in published if f.concrete and not f.many_to_many}
        )
        #: Many-to-many fields by their name in the document.
        self.many = {} if serialize else {f"{f.name}_ids": f for f in published if f.many_to_many}
        #: Fields made from the row's other columns: by name, those columns and the function.
        self.computed = {} if serialize else _computed(name, model, computed or {})
        self._complained: set[str] = set()
        self._encoders = tuple((attname, encoder_of(f)) for attname, f in self.concrete.items())
        #: The same for rows from the feed, with the column of each field.
        self._remembering = tuple((name, f.column, Members(f)) for name, f in self.concrete.items())

    def __repr__(self) -> str:
        return f"<ModelShape {self.name} of {self.model._meta.label}>"

    @cached_property
    def field_names(self) -> frozenset[str]:
        """The names a document may have; empty where ``serialize`` decides."""
        return frozenset(self.concrete) | frozenset(self.many) | frozenset(self.computed)

    @cached_property
    def is_row_backed(self) -> bool:
        """Whether a row of the table is enough to make the document."""
        return not (self.serialize or self.many or concrete(self.model)._meta.parents)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that documents are made of, the key's first; the key's alone when they take a read."""
        published = [f.column for f in self._loaded] if self.is_row_backed else []
        return tuple(dict.fromkeys([self.pk.column, *published]))

    @property
    def _loaded(self) -> list[Any]:
        """The fields whose values documents are made of."""
        return [*self.concrete.values(), *(f for sources, _ in self.computed.values() for f in sources)]

    @cached_property
    def reads(self) -> frozenset[Table]:
        """The tables that making a document reads besides what its query reads."""
        tables = {table_of(f.remote_field.through) for f in self.many.values()}
        for path in self.select_related:
            tables |= _tables_on_path(self.model, path)
        for lookup in self.prefetch_related:
            tables |= _tables_of_prefetch(self.model, lookup)
        return frozenset(tables)

    def load(self, query: Query, also: Iterable[str] = ()) -> None:
        """Make a query load the columns that documents are made of, whatever it loaded before.

        Args:
            also: attribute names of more columns, for documents that a row is enough for.
        """
        query.clear_deferred_loading()
        query.select_related = False
        if not self.serialize:
            more = (self.model._meta.get_field(name).name for name in also)
            names = (field.name for field in self._loaded)
            query.add_immediate_loading([self.pk.name, *names, *more])
        elif self.select_related:
            query.add_select_related(self.select_related)

    def key(self, row: Row) -> Key:
        """The id of the document of a decoded row."""
        return document_id(row[self.pk.attname])

    def document(self, row: Row) -> Fields | None:
        """The document of a decoded row; None when it takes a read to make one."""
        return self.concrete_members(row) if self.is_row_backed else None

    def concrete_members(self, row: Row) -> dict[str, bytes]:
        """The members that the row's own columns give: the hot path, so flat loops."""
        try:
            if isinstance(row, FeedRow):
                members = self._remembered(row, row.texts)
            else:
                members = {name: member(name, encode(row[name])) for name, encode in self._encoders}
        except (TypeError, ValueError):
            members = {name: self._member(name, encode, row[name]) for name, encode in self._encoders}
        return members | self._computed_members(row) if self.computed else members

    def _remembered(self, row: Row, texts: Row) -> dict[str, bytes]:
        return {
            name: known.get(texts[column]) or known.made_of(texts[column], row[name])
            for name, column, known in self._remembering
        }

    def _computed_members(self, row: Row) -> dict[str, bytes]:
        """The members that functions make; null where one raises, so that it does not stop the feed."""
        members = {}
        for name, (sources, function) in self.computed.items():
            try:
                value = function(*(row[field.attname] for field in sources))
            except Exception as error:  # noqa: BLE001 - the project's code, run in the feed's greenlet
                self._complain(name, error)
                value = None
            members[name] = self._member(name, ejson_value, value)
        return members

    def members(self, fields: Mapping[str, Any]) -> dict[str, bytes]:
        """The members of what ``serialize`` returned; ``_id`` is left out, being the document's id already."""
        named = {published_key(name): value for name, value in fields.items() if name != "_id"}
        return {name: self._member(name, ejson_value, value) for name, value in named.items()}

    def _member(self, name: str, encode: Encoder, value: Any) -> bytes:
        """One member; null for a value that EJSON cannot hold, so that one odd row does not stop a collection."""
        try:
            return member(name, encode(value))
        except (TypeError, ValueError) as error:
            self._complain(name, error)
            return member(name, None)

    def _complain(self, name: str, error: Exception) -> None:
        if name not in self._complained:
            self._complained.add(name)
            logger.warning("Collection %s: a value of %s is published as null: %s", self.name, name, error)


class Members(Memo[bytes]):
    """The members that one field of a document has had, by the feed's texts of its column."""

    __slots__ = ("_encode", "_name", "_pure")

    def __init__(self, field: Any) -> None:
        self._name = field.attname
        self._encode = encoder_of(field)
        self._pure = is_pure(field)

    def made_of(self, text: str | None, value: Any) -> bytes:
        """The member of a value; raises as ``member`` does."""
        made = member(self._name, self._encode(value))
        return self.remember(text, made) if self._pure else made


# A document with one such key, at any depth, is lost on a Meteor client (ddp-wire 8.3). The full-width twins are what
# MongoDB's manual recommended to those who had to store such keys.
_REFUSED = re.compile(r"\A\$|[.\0]")
_TWINS = str.maketrans({".": "\uff0e", "\0": "\u2400"})
_ORIGINALS = str.maketrans({"\uff0e": "."})  # a NUL could not be stored
_DOLLAR = "\uff04"


def published_key(key: str) -> str:
    """A key as documents have it: with full-width twins for dots and a leading dollar sign, a symbol for NUL."""
    if not _REFUSED.search(key):
        return key
    return (_DOLLAR + key[1:] if key[0] == "$" else key).translate(_TWINS)


def original_key(key: str) -> str:
    """The key behind ``published_key``; one that had a twin in it from the start is taken for another."""
    return ("$" + key[1:] if key[:1] == _DOLLAR else key).translate(_ORIGINALS)


def encoder_of(field: Any) -> Encoder:
    """The encoder of a field, chosen by its type."""
    if field.is_relation:
        return _reference
    if isinstance(field, models.GeneratedField):
        return encoder_of(field.output_field)
    if isinstance(field, models.DateTimeField):
        return _instant
    if isinstance(field, PLAIN) and _loads_as_usual(field):
        return _as_it_is
    return ejson_value


def ejson_value(value: Any) -> Any:
    """Any value the ORM may load, as one that EJSON knows; goes into lists, objects and ranges."""
    if value is None or isinstance(value, (str, bool, int, float, Decimal, UUID, bytes)):
        return value
    if isinstance(value, datetime.datetime):
        return _instant(value)
    if isinstance(value, (datetime.date, datetime.time, datetime.timedelta)):
        return value
    if isinstance(value, Mapping):
        return {published_key(str(key)): ejson_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [ejson_value(item) for item in value]
    if isinstance(value, (memoryview, bytearray)):
        return bytes(value)
    if isinstance(value, Range):
        return _range(value)
    if isinstance(value, FieldFile):
        return value.name
    return str(value)


def _as_it_is(value: Any) -> Any:
    return value


def _reference(value: Any) -> Key | None:
    return None if value is None else document_id(value)


def _instant(value: datetime.datetime | None) -> datetime.datetime | None:
    if value is None or value.tzinfo is not None:
        return value
    return timezone.make_aware(value, timezone.get_default_timezone())


def _range(value: Any) -> dict[str, Any]:
    if value.isempty:
        return {"lower": None, "upper": None, "bounds": "empty"}
    bounds = ("[" if value.lower_inc else "(") + ("]" if value.upper_inc else ")")
    return {"lower": ejson_value(value.lower), "upper": ejson_value(value.upper), "bounds": bounds}


def is_pure(field: Any) -> bool:
    """Whether equal texts of a field's column are loaded as equal values, which nobody can change."""
    while field.is_relation:
        field = field.target_field
    return isinstance(field, (*PLAIN, models.DateField)) and _loads_as_usual(field)


def _loads_as_usual(field: models.Field[Any, Any]) -> bool:
    """Whether the field is one of Django's, or a subclass that leaves loading alone."""
    return not hasattr(field, "from_db_value")


def _key_field(name: str, model: type[models.Model]) -> Any:
    if not (isinstance(model, type) and issubclass(model, models.Model)):
        raise ImproperlyDeclared(
            f"Collection {name}: {model!r} is not a model class. Import the model and name it."
        )
    if model._meta.abstract:
        raise ImproperlyDeclared(
            f"Collection {name}: the model {model.__name__} is abstract, it has no rows."
        )
    if getattr(model._meta, "is_composite_pk", False):
        raise ImproperlyDeclared(
            f"Collection {name}: {model._meta.label} has a composite primary key; a document's id is one value. "
            "Publish a model whose key is one column."
        )
    return model._meta.pk


def _published(
    name: str, model: type[models.Model], fields: Sequence[str] | None, exclude: frozenset[str]
) -> list[Any]:
    choices = _choices(model)
    for option, given in (("fields", fields or ()), ("exclude", exclude)):
        unknown = sorted(set(given) - set(choices))
        if unknown:
            raise ImproperlyDeclared(
                f"Collection {name}: {option} names {', '.join(map(repr, unknown))}, which {model._meta.label} "
                f"has not. Choices: {', '.join(sorted(choices))}."
            )
    excluded = {choices[given] for given in exclude}
    named = [choices[given] for given in fields] if fields is not None else _default(model)
    return [field for field in dict.fromkeys(named) if field not in excluded and _fits(name, field)]


def _choices(model: type[models.Model]) -> dict[str, Any]:
    """What ``fields`` and ``exclude`` may name: fields by name, foreign keys also by ``attname``."""
    own = {f.name: f for f in (*model._meta.concrete_fields, *model._meta.many_to_many)}
    return own | {f.attname: f for f in model._meta.concrete_fields}


def _default(model: type[models.Model]) -> list[Any]:
    return [field for field in model._meta.concrete_fields if not field.primary_key]


def _fits(name: str, field: Any) -> bool:
    if field.attname == "_id":
        raise ImproperlyDeclared(
            f"Collection {name}: a field cannot be named _id on the wire, where that is the document's id. Exclude it."
        )
    return True


def _computed(
    name: str, model: type[models.Model], computed: Mapping[str, Computed]
) -> dict[str, tuple[list[Any], Callable[..., Any]]]:
    choices = {given: field for given, field in _choices(model).items() if not field.many_to_many}
    for field, (sources, _) in computed.items():
        unknown = sorted(set(sources) - set(choices))
        if unknown:
            raise ImproperlyDeclared(
                f"Collection {name}: the computed field {field!r} is made from {', '.join(map(repr, unknown))}, "
                f"which {model._meta.label} has no column for. Choices: {', '.join(sorted(choices))}."
            )
    return {field: ([choices[each] for each in sources], make) for field, (sources, make) in computed.items()}


def _tables_of_prefetch(model: type[models.Model], lookup: Any) -> set[Table]:
    if not isinstance(lookup, models.Prefetch):
        return _tables_on_path(model, lookup)
    own = tables_read(lookup.queryset) if lookup.queryset is not None else frozenset[Table]()
    return _tables_on_path(model, lookup.prefetch_through) | own


def _tables_on_path(model: type[models.Model], path: str) -> set[Table]:
    """The tables along a relation path such as ``author__country``: parents' and many-to-many ones included."""
    tables: set[Table] = set()
    for part in path.split(LOOKUP_SEP):
        relation = _relation(model, part, path)
        through = getattr(relation, "through", None) or getattr(relation.remote_field, "through", None)
        model = relation.related_model
        tables |= {table_of(each) for each in (model, through, *model._meta.all_parents) if each is not None}
    return tables


def _relation(model: type[models.Model], part: str, path: str) -> Any:
    """The relation that a step of ``select_related`` (a field) or ``prefetch_related`` (an accessor) takes."""
    relations: dict[str | None, Any] = {f.name: f for f in model._meta.get_fields() if f.is_relation}
    relations |= {f.get_accessor_name(): f for f in model._meta.related_objects}
    if part not in relations or relations[part].related_model is None:
        raise ImproperlyDeclared(
            f"{path!r} cannot be kept live: {part!r} is not a relation of {model._meta.label} to one model. "
            f"Choices: {', '.join(sorted(filter(None, relations)))}."
        )
    return relations[part]
