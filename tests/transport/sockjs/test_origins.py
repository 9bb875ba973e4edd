"""Where origins are restricted: who may have a session, read an answer, or use what does not tell its origin."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dddp.transport import Request
from tests.transport.peers import UPGRADE
from tests.transport.sockjs.browser import FORM, Browser
from tests.transport.sockjs.services import services

GOOD, EVIL = "Origin: https://good.example", "Origin: https://evil.example"


def accept(request: Request) -> bool:
    return request.origin in (None, "https://good.example")


@pytest.fixture(scope="module")
def restricted() -> Iterator[Browser]:
    with services(accept=accept) as running:
        yield Browser(running)


SESSION_REQUESTS = [
    *(("POST", kind) for kind in ("xhr", "xhr_streaming", "xhr_send")),
    *(("OPTIONS", kind) for kind in ("xhr", "xhr_streaming", "xhr_send")),
    *(("GET", kind) for kind in ("eventsource", "htmlfile?c=x", "jsonp?c=x")),
]


@pytest.mark.parametrize(("method", "kind"), SESSION_REQUESTS)
def test_a_refused_origin_has_no_session(restricted: Browser, method: str, kind: str) -> None:
    answer = restricted.ask(method, f"{restricted.session()}/{kind}", EVIL)

    assert answer.status == 403
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert restricted.services.server.channels == {}


@pytest.mark.parametrize("path", ["/0/0/websocket", "/websocket"])
def test_a_refused_origin_has_no_websocket(restricted: Browser, path: str) -> None:
    assert restricted.get(path, *UPGRADE, EVIL).status == 403


@pytest.mark.parametrize("method", ["GET", "OPTIONS"])
def test_a_refused_origin_cannot_read_the_info(restricted: Browser, method: str) -> None:
    answer = restricted.ask(method, "/info", EVIL)

    assert answer.status in (200, 204)
    assert not [name for name in answer.headers if name == "access-control-allow-origin"]
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("headers", [(GOOD,), ()], ids=["good", "none"])
def test_others_have_sessions(restricted: Browser, headers: tuple[str, ...]) -> None:
    assert restricted.post(restricted.session() + "/xhr", b"", *headers).body == b"o\n"
    assert restricted.get("/info", *headers).headers["access-control-allow-origin"] in (GOOD[8:], "*")


def test_what_does_not_tell_its_origin_is_not_there(restricted: Browser) -> None:
    """A script element and a frame send no Origin header: any page could use them."""
    session = restricted.session()
    restricted.post(session + "/xhr", b"", GOOD)

    assert restricted.get(session + "/jsonp?c=x").status == 403
    assert restricted.post(session + "/jsonp_send", b"d=%5B%22a%22%5D", FORM).status == 403
    assert restricted.get("/iframe.html").status == 403
    assert restricted.get("/").status == 200
