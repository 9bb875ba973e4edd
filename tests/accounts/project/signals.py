"""Notes what Django's signals of logins tell, as packages that watch logins do."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import user_logged_in, user_logged_out, user_login_failed


def connect() -> None:
    user_logged_in.connect(logged_in)
    user_logged_out.connect(logged_out)
    user_login_failed.connect(login_failed)


def logged_in(request: Any, user: Any, **options: Any) -> None:
    _note("in", user.get_username(), request)


def logged_out(request: Any, user: Any, **options: Any) -> None:
    _note("out", user.get_username(), request)


def login_failed(credentials: Any, request: Any, **options: Any) -> None:
    assert set("".join(map(str, credentials.get("password", "")))) <= {"*"}
    _note("failed", credentials.get("username", ""), request)


def _note(kind: str, username: str, request: Any) -> None:
    from tests.accounts.project.models import Event

    Event.objects.create(kind=kind, username=username, address=request.META["REMOTE_ADDR"])
