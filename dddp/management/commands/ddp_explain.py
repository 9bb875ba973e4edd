"""``manage.py ddp_explain``: how each queryset of a publication is kept live, and what one change costs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from dddp.api.explain import Explanation, explain, is_static
from dddp.api.publication import Publication
from dddp.api.registry import API
from dddp.errors import MeteorError
from dddp.protocol.ejson import EJSONError, loads

__all__ = ["Command"]


class Command(BaseCommand):
    help = "Tell how each queryset of a publication is kept live, and what one change of the data costs."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("publication", nargs="?", help="its name; by default all that have queries")
        parser.add_argument("params", nargs="?", default="[]", help="""a JSON array, '["a@example.com"]'""")
        parser.add_argument(
            "--user", metavar="KEY", help="primary key of the user; by default nobody is logged in"
        )

    def handle(
        self, *args: Any, publication: str | None, params: str, user: str | None, **options: Any
    ) -> None:
        if publication is None:
            self._explain_all(user)
            return
        declared = _publication_named(publication)
        values = _parsed(params)
        try:
            answer = explain(API, declared, values, user)
        except MeteorError as error:
            raise CommandError(f"{publication}: {_answered(error)} {_usage(declared)}") from error
        self._write(_title(publication, params if values else ""), _described(answer))

    def _explain_all(self, user: str | None) -> None:
        if not API.publications:
            raise CommandError(
                "No publication is registered: declare some in the ddp.py of an installed app."
            )
        for name, publication in API.publications.items():
            self._write(name, _overview(publication, user))

    def _write(self, title: str, lines: Iterable[str]) -> None:
        self.stdout.write(self.style.MIGRATE_HEADING(title))
        for line in lines:
            self.stdout.write(f"  {line}" if line else "")
        self.stdout.write("")


def _publication_named(name: str) -> type[Publication]:
    try:
        return API.publications[name]
    except KeyError:
        known = ", ".join(sorted(API.publications)) or "none"
        raise CommandError(f"There is no publication {name!r}; registered are {known}.") from None


def _parsed(params: str) -> list[Any]:
    """The parameters as a client's: EJSON."""
    try:
        values = loads(params)
    except EJSONError as error:
        raise CommandError(f"The parameters are not JSON: {error}") from error
    if not isinstance(values, list):
        raise CommandError(f"The parameters have to be a JSON array, such as '[{params}]'.")
    return values


def _title(name: str, params: str) -> str:
    return f"{name} {params}".strip()


def _overview(publication: type[Publication], user: str | None) -> Iterable[str]:
    """What can be told of a publication without running any code of it: its ``queries``."""
    if not is_static(publication):
        return [f"Its querysets are made at subscription. {_usage(publication)}"]
    try:
        return _described(explain(API, publication, [], user))
    except MeteorError as error:
        return [f"{_answered(error)} {_usage(publication)}"]


def _answered(error: MeteorError) -> str:
    """What the client would get instead of documents."""
    details = error.details if isinstance(error.details, dict) else {}
    wrong = "".join(f", {name}: {reason}" for name, reason in details.items())
    return f"A subscription would get the error {error}{wrong}."


def _usage(publication: type[Publication]) -> str:
    """How to have one publication explained."""
    places = ", ".join(f"<{each.name}>" for each in publication.signature().parameters)
    params = f" '[{places}]'" if places else ""
    return f"Run: manage.py ddp_explain {publication.wire_name()}{params} [--user KEY]"


def _described(answer: list[Explanation] | None) -> Iterable[str]:
    if answer is None:
        return ["It sends its documents by hand: there is no queryset to follow."]
    if not answer:
        return ["It publishes nothing to this user for these parameters."]
    return [line for number, each in enumerate(answer, 1) for line in _lines(number, each)]


def _lines(number: int, each: Explanation) -> Iterable[str]:
    yield f"{number}. {each.collection}: {each.kind}, {each.meaning}"
    if each.reason:
        yield f"     because     {each.reason}"
    if each.kind == "refused":
        return
    yield f"     found by    {each.found_by}"
    yield f"     listens to  {', '.join(each.reads)}"
    yield f"     one change  {each.cost}"
    if each.kind == "empty":
        yield "     note        rows that belong to users are told for one of them: --user KEY"
