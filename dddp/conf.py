"""Settings: every key of ``settings.DDDP`` with its type, unit, default and reason; read at the top, passed down.

Nothing here is read at import, and nothing else in the package reads ``settings.DDDP``. A key ``READ_POOL_SIZE`` of
the dict is the attribute ``read_pool_size`` of ``Settings``. ``docs/reference/settings.rst`` says the same to users.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from django.conf import settings as django_settings

from dddp.errors import ImproperlyDeclared

__all__ = ["Origins", "Settings", "load"]

Rule: TypeAlias = Callable[[Any], str | None]
"""What is wrong with a value, as the end of the sentence "KEY must be ..."; None when nothing is."""

Origins: TypeAlias = tuple[str, ...] | str | Callable[[Any], bool] | None
"""Any, those of a list, or those that a function, or the function at a dotted path, accepts with their request."""

MiB = 1024 * 1024


def one_of(*choices: str) -> Rule:
    expected = " or ".join(repr(choice) for choice in choices)
    return lambda value: None if value in choices else expected


def whole(least: int) -> Rule:
    """Whole numbers from ``least`` on; ``True`` is not a number."""

    def rule(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
        return None if fits else f"a whole number, {least} or more"

    return rule


def between(least: int, most: int) -> Rule:
    """Whole numbers; ``True`` is none."""

    def rule(value: Any) -> str | None:
        fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
        return None if fits else f"a whole number from {least} to {most}"

    return rule


def or_none(rule: Rule) -> Rule:
    """What a rule takes, and None."""

    def relaxed(value: Any) -> str | None:
        expected = None if value is None else rule(value)
        return expected and f"None or {expected}"

    return relaxed


def seconds(value: Any) -> str | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < float("inf")
    return None if fits else "a number of seconds above 0"


def seconds_or_none(value: Any) -> str | None:
    fits = seconds(value) is None or (value == 0 and not isinstance(value, bool))
    return None if fits else "a number of seconds, 0 or more"


def flag(value: Any) -> str | None:
    return None if isinstance(value, bool) else "True or False"


def labels(value: Any) -> str | None:
    fits = isinstance(value, list | tuple) and all(_is_label(label) for label in value)
    return None if fits else "a list of model labels such as 'bookstore.Book'"


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and len(value.split(".")) == 2 and all(value.split("."))


def origins(value: Any) -> str | None:
    """None, a list of what browsers send as ``Origin`` (scheme, host and port, no path), or a function."""
    fits = (
        value is None
        or callable(value)
        or _is_dotted_path(value)
        or (isinstance(value, list | tuple) and all(_is_origin(origin) for origin in value))
    )
    return (
        None
        if fits
        else "None, a list of origins such as 'https://example.org' or 'http://localhost:3000', or a function of the "
        "request or its dotted path"
    )


def _is_dotted_path(value: Any) -> bool:
    return isinstance(value, str) and "." in value and all(map(str.isidentifier, value.split(".")))


def _is_origin(value: Any) -> bool:
    return isinstance(value, str) and "://" in value and value.count("/") == 2


def address_of_script(value: Any) -> str | None:
    """A URL that may stand in an HTML attribute, absolute or from the root."""
    fits = isinstance(value, str) and re.fullmatch(r"(https?:/)?/[^\s\"'<>&]+", value)
    return None if fits else "a URL that begins with a slash, http:// or https://"


def prefix(value: Any) -> str | None:
    fits = value == "" or (isinstance(value, str) and value.startswith("/") and not value.endswith("/"))
    return None if fits else "'' or a path that begins with a slash and does not end with one, such as '/ddp'"


RATE_LIMIT: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "count": (lambda value: whole(1)(value) is None, "a whole number, 1 or more"),
    "interval": (lambda value: seconds(value) is None, "a number of seconds above 0"),
    "per": (
        lambda value: _texts(value) <= {"connection", "user", "address"},
        "'connection', 'user', 'address'",
    ),
    "type": (lambda value: value in ("method", "subscription"), "'method' or 'subscription'"),
    "names": (lambda value: all(_texts(value)), "names of methods or publications"),
    "message": (lambda value: isinstance(value, str), "a text"),
}
"""Key of a rate limit -> whether a value fits, and what does."""


def rate_limit(value: Any) -> str | None:
    """What is wrong with one rate limit, as a sentence."""
    if not isinstance(value, Mapping) or not {"count", "interval"} <= value.keys() <= RATE_LIMIT.keys():
        return f"a rate limit has a count and an interval, and may have {', '.join(list(RATE_LIMIT)[2:])}"
    wrong = [key for key, given in value.items() if not RATE_LIMIT[key][0](given)]
    return f"{wrong[0]} must be {RATE_LIMIT[wrong[0]][1]}, not {value[wrong[0]]!r}" if wrong else None


def rate_limits(value: Any) -> str | None:
    if not isinstance(value, list | tuple):
        return "a list of rate limits such as {'count': 5, 'interval': 10, 'names': ['login']}"
    wrong = next(filter(None, map(rate_limit, value)), None)
    return f"a list of rate limits; {wrong}" if wrong else None


def _texts(value: Any) -> set[str]:
    """One text, or a list of them; for anything else a set that holds an empty text, which nothing accepts."""
    texts = [value] if isinstance(value, str) else value
    fits = isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts)
    return set(texts) if fits else {""}


def key(default: Any, rule: Rule, unit: str, reason: str) -> Any:
    """A dataclass field that carries its rule, unit and reason."""
    return dataclasses.field(default=default, metadata={"rule": rule, "unit": unit, "reason": reason})


@dataclass(frozen=True, slots=True)
class Settings:
    """``settings.DDDP``, checked, with the defaults filled in."""

    capture: str = key(
        "signals",
        one_of("signals", "triggers"),
        unit="'signals' or 'triggers'",
        reason="Signals need no rights in the database; triggers see every write from anywhere: for production.",
    )
    capture_models: tuple[str, ...] = key(
        (),
        labels,
        unit="list of model labels",
        reason="Models that querysets read without publishing them; only keys and foreign keys are captured.",
    )
    message_size_limit: int = key(
        MiB,
        whole(1024),
        unit="bytes",
        reason="The largest message a client may send; enough for a large document, too little to hurt.",
    )
    nesting_limit: int = key(
        200,
        between(10, 250),
        unit="containers within containers",
        reason="Far above real documents, which need two levels each at worst, far below what exhausts the stack.",
    )
    containers_limit: int = key(
        20_000,
        whole(100),
        unit="containers per message",
        reason="Lists and objects in one message: more than any needs, few enough to be read within 20 ms.",
    )
    compression_threshold: int | None = key(
        512,
        or_none(whole(0)),
        unit="bytes, or None (no compression)",
        reason="From there on about half is saved, for 5 µs once for all clients that get the message.",
    )
    sessions_per_address: int | None = key(
        10_000,
        or_none(whole(1)),
        unit="sessions per client address and process, or None (any number)",
        reason="Above what an office or a proxy brings to one process, below what fills its memory.",
    )
    handshake_time_limit: float = key(
        60.0,
        seconds,
        unit="seconds",
        reason="Until a request's headers are there, or more of its body: enough for the slowest network.",
    )
    connections_limit: int | None = key(
        15_000,
        or_none(whole(1)),
        unit="connections per process, or None (as many as the system allows files)",
        reason="WebSockets included; beyond it those that wait for a request make room, then new ones are refused.",
    )
    heartbeat_interval: float = key(
        15.0,
        seconds,
        unit="seconds",
        reason="How long a client may be silent before it is sent a ping, and has to answer; 15 s each, as Meteor.",
    )
    send_greeting: bool = key(
        True,
        flag,
        unit="True or False",
        reason='The first message {"server_id":"0"} that Meteor sends and some old clients wait for.',
    )
    read_pool_size: int = key(
        4,
        whole(1),
        unit="database connections per process",
        reason="Reads of live queries; their own, so that handlers never keep the feed waiting.",
    )
    handler_pool_size: int = key(
        16,
        whole(1),
        unit="database connections per process",
        reason="Methods and publications that run at once; with READ_POOL_SIZE far below max_connections.",
    )
    handlers_per_client: int = key(
        4,
        whole(1),
        unit="methods and publications per client",
        reason="Those of one client that run at once; more would let it keep all handlers busy. At most half of them.",
    )
    handler_wait_limit: float = key(
        20.0,
        seconds,
        unit="seconds",
        reason="How long a method or publication waits for a free handler before its client is told to try later.",
    )
    feed_heartbeat: float = key(
        5.0,
        seconds,
        unit="seconds",
        reason="Silence after which the listening connection must show that it lives, by a query that writes nothing.",
    )
    query_time_limit: float = key(
        30.0,
        seconds,
        unit="seconds",
        reason="The longest one live query may read; a repeated re-run can hold the feed for as long.",
    )
    statement_time_limit: float = key(
        30.0,
        seconds,
        unit="seconds",
        reason="The longest one statement of a method or publication may take; a project's own limit is kept.",
    )
    outbox_limit: int = key(
        16 * MiB,
        whole(64 * 1024),
        unit="bytes per client",
        reason="What may wait for a slow client before it is disconnected; it restores itself on reconnect.",
    )
    resumption_time_limit: float = key(
        15.0,
        seconds_or_none,
        unit="seconds",
        reason="How long a session waits for a client that was cut off, as long as Meteor's; 0 ends it at once.",
    )
    resumption_sessions_limit: int = key(
        10_000,
        whole(1),
        unit="sessions per process",
        reason="Sessions that wait for their clients: as many as may be cut off at once by a proxy that restarts.",
    )
    resumption_queue_limit: int = key(
        64 * 1024,
        whole(1024),
        unit="bytes per client",
        reason="What waits for a client that was cut off; with more to tell, a fresh start costs it no more.",
    )
    lag_threshold: int = key(
        MiB,
        whole(64 * 1024),
        unit="bytes per client",
        reason="What may wait for a client before changes to its documents are held back, and told as one.",
    )
    subscriptions_limit: int = key(
        1000,
        whole(1),
        unit="subscriptions per client",
        reason="Far above what pages use; a hostile client must not fill the memory.",
    )
    method_queue_limit: int = key(
        1000,
        whole(1),
        unit="messages per client",
        reason="Messages that wait for an earlier one of the same client; past it the client is disconnected.",
    )
    client_memory_limit: int = key(
        16 * MiB,
        whole(1024),
        unit="characters per client",
        reason="Messages that wait for an earlier one, and as many of its subscriptions: a thousand may be large.",
    )
    rate_limits: tuple[Mapping[str, Any], ...] = key(
        (
            {
                "type": "method",
                "names": ("login", "createUser", "resetPassword", "forgotPassword"),
                "per": "connection",
                "count": 5,
                "interval": 10,
            },
        ),
        rate_limits,
        unit="list of rate limits",
        reason="How often clients may start what; by default guessing passwords is slowed down, as in Meteor.",
    )
    login_days: int = key(
        90,
        whole(1),
        unit="days",
        reason="How long a login lasts whose client comes back by its token, as Meteor's; for dddp.accounts.",
    )
    sign_up: bool = key(
        False,
        flag,
        unit="True or False",
        reason="Whether anybody may make an account by createUser; most projects decide otherwise who gets one.",
    )
    origins: Origins = key(  # noqa: RUF009 - a function is immutable, the rule does not know
        None,
        origins,
        unit="None (any), list of origins, or a function of the request or its dotted path",
        reason="Pages that may connect; login is by token and not by cookie, so any page is safe by default.",
    )
    forwarded_count: int = key(
        0,
        whole(0),
        unit="number of proxies",
        reason="How many proxies of your own each client comes through: their x-forwarded-for names its address.",
    )
    url_prefix: str = key(
        "",
        prefix,
        unit="path",
        reason="Where /websocket and /sockjs begin, for an application that does not live at the root.",
    )
    sockjs_client_url: str = key(
        "https://cdn.jsdelivr.net/npm/sockjs-client@1.6.1/dist/sockjs.min.js",
        address_of_script,
        unit="URL",
        reason="The page that browsers without CORS talk through loads it; its version must be that of your pages.",
    )
    sockjs_cookie: bool = key(
        False,
        flag,
        unit="True or False",
        reason="Set JSESSIONID, for load balancers that keep a client at one server by it; nothing else needs it.",
    )
    worker_time_limit: float = key(
        30.0,
        seconds,
        unit="seconds",
        reason="How long a worker of several may give no sign of life, start included, before it is replaced.",
    )
    shutdown_time_limit: float = key(
        10.0,
        seconds,
        unit="seconds",
        reason="How long methods in flight may go on after SIGTERM; process managers kill after 10 to 30 s.",
    )


def load() -> Settings:
    """The settings as Django has them now.

    Raises:
        ImproperlyDeclared: ``DDDP`` is no dict, a key is unknown (the nearest known one is named), or a value is
            of the wrong type or out of range.
    """
    declared = getattr(django_settings, "DDDP", {})
    if not isinstance(declared, Mapping):
        raise ImproperlyDeclared(f"settings.DDDP must be a dict, not {type(declared).__name__}")
    fields = {field.name.upper(): field for field in dataclasses.fields(Settings)}
    for name, value in declared.items():
        _check(name, value, fields)
    return Settings(**{name.lower(): _frozen(value) for name, value in declared.items()})


def _check(name: Any, value: Any, fields: Mapping[str, dataclasses.Field[Any]]) -> None:
    if name not in fields:
        raise ImproperlyDeclared(_unknown(str(name), list(fields)))
    expected = fields[name].metadata["rule"](value)
    if expected:
        raise ImproperlyDeclared(f"settings.DDDP[{name!r}] must be {expected}, not {value!r}")


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name.upper(), known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known keys are {', '.join(sorted(known))}"
    return f"settings.DDDP has no key {name!r}; {hint}"


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
