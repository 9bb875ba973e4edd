"""The demonstration behind ``make demo``: a database, the books in it, and the server, until Ctrl-C.

The database is the one ``DATABASE_URL`` names, or an embedded PostgreSQL that keeps its data in ``.demo/``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import django
from django.apps import apps
from django.core.management import call_command
from django.db import connections

from dddp.server.embedded import embedded_postgresql
from dddp.server.failure import sentence

HERE = Path(__file__).resolve().parent
DATA = HERE.parent / ".demo" / "postgresql"
ADMIN = {"username": "admin", "password": "admin"}


def main(address: str = "localhost:8000") -> int:
    """Run the demonstration; the exit code."""
    # The first is ignored in a shell's background jobs, unless somebody asks for it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)  # as Ctrl-C: the database is to be stopped too
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bookstore_project.settings")
    try:
        with database() as owned:
            set_up()
            if owned:
                make_admin()
            connections.close_all()
            return serve(address)
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - the outer edge: whatever it is, people get one line
        sys.stderr.write(f"demo: {sentence(error)}\n")
        return 1


@contextlib.contextmanager
def database() -> Iterator[bool]:
    """``DATABASE_URL`` is set; yields whether the database is the demonstration's own."""
    if os.environ.get("DATABASE_URL"):
        yield False
        return
    with embedded_postgresql(DATA) as url:
        os.environ["DATABASE_URL"] = url
        yield True


def set_up() -> None:
    """Make the tables, and load the books into an empty shop: what visitors renamed or deleted stays so."""
    django.setup()
    call_command("migrate", verbosity=0)
    if not apps.get_model("bookstore.Book").objects.exists():
        call_command("load_books")


def make_admin() -> None:
    """An account for ``/admin/``, in the demonstration's own database only."""
    users = apps.get_model("auth.User").objects
    if not users.filter(is_superuser=True).exists():
        users.create_superuser(**ADMIN)
    sys.stdout.write("Django's admin is at /admin/, user admin, password admin.\n")
    sys.stdout.flush()


def serve(address: str) -> int:
    """Run ``dddp`` and stop it when we are told to; its exit code."""
    command = [sys.executable, "-m", "dddp", "--", address]
    # In a session of its own, so that Ctrl-C reaches it once: through us.
    with subprocess.Popen(command, cwd=HERE, start_new_session=True) as server:
        while True:
            try:
                return server.wait()
            except KeyboardInterrupt:
                server.terminate()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
