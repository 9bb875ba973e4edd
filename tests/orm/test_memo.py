"""What is remembered of texts, and that it takes bounded room."""

from __future__ import annotations

import pytest

from dddp.orm.memo import LONGEST, MOST, Memo


@pytest.mark.parametrize("text", [None, "", "x" * LONGEST])
def test_text_of_usual_length(text: str | None) -> None:
    memo = Memo[int]()

    assert memo.remember(text, 1) == 1
    assert memo == {text: 1}


def test_long_text() -> None:
    memo = Memo[int]()

    assert memo.remember("x" * (LONGEST + 1), 1) == 1
    assert memo == {}


def test_more_than_there_is_room_for() -> None:
    """It starts again."""
    memo = Memo[int]()
    for number in range(MOST + 1):
        memo.remember(str(number), number)

    assert memo == {str(MOST): MOST}
