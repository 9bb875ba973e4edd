"""The registry: what the ``ddp.py`` files of the installed apps declare, checked, and the tables it needs captured.

Filled at start, read afterwards. Every mistake is an ``ImproperlyDeclared`` that names the file, the line and the
mend: the server does not start on half a declaration.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import traceback
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from django.apps import AppConfig, apps
from django.db import router
from django.db.models import Model
from django.utils.module_loading import module_has_submodule

from dddp import conf
from dddp.api.collection import Collection
from dddp.api.endpoints import APIMixin, endpoints
from dddp.api.method import Method
from dddp.api.mutators import Mutator, mutators
from dddp.api.publication import CollectionRef, Publication
from dddp.changes import Table
from dddp.errors import DDDPError, ImproperlyDeclared
from dddp.feed.capture import CapturedTable
from dddp.orm.tables import model_of, table_of

__all__ = ["API", "Registry"]

Declared: TypeAlias = Collection | type[Publication] | Method


class Registry:
    """Collections, publications and methods by the names that clients use."""

    def __init__(self) -> None:
        self.collections: dict[str, Collection] = {}
        self.publications: dict[str, type[Publication]] = {}
        self.methods: dict[str, Method] = {}

    @property
    def automatic(self) -> list[type[Publication]]:
        """What every client gets without a subscription."""
        return [publication for publication in self.publications.values() if publication.auto]

    def register(self, items: Iterable[Any]) -> None:
        """Take the classes of collections, publications and API objects, and methods: the end of each ``ddp.py``.

        Raises:
            ImproperlyDeclared: an item is none of these, or its name is taken; or it stands alone, without a list.
        """
        if not isinstance(items, Iterable):
            raise ImproperlyDeclared(
                f"API.register was given {_described(items)}, not a list; write API.register([{_short_name(items)}])"
            )
        for item in items:
            self._register(item)

    def _register(self, item: Any) -> None:
        if isinstance(item, Collection) or _is_class(item, Collection):
            collection = item if isinstance(item, Collection) else item()
            _add("collections", self.collections, collection.name, collection)
            self._register_methods(collection)
        elif _is_class(item, Publication):
            _add("publications", self.publications, item.wire_name(), item)
            item.registry = self
        elif isinstance(item, Method):
            if isinstance(self.methods.get(item.name), Mutator):
                del self.methods[item.name]
            _add("methods", self.methods, item.name, item)
        elif isinstance(item, APIMixin) or _is_class(item, APIMixin):
            provider = item if isinstance(item, APIMixin) else item()
            self.register(endpoints(provider, provider.api_path_prefix))
        else:
            raise ImproperlyDeclared(
                f"API.register was given {_described(item)}; give Collection, Publication and APIMixin classes and "
                "what @method and @publication make"
            )

    def _register_methods(self, collection: Collection) -> None:
        """The collection's endpoints, and the methods that Meteor calls by itself where nothing has the name."""
        self.register(endpoints(collection, f"/{collection.name}/"))
        for each in mutators(collection):
            self.methods.setdefault(each.name, each)

    def clear(self) -> None:
        """Forget everything: for tests."""
        self.collections.clear()
        self.publications.clear()
        self.methods.clear()

    def collections_of(self, model: type[Model]) -> list[Collection]:
        """The collections of a model, else those of the model it is a proxy of."""
        exact = [each for each in self.collections.values() if each.model is model]
        return exact or [
            each for each in self.collections.values() if table_of(each.model) == table_of(model)
        ]

    def collection_for(self, model: type[Model]) -> Collection:
        """The one collection of a model.

        Raises:
            ImproperlyDeclared: there is none, or there are several.
        """
        found = self.collections_of(model)
        if not found:
            raise ImproperlyDeclared(
                f"no collection for {model._meta.label}: register a Collection whose model is {model.__name__}"
            )
        if len(found) > 1:
            names = ", ".join(each.name for each in found)
            raise ImproperlyDeclared(
                f"{model._meta.label} has several collections, {names}: say which with a pair, "
                f'(queryset, "{found[0].name}")'
            )
        return found[0]

    def collection_of(self, reference: CollectionRef) -> Collection:
        """A registered collection by its name, class or instance.

        Raises:
            ImproperlyDeclared: it is not registered.
        """
        for name, collection in self.collections.items():
            if reference in (name, collection, type(collection)):
                return collection
        known = ", ".join(sorted(self.collections)) or "none"
        raise ImproperlyDeclared(f"collection {reference!r} is not registered; registered are {known}")

    def autodiscover(self) -> None:
        """Import the module ``ddp`` of every installed app that has one; each registers what it declares.

        Raises:
            ImproperlyDeclared: one cannot be imported; names the file, the line and the reason.
        """
        for app in apps.get_app_configs():
            if _has_declarations(app):
                _import_declarations(f"{app.name}.ddp")

    def validate(self) -> None:
        """Check what can only be checked once everything is registered.

        Raises:
            ImproperlyDeclared: names the declaration, its file and line, and the reason.
        """
        declared: list[Declared] = [
            *self.collections.values(),
            *self.publications.values(),
            *self.methods.values(),
        ]
        for item in declared:
            with _place_named(item):
                item.check()
        self.captured_tables()

    def captured_tables(self, database: str | None = None) -> list[CapturedTable]:
        """The tables whose changes the feed reports, each with the columns it may carry, and never another.

        Every table has its key and its foreign keys, which joins are followed by; a collection's table also what
        the collections of that model publish, and their ``filter_fields``.

        Args:
            database: an alias, for the tables that the project's routers put there; None for all.

        Raises:
            ImproperlyDeclared: ``CAPTURE_MODELS`` names a model that does not exist.
        """
        columns: dict[Table, set[str]] = {table: set() for table in self._tables()}
        for collection in self.collections.values():
            for table, names in collection.columns().items():
                columns.setdefault(table, set()).update(names)
        return [_captured(table, columns[table]) for table in sorted(columns) if _is_on(database, table)]

    def _tables(self) -> Iterator[Table]:
        for collection in self.collections.values():
            yield from collection.tables()
        for publication in self.publications.values():
            yield from publication.tables()
        for label in conf.load().capture_models:
            yield table_of(_model_named(label))


API = Registry()
"""The registry that ``ddp.py`` files register in and the server serves."""


def _is_class(item: Any, base: type) -> bool:
    return isinstance(item, type) and issubclass(item, base) and item is not base


def _described(item: Any) -> str:
    """What something that cannot be registered is, and what is probably missing."""
    if inspect.isfunction(item):
        return f"the plain function {item.__name__}, without @method or @publication"
    if isinstance(item, Publication):
        return f"an instance of the publication {type(item).__name__}, not the class"
    if isinstance(item, type):
        return f"the class {item.__name__}"
    return f"{item!r}"


def _short_name(item: Any) -> str:
    """What a declaration is probably called in its file."""
    return str(getattr(item.function if isinstance(item, Method) else item, "__name__", "..."))


def _add(kind: str, names: dict[str, Any], name: str, item: Any) -> None:
    if name in names:
        raise ImproperlyDeclared(f"two {kind} are named {name!r}: {_place(names[name])} and {_place(item)}")
    names[name] = item


def _place(item: Any) -> str:
    """Where something is declared, ``bookstore.ddp.Book (/srv/bookstore/ddp.py:9)``."""
    source = _source(item)
    name = f"{source.__module__}.{source.__qualname__}"
    try:
        return f"{name} ({inspect.getsourcefile(source)}:{inspect.getsourcelines(source)[1]})"
    except (OSError, TypeError):  # made in a shell or by exec: there is no file
        return name


def _source(item: Any) -> Any:
    """The class or function as it was written."""
    if isinstance(item, Method):
        return item.function
    if not isinstance(item, type):
        return type(item)
    function = vars(item).get("publish")  # what @publication was put on
    return function if getattr(function, "__qualname__", None) == item.__qualname__ else item


@contextmanager
def _place_named(item: Any) -> Iterator[None]:
    try:
        yield
    except DDDPError as error:
        raise ImproperlyDeclared(f"{_place(item)}: {error}") from error


def _has_declarations(app: AppConfig) -> bool:
    return app.module is not None and module_has_submodule(app.module, "ddp")


def _import_declarations(name: str) -> None:
    try:
        importlib.import_module(name)
    except Exception as error:
        raise ImproperlyDeclared(f"{_line_at_fault(name, error)}: {_reason(error)}") from error


def _line_at_fault(name: str, error: Exception) -> str:
    """The innermost line of the module itself that led to the error, as ``file:line``."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}:{error.lineno}"
    spec = importlib.util.find_spec(name)
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = [frame for frame in frames if spec and frame[0] == spec.origin]
    file, line = (own or frames)[-1]
    return f"{file}:{line}"


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, ImproperlyDeclared) else f"{type(error).__name__}: {error}"


def _is_on(database: str | None, table: Table) -> bool:
    return database is None or bool(router.allow_migrate_model(database, model_of(table)))


def _captured(table: Table, published: Iterable[str]) -> CapturedTable:
    options: Any = model_of(table)._meta
    references = [field.column for field in options.local_concrete_fields if field.is_relation]
    columns = tuple(dict.fromkeys([options.pk.column, *references, *sorted(published)]))
    return CapturedTable(table, _quoted(options.db_table), options.pk.column, columns)


def _quoted(name: str) -> str:
    """As PostgreSQL's SQL names it; Django lets a ``db_table`` bring its quotes, ``"schema"."table"``."""
    return name if name.startswith('"') else f'"{name}"'


def _model_named(label: str) -> type[Model]:
    try:
        return apps.get_model(label)
    except LookupError as error:
        raise ImproperlyDeclared(f"settings.DDDP['CAPTURE_MODELS'] names {label!r}: {error}") from None
