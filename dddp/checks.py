"""System checks: what ``manage.py check`` says about databases that cannot notify, and about querysets that are kept
live at a price (design.md sections 3 and 6).

Warnings, since all else works without: a project may well be tested on another database.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.checks import CheckMessage, Tags, Warning, register
from django.db import connections, router

from dddp import conf
from dddp.api.explain import explain_static, is_static
from dddp.api.publication import Publication
from dddp.api.registry import API
from dddp.feed import capture
from dddp.views.served import unreadable_bundles

__all__ = [
    "capture_status",
    "check_bundles",
    "check_capture",
    "check_databases",
    "check_reruns",
    "register_checks",
]

UNSEEN_HINT = (
    "Publish the tables behind it, or run SELECT dddp_note_table('app.model') whenever it has changed."
)


def register_checks() -> None:
    """Add the checks to Django's; once, when the app is ready."""
    register(check_databases, Tags.compatibility)
    register(check_bundles, Tags.urls)
    register(check_capture, Tags.database)
    register(check_reruns, Tags.database)


def check_databases(**options: Any) -> list[CheckMessage]:
    """Some database must be PostgreSQL; nothing connects."""
    if any(connection.vendor == "postgresql" for connection in connections.all()):
        return []
    return [
        Warning(
            "No database is PostgreSQL, so no change of data will reach DDP clients.",
            hint='Set the ENGINE of a database in DATABASES to "django.db.backends.postgresql".',
            id="dddp.W001",
        )
    ]


def check_bundles(**options: Any) -> list[CheckMessage]:
    """The bundles of the project's ``MeteorView`` must be there and whole."""
    return [
        Warning(
            f"The Meteor app at {path} cannot be served: {reason}",
            hint="Until then requests for it fail.",
            id="dddp.W005",
        )
        for path, reason in unreadable_bundles()
    ]


def check_capture(databases: Sequence[str] | None, **options: Any) -> list[CheckMessage]:
    """Capture must be installed as declared in the databases that ``manage.py check --database`` names."""
    if sys.argv[1:2] == ["migrate"]:  # it runs the checks first, then does what this one asks for
        return []
    return [
        message
        for alias in databases or ()
        if connections[alias].vendor == "postgresql" and router.allow_migrate(alias, "dddp")
        for message in _about_capture(alias, capture_status(alias))
    ]


def _about_capture(alias: str, status: capture.Status) -> Iterator[CheckMessage]:
    if not status.ready:
        yield Warning(
            f"Capture in the database {alias!r} is not up to date: {status}.",
            hint="\n".join([f"Until then {status.consequence}.", *status.details]),
            id="dddp.W002",
        )
    for sentence in status.unseen:
        yield Warning(f"In the database {alias!r}, {sentence}.", hint=UNSEEN_HINT, id="dddp.W004")


def check_reruns(databases: Sequence[str] | None, **options: Any) -> list[CheckMessage]:
    """The ``queries`` of a publication should be followed without SQL, or ``rerun_accepted`` say why not; none may be
    refused.

    What ``get_queries`` makes is not known before somebody subscribes; ``manage.py ddp_explain`` tells.
    """
    if not _can_tell(databases or ()):
        return []
    return [
        message
        for publication in API.publications.values()
        if is_static(publication)
        for message in _about_queries(publication)
    ]


def _can_tell(databases: Sequence[str]) -> bool:
    """Whether every database with tables of ours may be asked, and ``migrate`` has been run: types of columns count."""
    ours = [
        alias
        for alias in connections
        if connections[alias].vendor == "postgresql" and API.captured_tables(alias)
    ]
    return set(ours) <= set(databases) and all(capture_status(alias).ready for alias in ours)


def _about_queries(publication: type[Publication]) -> Iterator[CheckMessage]:
    name = publication.wire_name()
    for each in explain_static(API, publication):
        if each.kind == "refused":
            yield Warning(
                f"Publication {name}: its queryset of {each.collection} is refused: {each.reason}",
                hint="Until then whoever subscribes gets error 500.",
                id="dddp.W006",
            )
        elif each.is_rerun and not publication.rerun_accepted:
            yield Warning(
                f"Publication {name}: its queryset of {each.collection} is run again after each batch of changes, "
                f"because {each.reason}.",
                hint="Change the queryset, or accept the cost with a reason: "
                f'rerun_accepted = "..." in the publication. More: manage.py ddp_explain {name}',
                id="dddp.W003",
            )


def capture_status(alias: str) -> capture.Status:
    """What ``migrate`` has yet to do in a database before it captures what is declared; reads it."""
    triggers = conf.load().capture == "triggers"
    return capture.status(connections[alias], API.captured_tables(alias), triggers)
