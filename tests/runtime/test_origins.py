"""Which web pages may connect."""

from __future__ import annotations

import pytest

from dddp.errors import ImproperlyDeclared
from dddp.runtime.origins import accepting
from dddp.transport.contract import Request

GOOD = "https://good.example"


def from_the_good_one(request: Request) -> bool:
    return request.origin == GOOD


def requests(origins: object) -> list[bool]:
    """Whether the good one, another one and what is no browser may connect."""
    accepts = accepting(origins)  # type: ignore[arg-type]
    assert accepts is not None
    return [accepts(Request("/", origin=origin)) for origin in (GOOD, "https://evil.example", None)]


def test_none_restricts_nothing() -> None:
    assert accepting(None) is None


def test_a_list_lets_in_what_it_names_and_what_is_no_browser() -> None:
    assert requests((GOOD,)) == [True, False, True]


def test_a_function_decides_alone() -> None:
    assert requests(from_the_good_one) == [True, False, False]


def test_a_dotted_path_is_the_function_there() -> None:
    assert requests(f"{__name__}.from_the_good_one") == [True, False, False]


@pytest.mark.parametrize("path", ["no_such.module", f"{__name__}.nothing", f"{__name__}.GOOD"])
def test_a_path_without_a_function_is_named(path: str) -> None:
    with pytest.raises(ImproperlyDeclared, match="ORIGINS"):
        accepting(path)
