"""Document ids on the wire (ddp-wire 7): what the client sees as ``_id`` is exactly the text given here.

A string goes as it is, unless the client would read it as something else; then a ``-`` stands before it.
This is for the ``id`` of added, changed and removed only; not for ids of subscriptions and methods, nor for
parameters or foreign keys.
"""

from __future__ import annotations

import re
from typing import TypeAlias

from dddp.protocol.ejson import EJSONError, ObjectID, canonical, parse_json

__all__ = ["DocumentId", "escape_id", "parse_id", "stringify_id", "unescape_id"]

DocumentId: TypeAlias = "str | int | float | bool | ObjectID | None"
"""What a client may hold as ``_id``. This server only ever sends strings."""

_must_escape = re.compile(r"[-~{]|[0-9a-f]{24}\Z").match
_is_object_id = re.compile(r"[0-9a-f]{24}\Z").match


def escape_id(text: str) -> str:
    """The wire form of a string id."""
    return f"-{text}" if _must_escape(text) else text


def unescape_id(wire: str) -> str:
    """The string id behind its wire form.

    Raises:
        ValueError: the wire form stands for a number, a boolean, null, an ObjectID or nothing.
    """
    document_id = parse_id(wire)
    if not isinstance(document_id, str):
        raise ValueError(f"The id {wire!r} stands for {document_id!r}, not for a string; use parse_id().")
    return document_id


def stringify_id(document_id: DocumentId) -> str:
    """The wire form of any id (Meteor's ``MongoID.idStringify``).

    Raises:
        TypeError: not an id.
    """
    if isinstance(document_id, str):
        return escape_id(document_id)
    if isinstance(document_id, ObjectID):
        return document_id.hex
    if document_id is None or isinstance(document_id, (bool, int, float)):
        return f"~{canonical(document_id)}"
    raise TypeError(f"A document id is a string, a number or an ObjectID, not {document_id!r}: use str().")


def parse_id(wire: str) -> DocumentId:
    """The id behind any wire form (Meteor's ``MongoID.idParse``).

    Raises:
        ValueError: not the wire form of an id.
    """
    if wire == "-":
        raise ValueError("The id '-' stands for JavaScript's undefined, which names no document.")
    if wire.startswith("-"):
        return wire[1:]
    if wire.startswith("~"):
        return _parse_scalar(wire)
    return ObjectID(wire) if _is_object_id(wire) else wire


def _parse_scalar(wire: str) -> DocumentId:
    try:
        value = parse_json(wire[1:])
    except EJSONError as error:
        raise ValueError(f"The id {wire!r} must hold JSON behind its '~'. {error}") from error
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise ValueError(f"The id {wire!r} holds {value!r}, which is not a scalar.")
