"""Who may subscribe or call: the declared ``login_required`` and ``permission_required``, and the user behind an id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

from django.contrib.auth import get_user_model

from dddp.errors import MeteorError

__all__ = ["Permissions", "User", "check_access", "load_user"]

User: TypeAlias = Any
"""An instance of the project's user model, or Django's ``AnonymousUser``."""

Permissions: TypeAlias = str | Sequence[str] | None
"""One permission, ``"bookstore.change_book"``, or several that must all be held."""


def load_user(user_id: str | None) -> User:
    """Read a user by primary key; anonymous without an id, and when the user is gone or not active."""
    # Here, since django.contrib.auth need not be installed to import dddp.api.
    from django.contrib.auth.models import AnonymousUser

    if user_id is None:
        return AnonymousUser()
    user = get_user_model()._default_manager.filter(pk=user_id).first()
    return user if user is not None and getattr(user, "is_active", True) else AnonymousUser()


def check_access(user: User, login_required: bool, permission_required: Permissions) -> None:
    """Let the user pass or say why not.

    Raises:
        MeteorError: 403, with a reason that tells logging in from lacking a permission.
    """
    permissions = as_tuple(permission_required)
    if (login_required or permissions) and not user.is_authenticated:
        raise MeteorError(403, "You must be logged in")
    missing = [permission for permission in permissions if not user.has_perm(permission)]
    if missing:
        raise MeteorError(403, f"You need the permission {', '.join(missing)}")


def as_tuple(permissions: Permissions) -> tuple[str, ...]:
    if permissions is None:
        return ()
    return (permissions,) if isinstance(permissions, str) else tuple(permissions)
