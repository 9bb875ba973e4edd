"""The tokens by which clients log in again after a reconnect. Only their hashes are stored."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.utils import timezone

__all__ = ["LoginToken"]


class LoginToken(models.Model):
    """One login: of one browser, as a rule, and all its tabs."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    hash = models.CharField(max_length=44, unique=True)  #: base64 of the token's SHA-256
    auth_hash = models.CharField(
        max_length=128
    )  #: Django's session auth hash: another one after a new password
    created = models.DateTimeField(default=timezone.now)
    expires = models.DateTimeField(db_index=True)

    class Meta:
        app_label = "dddp_accounts"
        default_permissions = ()

    def __str__(self) -> str:
        return f"login of {self.user_id}, {self.created:%Y-%m-%d %H:%M}"
