"""``manage.py dddp``: the same as ``dddp``, for those who look for it there."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import ENVIRONMENT_VARIABLE
from django.core.management.base import BaseCommand, CommandParser

__all__ = ["Command"]


class Command(BaseCommand):
    help = "Serve this project over HTTP and over DDP, the Meteor protocol, on the same port."
    requires_system_checks = ()  # the server's own start checks what it needs

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("addresses", metavar="address[:port]", nargs="*", help="default localhost:8000")
        parser.add_argument("--workers", default="1", help="processes that share the addresses, or auto")

    def handle(self, *args: Any, addresses: list[str], workers: str, verbosity: int, **options: Any) -> None:
        """Become ``python -m dddp``; does not return.

        gevent has to patch the standard library before Django and psycopg2 are imported. Here they are already, so
        a fresh interpreter takes over this process: same process id, so signals and supervisors notice nothing.
        """
        self.stdout.flush()
        given = [f"--verbosity={verbosity}", f"--workers={workers}"]
        command = [sys.executable, "-m", "dddp", *given, "--", *addresses]
        os.execve(sys.executable, command, self._environment())

    def _environment(self) -> dict[str, str]:
        """This process's environment, in which its settings and whatever else it can import are found again."""
        path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
        settings_module = os.environ[ENVIRONMENT_VARIABLE]
        return {**os.environ, "PYTHONPATH": path, ENVIRONMENT_VARIABLE: settings_module}
