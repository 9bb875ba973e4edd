"""What a client sent against what a function takes: the counts, the types, the words of the refusal."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dddp.api.arguments import Signature
from dddp.errors import ImproperlyDeclared, MeteorError

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def bind(annotation: Any, value: Any) -> Any:
    """What a parameter with this annotation is given for a client's value."""

    def function(call, x): ...

    function.__annotations__["x"] = annotation
    return Signature(function).bind([value])[0]


def refusal(function: Any, *params: Any) -> Any:
    """The details of the error that a call is refused with."""
    with pytest.raises(MeteorError) as error:
        Signature(function).bind(params)
    assert (error.value.error, error.value.reason) == (400, "Match failed")
    return error.value.details


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 3),
        (int, -(2**60)),
        (float, 1.5),
        (float, 3),
        (str, ""),
        (bool, False),
        (bytes, b"x"),
        (datetime, NOON),
        (list, [1, "a"]),
        (list[int], [1, 2]),
        (list[list[str]], [["a"], []]),
        (Sequence[str], ["a"]),
        (dict, {"a": 1}),
        (dict[str, Any], {"a": None}),
        (Mapping[str, int], {"a": 1}),
        (None, None),
        (Optional[int], None),  # noqa: UP045
        (int | None, 4),
        (str | int, "x"),
        (str | int | float, 1.5),
        (Literal["a", 2], 2),
        (Annotated[int, "unit"], 5),
        (Any, {"deep": [NOON]}),
        (object, None),
    ],
)
def test_a_value_that_fits_is_passed_as_it_is(annotation, value):
    assert value == bind(annotation, value)


@pytest.mark.parametrize(
    ("annotation", "value", "said"),
    [
        (int, "1", "expected integer, got string"),
        (int, True, "expected integer, got boolean"),
        (int, 1.5, "expected integer, got number"),
        (int, float("inf"), "expected integer, got number"),
        (int, None, "expected integer, got null"),
        (float, "1.5", "expected number, got string"),
        (float, False, "expected number, got boolean"),
        (str, 1, "expected string, got integer"),
        (str, {"$gt": ""}, "expected string, got object"),
        (bool, 1, "expected boolean, got integer"),
        (bytes, "x", "expected binary, got string"),
        (datetime, "2026-01-02", "expected date, got string"),
        (list, {}, "expected array, got object"),
        (dict, [], "expected object, got array"),
        (None, 0, "expected null, got integer"),
        (int | None, "x", "expected integer or null, got string"),
        (str | int | float, None, "expected string or integer or number, got null"),
        (Literal["a", "b"], "c", "expected 'a' or 'b', got string"),
        (Literal[1], True, "expected 1, got boolean"),
        (Decimal, "a lot", "expected decimal, got string"),
        (Decimal, "NaN", "expected decimal, got string"),
        (Decimal, True, "expected decimal, got boolean"),
        (uuid.UUID, "x", "expected UUID, got string"),
        (uuid.UUID, 1, "expected UUID, got integer"),
        (date, "2026-02-30", "expected date (YYYY-MM-DD), got string"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_in_the_clients_words(annotation, value, said):
    with pytest.raises(MeteorError) as error:
        bind(annotation, value)

    assert {"x": said} == error.value.details


def test_a_whole_float_becomes_an_integer():
    """JavaScript has one number type, so 2 may arrive as 2.0."""
    bound = bind(int, 2.0)

    assert bound == 2
    assert isinstance(bound, int)


def test_a_union_prefers_what_keeps_the_value():
    assert isinstance(bind(int | float, 2.0), float)


@pytest.mark.parametrize("value", ["12.99", 12.99])
def test_a_decimal_has_the_digits_that_were_sent(value):
    assert Decimal("12.99") == bind(Decimal, value)


def test_a_uuid_is_made_of_its_text():
    key = uuid.uuid4()

    assert key == bind(uuid.UUID, str(key))


@pytest.mark.parametrize("value", ["2026-01-02", NOON])
def test_a_day_is_made_of_its_text_or_of_a_date(value):
    assert date(2026, 1, 2) == bind(date, value)


def test_a_wrong_item_is_named_by_its_place():
    def function(call, rows: list[dict[str, int]]): ...

    assert refusal(function, [{"a": 1}, {"a": "x"}]) == {"rows.1.a": "expected integer, got string"}


def test_all_wrong_arguments_are_named_at_once():
    def function(call, a: int, b: str, c): ...

    assert refusal(function, "x", 1, 2) == {
        "a": "expected integer, got string",
        "b": "expected string, got integer",
    }


def test_too_few_and_too_many_arguments_are_counted():
    def function(call, a, b): ...

    assert refusal(function, 1) == {"arguments": "expected 2 (a, b), got 1"}
    assert refusal(function, 1, 2, 3) == {"arguments": "expected 2 (a, b), got 3"}


def test_optional_arguments_are_counted_as_such():
    def function(call, a, b=1): ...

    assert refusal(function) == {"arguments": "expected 1 to 2 (a, b), got 0"}


def test_no_arguments_at_all_are_counted():
    def function(call): ...

    assert refusal(function, 1) == {"arguments": "expected 0, got 1"}


def test_a_missing_optional_argument_is_left_to_its_default():
    def function(call, a, b="b"): ...

    assert Signature(function).bind([1]) == (1,)


def test_a_default_of_none_accepts_null():
    """Clients send null for an argument that they leave out in the middle."""

    def function(call, a: int = None, b: int = 2): ...  # noqa: RUF013

    assert Signature(function).bind([None, 3]) == (None, 3)


def test_further_arguments_are_checked_each():
    def function(call, a: str, *rest: int): ...

    assert Signature(function).bind(["x", 1, 2.0]) == ("x", 1, 2)
    assert refusal(function, "x", 1, "y") == {"rest.1": "expected integer, got string"}
    assert refusal(function) == {"arguments": "expected at least 1 (a), got 0"}


def test_a_function_that_takes_everything_as_one():
    def function(*args): ...

    assert Signature(function).bind([1, 2]) == (1, 2)


def test_the_annotation_of_the_first_parameter_is_not_looked_at():
    """It is often imported for type checkers only."""

    def function(call: Nothing, a: int) -> Nothing: ...

    assert Signature(function).bind([1]) == (1,)


def test_an_annotation_that_is_not_importable_is_a_mistake():
    def function(call, a: Nothing): ...

    with pytest.raises(ImproperlyDeclared, match=r"function\(\): name 'Nothing' is not defined"):
        Signature(function)


@pytest.mark.parametrize("annotation", [Signature, set[int], tuple[int, str], complex])
def test_an_annotation_that_no_client_can_meet_is_a_mistake(annotation):
    with pytest.raises(
        ImproperlyDeclared, match=r"the annotation of 'x' is .*, which clients cannot send; use str, int"
    ):
        bind(annotation, 1)


def test_a_required_keyword_is_a_mistake():
    def function(call, *, a): ...

    with pytest.raises(ImproperlyDeclared, match="'a' needs a default"):
        Signature(function)


def test_an_async_function_is_a_mistake():
    async def coroutine(call): ...

    async def generator(call):
        yield

    for function in (coroutine, generator):
        with pytest.raises(ImproperlyDeclared, match=r"is async; .* def"):
            Signature(function)


def test_a_function_without_a_first_parameter_is_a_mistake():
    def function(): ...

    with pytest.raises(ImproperlyDeclared, match="must take a first parameter"):
        Signature(function)


ANNOTATIONS = [
    *(int, float, str, bool, bytes, datetime, date, Decimal, uuid.UUID, list, dict, None, Any),
    *(list[int], dict[str, date], int | str, list[Decimal] | None, Literal["a", 1], Sequence[uuid.UUID]),
]

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.from_regex(r"[-+]?[0-9]{1,3}([.][0-9]*)?(e[0-9]{1,20})?", fullmatch=True),
    st.binary(),
    st.datetimes(timezones=st.just(UTC)),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5
)


@given(annotation=st.sampled_from(ANNOTATIONS), value=values)
def test_whatever_a_client_sends_is_passed_or_refused(annotation, value):
    """No value makes a check raise anything but error 400, whose details are plain text."""
    try:
        bind(annotation, value)
    except MeteorError as error:
        assert error.error == 400
        assert all(isinstance(text, str) for item in error.details.items() for text in item)
