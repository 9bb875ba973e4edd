"""The methods that Meteor's collections call by themselves: insert, update and remove, by allow rules (ddp-wire 8.2).

Every collection has them, under both of Meteor's names (``insert``, ``insertAsync``); without a rule each is refused.
What a client may write: fields that the collection publishes and the model calls editable, each value by its field,
the object by ``full_clean``. A row that the user may not see is not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError, models, router, transaction

from dddp.api.access import User
from dddp.api.method import Call, Method
from dddp.errors import MeteorError
from dddp.orm.documents import document_id
from dddp.orm.failures import first_line
from dddp.orm.incoming import field_value, is_storable

if TYPE_CHECKING:
    from dddp.api.collection import Collection

__all__ = ["RULES", "Mutator", "mutators"]

RULES = ("insert", "update", "remove")
"""The operations; the rule of each is the collection's ``allow_<operation>``."""

OPERATORS = ("$set", "$unset", "$inc")


def mutators(collection: Collection) -> Iterator[Mutator]:
    """The six methods of a collection."""
    answers = Mutators(collection)
    for operation in RULES:
        for name in (operation, f"{operation}Async"):
            yield Mutator(f"/{collection.name}/{name}", getattr(answers, operation))


class Mutator(Method):
    """A method that a collection has by itself; a declared one of its name takes its place."""


@dataclass(frozen=True, slots=True)
class Modification:
    """What an inserted document, or an operator, says about one field."""

    operator: str
    field: Any
    operand: Any

    def value(self, obj: Any) -> Any:
        """The field's new value.

        Raises:
            ValidationError: the field cannot take it.
        """
        if self.operator == "$unset":
            return None if self.field.null else self.field.get_default()
        operand = field_value(self.field, self.operand)
        return operand if self.operator == "$set" else self._sum(getattr(obj, self.field.attname), operand)

    def _sum(self, present: Any, operand: Any) -> Any:
        if isinstance(operand, bool) or not isinstance(operand, int | float | Decimal):
            raise ValidationError("$inc adds a number to a field that holds numbers.")
        return operand if present is None else present + operand


class Mutators:
    """Insert, update and remove of one collection."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self._model: Any = collection.model

    # --- the methods

    def insert(self, call: Call, document: dict[str, Any]) -> str:
        """Store a new object; its id.

        Raises:
            MeteorError: 403 when it is not allowed, 400 for an unfit id, 409 when the database refuses.
            ValidationError: by field.
        """
        drawn = call.random_id(self._collection.name)  # before anything else, as the client's simulation does
        self._check_has_rule("insert")
        fields = {name: value for name, value in document.items() if name != "_id"}
        obj = self._model(**_values(self._modifications("$set", fields), None))
        self._set_key(obj, document, drawn)
        _refuse_unless(self._collection.allow_insert(call.user, obj))
        with self._writing():
            obj.full_clean()
            obj.save(using=self._database, force_insert=(models.Model,))
        return document_id(obj.pk)

    def update(self, call: Call, selector: Any, modifier: dict[str, Any], options: Any = None) -> int:
        """Change fields of an object; how many objects were changed, 0 for one that is not there.

        Raises:
            MeteorError: 403 when it is not allowed, 409 when the database refuses.
            ValidationError: by field.
        """
        key = _selected(selector, "update")
        self._check_has_rule("update")
        modifications = self._parsed(modifier, options)
        with self._writing():
            obj = self._visible(key, call.user)
            if obj is None:
                return 0
            changes = _values(modifications, obj)
            _refuse_unless(self._collection.allow_update(call.user, obj, changes))
            for name, value in changes.items():
                setattr(obj, name, value)
            obj.full_clean()
            obj.save(using=self._database)
        return 1

    def remove(self, call: Call, selector: Any) -> int:
        """Delete an object; how many objects were deleted, 0 for one that is not there.

        Raises:
            MeteorError: 403 when it is not allowed, 409 when the database refuses.
        """
        key = _selected(selector, "remove")
        self._check_has_rule("remove")
        with self._writing():
            obj = self._visible(key, call.user)
            if obj is None:
                return 0
            _refuse_unless(self._collection.allow_remove(call.user, obj))
            obj.delete(using=self._database)
        return 1

    # --- what may be written

    @cached_property
    def _writable(self) -> Mapping[str, Any]:
        """Fields by their name in the document. Not files: a client could name any file of the storage."""
        return {
            name: field
            for name, field in self._collection.shape.concrete.items()
            if field.editable and not field.primary_key and not isinstance(field, models.FileField)
        }

    def _check_has_rule(self, operation: str) -> None:
        if operation in self._collection.rules:
            return
        reason = f"No allow validators set on restricted collection for method '{operation}'."
        raise _denied(reason if self._collection.rules else "")

    def _parsed(self, modifier: Mapping[str, Any], options: Any) -> list[Modification]:
        """What a modifier asks for.

        Raises:
            MeteorError: 403 for what no rule can allow.
        """
        if isinstance(options, Mapping) and options.get("upsert"):
            raise _denied("Upserts not allowed in a restricted collection.")
        if not modifier or not all(operator.startswith("$") for operator in modifier):
            raise _denied(
                "In a restricted collection you can only update documents, not replace them. "
                f"Use {', '.join(OPERATORS)}."
            )
        found = [each for item in modifier.items() for each in self._modifications(*item)]
        _refuse_twice(found)
        return found

    def _modifications(self, operator: str, operands: Any) -> Iterator[Modification]:
        if operator not in OPERATORS:
            raise _denied(f"Operator {operator} not allowed in a restricted collection.")
        if not isinstance(operands, Mapping):
            raise MeteorError(400, f"{operator} takes an object of fields and values")
        for name, operand in operands.items():
            if name not in self._writable:
                raise _denied(self._unwritable(name))
            yield Modification(operator, self._writable[name], operand)

    def _unwritable(self, name: str) -> str:
        if name == "_id":
            return "The _id of a document cannot be changed."
        field = name.split(".")[0]
        if field != name and field in self._writable:
            return f"'{name}' names a part of a field; set the whole field '{field}'."
        return f"Field '{name}' cannot be written in this collection."

    # --- keys

    def _set_key(self, obj: Any, document: Mapping[str, Any], drawn: str) -> None:
        """Give a new object the client's id, or the one both have drawn where the key is a text.

        Raises:
            MeteorError: 400 for an id that cannot be chosen.
            ValidationError: it is none of the key's type.
        """
        field = _root_key(self._model)
        if "_id" not in document:
            if isinstance(field, models.CharField | models.TextField):
                obj.pk = drawn
        elif isinstance(field, models.AutoField):
            raise MeteorError(400, "The database gives the ids of this collection; insert without an _id")
        elif not isinstance(document["_id"], str) or not document["_id"]:
            raise MeteorError(400, "An _id must be a text that is not empty")
        else:
            obj.pk = _values([Modification("$set", field, document["_id"])], None)[field.attname]

    def _visible(self, key: str, user: User) -> Any:
        """The object of an id, locked; None if there is none that the user may see."""
        rows = self._model._base_manager.using(self._database)
        try:
            obj = rows.select_for_update(no_key=True).filter(pk=key).first() if is_storable(key) else None
        except (ValidationError, ValueError):  # no value of the key's type
            return None
        if obj is None or document_id(obj.pk) != key:
            return None
        return obj if self._collection.restrict(rows.filter(pk=obj.pk), user).exists() else None

    # --- the database

    @property
    def _database(self) -> str:
        return router.db_for_write(self._model)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """In a transaction of the model's database; what the database refuses is the client's to know."""
        try:
            with transaction.atomic(using=self._database):
                yield
        except IntegrityError as error:
            # What was violated, without the values that PostgreSQL adds in further lines.
            raise MeteorError(409, first_line(error)) from error
        except DataError as error:
            raise MeteorError(400, first_line(error)) from error


def _values(modifications: Iterable[Modification], obj: Any) -> dict[str, Any]:
    """The new values by the fields' names in the document.

    Raises:
        ValidationError: by field, of all that cannot take theirs.
    """
    values, wrong = {}, {}
    for each in modifications:
        try:
            values[each.field.attname] = each.value(obj)
        except ValidationError as error:
            wrong[each.field.name] = error
    if wrong:
        raise ValidationError(wrong)
    return values


def _refuse_twice(modifications: Iterable[Modification]) -> None:
    """Refuse two operators for one field, as MongoDB does: their order in an object says nothing."""
    seen: set[str] = set()
    for each in modifications:
        name = each.field.attname
        if name in seen:
            raise MeteorError(409, f"Two operators would change the field '{name}'")
        seen.add(name)


def _selected(selector: Any, operation: str) -> str:
    """The id that a selector names, the only thing that clients may select by."""
    if isinstance(selector, Mapping) and set(selector) == {"_id"}:
        selector = selector["_id"]
    if not isinstance(selector, str):
        raise MeteorError(403, f"Not permitted. Untrusted code may only {operation} documents by ID.")
    return selector


def _refuse_unless(allowed: bool) -> None:
    if not allowed:
        raise _denied()


def _denied(reason: str = "") -> MeteorError:
    return MeteorError(403, f"Access denied. {reason}" if reason else "Access denied")


def _root_key(model: type[models.Model]) -> Any:
    """The primary key's field; of a model with a table beside its parent's, the parent's."""
    field: Any = model._meta.pk
    while field.remote_field is not None and field.remote_field.parent_link:
        field = field.target_field
    return field
