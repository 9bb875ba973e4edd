"""Judges what one session was sent between two quiet moments, against the history of the database. Pure.

All take the positions of the interval: the first is the state at its beginning, the last the one at its end.
A *wish* is what a client wanted: a publication's name, its parameters, and the user it was logged in as.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

from tests import ejson
from tests.properties.expected import Document, Position, State, evaluate
from tests.strict import unescape_id

__all__ = [
    "Broken",
    "View",
    "Wish",
    "apply",
    "check_forwards",
    "check_leaks",
    "check_own_writes",
    "check_start",
    "check_timeline",
    "copied",
    "describe_difference",
    "same_view",
    "view_of",
]

Message: TypeAlias = dict[str, Any]
View: TypeAlias = dict[tuple[str, str], Document]
"""What a client has, by collection and id."""

Wish: TypeAlias = tuple[str, tuple[Any, ...], str | None]


class Broken(AssertionError):
    """A promise was."""


def view_of(wishes: Iterable[Wish], state: State) -> View:
    """What a client with these wishes has in a state of the library."""
    view: View = {}
    for name, params, user in wishes:
        for key, document in evaluate(name, params, user, state).items():
            view.setdefault(key, {}).update(document)
    return view


def same_view(collections: dict[str, dict[str, Document]], expected: View) -> bool:
    """Whether a strict client's collections are exactly the expected documents."""
    return sum(map(len, collections.values())) == len(expected) and all(
        collections.get(name, {}).get(key) == document for (name, key), document in expected.items()
    )


def describe_difference(had: View, expected: View) -> list[str]:
    """What takes a view to the expected one, for people."""
    return [f"  missing to equality: {message}" for message in _difference(had, expected).values()]


def apply(view: View, message: Message) -> None:
    """Bring a view up to date with one message of the server."""
    if message.get("msg") == "removed":
        del view[_key(message)]
    elif message.get("msg") in ("added", "changed"):
        document = {**view.get(_key(message), {}), **ejson.decode(message.get("fields", {}))}
        view[_key(message)] = {
            name: value for name, value in document.items() if name not in message.get("cleared", ())
        }


def _key(message: Message) -> tuple[str, str]:
    return message["collection"], unescape_id(message["id"])


def is_data(message: Message) -> bool:
    return message.get("msg") in ("added", "changed", "removed")


def check_forwards(messages: Iterable[Message], newest: dict[tuple[str, str], int]) -> None:
    """Promise 3: the number of a document's write never falls; ``newest`` goes on through a session's life."""
    for message in messages:
        number = message.get("fields", {}).get("n") if is_data(message) else None
        if number is None:
            continue
        if number < newest.get(_key(message), 0):
            raise Broken(f"promise 3: write {newest[_key(message)]} was known before {message}")
        newest[_key(message)] = number


def check_leaks(messages: Iterable[Message], wishes: Iterable[Wish], positions: Sequence[Position]) -> None:
    """Promise 7: each value was in a document that one of the wishes contained at some position."""
    visible: dict[tuple[str, str, str], list[Any]] = {}
    for wish in wishes:
        for position in positions:
            for (collection, key), document in view_of([wish], position.state).items():
                for name, value in document.items():
                    values = visible.setdefault((collection, key, name), [])
                    if value not in values:
                        values.append(value)
    for message in filter(is_data, messages):
        for name, value in ejson.decode(message.get("fields", {})).items():
            if value not in visible.get((*_key(message), name), ()):
                raise Broken(f"promise 7: {name} = {value!r} was never in a subscription: {message}")


def check_own_writes(view: View, wishes: Sequence[Wish], txn: int, positions: Sequence[Position]) -> None:
    """Promise 5: for each document that the method's transaction changed, the view is as at it, or later.

    Args:
        view: as it was when ``updated`` came.
        wishes: subscriptions that were ready before the call.
    """
    place = next((i for i, position in enumerate(positions) if position.txn == txn), None)
    if place is None:
        return  # it wrote nothing that remained
    before, later = positions[place - 1].state, positions[place:]
    written = _difference(view_of(wishes, before), view_of(wishes, later[0].state))
    since = [view_of([wish], position.state) for position in later for wish in wishes]
    for key in written:
        if key in view:
            fits = any(_agrees(view[key], known[key]) for known in since if key in known)
        else:
            fits = all(
                any(key not in view_of([wish], position.state) for position in later) for wish in wishes
            )
        if not fits:
            raise Broken(
                f"promise 5: at `updated` of transaction {txn} the client had {key} as {view.get(key)!r}"
            )


def _agrees(had: Document, known: Document) -> bool:
    return all(name in had and had[name] == value for name, value in known.items())


def check_timeline(
    view: View, messages: Iterable[Message], wishes: Sequence[Wish], positions: Sequence[Position]
) -> None:
    """Promises 2 and 6: transaction after transaction arrives once, whole, folded, and nothing else does.

    For a session whose wishes are decided row by row and do not overlap. Ends where a transaction has to be read,
    which may take the following ones along.

    Args:
        view: its state at the first position.
    """
    remaining = [_normal(message) for message in messages if is_data(message)]
    for previous, position in pairwise(positions):
        if not position.is_told_by_rows(previous.state):
            return
        after = view_of(wishes, position.state)
        expected = _difference(view, after)
        told = remaining[: len(expected)]
        if sorted(told, key=_order) != sorted(expected.values(), key=_order):
            raise Broken(
                f"promise 6: transaction {position.txn} does to this client\n{list(expected.values())}\n"
                f"but it was next told\n{told}"
            )
        del remaining[: len(expected)]
        view = after
    if remaining:
        raise Broken(f"promise 6: no transaction accounts for {remaining}")


def check_start(
    view: View,
    messages: Sequence[Message],
    subscription: str,
    wishes: Sequence[Wish],
    positions: Sequence[Position],
) -> None:
    """Promises 2 and 6 for a new subscription: at its ``ready`` the client has what one position shows; then a
    timeline. ``view`` is what it had before.
    """
    view = dict(view)
    ready = next(i for i, message in enumerate(messages) if subscription in message.get("subs", ()))
    for message in messages[:ready]:
        apply(view, message)
    starts = [i for i, position in enumerate(positions) if view_of(wishes, position.state) == view]
    if not starts:
        raise Broken(f"promise 2: at ready the client had what no position shows: {view}")
    check_timeline(view, messages[ready:], wishes, positions[starts[0] :])


def _difference(before: View, after: View) -> dict[tuple[str, str], Message]:
    return dict(_differences(before, after))


def _differences(before: View, after: View) -> Iterator[tuple[tuple[str, str], Message]]:
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if old is None:
            yield key, {"msg": "added", "key": key, "fields": new, "cleared": []}
        elif new is None:
            yield key, {"msg": "removed", "key": key, "fields": {}, "cleared": []}
        elif old != new:
            changed = {name: value for name, value in new.items() if name not in old or old[name] != value}
            cleared = sorted(old.keys() - new.keys())
            yield key, {"msg": "changed", "key": key, "fields": changed, "cleared": cleared}


def _normal(message: Message) -> Message:
    fields = ejson.decode(message.get("fields", {}))
    cleared = sorted(message.get("cleared", []))
    return {"msg": message["msg"], "key": _key(message), "fields": fields, "cleared": cleared}


def _order(message: Message) -> tuple[str, str]:
    key: tuple[str, str] = message["key"]
    return key


def copied(collections: dict[str, dict[str, Document]]) -> View:
    """The view as a strict client keeps it."""
    return {
        (name, key): copy.deepcopy(document)
        for name, rows in collections.items()
        for key, document in rows.items()
    }
