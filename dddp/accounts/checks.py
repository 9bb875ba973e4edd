"""What ``manage.py check`` says of the settings that logins need."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.hashers import get_hasher
from django.core import checks

from dddp.accounts.hashers import DigestHasher

__all__ = ["check_password_hashers"]


def check_password_hashers(**options: Any) -> list[checks.CheckMessage]:
    """Warn where Meteor's clients, which send a digest of the password, could not log in."""
    if isinstance(get_hasher(), DigestHasher):
        return []
    return [
        checks.Warning(
            "Meteor's clients cannot log in with a password: new passwords are stored in a form that their digests "
            "cannot be held against.",
            hint='Put "dddp.accounts.hashers.DigestPBKDF2PasswordHasher" first in PASSWORD_HASHERS, before '
            "Django's own hashers.",
            id="dddp_accounts.W001",
        )
    ]
