"""Digests of passwords, and the hashers that take them beside texts."""

from __future__ import annotations

import pytest
from django.contrib.auth.hashers import check_password, identify_hasher, make_password

from dddp.accounts.checks import check_password_hashers
from dddp.accounts.credentials import new_password
from dddp.accounts.hashers import Digest, DigestHasher, ThreadedPBKDF2PasswordHasher, digest_of
from dddp.accounts.tokens import hash_of
from dddp.api import MeteorError
from tests.accounts.conftest import PASSWORD, digest

OURS = "tests.accounts.project.hashers.FastDigestHasher"
DJANGOS = "tests.accounts.project.hashers.FastPBKDF2Hasher"


@pytest.fixture
def hashers(settings: object) -> object:
    settings.PASSWORD_HASHERS = [OURS, DJANGOS]
    return settings


@pytest.mark.parametrize(
    ("password", "expected"),
    [
        ("password", "5e884898da28047151d0e56f8dc6292773603d0d6aabbdd62a11ef721d1542d8"),
        ("p\xe4ssw\xf6rd\u2603", "903312a0764498f1362612f1acb8a70e25fcfff2cdb706de949aeea9563b54a7"),
        ("\U0001f600", "ea645893a930e0872284cf8fbc8d14f66f052aea0bc8d9c4829f08a38219940c"),
        ("\ud83d\ude00", "ea645893a930e0872284cf8fbc8d14f66f052aea0bc8d9c4829f08a38219940c"),
    ],
)
def test_digest_as_meteors_clients_make_it(password: str, expected: str) -> None:
    """Characters beyond the first plane as two surrogates, each in three bytes."""
    assert digest_of(password) == expected


def test_digest_of_a_digest_is_itself() -> None:
    assert digest_of(Digest(digest_of("password"))) == digest_of("password")


def test_text_and_digest_open_the_same(hashers: object) -> None:
    encoded = make_password(PASSWORD)

    assert encoded.startswith("digest_pbkdf2_sha256$")
    assert check_password(PASSWORD, encoded)
    assert check_password(Digest(digest()["digest"]), encoded)
    assert not check_password(digest()["digest"], encoded)
    assert not check_password("wrong", encoded)


def test_password_stored_as_a_digest_opens_by_the_text(hashers: object) -> None:
    assert check_password(PASSWORD, make_password(Digest(digest()["digest"])))


def test_text_is_stored_anew(hashers: object) -> None:
    stored = [make_password(PASSWORD, hasher="pbkdf2_sha256")]

    assert not check_password(Digest(digest()["digest"]), stored[0])
    assert check_password(PASSWORD, stored[0], setter=lambda text: stored.append(make_password(text)))
    assert isinstance(identify_hasher(stored[-1]), DigestHasher)
    assert check_password(Digest(digest()["digest"]), stored[-1])


def test_check_warns_without_the_hasher(settings: object) -> None:
    settings.PASSWORD_HASHERS = [DJANGOS, OURS]

    assert [message.id for message in check_password_hashers()] == ["dddp_accounts.W001"]


def test_check_is_content_with_the_hasher(hashers: object) -> None:
    assert check_password_hashers() == []


def test_digest_is_not_stored_by_a_hasher_of_texts(settings: object) -> None:
    """Django's forms would never open it."""
    settings.PASSWORD_HASHERS = [DJANGOS, OURS]

    with pytest.raises(MeteorError, match="Send the password as text"):
        new_password(digest())
    assert new_password(PASSWORD) == PASSWORD


def test_hash_of_a_token() -> None:
    assert (
        hash_of("MZiRE6RQhqB65IiY3bPcVfFYf12rmSPARB3R8nXUFEW")
        == "X2OjqMAz9mlax1q08SErvScTLhQ9w24IjnJSqW2IaQo="
    )


def test_threaded_hasher_reads_what_djangos_wrote() -> None:
    encoded = make_password(PASSWORD, hasher="pbkdf2_sha256")

    assert ThreadedPBKDF2PasswordHasher().verify(PASSWORD, encoded)
