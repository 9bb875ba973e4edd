"""Login tokens: made, looked up, ended (ddp-wire 9.5).

A token is worth what it was worth when it was made: it ends with its time, with the user's password and when the user
is no longer active. Ending one is deleting its row; whoever is connected by it is told by the feed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.utils import timezone
from django.utils.crypto import constant_time_compare

from dddp import conf
from dddp.accounts.models import LoginToken

__all__ = ["NewToken", "end_outdated", "end_tokens", "expired", "find_token", "hash_of", "make_token"]


class NewToken(NamedTuple):
    """A token that has just been made: its text is known here only."""

    text: str
    row: LoginToken


def hash_of(text: str) -> str:
    """What is stored of a token."""
    return base64.b64encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()).decode()


def make_token(user: Any, expires: datetime | None = None) -> NewToken:
    """A token for a user; those of theirs that have expired go.

    Args:
        expires: by default ``LOGIN_DAYS`` from now.
    """
    now = timezone.now()
    LoginToken.objects.filter(user=user, expires__lte=now).delete()
    text = secrets.token_urlsafe(32)
    row = LoginToken.objects.create(
        user=user,
        hash=hash_of(text),
        auth_hash=user.get_session_auth_hash(),
        created=now,
        expires=expires or now + timedelta(days=conf.load().login_days),
    )
    return NewToken(text, row)


def find_token(text: str) -> LoginToken | None:
    """The token of a text, expired or not; None if there is none, or its user may not log in by it any more."""
    token = LoginToken.objects.select_related("user").filter(hash=hash_of(text)).first()
    return token if token is not None and _is_current(token, token.user) else None


def end_tokens(user: Any, *, but: int | None = None) -> None:
    """End a user's tokens.

    Args:
        but: the key of one that stays.
    """
    others = LoginToken.objects.filter(user=user)
    (others if but is None else others.exclude(pk=but)).delete()


def end_outdated(instance: Any, created: bool, raw: bool, update_fields: Any = None, **options: Any) -> None:
    """End the tokens that a user's change has made worthless; Django's ``post_save`` of the user model."""
    if created or raw or (update_fields is not None and not {"password", "is_active"} & set(update_fields)):
        return
    tokens = LoginToken.objects.filter(user_id=instance.pk)
    outdated = [token.pk for token in tokens if not _is_current(token, instance)]
    if outdated:
        LoginToken.objects.filter(pk__in=outdated).delete()


def _is_current(token: LoginToken, user: Any) -> bool:
    """Whether the user is active, and has the password that they had when the token was made."""
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    return bool(user.is_active) and any(constant_time_compare(token.auth_hash, each) for each in hashes)


def expired() -> Any:
    """The tokens whose time is over."""
    return LoginToken.objects.filter(expires__lte=timezone.now())
