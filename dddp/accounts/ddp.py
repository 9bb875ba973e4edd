"""What the accounts offer over DDP: the collection ``users``, the user's own document, and Meteor's methods for login.

A login is a token: its text is the client's, its hash a row of ``LoginToken``. Methods that a wrong password ends run
without a transaction, so that what Django's signals have others write of it stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth import get_user_model, user_logged_in, user_logged_out
from django.contrib.auth.password_validation import validate_password
from django.db import transaction
from django.utils import timezone

from dddp import conf
from dddp.accounts import logins, tokens
from dddp.accounts.credentials import (
    authenticated,
    check_text,
    email_field,
    find_user,
    new_password,
    password_of,
    refused,
    request_of,
)
from dddp.accounts.hashers import Digest
from dddp.accounts.models import LoginToken
from dddp.api import API, Call, Collection, MeteorError, Publication, computed, method

__all__ = ["CurrentUser", "LoginTokens", "Users"]

User: Any = get_user_model()


def _fields(*names: str | None) -> list[str]:
    """Those that the user model has."""
    own = {field.name for field in User._meta.concrete_fields}
    return [name for name in names if name is not None and name in own]


class Users(Collection):
    """Users as Meteor knows them, whatever the user model calls its fields."""

    name = "users"
    model = User
    fields = ()
    filter_fields = _fields("is_active")

    @computed(User.USERNAME_FIELD)
    def username(self, name: Any) -> str:
        return str(name)

    @computed(*_fields(email_field()))
    def emails(self, *addresses: str) -> list[dict[str, Any]]:
        """In Meteor's form. Django does not know whether an address was verified, so it is not."""
        return [{"address": address, "verified": False} for address in addresses if address]

    @computed(*_fields("name", "first_name", "last_name"))
    def profile(self, *names: str) -> dict[str, str]:
        return {"name": " ".join(filter(None, names))}


class LoginTokens(Collection):
    """Here to be watched; publishes nothing of a token."""

    model = LoginToken
    fields = ()


class CurrentUser(Publication):
    """What every client gets without asking: the document of the user it is logged in as.

    When the reason of its login ends (the token, the user, the user's being active), the client is disconnected.
    """

    name = "dddp.accounts.user"
    auto = True

    def publish(self) -> Any:
        if self.user_id is None:
            return []
        user = _active(self.user_id)
        self.watch((user, Users), self._close_without_user)
        token = logins.token_of(self.connection)
        if token is not None:
            own = LoginToken.objects.filter(pk=token.pk)
            self.watch((own, LoginTokens), lambda ids: self._close_without_token(ids, token))
        return [(user, Users)]

    def _close_without_user(self, ids: frozenset[str]) -> None:
        if not ids:
            self.connection.close()

    def _close_without_token(self, ids: frozenset[str], token: logins.Held) -> None:
        if not ids and logins.token_of(self.connection) == token:
            self.connection.close()


def _active(user_id: str) -> Any:
    rows = User._base_manager.filter(pk=user_id)
    return rows.filter(is_active=True) if _fields("is_active") else rows


# -- Logging in and out


@method("login", atomic=False)
def login(call: Call, options: dict[str, Any]) -> dict[str, Any]:
    """Log in by a token (``resume``) or a password; the first that the options name answers."""
    if "resume" in options:
        return _resumed(call, check_text(options["resume"]))
    if "password" in options:
        return _logged_in(call, authenticated(call, options))
    raise MeteorError(400, "Unrecognized options for login request")


@method("createUser", atomic=False)
def create_user(call: Call, options: dict[str, Any]) -> dict[str, Any]:
    """Make an account and log in to it, where ``SIGN_UP`` allows it."""
    if not conf.load().sign_up:
        raise MeteorError(403, "Signups forbidden")
    user = _new_user(options)
    with transaction.atomic():
        user.full_clean(exclude=["password"])
        user.save()
    return _logged_in(call, user)


@method("logout")
def logout(call: Call) -> None:
    """End this login; the connection stays."""
    token = logins.detach(call.connection)
    if token is not None:
        LoginToken.objects.filter(pk=token.pk).delete()
    if call.user_id is not None:
        request = request_of(call)
        user_logged_out.send(sender=type(request.user), request=request, user=request.user)
    call.set_user_id(None)


def _resumed(call: Call, text: str) -> dict[str, Any]:
    """The same login on another connection. Django hears nothing of it: nobody has logged in."""
    token = tokens.find_token(text)
    if token is None:
        raise MeteorError(403, "You've been logged out by the server. Please log in again.")
    if token.expires <= timezone.now():
        raise MeteorError(403, "Your session has expired. Please log in again.")
    _attach(call, token)
    return _answer(text, token) | {"type": "resume"}


def _logged_in(call: Call, user: Any) -> dict[str, Any]:
    with transaction.atomic():
        token = tokens.make_token(user)
        request = request_of(call)
        request.user = user
        user_logged_in.send(sender=type(user), request=request, user=user)
    _attach(call, token.row)
    return _answer(token.text, token.row) | {"type": "password"}


def _attach(call: Call, token: LoginToken) -> None:
    call.set_user_id(str(token.user_id))
    logins.attach(call.connection, token)


def _answer(text: str, token: LoginToken) -> dict[str, Any]:
    return {"id": str(token.user_id), "token": text, "tokenExpires": token.expires}


def _new_user(options: Mapping[str, Any]) -> Any:
    """A user that has not been saved, of ``createUser``'s options.

    Raises:
        MeteorError: 400 for what does not fit, 403 for a name or an address that somebody has.
        ValidationError: a password that Django's validators refuse; digests they cannot judge.
    """
    if not set(options) <= {"username", "email", "password", "profile"}:
        raise MeteorError(400, "Match failed")
    given = {
        name: check_text(options[name]) for name in ("username", "email") if options.get(name) is not None
    }
    if not given:
        raise MeteorError(400, "Need to set a username or email")
    if any(find_user({name: value}) is not None for name, value in given.items()):
        raise refused()
    user = User(**_names(given, options.get("profile")))
    _set_password(user, options.get("password"))
    return user


def _names(given: Mapping[str, str], profile: Any) -> dict[str, str]:
    """The user model's fields for a name, an address and Meteor's ``profile.name``."""
    values = {}
    address = email_field()
    if address is not None and "email" in given:
        values[address] = given["email"]
    if User.USERNAME_FIELD not in values:
        values[User.USERNAME_FIELD] = given.get("username") or given["email"]
    name = profile.get("name") if isinstance(profile, Mapping) else None
    if name is not None:
        first, _, last = check_text(name).partition(" ")
        parts = {"name": f"{first} {last}".strip(), "first_name": first, "last_name": last}
        values |= {field: parts[field] for field in _fields(*parts)}
    return values


# -- Passwords and tokens


@method("changePassword", atomic=False)
def change_password(call: Call, old: Any, new: Any) -> dict[str, Any]:
    """Give the user another password; their other logins end."""
    old, user = password_of(old), call.user
    if not user.is_authenticated:
        raise MeteorError(401, "Must be logged in")
    if not user.check_password(old):
        raise refused()
    _set_password(user, new)
    with transaction.atomic():
        token = logins.token_of(call.connection)
        if token is not None:  # before the user is saved, which ends the tokens of another password
            LoginToken.objects.filter(pk=token.pk).update(auth_hash=user.get_session_auth_hash())
        user.save(update_fields=["password"])
    return {"passwordChanged": True}


@method("getNewToken")
def get_new_token(call: Call) -> dict[str, Any]:
    """A token more for this login, with as much time as it has; the connection is logged in by it."""
    _check_logged_in(call)
    present = logins.token_of(call.connection)
    token = tokens.make_token(call.user, present.expires if present is not None else None)
    _attach(call, token.row)
    return _answer(token.text, token.row)


@method("removeOtherTokens")
def remove_other_tokens(call: Call) -> None:
    """End the user's other logins."""
    _check_logged_in(call)
    token = logins.token_of(call.connection)
    tokens.end_tokens(call.user, but=token.pk if token is not None else None)


@method("logoutOtherClients")
def logout_other_clients(call: Call) -> dict[str, Any]:
    """End all logins of the user; this connection goes on with a new one. What clients before Meteor 2.3 call."""
    _check_logged_in(call)
    token = tokens.make_token(call.user)
    _attach(call, token.row)
    tokens.end_tokens(call.user, but=token.row.pk)
    answer = _answer(token.text, token.row)
    return {name: answer[name] for name in ("token", "tokenExpires")}


def _check_logged_in(call: Call) -> None:
    if not call.user.is_authenticated:
        raise MeteorError("You are not logged in.")


def _set_password(user: Any, value: Any) -> None:
    password = new_password(value)
    if not isinstance(password, Digest):
        validate_password(password, user)
    user.set_password(password)


API.register([Users, LoginTokens, CurrentUser])
API.register([login, create_user, logout, change_password])
API.register([get_new_token, remove_other_tokens, logout_other_clients])
