"""Diaries over DDP: readable and writable by their owners."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model

from dddp.api import API, Call, Collection, Publication, method
from tests.accounts.project import models

User = get_user_model()


class Entry(Collection):
    model = models.Entry
    name = "entries"
    user_rel = "owner"

    def allow_insert(self, user: Any, obj: Any) -> bool:
        return bool(obj.owner_id == user.pk)

    def allow_update(self, user: Any, obj: Any, changes: Any) -> bool:
        return "owner_id" not in changes

    def allow_remove(self, user: Any, obj: Any) -> bool:
        return True


class Entries(Publication):
    queries = models.Entry.objects.all()


class Members(Publication):
    login_required = True
    queries = models.Entry.objects.all()


class People(Publication):
    """Everybody's names."""

    queries = [(User.objects.all(), "users")]


class Watched(Publication):
    """Tells which entries there are, without publishing them."""

    def publish(self) -> None:
        self.added("watched", "entries", {"ids": None})
        self.watch(models.Entry.objects.filter(stars__gte=1), self.tell)
        self.ready()

    def tell(self, ids: frozenset[str]) -> None:
        self.changed("watched", "entries", {"ids": sorted(ids)})


@method
def who(call: Call) -> str | None:
    return call.user_id


@method
def rename(call: Call, username: str) -> None:
    """Change the caller's own row, as a method of any project might."""
    call.user.username = username
    call.user.save()


API.register([Entry, Entries, Members, People, Watched, who, rename])
