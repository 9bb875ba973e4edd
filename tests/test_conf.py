"""``settings.DDDP``: the defaults, what is refused and how it is said, and that the reference knows every key."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from dddp import conf
from dddp.errors import ImproperlyDeclared

REFERENCE = Path(__file__).parent.parent / "docs" / "reference" / "settings.rst"


def test_load_without_settings_gives_the_defaults(settings):
    del settings.DDDP

    assert conf.Settings() == conf.load()


def test_a_given_value_replaces_the_default(settings):
    settings.DDDP = {"READ_POOL_SIZE": 7}

    assert conf.load().read_pool_size == 7
    assert conf.load().handler_pool_size == 16


def test_a_list_is_frozen(settings):
    """The settings can be an argument anywhere: nobody can change them on the way."""
    settings.DDDP = {"CAPTURE_MODELS": ["auth.User"]}

    assert conf.load().capture_models == ("auth.User",)


def test_every_default_passes_its_own_rule(settings):
    settings.DDDP = {field.name.upper(): field.default for field in dataclasses.fields(conf.Settings)}

    assert conf.Settings() == conf.load()


def test_an_unknown_key_is_refused_with_the_nearest_known_one(settings):
    settings.DDDP = {"HEARTBEAT_INTERVALL": 10}

    with pytest.raises(
        ImproperlyDeclared, match=r"no key 'HEARTBEAT_INTERVALL'; did you mean 'HEARTBEAT_INTERVAL'\?"
    ):
        conf.load()


def test_a_key_in_lower_case_is_refused_with_the_right_one(settings):
    settings.DDDP = {"capture": "triggers"}

    with pytest.raises(ImproperlyDeclared, match="did you mean 'CAPTURE'"):
        conf.load()


def test_an_unknown_key_like_no_other_lists_the_known_ones(settings):
    settings.DDDP = {"XYZZY": 1}

    with pytest.raises(ImproperlyDeclared, match=r"known keys are CAPTURE, CAPTURE_MODELS, .*URL_PREFIX"):
        conf.load()


def test_settings_that_are_no_dict_are_refused(settings):
    settings.DDDP = ["CAPTURE"]

    with pytest.raises(ImproperlyDeclared, match="must be a dict, not list"):
        conf.load()


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("CAPTURE", "notify", "'signals' or 'triggers', not 'notify'"),
        ("CAPTURE_MODELS", "auth.User", "a list of model labels"),
        ("CAPTURE_MODELS", ["User"], "a list of model labels"),
        ("MESSAGE_SIZE_LIMIT", 10, "a whole number, 1024 or more, not 10"),
        ("NESTING_LIMIT", 9, "a whole number from 10 to 250, not 9"),
        ("NESTING_LIMIT", 251, "a whole number from 10 to 250"),
        ("COMPRESSION_THRESHOLD", -1, "None or a whole number, 0 or more"),
        ("SESSIONS_PER_ADDRESS", 0, "None or a whole number, 1 or more"),
        ("HANDSHAKE_TIME_LIMIT", None, "a number of seconds above 0"),
        ("READ_POOL_SIZE", 0, "a whole number, 1 or more"),
        ("READ_POOL_SIZE", True, "a whole number, 1 or more"),
        ("READ_POOL_SIZE", 2.5, "a whole number, 1 or more"),
        ("HEARTBEAT_INTERVAL", 0, "a number of seconds above 0"),
        ("HEARTBEAT_INTERVAL", float("inf"), "a number of seconds above 0"),
        ("QUERY_TIME_LIMIT", "30", "a number of seconds above 0"),
        ("SEND_GREETING", 1, "True or False"),
        ("ORIGINS", "https://example.org", "None, a list of origins"),
        ("ORIGINS", "localhost", "None, a list of origins"),
        ("ORIGINS", ["https://example.org/"], "None, a list of origins"),
        ("ORIGINS", ["example.org"], "None, a list of origins"),
        ("SOCKJS_CLIENT_URL", "sockjs.js", "a URL that begins with a slash"),
        ("SOCKJS_CLIENT_URL", '/sockjs.js" onload="', "a URL that begins with a slash"),
        ("SOCKJS_COOKIE", "yes", "True or False"),
        ("URL_PREFIX", "live", "begins with a slash"),
        ("URL_PREFIX", "/live/", "begins with a slash"),
        ("URL_PREFIX", None, "begins with a slash"),
        ("RATE_LIMITS", {}, "a list of rate limits such as"),
        ("RATE_LIMITS", [{"count": 5}], "a rate limit has a count and an interval"),
        ("RATE_LIMITS", [{"count": 5, "interval": 1, "user": "x"}], "may have per, type, names, message"),
        (
            "RATE_LIMITS",
            [{"count": 5, "interval": 1, "type": "sub"}],
            "type must be 'method' or 'subscription'",
        ),
        ("RATE_LIMITS", [{"count": 5, "interval": 1, "names": 5}], "names must be names of methods"),
        ("RATE_LIMITS", [{"count": 5, "interval": 1, "per": ["ip"]}], "per must be 'connection'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(settings, key, value, expected):
    settings.DDDP = {key: value}

    with pytest.raises(ImproperlyDeclared) as refusal:
        conf.load()

    assert f"settings.DDDP['{key}'] must be " in str(refusal.value)
    assert expected in str(refusal.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ORIGINS", ["https://example.org", "http://localhost:3000"]),
        ("ORIGINS", "project.origins.accepted"),
        ("ORIGINS", bool),
        ("SOCKJS_CLIENT_URL", "/static/sockjs.js"),
        ("SOCKJS_CLIENT_URL", "https://example.org/sockjs.js"),
        ("SOCKJS_COOKIE", True),
        ("URL_PREFIX", "/live"),
        ("COMPRESSION_THRESHOLD", None),
        ("COMPRESSION_THRESHOLD", 0),
        ("SESSIONS_PER_ADDRESS", None),
        ("NESTING_LIMIT", 250),
        ("HEARTBEAT_INTERVAL", 2),
        ("SHUTDOWN_TIME_LIMIT", 0.5),
        ("RATE_LIMITS", []),
        ("RATE_LIMITS", [{"count": 5, "interval": 0.5, "per": ["user", "address"], "names": "login"}]),
    ],
)
def test_a_value_that_fits_is_taken(settings, key, value):
    settings.DDDP = {key: value}

    expected = tuple(value) if isinstance(value, list) else value
    assert expected == getattr(conf.load(), key.lower())


def test_every_key_has_a_heading_in_the_reference():
    lines = REFERENCE.read_text().splitlines()
    headings = {line for line, below in itertools.pairwise(lines) if below and set(below) == {"~"}}

    assert {field.name.upper() for field in dataclasses.fields(conf.Settings)} == headings


def test_every_key_has_a_unit_and_a_reason():
    for field in dataclasses.fields(conf.Settings):
        assert field.metadata["unit"], field.name
        assert field.metadata["reason"].endswith("."), field.name
