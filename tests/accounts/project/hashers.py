"""Hashers that take a moment less than real ones."""

from __future__ import annotations

import sys
import time

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from dddp.accounts.hashers import DigestHasher, ThreadedHasher, digest_of

SLOW = "a slow password"
SECONDS = 1.5
"""How long it takes to hash that one."""


class SlowHasher(PBKDF2PasswordHasher):
    """Takes long for one password, as hashers that compute do: nothing else of its thread runs meanwhile."""

    iterations = 100

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        if password in (SLOW, digest_of(SLOW)):
            monkey = sys.modules.get("gevent.monkey")
            sleep = monkey.get_original("time", "sleep") if monkey else time.sleep
            sleep(SECONDS)
        return super().encode(password, salt, iterations)


class FastDigestHasher(DigestHasher, SlowHasher):
    algorithm = "digest_pbkdf2_sha256"


class FastPBKDF2Hasher(ThreadedHasher, SlowHasher):
    pass
