"""What each publication gives for a state of the library: the oracle, in plain Python without Django or dddp.

A state is what ``library_history`` says it was after a transaction; documents are as a client decodes them.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

__all__ = ["SUPERUSER", "Document", "Position", "State", "evaluate"]

Document = dict[str, Any]
Documents = dict[tuple[str, str], Document]
"""By collection and id."""

SUPERUSER = "4"
LARGEST_PAD = 512 * 7
"""Characters, of two bytes each, with which a book still fits into a notification of 7,999 bytes."""


class State:
    """The library after one transaction."""

    def __init__(self, text: str) -> None:
        tables = json.loads(text, parse_float=Decimal)
        self.author = _by_key(tables["author"])
        self.book = _by_key(tables["book"])
        self.team = _by_key(tables["team"])
        self.tag = _by_key(tables["tag"])
        self.tags = _links(tables["book_tags"])
        self.members = _links(tables["team_members"])

    def author_of(self, book: Document) -> Document:
        return self.author[book["author_id"]]

    def tag_names(self, book: Document) -> list[str]:
        """Sorted; tags may have equal names."""
        return sorted(self.tag[key]["name"] for key in self.tags[book["id"]])

    def owns(self, user: str | None, book: Document) -> bool:
        if user is None:
            return False
        return (
            user == SUPERUSER or book["owner_id"] == int(user) or int(user) in self.members[book["team_id"]]
        )


@dataclass
class Position:
    """One transaction and the state after it. The positions of a history are in the order of commits."""

    number: int
    txn: int
    truncated: bool
    state: State

    def is_told_by_rows(self, before: State) -> bool:
        """Whether the change feed carries every row of the transaction, so that nothing has to be read for it."""
        written = (row for key, row in self.state.book.items() if row != before.book.get(key))
        return not self.truncated and all(len(row["pad"]) <= LARGEST_PAD for row in written)


def _by_key(rows: list[Document] | None) -> dict[int, Document]:
    return {row["id"]: row for row in sorted(rows or (), key=lambda row: row["id"])}


def _links(pairs: list[tuple[int, int]] | None) -> defaultdict[int, set[int]]:
    links: defaultdict[int, set[int]] = defaultdict(set)
    for near, far in pairs or ():
        links[near].add(far)
    return links


def evaluate(name: str, params: Iterable[Any], user: str | None, state: State) -> Documents:
    """The documents that a subscription gives, by collection and id.

    Args:
        user: the text of the user's key; None without a login.
    """
    return PUBLICATIONS[name](state, user, *params)


# Documents.


def _author(state: State, row: Document) -> Document:
    return {name: row[name] for name in ("n", "txn", "name", "email", "good")}


def _team(state: State, row: Document) -> Document:
    return {name: row[name] for name in ("n", "txn", "name")}


def _book(state: State, row: Document) -> Document:
    same = {name: row[name] for name in ("n", "txn", "title", "value", "data", "published", "pad")}
    added = datetime.fromisoformat(row["added"])
    added = added.replace(microsecond=added.microsecond // 1000 * 1000)
    return {**same, "author_id": str(row["author_id"]), "price": f"{row['price']:.2f}", "added": added}


def _own(state: State, row: Document) -> Document:
    links = {name: None if row[name] is None else str(row[name]) for name in ("owner_id", "team_id")}
    return {"title": row["title"], "n": row["n"], **links}


def _tagged(state: State, row: Document) -> Document:
    tags = [str(key) for key in sorted(state.tags[row["id"]])]
    return {"title": row["title"], "n": row["n"], "tags_ids": tags}


def _shelved(state: State, row: Document) -> Document:
    label = f"{row['title']} by {state.author_of(row)['name']}"
    return {"label": label, "tags": state.tag_names(row), "n": row["n"]}


SHAPES: dict[str, Callable[[State, Document], Document]] = {
    "library.author": _author,
    "library.team": _team,
    "library.book": _book,
    "own": _own,
    "tagged": _tagged,
    "shelf": _shelved,
}


def _documents(
    collection: str, state: State, rows: Iterable[Document], only: Iterable[str] | None = None
) -> Documents:
    documents: Documents = {}
    for row in rows:
        document = SHAPES[collection](state, row)
        documents[collection, str(row["id"])] = (
            document if only is None else {name: document[name] for name in only}
        )
    return documents


def _books(state: State, test: Callable[[Document], Any], only: Iterable[str] | None = None) -> Documents:
    return _documents("library.book", state, filter(test, state.book.values()), only)


def _authors(state: State, test: Callable[[Document], Any]) -> Documents:
    return _documents("library.author", state, filter(test, state.author.values()))


# Publications, by name: state, user, the subscription's parameters.


def _all(state: State, user: str | None) -> Documents:
    return _authors(state, lambda row: True) | _books(state, lambda row: True)


def _by_email(state: State, user: str | None, email: str) -> Documents:
    written = _books(state, lambda row: state.author_of(row)["email"] == email)
    return written | _authors(state, lambda row: row["email"] == email)


def _cheapest(state: State, user: str | None, count: int) -> Documents:
    ordered = sorted(state.book.values(), key=lambda row: (row["value"], row["id"]))
    return _documents("library.book", state, ordered[:count])


def _page(state: State, user: str | None, start: int, stop: int) -> Documents:
    ordered = sorted(state.book.values(), key=lambda row: (-row["value"], row["id"]))
    return _documents("library.book", state, ordered[start:stop])


def _first_titles(state: State, user: str | None, count: int) -> Documents:
    ordered = sorted(state.book.values(), key=lambda row: (row["title"], row["id"]))
    return _documents("library.book", state, ordered[:count])


def _cheapest_good(state: State, user: str | None, count: int, title: str) -> Documents:
    good = [row for row in state.book.values() if state.author_of(row)["good"]]
    ordered = sorted(good, key=lambda row: (row["value"], row["id"]))
    cheapest = _documents("library.book", state, ordered[:count])
    return cheapest | _books(state, lambda row: row["title"].lower() == title.lower())


def _own_first(state: State, user: str | None, count: int) -> Documents:
    own = [row for row in state.book.values() if state.owns(user, row)]
    return _documents("own", state, sorted(own, key=lambda row: (-row["value"], row["id"]))[:count])


def _prolific(state: State, user: str | None, least: int) -> Documents:
    written = [row["author_id"] for row in state.book.values()]
    return _authors(state, lambda row: written.count(row["id"]) >= least)


def _author_without_value(state: State, user: str | None, value: int) -> Documents:
    having = {row["author_id"] for row in state.book.values() if row["value"] == value}
    return _books(state, lambda row: row["author_id"] not in having)


def _authors_of_tag(state: State, user: str | None, name: str) -> Documents:
    having = {row["author_id"] for row in state.book.values() if name in state.tag_names(row)}
    return _authors(state, lambda row: row["id"] in having)


def _by_hand(state: State, user: str | None, note: str, *ids: int) -> Documents:
    return {("library.book", str(key)): {"note": note, "mark": [note, key]} for key in ids}


PUBLICATIONS: dict[str, Callable[..., Documents]] = {
    "AllTeams": lambda state, user: _documents("library.team", state, state.team.values()),
    "All": _all,
    "ByEmail": _by_email,
    "ByGoodAuthor": lambda state, user: _books(state, lambda row: state.author_of(row)["good"]),
    "ByValue": lambda state, user, low, high: _books(state, lambda row: low <= row["value"] <= high),
    "Cheapest": _cheapest,
    "Page": _page,
    "FirstTitles": _first_titles,
    "CheapestGood": _cheapest_good,
    "Titles": lambda state, user: _books(state, lambda row: True, ("title", "n")),
    "Values": lambda state, user, least: _books(
        state, lambda row: row["value"] >= least, ("value", "n", "txn")
    ),
    "Own": lambda state, user: _documents(
        "own", state, (row for row in state.book.values() if state.owns(user, row))
    ),
    "OwnFirst": _own_first,
    "OwnedBooks": lambda state, user: _books(state, lambda row: user and row["owner_id"] == int(user)),
    "Tagged": lambda state, user: _documents("tagged", state, state.book.values()),
    "OnShelf": lambda state, user, least: _documents(
        "shelf", state, (row for row in state.book.values() if row["value"] >= least)
    ),
    "WithoutTag": lambda state, user, name: _books(state, lambda row: name not in state.tag_names(row)),
    "TitleOrTag": lambda state, user, title, name: _books(
        state, lambda row: row["title"] == title or name in state.tag_names(row)
    ),
    "AuthorWithoutValue": _author_without_value,
    "AuthorsOfTag": _authors_of_tag,
    "WithTags": lambda state, user, *names: _books(state, lambda row: set(state.tag_names(row)) & set(names)),
    "ValueOrTitle": lambda state, user, value, title: _books(
        state, lambda row: row["value"] == value or row["title"] == title
    ),
    "Prolific": _prolific,
    "Gated": lambda state, user, gate, least: _books(state, lambda row: row["value"] >= least),
    "GatedShelf": lambda state, user, gate, least: _documents(
        "shelf", state, (row for row in state.book.values() if row["value"] >= least)
    ),
    "ByHand": _by_hand,
}
