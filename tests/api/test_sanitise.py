"""What an exception becomes on the wire (ddp-wire 5.6)."""

from __future__ import annotations

import json

import pytest
from django.core.exceptions import PermissionDenied, ValidationError
from django.db import connection
from django.http import Http404
from django.utils.translation import gettext_lazy

from dddp.api.sanitise import is_internal, sanitise
from dddp.errors import MeteorError, QueryRefused
from tests.api.models import Paper


def sent(exception):
    answer = sanitise(exception)
    return answer.error, answer.reason, answer.details


def test_a_meteor_error_is_sent_as_it_is():
    error = MeteorError("too-many-requests", "Slow down", {"wait": 3})

    assert sanitise(error) is error
    assert not is_internal(error)


@pytest.mark.parametrize("text", ["\0", "\ud800"])
@pytest.mark.django_db
def test_text_that_postgresql_cannot_hold_is_the_clients_fault(text):
    """By whatever exception the driver or the database says so, in a text column and in JSON."""
    for value in (text, [text]):
        with pytest.raises(Exception) as caught, connection.cursor() as cursor:
            cast = "::jsonb" if isinstance(value, list) else "::text"
            cursor.execute(f"SELECT %s{cast}", [json.dumps(value) if isinstance(value, list) else value])

        assert sanitise(caught.value).error == 400
        assert not is_internal(caught.value)


def test_an_id_that_is_no_number_is_the_clients_fault():
    """Django raises no ValidationError for it, as it does for UUIDs; what was compared is not repeated."""
    with pytest.raises(ValueError) as caught:
        Paper.objects.filter(pk="secret")

    assert sent(caught.value) == (400, "Field 'id' expected a number", None)
    assert not is_internal(caught.value)


@pytest.mark.parametrize(
    ("exception", "expected"),
    [
        (PermissionDenied(), (403, "Permission denied", None)),
        (PermissionDenied("Not your paper"), (403, "Not your paper", None)),
        (Http404(), (404, "Not found", None)),
        (Http404("No such paper"), (404, "No such paper", None)),
        (Paper.DoesNotExist(), (404, "Not found", None)),
        (
            Paper.DoesNotExist("Paper matching query does not exist."),
            (404, "Paper matching query does not exist.", None),
        ),
        (ValidationError("Too heavy"), (400, "Too heavy", {"__all__": ["Too heavy"]})),
        (
            ValidationError(["Too heavy", "Too long"]),
            (400, "Too heavy Too long", {"__all__": ["Too heavy", "Too long"]}),
        ),
        (
            ValidationError({"title": ["Too short"], "weight": ["Too heavy", "Odd"]}),
            (
                400,
                "title: Too short weight: Too heavy Odd",
                {"title": ["Too short"], "weight": ["Too heavy", "Odd"]},
            ),
        ),
        (
            ValidationError(gettext_lazy("At least %(least)s"), params={"least": 2}),
            (400, "At least 2", {"__all__": ["At least 2"]}),
        ),
    ],
)
def test_what_django_raises_on_purpose_reaches_the_client(exception, expected):
    assert sent(exception) == expected
    assert not is_internal(exception)


@pytest.mark.parametrize(
    "exception", [ValueError("secret"), QueryRefused("secret"), KeyboardInterrupt("secret")]
)
def test_everything_else_is_error_500_without_a_word_of_it(exception):
    assert sent(exception) == (500, "Internal server error", None)
    assert is_internal(exception)


def test_the_details_are_plain_json():
    """Clients do not decode EJSON there, and lazy translations are no JSON at all."""
    error = sanitise(ValidationError({"title": [ValidationError(gettext_lazy("Too short"))]}))

    assert [type(text) for text in error.details["title"]] == [str]
