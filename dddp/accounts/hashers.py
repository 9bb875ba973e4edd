"""Password hashers for Meteor's clients, which send the SHA-256 of a password, and Django's forms, which send the text.

A hasher of this kind hashes the text's SHA-256: from a text it makes that first, a ``Digest`` is it already. So either
opens the same account. Under gevent all hashers of this module work in threads: hashing takes so long, on purpose, that
the event loop, and with it every other client, would stand still.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib.auth.hashers import PBKDF2PasswordHasher

__all__ = [
    "Digest",
    "DigestHasher",
    "DigestPBKDF2PasswordHasher",
    "ThreadedHasher",
    "ThreadedPBKDF2PasswordHasher",
    "digest_of",
]

T = TypeVar("T")


class Digest(str):
    """The SHA-256 of a password in lower-case hexadecimal digits, made by a client.

    A text, since Django and its authentication backends hand passwords on as texts.
    """

    __slots__ = ()


def digest_of(password: str) -> str:
    """The digest that Meteor's clients would send for a password (ddp-wire 9.3)."""
    if isinstance(password, Digest):
        return str(password)
    # UTF-8 of the UTF-16 units one by one, as JavaScript does it: differs for characters beyond the first plane.
    data = password.encode("utf-16-le", "surrogatepass")
    text = "".join(map(chr, struct.unpack(f"<{len(data) // 2}H", data)))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class ThreadedHasher:
    """Mix-in for a hasher of Django: it then works in a thread."""

    def encode(self, password: str, salt: str, *args: Any, **options: Any) -> str:
        """The encoded password, as of the hasher that this is mixed into."""
        encode: Callable[..., str] = super().encode  # type: ignore[misc]
        return in_thread(encode, password, salt, *args, **options)


class DigestHasher(ThreadedHasher):
    """Mix-in for a hasher of Django: it then takes texts and digests. Give the class an ``algorithm`` of its own."""

    def encode(self, password: str, salt: str, *args: Any, **options: Any) -> str:
        """The encoded digest, as of the hasher that this is mixed into."""
        return super().encode(digest_of(password), salt, *args, **options)


class DigestPBKDF2PasswordHasher(DigestHasher, PBKDF2PasswordHasher):
    """Django's default hasher over digests."""

    algorithm = "digest_pbkdf2_sha256"


class ThreadedPBKDF2PasswordHasher(ThreadedHasher, PBKDF2PasswordHasher):
    """Django's default hasher, for passwords that it has stored: reads what that wrote."""


def in_thread(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call a function that computes long: in a thread where gevent's event loop would stand still, else right here."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("threading"):
        return function(*args, **options)
    from gevent import get_hub

    result: T = get_hub().threadpool.apply(function, args, options)
    return result
