"""The Django app: a changed password or an inactive user ends its logins, whichever process saves it."""

from __future__ import annotations

from django.apps import AppConfig
from django.contrib.auth import get_user_model
from django.core import checks
from django.db.models.signals import post_save

__all__ = ["AccountsConfig"]


class AccountsConfig(AppConfig):
    name = "dddp.accounts"
    label = "dddp_accounts"
    verbose_name = "DDP logins"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Follow the users' rows, and register the system check."""
        # Imported here: an app's config is imported before any model can be.
        from dddp.accounts.checks import check_password_hashers
        from dddp.accounts.tokens import end_outdated

        post_save.connect(end_outdated, sender=get_user_model(), dispatch_uid="dddp.accounts.end_outdated")
        checks.register(check_password_hashers, checks.Tags.security)
