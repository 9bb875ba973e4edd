"""What ``dddp.api`` promises."""

from __future__ import annotations

import dddp.api


def test_every_promised_name_is_there():
    assert [name for name in dddp.api.__all__ if not hasattr(dddp.api, name)] == []


def test_the_promise_is_sorted_and_names_nothing_twice():
    assert list(dddp.api.__all__) == sorted(set(dddp.api.__all__))


def test_the_names_of_the_documentation_are_promised():
    """The first lines of every ``ddp.py``; taking one away breaks every user."""
    promised = {"API", "Collection", "MeteorError", "Publication", "method", "publication"}

    assert promised <= set(dddp.api.__all__)
