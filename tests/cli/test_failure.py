"""Errors become one line that says how to mend them."""

from __future__ import annotations

import psycopg2
import pytest
from django.core.exceptions import ImproperlyConfigured

from dddp.errors import ImproperlyDeclared
from dddp.server.failure import CannotStart, sentence


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (CannotStart("no settings"), "no settings"),
        (
            ImproperlyDeclared("shop/ddp.py: two collections\nof one name"),
            "shop/ddp.py: two collections of one name",
        ),
        (
            ImproperlyConfigured("SECRET_KEY is empty"),
            "the Django settings are not right: SECRET_KEY is empty",
        ),
    ],
)
def test_a_known_error_is_its_own_sentence(error: Exception, line: str) -> None:
    assert sentence(error) == line


def test_a_database_error_names_the_setting() -> None:
    assert "DATABASES" in sentence(psycopg2.OperationalError("connection refused\n\tIs it running?"))


def test_a_mistake_in_code_names_the_projects_line() -> None:
    """The line is the project's own, not the library's inside which it was raised."""
    try:
        __import__("json").loads(None)
    except TypeError as error:
        line = sentence(error)

    assert line.startswith("TypeError: the JSON object must be str")
    assert f"{__file__}, line" in line


def test_a_syntax_error_names_the_file_it_is_in() -> None:
    try:
        compile("class Book(:", "shop/ddp.py", "exec")
    except SyntaxError as error:
        line = sentence(error)

    assert line == "SyntaxError: invalid syntax, shop/ddp.py, line 1"
