"""Methods: their names, options and arguments, and that they stay functions."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User

from dddp.api import Method, method
from dddp.errors import MeteorError


class RecordedCall:
    """The part of a call that access is decided on; notes whether the user was asked for."""

    def __init__(self, user):
        self._user = user
        self.asked = False

    @property
    def user(self):
        self.asked = True
        return self._user


@method
def plain(call, title: str, count: int = 1):
    """Repeat a title."""
    return title * count


@method("papers.shred", atomic=False, login_required=True)
def shred(call): ...


@method(permission_required="auth.change_user")
def rename(call): ...


def test_a_method_is_named_like_its_function_or_as_given():
    assert (plain.name, shred.name, rename.name) == ("plain", "papers.shred", "rename")


def test_a_method_is_still_a_function():
    assert plain(None, "ha", count=2) == "haha"
    assert plain.__doc__ == "Repeat a title."
    assert plain.function("call", "x") == "x"


def test_a_method_is_atomic_unless_it_says_otherwise():
    assert (plain.atomic, shred.atomic) == (True, False)


def test_bind_gives_the_checked_arguments():
    assert plain.bind(["ha", 2.0]) == ("ha", 2)


def test_bind_refuses_what_does_not_fit():
    with pytest.raises(MeteorError) as error:
        plain.bind([1, "x"])

    assert (error.value.error, error.value.reason) == (400, "Match failed")
    assert error.value.details == {
        "title": "expected string, got integer",
        "count": "expected integer, got string",
    }


def test_anyone_may_call_a_method_that_requires_nothing():
    call = RecordedCall(AnonymousUser())

    plain.check_access(call)

    assert not call.asked


@pytest.mark.parametrize("secured", [shred, rename])
def test_login_is_required_of_the_anonymous(secured):
    with pytest.raises(MeteorError, match=r"You must be logged in \[403\]"):
        secured.check_access(RecordedCall(AnonymousUser()))


def test_a_permission_is_required_of_users_without_it(db):
    call = RecordedCall(User.objects.create(username="ann"))

    with pytest.raises(MeteorError, match=r"You need the permission auth.change_user \[403\]"):
        rename.check_access(call)


def test_users_with_the_permission_pass(db):
    ann = User.objects.create(username="ann")
    ann.user_permissions.add(Permission.objects.get(codename="change_user"))
    call = RecordedCall(ann)

    rename.check_access(call)

    assert call.asked


def test_the_decorator_gives_a_method():
    assert isinstance(shred, Method)
    assert repr(shred) == "<Method papers.shred>"
