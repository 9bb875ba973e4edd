"""Password hashers for Meteor's clients, which send the SHA-256 of a password, and Django's forms, which send the text.

A hasher of this kind hashes the text's SHA-256: from a text it makes that first, a ``Digest`` is it already. So either
opens the same account. Under gevent the hashing runs in a thread: it takes too long for the other clients.
"""

from __future__ import annotations

import hashlib
import struct
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from django.contrib.auth.hashers import PBKDF2PasswordHasher

__all__ = ["Digest", "DigestHasher", "DigestPBKDF2PasswordHasher", "digest_of"]

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


class DigestHasher:
    """Mix-in for a hasher of Django: it then takes texts and digests. Give the class an ``algorithm`` of its own."""

    def encode(self, password: str, salt: str, *args: Any, **options: Any) -> str:
        """The encoded password, as of the hasher that this is mixed into."""
        encode: Callable[..., str] = super().encode  # type: ignore[misc]
        return in_thread(encode, digest_of(password), salt, *args, **options)


class DigestPBKDF2PasswordHasher(DigestHasher, PBKDF2PasswordHasher):
    """Django's default hasher over digests."""

    algorithm = "digest_pbkdf2_sha256"


def in_thread(function: Callable[..., T], *args: Any, **options: Any) -> T:
    """Call a function that computes long: in a thread where gevent's event loop would stand still, else right here."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is None or not monkey.is_module_patched("thread"):
        return function(*args, **options)
    from gevent import get_hub

    result: T = get_hub().threadpool.apply(function, args, options)
    return result
