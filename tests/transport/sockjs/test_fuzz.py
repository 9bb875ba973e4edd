"""Invariant: whatever a client sends to a service, it is answered, and nothing is raised.

Payloads, paths and whole requests are valid ones spoilt; `tests.fuzz` says how many and from which seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from dddp.transport import Limits
from dddp.transport.sockjs.frames import BadPayload, array, array_frame, messages
from dddp.transport.sockjs.paths import METHODS, Place, place
from dddp.transport.sockjs.uploads import form_messages
from dddp.transport.sockjs.uploads import messages as upload_messages
from tests.fuzz import bounded, inputs, spoiled
from tests.transport.peers import Client, until
from tests.transport.sockjs.services import Services, services

REQUESTS = 300

PAYLOADS = (
    *(
        '["a"]',
        "[]",
        '["a","\\u00f6\\ud83d\\ude00"]',
        '"a"',
        "[[[[]]]]",
        '[{"a":[1,2.5e10,null,true]}]',
        "[NaN]",
    ),
    *(
        '["\\ud800"]',
        '["\\uffff", "😀", "\u2028"]',
        "[-0, 1e999, 123456789012345678901234567890]",
        "",
        "\x00",
    ),
)

PATHS = (
    "",
    "/",
    "/info",
    "/iframe.html",
    "/iframe-1.2.html",
    "/websocket",
    "/000/abc/websocket",
    "/0/a%20b/xhr",
)

SPARE = (
    '"',
    "\\",
    "[",
    "]",
    "{",
    "\\u",
    "\\ud8",
    "/",
    "//",
    ".",
    "%",
    "%2",
    "\x00",
    "\ufeff",
    "\ud800",
    "é",
    "😀",
    "\n",
)


def spoilt(text: str, dice: random.Random) -> str:
    """The text with some of it gone, doubled or replaced."""
    for _ in range(dice.choice((0, 1, 1, 2, 5))):
        start = dice.randrange(len(text) + 1)
        stop = start + dice.randrange(4)
        piece = dice.choice((dice.choice(SPARE), text[start:stop] * 2, chr(dice.randrange(0x110000)), ""))
        text = text[:start] + piece + text[stop:]
    return text


def payload(dice: random.Random) -> str:
    text = spoilt(dice.choice(PAYLOADS), dice)
    return text * dice.choice((1, 1, 1, 50)) if dice.random() < 0.1 else text


@pytest.mark.parametrize("parse", [array, messages])
def test_any_payload_is_messages_or_refused(parse: Callable[[str], list[str]]) -> None:
    taken = 0
    for seed, dice in inputs():
        with bounded(seed), suppress(BadPayload):
            found = parse(payload(dice))
            taken += 1
            encoded = tuple(message.encode() for message in found)  # all of it valid Unicode
            assert array(array_frame(encoded)[1:].decode()) == found
    assert taken


def test_any_bytes_are_an_upload_or_refused() -> None:
    types = ("text/plain", "application/x-www-form-urlencoded", "T;;", "image/png")
    taken = 0
    for seed, dice in inputs():
        body = b"d=" * dice.randrange(2) + payload(dice).encode(errors="surrogatepass")
        body = spoiled(body, dice)
        for read in (upload_messages, form_messages):
            with bounded(seed), suppress(BadPayload):
                read({"CONTENT_TYPE": dice.choice(types)}, body)
                taken += 1
    assert taken


def test_any_path_is_a_place_or_nothing() -> None:
    names = {*METHODS, "raw", "websocket"}
    for seed, dice in inputs():
        with bounded(seed):
            found = place(spoilt(dice.choice(PATHS), dice))
            assert found is None or (isinstance(found, Place) and found.name in names)
            assert found is None or not {"/", "."} & set(found.session)


@pytest.fixture
def running() -> Iterator[Services]:
    options = {"disconnect_delay": 0.01, "heartbeat": 0.01}
    with services(options, limits=Limits(message=10_000, request=0.05)) as running:
        yield running


def request(seed: int) -> bytes:
    """A request, more or less; its heartbeats end it soon."""
    dice = random.Random(seed)
    kind = dice.choice(
        ("xhr", "xhr_send", "jsonp?c=x", "jsonp_send", "htmlfile?c=x", "eventsource", "websocket")
    )
    path = dice.choice((*PATHS, f"/0/s{dice.randrange(3)}/{kind}", f"/0/s{dice.randrange(3)}/xhr"))
    method = dice.choice(("GET", "POST", "POST", "OPTIONS", "HEAD", "PUT"))
    body = payload(dice).encode(errors="surrogatepass")
    size = dice.choice((len(body), len(body), len(body) + 1, -1, 99_999))
    head = [f"{method} /echo{path} HTTP/1.{dice.randrange(2)}", "Host: x", f"Content-Length: {size}"]
    head += dice.sample(
        ["Origin: null", "Cookie: JSESSIONID=\xff", "Connection: upgrade", "Upgrade: websocket"], 2
    )
    spoilt_head = (
        spoilt("\r\n".join([*head, "", ""]), dice) if dice.random() < 0.5 else "\r\n".join([*head, "", ""])
    )
    return spoilt_head.encode("latin-1", "replace") + body


def test_any_request_is_answered(running: Services, caplog: pytest.LogCaptureFixture) -> None:
    """Or its connection ended; the server is as it was."""
    for seed in range(REQUESTS):
        with Client(running.server) as client:
            client.send(request(seed))
            client.socket.settimeout(0.02)
            try:
                answer = client.file.readline()
            except OSError:  # it waits for the rest of a request, or for its answer
                continue
            assert answer == b"" or answer.startswith(b"HTTP/1.1 "), f"seed {seed}: {answer!r}"
    until(lambda: not running.server.channels and not running.server.requests)
    assert caplog.text == ""
