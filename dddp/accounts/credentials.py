"""Who a client says it is, and the password it gives for that (ddp-wire 9.3, 9.4).

An unknown user and a wrong password take the same work and get the same answer: nobody learns here who has an account.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from django.contrib.auth import authenticate, get_user_model, user_login_failed
from django.contrib.auth.hashers import get_hasher, identify_hasher
from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.http import HttpRequest

from dddp.accounts.hashers import Digest, DigestHasher
from dddp.api import Call, MeteorError

__all__ = [
    "authenticated",
    "check_text",
    "email_field",
    "find_user",
    "new_password",
    "password_of",
    "refused",
    "request_of",
]

logger = logging.getLogger(__name__)

SELECTORS = ("id", "username", "email")

_is_digest = re.compile(r"[0-9a-f]{64}\Z").match


def refused() -> MeteorError:
    """The one answer to whatever is wrong with a name or a password."""
    return MeteorError(403, "Something went wrong. Please check your credentials.")


def check_text(value: Any) -> str:
    """A text that is not empty and that the database can hold.

    Raises:
        MeteorError: 400.
    """
    if isinstance(value, str) and value and "\0" not in value and value.isascii() | _is_utf8(value):
        return value
    raise MeteorError(400, "Match failed")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate
        return False
    return True


def password_of(value: Any) -> str:
    """A password as clients send it: a text, or ``{"digest": ..., "algorithm": "sha-256"}``.

    Raises:
        MeteorError: 400.
    """
    if not isinstance(value, Mapping):
        return check_text(value)
    digest = value.get("digest")
    fits = set(value) == {"digest", "algorithm"} and value["algorithm"] == "sha-256"
    if fits and isinstance(digest, str) and _is_digest(digest):
        return Digest(digest)
    raise MeteorError(400, "Match failed")


def new_password(value: Any) -> str:
    """A password to be stored.

    Raises:
        MeteorError: 400; also for a digest that the project's hasher would take for a text, and so lock the user out
            of Django's forms.
    """
    password = password_of(value)
    if isinstance(password, Digest) and not isinstance(get_hasher(), DigestHasher):
        raise MeteorError(400, "This server stores no digests of passwords. Send the password as text.")
    return password


def authenticated(call: Call, options: Mapping[str, Any]) -> Any:
    """The user of ``{"user": {"username": ...}, "password": ...}``.

    Raises:
        MeteorError: 400 for what has another form, 403 for a user or password that is wrong.
    """
    selector, password = _credentials(options)
    user = find_user(selector)
    name = user.get_username() if user is not None else selector.get("username")
    found = _authenticate(request_of(call), name, password)
    if found is None:
        _explain(user, password)
        raise refused()
    return found


def _credentials(options: Mapping[str, Any]) -> tuple[Mapping[str, str], str]:
    selector = options.get("user")
    if set(options) != {"user", "password"} or not isinstance(selector, Mapping):
        raise MeteorError(400, "Match failed")
    if len(selector) != 1 or not set(selector) <= set(SELECTORS):
        raise MeteorError(400, "Match failed")
    return {name: check_text(value) for name, value in selector.items()}, password_of(options["password"])


def _authenticate(request: HttpRequest, name: str | None, password: str) -> Any:
    model: Any = get_user_model()
    if name is not None:
        return authenticate(request, **{model.USERNAME_FIELD: name}, password=password)
    model().set_password(password)  # the work of holding it against a stored one
    user_login_failed.send(sender=__name__, credentials={"password": "*" * 20}, request=request)
    return None


def _explain(user: Any, password: str) -> None:
    """Tell the log, not the client, what only a login with the text can mend."""
    if user is None or not isinstance(password, Digest) or not user.has_usable_password():
        return
    if not isinstance(identify_hasher(user.password), DigestHasher):
        logger.info(
            "! the password of user %s is stored in a form that no digest can be held against; a login with the text, "
            "by Django's form for instance, stores it anew",
            user.pk,
        )


def find_user(selector: Mapping[str, str]) -> Any:
    """The one user of ``{"id": ...}``, ``{"username": ...}`` or ``{"email": ...}``; None if there is none, or several.

    As written first, then whatever the case.
    """
    model: Any = get_user_model()
    ((name, value),) = selector.items()
    if name == "id":
        return _only(model, "pk", value)
    field = model.USERNAME_FIELD if name == "username" else email_field()
    return (_only(model, field, value) or _only(model, f"{field}__iexact", value)) if field else None


def _only(model: Any, lookup: str, value: str) -> Any:
    try:
        found = model._default_manager.filter(**{lookup: value})[:2]
        return found[0] if len(found) == 1 else None
    except (ValueError, ValidationError):  # no value of the key's type
        return None


def email_field() -> str | None:
    """The name of the user model's field for the e-mail address, if it has one."""
    model: Any = get_user_model()
    try:
        return str(model._meta.get_field(model.get_email_field_name()).name)
    except FieldDoesNotExist:
        return None


def request_of(call: Call) -> HttpRequest:
    """What Django's authentication backends and signals are given as the request: the connection's first one."""
    request = HttpRequest()
    request.user = call.user
    if call.connection is not None:
        names = {name: f"HTTP_{name.upper().replace('-', '_')}" for name in call.connection.http_headers}
        request.META = {names[name]: value for name, value in call.connection.http_headers.items()}
        request.META["REMOTE_ADDR"] = call.connection.client_address or ""
    return request
