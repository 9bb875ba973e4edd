"""The messages of DDP: what a client's text means, and the text of each message to it (ddp-wire 2, 4, 5).

Messages from the client are frozen dataclasses named like the wire; messages to the client are functions that
return ready JSON text in UTF-8. Which message may come when is ``session``'s business, not known here.

Reading has two steps, because a refused message is echoed as it came: ``decode`` finds the JSON and its EJSON
(``Envelope``), ``interpret`` finds the message in it. ``parse`` is both.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, time
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias, TypeGuard

import orjson

from dddp.errors import MeteorError
from dddp.protocol import ejson
from dddp.protocol.ids import escape_id

__all__ = [
    "ABSENT",
    "Absent",
    "BadMessage",
    "ClientMessage",
    "Connect",
    "Disconnect",
    "Envelope",
    "Method",
    "OptionalId",
    "Ping",
    "Pong",
    "Sub",
    "Unsub",
    "added",
    "changed",
    "connected",
    "decode",
    "error",
    "error_object",
    "failed",
    "greeting",
    "interpret",
    "is_counted",
    "nosub",
    "parse",
    "ping",
    "pong",
    "ready",
    "removed",
    "result",
    "result_error",
    "updated",
]


class Absent(enum.Enum):
    """A member that a message does not have, where null would mean something else."""

    ABSENT = enum.auto()


ABSENT: Final = Absent.ABSENT

OptionalId: TypeAlias = str | Literal[Absent.ABSENT] | None


# -- From the client


@dataclass(frozen=True, slots=True)
class Connect:
    """Client: open a session. A member of the wrong type counts as missing; ``version`` None never fits."""

    version: str | None
    support: tuple[str, ...]  #: DDP versions, the client's preferred one first
    session: str | None = None  #: the session it had before
    #: Messages of that session it has received, from clients that can resume.
    received_count: int | None = None


@dataclass(frozen=True, slots=True)
class Sub:
    """Client: subscribe to a publication."""

    id: str
    name: str
    params: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Unsub:
    """Client: end a subscription. Whatever the id, the answer is a ``nosub`` with just that id."""

    id: OptionalId


@dataclass(frozen=True, slots=True)
class Method:
    """Client: call a method."""

    id: str
    method: str
    params: tuple[Any, ...] = ()
    random_seed: str | None = None  #: None where the client sent none, or an empty one


@dataclass(frozen=True, slots=True)
class Ping:
    """Client: are you there? The answer is a ``pong`` with just that id."""

    id: OptionalId


@dataclass(frozen=True, slots=True)
class Pong:
    """Client: the answer to our ``ping``."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Client: I am about to close on purpose (Meteor 3.5, ddp-wire 13)."""


@dataclass(frozen=True, slots=True)
class BadMessage:
    """What the client sent is refused. The connection stays open (ddp-wire 2.2)."""

    reason: str
    offending: Any = ABSENT  #: the client's JSON value, to be echoed

    def reply(self) -> bytes:
        """The ``error`` message that says so."""
        return error(self.reason, self.offending)


ClientMessage: TypeAlias = Connect | Sub | Unsub | Method | Ping | Pong | Disconnect


@dataclass(frozen=True, slots=True)
class Envelope:
    """A JSON object that claims to be a message."""

    raw: Any  #: as it came
    body: Mapping[str, Any]  #: the same with ``fields``, ``params`` and ``result`` decoded from EJSON


def parse(text: str) -> ClientMessage | BadMessage:
    """Read one message of a client. Never raises, whatever the text."""
    envelope = decode(text)
    return envelope if isinstance(envelope, BadMessage) else interpret(envelope)


def decode(
    text: str, depth: int = ejson.MAX_JSON_DEPTH, containers: int = ejson.MAX_CONTAINERS
) -> Envelope | BadMessage:
    """Read JSON that has a ``msg``, and its EJSON (ddp-wire 2.1).

    Args:
        text: what the client sent.
        depth: how many containers it may nest, at most 250: a refused message is echoed inside another one.
        containers: how many it may have.
    """
    try:
        raw = ejson.parse_json(text, depth, containers)
    except ejson.EJSONError:
        return BadMessage("Bad request")
    if not isinstance(raw, (dict, list)):
        return BadMessage("Bad request")
    if isinstance(raw, list) or raw.get("msg") in _FALSY:
        return BadMessage("Bad request", raw)
    try:
        return Envelope(raw, _decode_body(raw, ejson.is_plain(text)))
    except ejson.EJSONError:
        return BadMessage("Parse error")


_FALSY = (None, "", 0, False)  # in JavaScript; empty lists and objects are true there


def _decode_body(raw: dict[str, Any], plain: bool) -> dict[str, Any]:
    if not isinstance(raw.get("cleared", []), list):
        raise ejson.EJSONError("cleared is an array")
    if plain:  # most are, and a walk through a large one takes long
        return raw
    return raw | {key: ejson.from_json(raw[key]) for key in ("fields", "params", "result") if key in raw}


def interpret(envelope: Envelope) -> ClientMessage | BadMessage:
    """Find the message in the JSON (ddp-wire 2.2, 4.1, 5.1)."""
    kind = envelope.body["msg"]
    reader = _READERS.get(kind) if isinstance(kind, str) else None
    message = reader(envelope.body) if reader else "Bad request"
    return BadMessage(message, envelope.raw) if isinstance(message, str) else message


# Each reader returns its message, or the reason to refuse it.


def _read_connect(body: Mapping[str, Any]) -> Connect:
    version, support, session = body.get("version"), body.get("support"), body.get("session")
    count = body.get("receivedCount")
    return Connect(
        version if isinstance(version, str) else None,
        tuple(support) if _is_list_of_str(support) else (),
        session if isinstance(session, str) else None,
        count if isinstance(count, int) and not isinstance(count, bool) else None,
    )


def _is_list_of_str(value: Any) -> TypeGuard[list[str]]:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _read_sub(body: Mapping[str, Any]) -> Sub | str:
    sub_id, name, params = body.get("id"), body.get("name"), body.get("params", [])
    # An empty id would stand for a universal publication, to which nobody subscribes.
    if not (isinstance(sub_id, str) and sub_id and isinstance(name, str) and isinstance(params, list)):
        return "Malformed subscription"
    return Sub(sub_id, name, tuple(params))


def _read_method(body: Mapping[str, Any]) -> Method | str:
    call_id, name, params = body.get("id"), body.get("method"), body.get("params", [])
    seed = body.get("randomSeed", "")
    if not (
        isinstance(call_id, str)
        and isinstance(name, str)
        and isinstance(params, list)
        and isinstance(seed, str)
    ):
        return "Malformed method invocation"
    return Method(call_id, name, tuple(params), seed or None)


def _read_unsub(body: Mapping[str, Any]) -> Unsub | str:
    return Unsub(body.get("id", ABSENT)) if _has_usable_id(body) else "Bad request"


def _read_ping(body: Mapping[str, Any]) -> Ping | str:
    return Ping(body.get("id", ABSENT)) if _has_usable_id(body) else "Bad request"


def _has_usable_id(body: Mapping[str, Any]) -> bool:
    return isinstance(body.get("id"), (str, type(None)))


_READERS: dict[str, Callable[[Mapping[str, Any]], ClientMessage | str]] = {
    "connect": _read_connect,
    "sub": _read_sub,
    "unsub": _read_unsub,
    "method": _read_method,
    "ping": _read_ping,
    "pong": lambda body: Pong(),
    "disconnect": lambda body: Disconnect(),
}


# -- To the client: the connection


def greeting() -> bytes:
    """Before everything else; Meteor up to 2.2 sent it, and some clients wait for it (ddp-wire 2.4)."""
    return b'{"server_id":"0"}'


def connected(session: str) -> bytes:
    """The session is open."""
    return b'{"msg":"connected","session":%b}' % _json(session)


def is_counted(message: bytes) -> bool:
    """Whether clients count a message of ours for a resumption: all but the greeting, pings and pongs."""
    return not message.startswith((b'{"server_id"', b'{"msg":"ping"', b'{"msg":"pong"'))


def failed(version: str) -> bytes:
    """No session; this is the version to come back with."""
    return b'{"msg":"failed","version":%b}' % _json(version)


def ping(id: str | None = None) -> bytes:
    """Are you there?"""
    return b'{"msg":"ping"}' if id is None else b'{"msg":"ping","id":%b}' % _json(id)


def pong(id: OptionalId = ABSENT) -> bytes:
    """The answer to a ping, with the ping's id if it had one."""
    return b'{"msg":"pong"}' if id is ABSENT else b'{"msg":"pong","id":%b}' % _json(id)


def error(reason: str, offending: Any = ABSENT) -> bytes:
    """A message was refused.

    Args:
        reason: one of the sentences of ddp-wire 2.2.
        offending: what the client sent, as plain JSON.
    """
    if offending is ABSENT:
        return b'{"msg":"error","reason":%b}' % _json(reason)
    return b'{"msg":"error","reason":%b,"offendingMessage":%b}' % (_json(reason), _json(offending))


# -- To the client: documents. The hottest functions of the server: a message is a join of encoded members.


def added(collection: str, id: str, members: Iterable[bytes] = ()) -> bytes:
    """A document the client did not have.

    Args:
        collection: its name.
        id: the document's id as the application knows it; it is escaped here.
        members: its fields, each encoded by ``ejson.member``, never ``_id``.
    """
    head, wire_id, fields = _head("added", collection), _json(escape_id(id)), b",".join(members)
    if fields:
        return b"".join((head, wire_id, b',"fields":{', fields, b"}}"))
    return b"".join((head, wire_id, b"}"))


def changed(collection: str, id: str, members: Iterable[bytes] = (), cleared: Iterable[str] = ()) -> bytes:
    """A document the client has got other fields.

    Args:
        collection: its name.
        id: the document's id as the application knows it; it is escaped here.
        members: the fields with a new value, each encoded by ``ejson.member``, never ``_id``.
        cleared: names of the fields it lost.

    Raises:
        ValueError: nothing changed; clients break on such a message.
    """
    head, wire_id, fields = _head("changed", collection), _json(escape_id(id)), b",".join(members)
    lost = list(cleared)
    if fields and not lost:
        return b"".join((head, wire_id, b',"fields":{', fields, b"}}"))
    if fields:
        return b"".join((head, wire_id, b',"fields":{', fields, b'},"cleared":', _json(lost), b"}"))
    if lost:
        return b"".join((head, wire_id, b',"cleared":', _json(lost), b"}"))
    raise ValueError(
        f"Nothing of {collection} {id!r} has changed. Send no message then: clients break on this one."
    )


def removed(collection: str, id: str) -> bytes:
    """The client loses a document. Arguments as for ``added``."""
    return b"".join((_head("removed", collection), _json(escape_id(id)), b"}"))


@lru_cache(maxsize=1024)  # collections are few; a publication by hand may still make names up
def _head(message: str, collection: str) -> bytes:
    return b'{"msg":"%b","collection":%b,"id":' % (message.encode(), _json(collection))


# -- To the client: subscriptions and methods


def ready(subs: Iterable[str]) -> bytes:
    """These subscriptions have sent their first documents."""
    return b'{"msg":"ready","subs":%b}' % _json(list(subs))


def nosub(id: OptionalId, error: MeteorError | None = None) -> bytes:
    """A subscription has ended: as asked, or for the given error. Universal ones have no id."""
    body: dict[str, Any] = {"msg": "nosub"}
    if id is not ABSENT:
        body["id"] = id
    if error is not None:
        body["error"] = error_object(error)
    return _json(body)


def result(id: str, value: Any = None) -> bytes:
    """What a method returned; None is undefined and sends no ``result``. Raises as ``ejson.dumps``."""
    if value is None:
        return b'{"msg":"result","id":%b}' % _json(id)
    return b'{"msg":"result","id":%b,"result":%b}' % (_json(id), ejson.dumps(value))


def result_error(id: str, error: MeteorError) -> bytes:
    """What a method raised."""
    return _json({"msg": "result", "id": id, "error": error_object(error)})


def updated(methods: Iterable[str]) -> bytes:
    """All documents that these methods changed have been sent. Exactly once per accepted method."""
    return b'{"msg":"updated","methods":%b}' % _json(list(methods))


def error_object(error: MeteorError) -> dict[str, Any]:
    """The ``error`` of ``nosub`` and ``result`` (ddp-wire 5.6); plain JSON, not EJSON."""
    members = {
        "isClientSafe": True,
        "error": error.error,
        "reason": error.reason,
        "details": error.details,
        "message": str(error),
        "errorType": "Meteor.Error",
    }
    return {key: member for key, member in members.items() if member is not None}


def _json(plain: Any) -> bytes:
    """Plain JSON. What JSON does not know (only an error's details can hold it) becomes its text."""
    try:
        return orjson.dumps(plain, default=str)
    except TypeError:  # a lone surrogate, or keys that are not strings
        return json.dumps(plain, default=_text, separators=(",", ":")).encode()


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, (date, time)) else str(value)  # as orjson does by itself
