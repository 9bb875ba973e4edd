"""Strict clients that outlive their connections, and the judge of what they were told."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import websocket

from tests.client import Entry, StrictClient
from tests.properties import judge
from tests.properties.judge import Broken, View
from tests.runtime.resuming import ResumingClient
from tests.strict import IllegalMessage

__all__ = ["Customer", "Want", "check_history", "check_nothing_vanishes", "check_own_writes"]

Want = tuple[str, tuple[Any, ...]]
"""A publication's name and its parameters."""

LOST = (ConnectionError, OSError, websocket.WebSocketException, AssertionError)
AWAY = 503  # the error that a client is told while the database cannot be reached


class Customer:
    """A client and what it wants to see.

    When its connection ends it comes back: to its session if it ``resumes``, as Meteor's clients do since 3.5, else
    anew, as those before. When the server ends a subscription with an error, it subscribes again.
    """

    def __init__(self, name: str, url: str, wants: Iterable[Want], *, resumes: bool = False) -> None:
        self.name = name
        self.wants = {f"{number} {want[0]}": want for number, want in enumerate(wants)}
        self.clients: list[StrictClient] = []
        self.refusals: list[Any] = []  #: errors that subscriptions were ended with
        self.returns = 0  #: how often it came back
        self._url = url
        self._resumes = resumes
        self._failure: BaseException | None = None
        self._connect()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._stay, name=f"customer {name}", daemon=True)
        self._thread.start()

    @property
    def client(self) -> StrictClient:
        return self.clients[-1]

    # --- its life

    def _connect(self) -> None:
        client = ResumingClient(self._url) if self._resumes else StrictClient(self._url)
        self.clients.append(client)
        for id, (name, params) in self.wants.items():
            client.subscribe(name, *params, id=id)

    def _stay(self) -> None:
        try:
            while not self._stopping.wait(0.02):
                self._look()
        except BaseException as error:  # noqa: BLE001 - raised by ``converge``
            self._failure = error

    def _look(self) -> None:
        """Come back if the connection has ended; subscribe again where a subscription has."""
        if not self.client._reader.is_alive():
            self.client._check()
            try:
                self._come_back()
            except IllegalMessage:  # an AssertionError too
                raise
            except LOST:
                self.client._check()
                return
            self.returns += 1
        for id, (name, params) in self.wants.items():
            subscription = self.client.view.subscriptions.get(id)
            if subscription is None:  # cut off before it could
                self._subscribe_again(id, name, params)
            elif subscription.ended:
                self.refusals.append(subscription.error)
                time.sleep(0.1)
                self._subscribe_again(id, name, params)

    def _subscribe_again(self, id: str, name: str, params: Sequence[Any]) -> None:
        try:
            self.client.subscribe(name, *params, id=id)
        except LOST:
            self.client._check()

    def _come_back(self) -> None:
        if isinstance(self.client, ResumingClient):
            self.client.come_back()
        else:
            self._connect()

    def leave(self) -> None:
        """Go, and raise what went wrong, an illegal message above all."""
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure
        self.client.close()

    # --- the moment of truth

    def converge(self, expected: View, limit: float) -> None:
        """Come to have exactly what is expected, every subscription ready."""
        deadline = time.monotonic() + limit
        while not self._has(expected):
            if self._failure is not None:
                raise self._failure
            if time.monotonic() > deadline:
                had = judge.copied(self.client.collections())
                difference = "\n".join(judge.describe_difference(had, expected)[:20])
                subscriptions = self.client.view.subscriptions
                unready = [id for id in self.wants if id not in subscriptions or not subscriptions[id].ready]
                raise Broken(
                    f"{self.name} with {self.wants} is not there after {limit} s; not ready: {unready}\n{difference}"
                    f"\nthe last messages were\n{self.client.tail(10)}"
                )
            time.sleep(0.02)

    def _has(self, expected: View) -> bool:
        client = self.client
        with client._changed:
            view = client.view
            ready = all(id in view.subscriptions and view.subscriptions[id].ready for id in self.wants)
            return client._reader.is_alive() and ready and judge.same_view(view.collections, expected)

    def check_refusals(self) -> None:
        """Subscriptions were ended for no other reason than that the database was away."""
        others = [error for error in self.refusals if error is None or error.error != AWAY]
        if others:
            raise Broken(f"{self.name} was refused: {others}")


def sessions(log: Iterable[Entry]) -> Iterator[tuple[View, Any]]:
    """The view after each message of the server with the message; a new session begins with an empty view."""
    view: View = {}
    session = None
    for entry in log:
        message = entry.message
        if entry.direction == ">" or not isinstance(message, dict):
            continue
        if message.get("msg") == "connected" and message["session"] != session:
            view, session = {}, message["session"]
        judge.apply(view, message)
        yield view, message


def check_history(log: Iterable[Entry], states: Mapping[tuple[str, int], int], numbers: set[str]) -> int:
    """Each state that was shown has been, none came after a newer one, no transfer that was not made was shown.

    Args:
        states: balance by account and version, of all states that ever were.
        numbers: of all transfers that were made.

    Returns:
        How many messages of data were judged.
    """
    count = 0
    newest: dict[str, int] = {}
    for view, message in sessions(log):
        if message.get("msg") == "connected" and not view:
            newest = {}
        if message.get("msg") not in ("added", "changed"):
            continue
        count += 1
        document = view[judge._key(message)]
        if message["collection"] == "bank.transfer" and document["number"] not in numbers:
            raise Broken(f"a transfer that was not made was shown: {message}")
        if message["collection"] == "bank.account":
            key, version = message["id"], document["version"]
            if states.get((key, version)) != document["balance"]:
                raise Broken(f"a state that never was: {document}, shown by {message}")
            if version < newest.get(key, 0):
                raise Broken(f"version {newest[key]} was known before {message}")
            newest[key] = version
    return count


def check_nothing_vanishes(log: Sequence[Entry]) -> None:
    """Who has the whole bank is told that documents go only when that subscription ends: none is ever deleted.

    ``nosub`` follows them at once then, or the session has been cut off before.
    """
    banks = {entry.message["id"] for entry in log if _asks_for_bank(entry)}
    has_all, gone = False, []
    for view, message in sessions(log):
        match message.get("msg"):
            case "connected" if not view:
                has_all, gone = False, []
            case "ready" if banks & {*message["subs"]}:
                has_all = True
            case "nosub":
                has_all, gone = has_all and message["id"] not in banks, []
            case "removed" if has_all:
                gone.append(message)
                continue
        if gone:
            raise Broken(f"documents that are there were removed: {gone}, and then came {message}")


def _asks_for_bank(entry: Entry) -> bool:
    message = entry.message
    return entry.direction == ">" and isinstance(message, dict) and message.get("name") == "Bank"


def check_own_writes(log: Iterable[Entry]) -> None:
    """The transfer of each call that succeeded was shown before its ``updated``, if it was still subscribed to."""
    calls: dict[str, str] = {}
    failed: set[str] = set()
    updated: list[tuple[str, bool]] = []
    shown: set[str] = set()
    subscribed = True
    for entry in log:
        message = entry.message
        if not isinstance(message, dict):
            continue
        match message.get("msg"):
            case "nosub":  # of its one subscription: a query may fail, too
                subscribed = False
            case "method" if entry.direction == ">":
                calls[message["id"]] = message["params"][1]
            case "added" if message["collection"] == "bank.transfer":
                shown.add(message["fields"]["number"])
            case "result" if "error" in message:
                failed.add(message["id"])
            case "updated":
                updated += [(id, calls[id] in shown or not subscribed) for id in message["methods"]]
    wrong = [calls[id] for id, was_shown in updated if not was_shown and id not in failed]
    if wrong:
        raise Broken(f"`updated` came before the data of {wrong}")
