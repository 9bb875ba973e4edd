"""The Django app: at start it reads the declarations and connects capture by signals; after ``migrate`` it installs
capture in the database. In every program of the project, so nothing here may need gevent or a connection.
"""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.core.management.base import CommandError
from django.db import connections, router
from django.db.models.signals import post_migrate

__all__ = ["DDDPConfig"]


class DDDPConfig(AppConfig):
    name = "dddp"
    label = "dddp"
    verbose_name = "DDP server"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Read every ``ddp.py``; a mistake in one stops the program.

        Raises:
            ImproperlyDeclared: names the file, the line and the reason.
        """
        # Imported here: an app's config is imported before any model can be.
        from dddp import checks, conf
        from dddp.api.registry import API
        from dddp.feed.signals import connect_signals

        settings = conf.load()
        API.autodiscover()
        API.validate()
        if settings.capture == "signals":
            connect_signals(API.captured_tables())
        post_migrate.connect(install_capture, sender=self, dispatch_uid="dddp.install_capture")
        checks.register_checks()


def install_capture(using: str, plan: Any = (), **options: Any) -> None:
    """Bring the database's capture into line with the declarations; runs at the end of each ``migrate``.

    Args:
        plan: the migrations that have run. What they changed without a statement that is captured, servers read again.
    """
    from dddp import conf
    from dddp.api.registry import API
    from dddp.feed.capture import TableBusy, announce, install

    if not router.allow_migrate(using, "dddp"):
        return
    tables = API.captured_tables(using)
    try:
        install(connections[using], tables, triggers=conf.load().capture == "triggers")
    except TableBusy as error:
        raise CommandError(f"The migrations have run, but {error}.") from error
    if plan:
        announce(connections[using])
