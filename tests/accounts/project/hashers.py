"""Hashers that take a moment less than real ones."""

from __future__ import annotations

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from dddp.accounts.hashers import DigestPBKDF2PasswordHasher


class FastDigestHasher(DigestPBKDF2PasswordHasher):
    iterations = 100


class FastPBKDF2Hasher(PBKDF2PasswordHasher):
    iterations = 100
