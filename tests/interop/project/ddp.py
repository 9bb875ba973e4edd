"""What each client is asked to do: read one's notes, add one, be refused, send and receive dates and bytes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from dddp.api import API, Call, Collection, MeteorError, Publication, method
from tests.interop.project import models


class Note(Collection):
    model = models.Note
    name = "notes"


class Notes(Publication):
    """One owner's."""

    name = "notes"

    def get_queries(self, owner: str) -> Any:
        return models.Note.objects.filter(owner=owner)


class Closed(Publication):
    name = "closed"

    def get_queries(self) -> Any:
        raise MeteorError("closed", "We are closed")


@method("add")
def add(call: Call, owner: str, text: str) -> str:
    return str(models.Note.objects.create(owner=owner, text=text).pk)


@method("refuse")
def refuse(call: Call) -> None:
    raise MeteorError("closed", "We are closed", {"until": "Monday"})


@method("later")
def later(call: Call, at: datetime) -> datetime:
    return at + timedelta(days=1)


@method("reversed")
def reverse(call: Call, raw: bytes) -> bytes:
    return raw[::-1]


@method("who")
def who(call: Call) -> str | None:
    return call.user.username or None


@method("address")
def address(call: Call) -> str | None:
    return call.connection.client_address


API.register([Note, Notes, Closed, add, refuse, later, reverse, who, address])
