"""The user behind an id."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User

from dddp.api.access import load_user


def test_an_id_is_the_users_key(db):
    ann = User.objects.create(username="ann")

    assert load_user(str(ann.pk)) == ann


@pytest.mark.parametrize("user_id", [None, "123456"])
def test_nobody_is_anonymous(db, user_id):
    assert load_user(user_id) == AnonymousUser()


def test_a_user_who_was_deactivated_is_anonymous(db):
    ann = User.objects.create(username="ann", is_active=False)

    assert load_user(str(ann.pk)) == AnonymousUser()
