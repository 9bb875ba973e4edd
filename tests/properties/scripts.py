"""Scripts: what writers and clients do, as data. Hypothesis makes and shrinks them; ``play`` performs them.

A script is a list of steps ``(verb, *arguments)`` that make sense in any order, so that any part of a script is a
script too: a printed one can be pasted into a test.
"""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import strategies as st

from tests.properties.stage import Reader, Stage
from tests.properties.writers import Refused

__all__ = ["Step", "play", "scripts"]

Step = tuple[Any, ...]
CLIENTS = 3
WRITERS = 3

# --- operations

book = st.integers(1, 6)
author = st.integers(1, 3)
value = st.integers(0, 6)
address = st.integers(1, 2)
team = st.integers(1, 2)
user = st.integers(1, 3)
tag = st.integers(1, 3)


def _operations(*signatures: tuple[Any, ...]) -> st.SearchStrategy[list[Any]]:
    return st.one_of(*(st.tuples(st.just(name), *arguments).map(list) for name, *arguments in signatures))


by_signals = _operations(
    ("put_book", book, author, value),
    ("put_book", book, author, value),
    ("revalue", book, value),
    ("revalue", book, value),
    ("retitle", book, value),
    ("enlarge", book, st.sampled_from([0, 7, 10])),
    ("retarget", book, author),
    ("own", book, user | st.none()),
    ("share", book, team | st.none()),
    ("remove_book", book),
    ("there_and_back", book, value),
    ("remove_and_put", book, author, value),
    ("put_and_remove", book, author, value),
    ("move_value", book, book, value),
    ("put_author", author, address),
    ("readdress", author, address),
    ("judge", author, st.booleans()),
    ("remove_author", author),
    ("tag", book, tag),
    ("untag", book, tag),
    ("set_tags", book, tag, tag),
    ("rename_tag", tag, value),
    ("join", team, user),
    ("leave", team, user),
)
by_triggers = by_signals | _operations(
    ("put_books", author, value, book, book, book),
    ("revalue_all", value, st.integers(-2, 2)),
    ("remove_team", team),
    ("put_team", team),
    ("by_sql", book, value),
    ("rekey", book, book),
    ("truncate",),
)

# --- steps

publication = st.one_of(
    st.sampled_from(
        [("All",), ("All",), ("Titles",), ("Own",), ("OwnedBooks",), ("Tagged",), ("ByGoodAuthor",)]
    ),
    st.tuples(st.just("ByEmail"), st.sampled_from(["1@example.org", "2@example.org"])),
    st.tuples(st.just("ByValue"), value, value).map(lambda p: (p[0], min(p[1:]), max(p[1:]))),
    st.tuples(st.just("Cheapest"), st.integers(1, 3)),
    st.tuples(st.just("Page"), st.integers(0, 2), st.integers(3, 4)),
    st.tuples(st.just("FirstTitles"), st.integers(1, 3)),
    st.tuples(st.just("CheapestGood"), st.integers(1, 3), st.just("TITLE 1")),
    st.tuples(st.just("Values"), value),
    st.tuples(st.just("OwnFirst"), st.integers(1, 2)),
    st.tuples(st.just("OnShelf"), value),
    st.tuples(st.just("WithoutTag"), st.just("tag 1")),
    st.tuples(st.just("TitleOrTag"), st.just("title 1"), st.just("tag 1")),
    st.tuples(st.just("AuthorWithoutValue"), value),
    st.tuples(st.just("AuthorsOfTag"), st.just("tag 1")),
    st.tuples(st.just("WithTags"), st.just("tag 1"), st.just("tag 2")),
    st.tuples(st.just("ValueOrTitle"), value, st.just("title 1")),
    st.tuples(st.just("Prolific"), st.integers(1, 2)),
    st.tuples(st.just("Gated"), st.integers(1, 2), value),
    st.tuples(st.just("GatedShelf"), st.integers(1, 2), value),
    st.tuples(st.just("ByHand"), st.just("a note"), book, book).map(lambda p: p[:3] if p[2] == p[3] else p),
)
client = st.integers(0, CLIENTS - 1)
writer = st.integers(0, WRITERS - 1)
login = st.none() | st.sampled_from(["1", "2", "3", "4"])


def scripts(capture: str) -> st.SearchStrategy[list[Step]]:
    """Scripts of writes that this way of capturing sees."""
    operation = by_triggers if capture == "triggers" else by_signals
    some = st.lists(operation, min_size=1, max_size=3)
    transact = st.tuples(st.just("transact"), writer, some, st.booleans())
    subscribe = st.tuples(st.just("subscribe"), client, publication, st.booleans())
    return st.lists(
        st.one_of(
            subscribe,
            subscribe,
            transact,
            transact,
            st.tuples(st.just("unsubscribe"), client, st.integers(0, 5)),
            st.tuples(st.just("login"), client, login, st.booleans()),
            st.tuples(st.just("drop"), client),
            st.tuples(st.sampled_from(["close", "open"]), st.integers(1, 2)),
            st.tuples(st.just("call"), client, st.just("write"), some, st.booleans()),
            st.tuples(st.just("call"), client, st.just("write_loosely"), some, st.booleans()),
            st.tuples(st.just("begin"), writer),
            st.tuples(st.just("write"), writer, some),
            st.tuples(st.sampled_from(["release", "undo", "commit", "rollback"]), writer),
            st.tuples(st.just("loosely"), writer, operation),
            st.tuples(st.just("burst"), st.lists(st.tuples(writer, some), min_size=2, max_size=5)),
            st.just(("quiet",)),
        ),
        min_size=12,
        max_size=32,
    )


# --- performance


def play(script: list[Step], stage: Stage) -> None:
    """Perform a script from the initial state to a last quiet moment.

    Raises:
        AssertionError: a promise was broken.
    """
    stage.reset()
    for _ in range(CLIENTS):
        stage.reader()
    for verb, *arguments in script:
        VERBS[verb](stage, *arguments)
    stage.quiet()
    for reader in stage.readers:
        reader.leave()


def _reader(stage: Stage, number: int) -> Reader:
    return stage.readers[1 + number]


def _write(stage: Stage, number: int, do: str, *arguments: Any) -> None:
    with contextlib.suppress(Refused):
        stage.write(number, do, *arguments)


def _transact(stage: Stage, number: int, writes: list[Any], wait: bool) -> None:
    job = stage.submit(number, "transact", *writes)
    if wait:
        job.exception(20)


def _burst(stage: Stage, transactions: list[tuple[int, list[Any]]]) -> None:
    jobs = [stage.submit(number, "transact", *writes) for number, writes in transactions]
    for job in jobs:
        job.exception(20)


def _loosely(stage: Stage, number: int, operation: list[Any]) -> None:
    """In autocommit mode: with signals, the row and its note are two transactions."""
    stage.loose |= stage.capture == "signals"
    _write(stage, number, "write", operation)


VERBS = {
    "subscribe": lambda stage, c, wanted, wait: _reader(stage, c).subscribe(*wanted, wait=wait),
    "unsubscribe": lambda stage, c, number: _reader(stage, c).unsubscribe(number),
    "login": lambda stage, c, user, wait: _reader(stage, c).login(user, wait=wait),
    "drop": lambda stage, c: _reader(stage, c).drop(),
    "call": lambda stage, c, method, writes, wait: _reader(stage, c).call(method, writes, wait=wait),
    "begin": lambda stage, w: _write(stage, w, "begin"),
    "write": lambda stage, w, writes: _write(stage, w, "transact", *writes),
    "transact": _transact,
    "release": lambda stage, w: _write(stage, w, "release"),
    "undo": lambda stage, w: _write(stage, w, "undo"),
    "commit": lambda stage, w: _write(stage, w, "commit"),
    "rollback": lambda stage, w: _write(stage, w, "rollback"),
    "loosely": _loosely,
    "burst": _burst,
    "close": lambda stage, gate: stage.close(gate),
    "open": lambda stage, gate: stage.open(gate),
    "quiet": lambda stage: stage.quiet(),
}
