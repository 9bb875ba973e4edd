"""``manage.py ddp_triggers``: install, remove, check and list the triggers that capture changes.

``migrate`` does the same as ``install`` at its end. This command is for the rest of their life: partitions that come,
tables too busy to lock during a deployment, and the question what is there.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections, router

from dddp import conf
from dddp.api.registry import API
from dddp.feed import capture

__all__ = ["Command"]

ACTIONS = {
    "install": "create what is missing, mend what has changed, drop what is superfluous",
    "remove": "drop the triggers of all tables; changes by SQL are not seen any more",
    "check": "say what is not as it should be, and exit with code 1 then",
    "list": "show each trigger and its state",
}


class Command(BaseCommand):
    help = "Installs, removes, checks and lists the triggers that capture changes of tables for DDP clients."

    def add_arguments(self, parser: ArgumentParser) -> None:
        meanings = "; ".join(f"{name}: {meaning}" for name, meaning in ACTIONS.items())
        parser.add_argument("action", choices=ACTIONS, help=meanings)
        parser.add_argument(
            "--database",
            default=DEFAULT_DB_ALIAS,
            choices=tuple(connections),
            help="the alias of the database",
        )
        default = capture.Patience()
        parser.add_argument(
            "--lock-timeout",
            type=float,
            default=default.lock_timeout,
            metavar="SECONDS",
            help="of one attempt to lock a table; its writers wait at most this long "
            f"(default {default.lock_timeout})",
        )
        parser.add_argument(
            "--attempts",
            type=int,
            default=default.attempts,
            help=f"to lock a table before giving up (default {default.attempts})",
        )

    def handle(
        self, *args: Any, action: str, database: str, lock_timeout: float, attempts: int, **options: Any
    ) -> None:
        if lock_timeout <= 0 or attempts < 1:
            raise CommandError("--lock-timeout must be above 0 and --attempts at least 1.")
        _check_possible(database)
        patience = capture.Patience(lock_timeout, attempts)
        match action:
            case "install":
                self._install(database, patience)
            case "remove":
                self._remove(database, patience)
            case "check":
                self._check(database)
            case _:
                self._list(database)

    def _install(self, database: str, patience: capture.Patience) -> None:
        if not _by_triggers():
            raise CommandError(
                'DDDP["CAPTURE"] is "signals", so the next migrate would drop the triggers again. '
                'Set it to "triggers" first.'
            )
        self._apply(database, patience, triggers=True)
        for sentence in _status(database).unseen:
            self.stderr.write(self.style.WARNING(f"{sentence}."))
        self.stdout.write("The triggers are installed.")

    def _remove(self, database: str, patience: capture.Patience) -> None:
        self._apply(database, patience, triggers=False)
        self.stdout.write("The triggers are removed.")
        if _by_triggers():
            self.stdout.write(
                self.style.WARNING(
                    'DDDP["CAPTURE"] is still "triggers": until they are installed again no change is seen, a dddp '
                    "server does not start, and the next migrate installs them."
                )
            )

    def _apply(self, database: str, patience: capture.Patience, triggers: bool) -> None:
        try:
            capture.install(connections[database], API.captured_tables(database), triggers, patience)
        except capture.TableBusy as error:
            raise CommandError(f"{error}.") from error

    def _check(self, database: str) -> None:
        status = _status(database)
        for sentence in (*status.details, *status.unseen):
            self.stdout.write(sentence)
        if not status.ready:
            raise CommandError(f"Database {database!r}: {status}.")
        self.stdout.write("Everything is as it should be.")

    def _list(self, database: str) -> None:
        for line in _lines(database):
            self.stdout.write(line)


def _by_triggers() -> bool:
    return conf.load().capture == "triggers"


def _status(database: str) -> capture.Status:
    return capture.status(connections[database], API.captured_tables(database), _by_triggers())


def _check_possible(database: str) -> None:
    """
    Raises:
        CommandError: the database is none in which dddp can have triggers.
    """
    if connections[database].vendor != capture.VENDOR:
        raise CommandError(f"Database {database!r} is not PostgreSQL: it has no triggers of dddp.")
    if not router.allow_migrate(database, "dddp"):
        raise CommandError(f"The project's DATABASE_ROUTERS keep dddp out of the database {database!r}.")
    status = capture.status(connections[database], [], triggers=False)
    if not status.created:
        missing = f"dddp's tables are missing; run: manage.py migrate --database {database}"
        raise CommandError(status.hidden or missing)


def _lines(database: str) -> Iterator[str]:
    """One line for each relation and state, in the order of the tables."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for trigger, state in capture.report(connections[database], API.captured_tables(database)):
        groups.setdefault((trigger.label, trigger.relation, state), []).append(trigger.event)
    for (label, relation, state), events in groups.items():
        yield f"{label:30} {relation:40} {state:12} {', '.join(events)}"
    if not groups:
        yield "No table is captured: no ddp.py publishes a model of this database."
