"""What a strict DDP client accepts: a pure judge of one session's messages (ddp-wire 0, 4.6, 5.4, 7, 8.3, 11).

``View`` is told of every message the client sends (``sent``) and applies every message the server sends
(``apply``); it raises ``IllegalMessage`` at the first that some real client would choke on or that promise 4
forbids. It knows no socket and no clock, so recorded messages can be judged as well as live ones.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tests import ejson

__all__ = ["IllegalMessage", "Message", "RemoteError", "View", "unescape_id"]

Message = dict[str, Any]

KEYS = {
    "connected": {"session"},
    "failed": {"version"},
    "ping": {"id"},
    "pong": {"id"},
    "added": {"collection", "id", "fields"},
    "changed": {"collection", "id", "fields", "cleared"},
    "removed": {"collection", "id"},
    "ready": {"subs"},
    "nosub": {"id", "error"},
    "result": {"id", "result", "error"},
    "updated": {"methods"},
    "error": {"reason", "offendingMessage"},
}
"""The messages a client knows and what each may carry. addedBefore and movedBefore are known to none."""

ERROR_KEYS = {"isClientSafe", "error", "reason", "details", "message", "errorType"}

must_escape = re.compile(r"[-~{]|[0-9a-f]{24}\Z").match


class IllegalMessage(AssertionError):
    """The server sent what a strict DDP client does not accept."""

    def __init__(self, why: str, message: Any = None) -> None:
        super().__init__(f"{why}: {message!r}" if message is not None else why)


class RemoteError(Exception):
    """The server's answer to a call or a subscription: ``error``, ``reason``, ``details`` (ddp-wire 5.6)."""

    def __init__(self, error: int | str, reason: str | None, details: Any = None) -> None:
        super().__init__(error, reason, details)
        self.error = error
        self.reason = reason
        self.details = details


@dataclass
class Subscription:
    """One ``sub`` that was sent; ``ended`` by a nosub, with ``error`` or without."""

    id: str
    name: str = ""
    ready: bool = False
    closing: bool = False  #: an unsub was sent for it
    ended: bool = False
    error: RemoteError | None = None


@dataclass
class Invocation:
    """One ``method`` that was sent, and what has come back for it."""

    id: str
    name: str = ""
    answered: bool = False
    updated: bool = False
    result: Any = None
    error: RemoteError | None = None

    @property
    def done(self) -> bool:
        return self.answered and self.updated


@dataclass
class View:
    """One session as its client sees it: the merged documents, the subscriptions and the calls.

    ``collections`` maps a collection's name to its documents, keyed by unescaped id, their values decoded.
    ``redundant`` lists the ``changed`` messages that set some field to the value it had: legal, but waste.
    """

    collections: dict[str, dict[str, Message]] = field(default_factory=dict)
    session: str | None = None
    failed: str | None = None  #: the version the server offered when it refused ours
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    invocations: dict[str, Invocation] = field(default_factory=dict)
    errors: list[Message] = field(default_factory=list)
    redundant: list[Message] = field(default_factory=list)
    tolerates_errors: bool = False  #: set once something malformed was sent on purpose
    _greeted: bool = False
    _version: str = "1"
    _lives: defaultdict[Any, list[Subscription]] = field(default_factory=lambda: defaultdict(list))
    _unsubs: Counter[Any] = field(default_factory=Counter)  #: nosubs owed to unsubs, by id
    _pings: list[Any] = field(default_factory=list)  #: ids of the pings not answered yet; None without id

    def sent(self, message: Message) -> None:
        """Note a message on its way to the server; before it goes, so that no answer can come first."""
        note = SENT.get(message["msg"])
        if note:
            note(self, message)

    def apply(self, message: Any) -> None:
        """Judge and apply one message of the server.

        Raises:
            IllegalMessage: a strict client would not have accepted it.
        """
        if not isinstance(message, dict):
            raise IllegalMessage("not an object", message)
        if "msg" not in message:
            return self._greeting(message)
        kind = message["msg"]
        _require(kind in KEYS, "not a message of DDP", message)
        _require(message.keys() <= KEYS[kind] | {"msg"}, "unknown keys", message)
        self._require_state(kind, message)
        self._greeted = True
        return RECEIVED[kind](self, message)

    def documents(self, collection: str) -> dict[str, Message]:
        return self.collections.get(collection, {})

    # What the client sends.

    def _sent_connect(self, message: Message) -> None:
        self._version = message["version"]

    def _sent_sub(self, message: Message) -> None:
        lives = self._lives[message["id"]]
        if lives and not lives[-1].closing:
            return  # the server ignores a second sub of an active id (ddp-wire 4.1)
        lives.append(Subscription(message["id"], message["name"]))
        self.subscriptions[message["id"]] = lives[-1]

    def _sent_unsub(self, message: Message) -> None:
        self._unsubs[message.get("id")] += 1
        for subscription in self._lives[message.get("id")]:
            subscription.closing = True

    def _sent_method(self, message: Message) -> None:
        if message["id"] in self.invocations:
            raise ValueError(f"the method id {message['id']!r} was used before")
        self.invocations[message["id"]] = Invocation(message["id"], message["method"])

    def _sent_ping(self, message: Message) -> None:
        self._pings.append(message.get("id"))

    # What the server sends.

    def _greeting(self, message: Message) -> None:
        _require(not self._greeted, "a greeting that is not the first message", message)
        _require(message.keys() == {"server_id"}, "a greeting that old clients do not drop", message)
        self._greeted = True

    def _require_state(self, kind: str, message: Message) -> None:
        _require(self.failed is None, "a message after failed", message)
        if self.session is None:
            _require(kind in ("connected", "failed", "error"), "a message before connected", message)

    def _connected(self, message: Message) -> None:
        _require(self.session is None, "connected twice", message)
        session = message.get("session")
        _require(isinstance(session, str) and len(session) == 17, "not a session id", message)
        self.session = session

    def _failed(self, message: Message) -> None:
        _require(self.session is None, "failed after connected", message)
        _require(isinstance(message.get("version"), str), "failed without a version", message)
        self.failed = message["version"]

    def _ping(self, message: Message) -> None:
        _require(self._version != "pre1", "a ping in pre1", message)
        _require(isinstance(message.get("id", ""), str), "a ping whose id is not a string", message)

    def _pong(self, message: Message) -> None:
        _require(message.get("id") in self._pings, "a pong that answers no ping", message)
        self._pings.remove(message.get("id"))

    def _added(self, message: Message) -> None:
        collection, document_id = self._names(message)
        documents = self.collections.setdefault(collection, {})
        _require(document_id not in documents, "added for a document the client has", message)
        _require(message.get("fields") != {}, "added with empty fields, which are left out", message)
        documents[document_id] = _fields(message)

    def _changed(self, message: Message) -> None:
        document = self._document("changed", message)
        fields, cleared = _fields(message), _cleared(message)
        _require(bool(fields or cleared), "changed without fields or cleared", message)
        _require(message.get("fields") != {}, "changed with empty fields, which are left out", message)
        _require(not fields.keys() & set(cleared), "a field both set and cleared", message)
        _require(document.keys() >= set(cleared), "cleared for a field the document lacks", message)
        if any(name in document and ejson.same(document[name], value) for name, value in fields.items()):
            self.redundant.append(message)
        document.update(fields)
        for name in cleared:
            del document[name]

    def _removed(self, message: Message) -> None:
        self._document("removed", message)
        collection, document_id = self._names(message)
        del self.collections[collection][document_id]

    def _document(self, kind: str, message: Message) -> Message:
        collection, document_id = self._names(message)
        document = self.documents(collection).get(document_id)
        if document is None:
            raise IllegalMessage(f"{kind} for a document the client lacks", message)
        return document

    def _names(self, message: Message) -> tuple[str, str]:
        collection = message.get("collection")
        _require(isinstance(collection, str) and collection != "", "not a collection", message)
        return str(collection), unescape_id(message.get("id"))

    def _ready(self, message: Message) -> None:
        for sub_id in _ids("subs", message):
            subscription = self._live(sub_id)
            if subscription is None:
                raise IllegalMessage("ready for a subscription the client does not have", message)
            _require(not subscription.ready or self._in_flight(), "ready twice", message)
            subscription.ready = True

    def _live(self, sub_id: Any) -> Subscription | None:
        """The subscription that the server means now; one sent again after its unsub comes second."""
        return next(iter(self._lives[sub_id]), None)

    def _in_flight(self) -> bool:
        """Whether a method may be changing the user, which makes subscriptions ready again (ddp-wire 4.5)."""
        return any(not invocation.updated for invocation in self.invocations.values())

    def _nosub(self, message: Message) -> None:
        sub_id = message.get("id")
        if sub_id is None and "error" in message:
            return _check_error(message)  # a universal publication has failed; clients ignore it
        live, owed = self._live(sub_id), "error" not in message and self._unsubs[sub_id] > 0
        _require(live or owed, "nosub for a subscription the client does not have", message)
        self._unsubs[sub_id] -= owed
        if live and (live.closing or not owed):
            live.ended, live.error = True, _error(message)
            self._lives[sub_id].remove(live)
        return None

    def _result(self, message: Message) -> None:
        invocation = self._invocation(message.get("id"), message)
        _require(not invocation.answered, "result twice", message)
        _require(not ("result" in message and "error" in message), "a result and an error", message)
        invocation.answered = True
        invocation.error = _error(message)
        invocation.result = _decode(message.get("result"), message)

    def _updated(self, message: Message) -> None:
        for method_id in _ids("methods", message):
            invocation = self._invocation(method_id, message)
            _require(not invocation.updated, "updated twice", message)
            invocation.updated = True

    def _invocation(self, method_id: Any, message: Message) -> Invocation:
        if method_id not in self.invocations:
            raise IllegalMessage(f"{message['msg']} for a method the client did not call", message)
        return self.invocations[method_id]

    def _error(self, message: Message) -> None:
        _require(isinstance(message.get("reason"), str), "an error without a reason", message)
        _require(self.tolerates_errors, "an error though nothing malformed was sent", message)
        self.errors.append(message)


SENT: dict[str, Callable[[View, Message], None]] = {
    "connect": View._sent_connect,
    "sub": View._sent_sub,
    "unsub": View._sent_unsub,
    "method": View._sent_method,
    "ping": View._sent_ping,
}

RECEIVED: dict[str, Callable[[View, Message], None]] = {
    "connected": View._connected,
    "failed": View._failed,
    "ping": View._ping,
    "pong": View._pong,
    "added": View._added,
    "changed": View._changed,
    "removed": View._removed,
    "ready": View._ready,
    "nosub": View._nosub,
    "result": View._result,
    "updated": View._updated,
    "error": View._error,
}


def unescape_id(wire: Any) -> str:
    """The ``_id`` a client makes of a wire id; this server's are always text (ddp-wire 7).

    Raises:
        IllegalMessage: it is no id, not text, or not the one way to write it.
    """
    if not isinstance(wire, str) or wire == "-":
        raise IllegalMessage("not a document id", wire)
    if wire.startswith("-"):
        _require(must_escape(wire[1:]), "an id escaped without need", wire)
        return wire[1:]
    _require(not must_escape(wire), "an id the client would not read as this text", wire)
    return wire


def _require(condition: Any, why: str, message: Any) -> None:
    if not condition:
        raise IllegalMessage(why, message)


def _ids(key: str, message: Message) -> list[str]:
    ids = message.get(key)
    _require(isinstance(ids, list) and ids, f"{message['msg']} without {key}", message)
    _require(all(isinstance(item, str) for item in ids or ()), f"{key} that are not strings", message)
    return list(ids or ())


def _fields(message: Message) -> Message:
    fields = message.get("fields", {})
    _require(isinstance(fields, dict), "fields that are no object", message)
    _require("_id" not in fields, "_id among the fields", message)
    decoded = {name: _decode(value, message) for name, value in fields.items()}
    for key in _keys(decoded):
        storable = not key.startswith("$") and "." not in key and "\0" not in key
        _require(storable, f"the key {key!r}, which minimongo refuses", message)
    return decoded


def _cleared(message: Message) -> list[str]:
    if "cleared" not in message:
        return []
    cleared = _ids("cleared", message)
    _require(len(set(cleared)) == len(cleared), "a field cleared twice", message)
    _require("_id" not in cleared, "_id among the cleared", message)
    return cleared


def _keys(value: Any) -> Iterable[str]:
    """Every key of every object in a decoded value, at any depth."""
    if isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _keys(item)


def _decode(value: Any, message: Message) -> Any:
    try:
        return ejson.decode(value)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise IllegalMessage(f"EJSON that a client cannot read ({error})", message) from error


def _error(message: Message) -> RemoteError | None:
    if "error" not in message:
        return None
    _check_error(message)
    error = message["error"]
    return RemoteError(error["error"], error.get("reason"), error.get("details"))


def _check_error(message: Message) -> None:
    error = message["error"]
    _require(isinstance(error, dict) and error.keys() <= ERROR_KEYS, "not an error object", message)
    _require(isinstance(error.get("error"), int | str), "an error without a code", message)
    _require(error.get("isClientSafe") is True, "an error that is not marked safe", message)
    _require(error.get("errorType") == "Meteor.Error", "an error without its type", message)
    _require(isinstance(error.get("reason", ""), str), "a reason that is not a string", message)
    expected = f"{error['reason']} [{error['error']}]" if "reason" in error else f"[{error['error']}]"
    _require(error.get("message") == expected, "an error whose message is not made of its parts", message)
