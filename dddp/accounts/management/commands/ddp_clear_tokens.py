"""``manage.py ddp_clear_tokens``: delete the login tokens that have expired, as Django's ``clearsessions`` does."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from dddp.accounts.tokens import expired

__all__ = ["Command"]


class Command(BaseCommand):
    help = "Delete the login tokens that have expired. Run it now and then, from cron for instance."

    def handle(self, *args: Any, **options: Any) -> None:
        count, _ = expired().delete()
        self.stdout.write(f"{count} login tokens deleted")
