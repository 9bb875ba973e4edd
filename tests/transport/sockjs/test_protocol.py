"""Every point of the public sockjs-protocol suite (0.3.3), against real sockets, by services of the same kind.

Left out is one: the handshake of WebSocket draft 76 behind HAProxy, which no browser has spoken since 2011.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.transport.peers import CLOSE, TEXT, UPGRADE, Client, text, until
from tests.transport.sockjs.browser import FORM, Answer, Browser, Stream
from tests.transport.sockjs.services import RESPONSE_LIMIT, Services, services

ORIGIN = "Origin: http://page.example"

NO_SUCH_SESSION = "/000/nobody/xhr_send"


def assert_not_cached(answer: Answer | Stream) -> None:
    expected = "no-store, no-cache, no-transform, must-revalidate, max-age=0"
    assert answer.headers["cache-control"] == expected
    assert not {"expires", "last-modified", "etag"} & answer.headers.keys()


def assert_cached(answer: Answer) -> None:
    assert answer.headers["cache-control"] == "public, max-age=31536000"
    assert answer.headers["expires"].endswith(" GMT")
    assert "last-modified" not in answer.headers


def assert_readable_by(origin: str | None, answer: Answer | Stream) -> None:
    assert answer.headers["access-control-allow-origin"] == (origin or "*")
    assert answer.headers.get("access-control-allow-credentials") == ("true" if origin else None)
    assert answer.headers["vary"] == "Origin"


# Greeting and nothing


@pytest.mark.parametrize("path", ["", "/"])
def test_greeting(echo: Browser, path: str) -> None:
    answer = echo.get(path)

    assert (answer.status, answer.body) == (200, b"Welcome to SockJS!\n")
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("path", ["/a", "/a.html", "//", "///", "/a/a", "/a/a/", "/a/"])
def test_nothing_is_404(echo: Browser, path: str) -> None:
    answer = echo.get(path)

    assert (answer.status, answer.body) == (404, b"404 Error: Page not found\n")
    assert answer.headers["content-type"] == "text/plain; charset=UTF-8"


def test_head_is_get_without_a_body(echo: Browser) -> None:
    with Client(echo.services.server) as client:
        status, headers = client.request("HEAD /echo HTTP/1.1", "Connection: close")

        assert (status, headers["content-length"]) == ("HTTP/1.1 200 OK", "19")
        assert client.at_end()


def test_the_prefix_of_a_server_moves_its_service() -> None:
    with services(prefix="/app") as running:
        bodies = [Browser(running, base).get("").body for base in ("/app/sockjs", "/sockjs", "/app/sockjsx")]

    assert bodies == [b"Welcome to SockJS!\n", b"hello from /sockjs", b"hello from /app/sockjsx"]


# The iframe page


@pytest.mark.parametrize(
    "name",
    [".html", "-a.html", "-.html", "-0.1.2abc-dirty.2144.html", "-a.html?t=1234", "-0.1.2.html?t=qweq"],
)
def test_iframe_page(echo: Browser, name: str) -> None:
    answer = echo.get("/iframe" + name)

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/html; charset=UTF-8"
    assert re.search(rb'<script src="(https?:/)?/[^"]+"></script>', answer.body)
    assert b"SockJS.bootstrap_iframe();" in answer.body
    assert_cached(answer)
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "path",
    ["/iframe.htm", "/iframe", "/IFRAME.HTML", "/IFRAME", "/iframe.HTML", "/iframe.xml", "/iframe-/.html"],
)
def test_other_iframe_pages_are_404(echo: Browser, path: str) -> None:
    assert echo.get(path).status == 404


def test_iframe_page_is_not_sent_twice(echo: Browser) -> None:
    tag = echo.get("/iframe.html").headers["etag"]
    again = echo.get("/iframe.html", f"If-None-Match: {tag}")

    assert (again.status, again.body) == (304, b"")
    assert "content-type" not in again.headers
    assert echo.get("/iframe-1.html").headers["etag"] == tag


# Info


def test_info(echo: Browser) -> None:
    answer = echo.get("/info", ORIGIN)

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json; charset=UTF-8")
    assert list(answer.json) == ["websocket", "origins", "cookie_needed", "entropy"]
    assert answer.json["websocket"] is True
    assert answer.json["origins"] == ["*:*"]
    assert answer.json["cookie_needed"] is False
    assert_not_cached(answer)
    assert_readable_by("http://page.example", answer)
    assert "set-cookie" not in answer.headers


def test_info_has_new_entropy_each_time(echo: Browser) -> None:
    numbers = {echo.get("/info").json["entropy"] for _ in range(3)}

    assert len(numbers) == 3
    assert all(isinstance(number, int) and 0 <= number < 2**32 for number in numbers)


def test_info_says_that_there_are_no_websockets(served: Services) -> None:
    off = Browser(served, "/disabled_websocket_echo")

    assert off.get("/info").json["websocket"] is False
    assert off.get("/0/0/websocket", *UPGRADE).status == 404
    assert off.get("/websocket", *UPGRADE).status == 404


# Preflights


@pytest.mark.parametrize("origin", ["http://page.example", "null"])
@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/info", "OPTIONS, GET"),
        ("/abc/abc/xhr", "OPTIONS, POST"),
        ("/abc/abc/xhr_send", "OPTIONS, POST"),
        ("/abc/abc/xhr_streaming", "OPTIONS, POST"),
    ],
)
def test_options(echo: Browser, path: str, methods: str, origin: str) -> None:
    answer = echo.options(path, f"Origin: {origin}", "Access-Control-Request-Method: POST")

    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["access-control-allow-methods"] == methods
    assert answer.headers["access-control-max-age"] == "31536000"
    assert_cached(answer)
    assert_readable_by(origin, answer)
    assert "content-type" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "allowed"), [(["a, b, c"], "a, b, c"), ([""], None), ([], None)], ids=["some", "empty", "none"]
)
def test_requested_headers_are_allowed(echo: Browser, asked: list[str], allowed: str | None) -> None:
    headers = [f"Access-Control-Request-Headers: {value}" for value in asked]
    answer = echo.options("/000/preflight/xhr", ORIGIN, *headers)

    assert answer.headers.get("access-control-allow-headers") == allowed


# Methods


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/info", "OPTIONS, GET"),
        ("POST", "", "GET"),
        ("GET", "/a/a/xhr", "OPTIONS, POST"),
        ("PUT", "/a/a/xhr_send", "OPTIONS, POST"),
        ("GET", "/a/a/xhr_streaming", "OPTIONS, POST"),
        ("POST", "/a/a/eventsource", "GET"),
        ("POST", "/a/a/htmlfile", "GET"),
        ("OPTIONS", "/a/a/jsonp", "GET"),
        ("GET", "/a/a/jsonp_send", "POST"),
        ("POST", "/0/0/websocket", "GET"),
        ("POST", "/websocket", "GET"),
    ],
)
@pytest.mark.parametrize(
    "further", [(), ("Upgrade: WebSocket", "Connection: Upgrade")], ids=["plain", "upgrade"]
)
def test_another_method_is_405(
    echo: Browser, method: str, path: str, allowed: str, further: tuple[str, ...]
) -> None:
    answer = echo.ask(method, path, *further)

    assert (answer.status, answer.headers["allow"], answer.body) == (405, allowed, b"")
    assert "content-type" not in answer.headers


# Sessions


@pytest.mark.parametrize("server", ["a", "_", "1", "abcdefgh_i-j%20"])
def test_any_server_and_session_will_do(echo: Browser, server: str) -> None:
    answer = echo.post(f"/{server}{echo.session()[4:]}%20/xhr")

    assert (answer.status, answer.body) == (200, b"o\n")


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["//", "/a./a", "/a/a.", "/./.", "/", "///", "/a%2e/a", "/a%2fa/a"])
def test_paths_with_dots_or_other_parts_are_404(echo: Browser, method: str, path: str) -> None:
    assert echo.ask(method, path + "/xhr").status == 404


def test_the_server_part_is_ignored(echo: Browser) -> None:
    session = echo.session()
    echo.post(session + "/xhr")
    echo.post(session + "/xhr_send", b'["a"]')

    assert echo.post(session.replace("/000/", "/999/") + "/xhr").body == b'a["a"]\n'


def test_a_session_is_opened_and_answers(echo: Browser) -> None:
    session = echo.session()

    assert echo.post(session + "/xhr").body == b"o\n"
    sent = echo.post(session + "/xhr_send", b'["a"]')
    assert (sent.status, sent.body) == (204, b"")
    assert echo.post(session + "/xhr").body == b'a["a"]\n'


def test_a_second_response_is_refused(echo: Browser) -> None:
    session = echo.session()
    echo.post(session + "/xhr")
    with echo.waiting("POST", session + "/xhr"):
        echo.services.until_asked(session)

        assert echo.post(session + "/xhr").body == b'c[2010,"Another connection still open"]\n'


def test_a_closed_session_says_so_again_and_again(closing: Browser) -> None:
    session = closing.session()

    bodies = [closing.post(session + "/xhr").body for _ in range(3)]
    assert bodies == [b"o\n", *[b'c[3000,"Go away!"]\n'] * 2]


# WebSocket


@pytest.mark.parametrize(
    "headers", [(), ("Upgrade: WebSocket", "Connection: close")], ids=["plain", "connection-close"]
)
def test_no_websocket_request_is_400(echo: Browser, headers: tuple[str, ...]) -> None:
    answer = echo.get("/0/0/websocket", *headers)

    assert (answer.status, answer.body) == (400, b"Not a valid websocket request")


def test_websocket_carries_frames(echo: Browser) -> None:
    with Client(echo.services.server) as client:
        client.upgrade(path="/echo/000/ws/websocket")

        assert client.read() == (TEXT, b"o")
        client.send(text('["a"]'))
        assert client.read() == (TEXT, b'a["a"]')
        client.send(text('["b", "c"]'))
        assert [client.read(), client.read()] == [(TEXT, b'a["b"]'), (TEXT, b'a["c"]')]


def test_websocket_is_closed_with_a_frame(closing: Browser) -> None:
    with Client(closing.services.server) as client:
        client.upgrade(path="/close/000/ws/websocket")

        assert client.read() == (TEXT, b"o")
        assert client.read() == (TEXT, b'c[3000,"Go away!"]')
        assert client.read() == (CLOSE, b"\x0b\xb8Go away!")


def test_websocket_handshake_is_answered(echo: Browser) -> None:
    with Client(echo.services.server) as client:
        status, headers = client.request("GET /echo/000/ws/websocket HTTP/1.1", *UPGRADE)

    assert status == "HTTP/1.1 101 Switching Protocols"
    assert headers["connection"].lower() == "upgrade"
    assert headers["upgrade"].lower() == "websocket"
    assert "content-length" not in headers


def test_empty_payloads_are_ignored(echo: Browser) -> None:
    with Client(echo.services.server) as client:
        client.upgrade(path="/echo/000/ws/websocket")
        for payload in ("", "[]", '["a"]'):
            client.send(text(payload))

        assert [client.read(), client.read()] == [(TEXT, b"o"), (TEXT, b'a["a"]')]


def test_websockets_may_share_a_session_id(echo: Browser) -> None:
    with Client(echo.services.server) as one, Client(echo.services.server) as other:
        for client, name in ((one, "a"), (other, "b")):
            client.upgrade(path="/echo/000/shared/websocket")
            assert client.read() == (TEXT, b"o")
            client.send(text(f'["{name}"]'))
        assert one.read() == (TEXT, b'a["a"]')
        assert other.read() == (TEXT, b'a["b"]')


def test_broken_json_ends_a_websocket(echo: Browser) -> None:
    """With 3000 and no frame (ddp-wire 1.7)."""
    with Client(echo.services.server) as client:
        client.upgrade(path="/echo/000/ws/websocket")
        client.send(text('["a'))

        assert client.read() == (TEXT, b"o")
        assert client.read() == (CLOSE, b"\x0b\xb8Broken framing.")


def test_raw_websocket_has_no_frames(echo: Browser) -> None:
    with Client(echo.services.server) as client:
        client.upgrade(path="/echo/websocket")
        client.send(text("Hello world!\uffff"))

        assert client.read() == (TEXT, "Hello world!\uffff".encode())


def test_raw_websocket_is_closed_without_a_frame(closing: Browser) -> None:
    with Client(closing.services.server) as client:
        client.upgrade(path="/close/websocket")

        assert client.read() == (CLOSE, b"\x0b\xb8Go away!")


# XHR


def test_xhr_headers(echo: Browser) -> None:
    session = echo.session()
    polled = echo.post(session + "/xhr", b"", ORIGIN)
    sent = echo.post(session + "/xhr_send", b'["x"]', ORIGIN)

    assert polled.headers["content-type"] == "application/javascript; charset=UTF-8"
    assert sent.headers["content-type"] == "text/plain; charset=UTF-8"
    for answer in (polled, sent):
        assert_readable_by("http://page.example", answer)
        assert_not_cached(answer)


def test_any_page_may_read_what_has_no_origin(echo: Browser) -> None:
    assert_readable_by(None, echo.post(echo.session() + "/xhr"))


def test_an_upload_to_no_session_is_404(echo: Browser) -> None:
    assert echo.post(NO_SUCH_SESSION, b'["x"]').status == 404


def test_bad_uploads_are_500_and_harmless(echo: Browser) -> None:
    session = echo.session()
    echo.post(session + "/xhr")
    broken, empty = (echo.post(session + "/xhr_send", body) for body in (b'["x', b""))
    odd = echo.post(session + "/xhr_send", b'["x"]', "Content-Type: image/png")
    echo.post(session + "/xhr_send", b'["a"]')

    assert (broken.status, broken.body) == (500, b"Broken JSON encoding.")
    assert (empty.status, empty.body) == (500, b"Payload expected.")
    assert (odd.status, odd.body) == (500, b"Payload expected.")
    assert echo.post(session + "/xhr").body == b'a["a"]\n'


def test_uploads_have_many_content_types(echo: Browser) -> None:
    session = echo.session()
    echo.post(session + "/xhr")
    types = ["text/plain", "T", "application/json", "application/xml", "", "text/xml"]
    types += ["application/json; charset=utf-8", "text/xml; charset=utf-8"]
    for content_type in types:
        assert echo.post(session + "/xhr_send", b'["a"]', f"Content-Type: {content_type}").status == 204
    assert echo.post(session + "/xhr_send", b'["a"]').status == 204

    assert echo.post(session + "/xhr").body == b"a[" + b",".join([b'"a"'] * 9) + b"]\n"


def test_an_empty_array_is_an_upload(echo: Browser) -> None:
    session = echo.session()
    echo.post(session + "/xhr")

    assert echo.post(session + "/xhr_send", b"[]").status == 204
    assert echo.post(session + "/xhr_send", b'["a"]').status == 204
    assert echo.post(session + "/xhr").body == b'a["a"]\n'


# Streams


def wrapped(kind: str, frame: str) -> bytes:
    quoted = json.dumps(frame)
    return {
        "xhr_streaming": f"{frame}\n",
        "eventsource": f"data: {frame}\r\n\r\n",
        "htmlfile": f"<script>\np({quoted});\n</script>\r\n",
    }[kind].encode()


STREAMS: list[Any] = [
    pytest.param("POST", "xhr_streaming", "application/javascript; charset=UTF-8", id="xhr_streaming"),
    pytest.param("GET", "eventsource", "text/event-stream", id="eventsource"),
    pytest.param("GET", "htmlfile", "text/html; charset=UTF-8", id="htmlfile"),
]


def path_of(session: str, kind: str) -> str:
    return f"{session}/{kind}" + ("?c=%63allback" if kind == "htmlfile" else "")


@pytest.mark.parametrize(("method", "kind", "content_type"), STREAMS)
def test_a_stream_carries_frames(echo: Browser, method: str, kind: str, content_type: str) -> None:
    session = echo.session()
    with echo.stream(method, path_of(session, kind), ORIGIN) as stream:
        assert stream.status == 200
        assert stream.headers["content-type"] == content_type
        assert_not_cached(stream)
        assert "content-length" not in stream.headers
        assert stream.headers["x-accel-buffering"] == "no"
        prelude = stream.read()
        assert stream.read() == wrapped(kind, "o")
        for payload in ('["x"]', '["  \\u0000\\n\\r "]'):
            assert echo.post(session + "/xhr_send", payload.encode()).status == 204
            assert stream.read() == wrapped(kind, f"a{payload}")
    assert prelude.startswith(
        {"xhr_streaming": b"hh", "eventsource": b"\r\n", "htmlfile": b"<!doctype html>"}[kind]
    )


@pytest.mark.parametrize("kind", ["xhr_streaming", "eventsource"])
def test_streams_for_scripts_are_readable_by_other_origins(echo: Browser, kind: str) -> None:
    with echo.stream(
        "POST" if kind == "xhr_streaming" else "GET", f"{echo.session()}/{kind}", ORIGIN
    ) as stream:
        assert_readable_by("http://page.example", stream)


def test_an_event_source_of_a_file_is_readable_by_all(echo: Browser) -> None:
    """It sends no cookies, and old ones take "null" for a refusal."""
    with echo.stream("GET", echo.session() + "/eventsource", "Origin: null") as stream:
        assert_readable_by(None, stream)


def test_the_htmlfile_names_the_callback(echo: Browser) -> None:
    with echo.stream("GET", echo.session() + "/htmlfile?c=%63allback") as stream:
        prelude = stream.read()

    assert b"var c = parent.callback;" in prelude
    assert len(prelude) > 1024


@pytest.mark.parametrize(("method", "kind", "content_type"), STREAMS)
def test_a_stream_ends_at_its_limit(echo: Browser, method: str, kind: str, content_type: str) -> None:
    session = echo.session()
    message = f'["{"x" * RESPONSE_LIMIT}"]'
    with echo.stream(method, path_of(session, kind)) as stream:
        assert [stream.read(), stream.read()][1] == wrapped(kind, "o")
        echo.post(session + "/xhr_send", message.encode())

        assert stream.read() == wrapped(kind, f"a{message}")
        assert stream.read() == b""


def test_a_stream_goes_on_below_its_limit(echo: Browser) -> None:
    """31 messages of 128 bytes, with their frames, are the first to pass 4,096."""
    session = echo.session()
    payload = f'["{"x" * 128}"]'.encode()
    with echo.stream("POST", session + "/xhr_streaming") as stream:
        stream.read(), stream.read()
        for _ in range(31):
            echo.post(session + "/xhr_send", payload)
            assert stream.read() == b"a" + payload + b"\n"
        assert stream.read() == b""


def test_the_next_stream_goes_on(echo: Browser) -> None:
    session = echo.session()
    with echo.stream("POST", session + "/xhr_streaming") as stream:
        stream.read(), stream.read()
        echo.post(session + "/xhr_send", f'["{"x" * RESPONSE_LIMIT}"]'.encode())
        while stream.read():
            pass
    echo.post(session + "/xhr_send", b'["y"]')
    with echo.stream("POST", session + "/xhr_streaming") as stream:
        assert [stream.read(), stream.read()][1] == b'a["y"]\n'


# Callbacks


@pytest.mark.parametrize("kind", ["htmlfile", "jsonp"])
def test_a_callback_is_required(echo: Browser, kind: str) -> None:
    answer = echo.get(f"/a/a/{kind}")

    assert (answer.status, answer.body) == (500, b'"callback" parameter required')


@pytest.mark.parametrize("kind", ["htmlfile", "jsonp"])
@pytest.mark.parametrize("callback", ["%20", "*", "abc(", "abc%28", "x" * 33, "a%0a"])
def test_a_callback_is_a_name(echo: Browser, kind: str, callback: str) -> None:
    answer = echo.get(f"/a/a/{kind}?c={callback}")

    assert (answer.status, answer.body) == (500, b'invalid "callback" parameter')


def test_the_parameter_may_be_called_callback(echo: Browser) -> None:
    assert echo.get(echo.session() + "/jsonp?callback=x").body == b'/**/x("o");\r\n'


# JSONP


def test_jsonp(echo: Browser) -> None:
    session = echo.session()
    opened = echo.get(session + "/jsonp?c=%63allback")
    sent = echo.post(session + "/jsonp_send", b"d=%5B%22x%22%5D", FORM)

    assert (opened.status, opened.body) == (200, b'/**/callback("o");\r\n')
    assert opened.headers["content-type"] == "application/javascript; charset=UTF-8"
    assert opened.headers["x-content-type-options"] == "nosniff"
    assert (sent.status, sent.body) == (200, b"ok")
    assert sent.headers["content-type"] == "text/plain; charset=UTF-8"
    assert_not_cached(opened)
    assert_not_cached(sent)
    assert echo.get(session + "/jsonp?c=x").body == b'/**/x("a[\\"x\\"]");\r\n'


def test_bad_jsonp_uploads_are_500_and_harmless(echo: Browser) -> None:
    session = echo.session()
    echo.get(session + "/jsonp?c=x")
    for body in (b"d=%5B%22x", b"d=%ff"):
        broken = echo.post(session + "/jsonp_send", body, FORM)
        assert (broken.status, broken.body) == (500, b"Broken JSON encoding.")
    for body in (b"", b"d=", b"p=p"):
        empty = echo.post(session + "/jsonp_send", body, FORM)
        assert (empty.status, empty.body) == (500, b"Payload expected.")
    echo.post(session + "/jsonp_send", b"d=%5B%22b%22%5D", FORM)

    assert echo.get(session + "/jsonp?c=x").body == b'/**/x("a[\\"b\\"]");\r\n'


def test_a_jsonp_upload_without_a_form_is_not_decoded(echo: Browser) -> None:
    session = echo.session()
    echo.get(session + "/jsonp?c=x")
    assert echo.post(session + "/jsonp_send", b"d=%5B%22abc%22%5D", FORM).body == b"ok"
    assert echo.post(session + "/jsonp_send", b'["%61bc"]', "Content-Type: text/plain").body == b"ok"

    assert echo.get(session + "/jsonp?c=x").body == b'/**/x("a[\\"abc\\",\\"%61bc\\"]");\r\n'


def test_an_empty_array_is_a_jsonp_upload(echo: Browser) -> None:
    session = echo.session()
    echo.get(session + "/jsonp?c=x")

    assert echo.post(session + "/jsonp_send", b"d=%5B%5D", FORM).body == b"ok"


def test_a_closed_session_says_so_to_jsonp(closing: Browser) -> None:
    session = closing.session()
    bodies = [closing.get(session + "/jsonp?c=x").body for _ in range(3)]

    assert bodies == [b'/**/x("o");\r\n', *[b'/**/x("c[3000,\\"Go away!\\"]");\r\n'] * 2]


# The cookie


@pytest.fixture
def cookies(served: Services) -> Browser:
    return Browser(served, "/cookie_needed_echo")


def test_info_says_that_a_cookie_is_needed(cookies: Browser) -> None:
    answer = cookies.get("/info")

    assert answer.json["cookie_needed"] is True
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        ((), "dummy"),
        (("Cookie: JSESSIONID=abcdef",), "abcdef"),
        (("Cookie: a=b; JSESSIONID=abcdef; c=d",), "abcdef"),
        (("Cookie: XJSESSIONID=abcdef",), "dummy"),
    ],
)
def test_the_cookie_is_set_or_sent_back(cookies: Browser, sent: tuple[str, ...], expected: str) -> None:
    answer = cookies.post(cookies.session() + "/xhr", b"", *sent)

    assert answer.headers["set-cookie"] == f"JSESSIONID={expected}; path=/"


@pytest.mark.parametrize(("method", "kind", "content_type"), STREAMS)
def test_streams_set_the_cookie(cookies: Browser, method: str, kind: str, content_type: str) -> None:
    with cookies.stream(method, path_of(cookies.session(), kind)) as stream:
        assert stream.headers["set-cookie"] == "JSESSIONID=dummy; path=/"


def test_jsonp_sets_the_cookie(cookies: Browser) -> None:
    session = cookies.session()
    answers = cookies.get(session + "/jsonp?c=x"), cookies.post(session + "/jsonp_send", b"d=%5B%5D", FORM)

    assert [answer.headers["set-cookie"] for answer in answers] == ["JSESSIONID=dummy; path=/"] * 2


def test_no_cookie_is_set_unless_asked_for(echo: Browser) -> None:
    assert "set-cookie" not in echo.post(echo.session() + "/xhr").headers


# Texts


def characters(pattern: str) -> str:
    """The characters of the basic plane that a class of a regular expression has, half surrogates left out."""
    found = re.compile(f"[{pattern}]")
    return "".join(
        chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000 and found.match(chr(code))
    )


def test_what_browsers_would_mangle_is_escaped(echo: Browser) -> None:
    session = echo.session()
    every = characters("\u200c-\u200f\u2028-\u202f\u2060-\u206f\ufff0-\uffff")
    echo.post(session + "/xhr")
    echo.post(session + "/xhr_send", f'["{every}"]'.encode())

    expected = "".join(f"\\u{ord(character):04x}" for character in every)
    assert echo.post(session + "/xhr").body == f'a["{expected}"]\n'.encode()


def test_every_character_comes_back(echo: Browser) -> None:
    session = echo.session()
    every = characters("\x00-\uffff") + "😀"
    echo.post(session + "/xhr")
    echo.post(session + "/xhr_send", json.dumps([every]).encode())

    assert json.loads(echo.post(session + "/xhr").body[1:]) == [every]


# Closing


def test_a_closed_session_ends_streams(closing: Browser) -> None:
    """The second one is told of the end, not of the first one."""
    session = closing.session()
    with closing.stream("POST", session + "/xhr_streaming") as one:
        assert [one.read() for _ in range(3)][1:] == [b"o\n", b'c[3000,"Go away!"]\n']
        with closing.stream("POST", session + "/xhr_streaming") as other:
            assert [other.read(), other.read()][1] == b'c[3000,"Go away!"]\n'
            assert (one.read(), other.read()) == (b"", b"")


def test_a_second_stream_is_refused(echo: Browser) -> None:
    session = echo.session()
    with echo.stream("POST", session + "/xhr_streaming") as one:
        assert [one.read(), one.read()][1] == b"o\n"
        with echo.stream("POST", session + "/xhr_streaming") as other:
            assert [other.read(), other.read()][1] == b'c[2010,"Another connection still open"]\n'
            assert other.read() == b""


def test_a_stream_cut_off_ends_the_session(echo: Browser) -> None:
    session = echo.session()
    with echo.stream("POST", session + "/xhr_streaming") as stream:
        assert [stream.read(), stream.read()][1] == b"o\n"
    receiver = echo.services.echo.receivers[-1]
    until(lambda: receiver.ends)

    assert receiver.ends == [(1006, "connection lost")]
    assert echo.post(session + "/xhr").body == b'c[1002,"Connection interrupted"]\n'


def test_a_poll_cut_off_ends_the_session(echo: Browser) -> None:
    session = echo.session()
    echo.post(session + "/xhr")
    receiver = echo.services.echo.receivers[-1]
    with echo.waiting("POST", session + "/xhr"):
        echo.services.until_asked(session)
        assert echo.post(session + "/xhr").body == b'c[2010,"Another connection still open"]\n'
    until(lambda: receiver.ends)

    assert echo.post(session + "/xhr").body == b'c[1002,"Connection interrupted"]\n'


# HTTP


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_connection_can_be_kept(echo: Browser, version: str) -> None:
    with Client(echo.services.server) as client:
        for _ in range(2):
            status, headers = client.request(f"GET /echo HTTP/{version}", "Connection: keep-alive")

            assert (status, headers["content-length"]) == ("HTTP/1.1 200 OK", "19")
            assert client.file.read(19) == b"Welcome to SockJS!\n"
            assert "transfer-encoding" not in headers


def test_a_connection_is_kept_by_polls(echo: Browser) -> None:
    session = echo.session()
    with Client(echo.services.server) as client:
        assert echo.ask_on(client, "POST", session + "/xhr").body == b"o\n"
        assert echo.ask_on(client, "POST", session + "/xhr_send", body=b'["a"]').status == 204
        assert echo.ask_on(client, "POST", session + "/xhr").body == b'a["a"]\n'


def test_http_1_0_has_no_chunks(closing: Browser) -> None:
    """Even where the connection was to be kept."""
    path = f"/close{closing.session()}/xhr_streaming"
    with Client(closing.services.server) as client:
        status, headers = client.request(
            f"POST {path} HTTP/1.0", "Connection: keep-alive", "Content-Length: 0"
        )

        assert (status, headers["connection"]) == ("HTTP/1.1 200 OK", "close")
        assert not {"transfer-encoding", "content-length"} & headers.keys()
        assert client.file.read() == b"h" * 2048 + b'\no\nc[3000,"Go away!"]\n'


def test_http_1_1_has_chunks(closing: Browser) -> None:
    with closing.stream("POST", closing.session() + "/xhr_streaming") as stream:
        chunks = [stream.read() for _ in range(4)]

    assert stream.headers["transfer-encoding"] == "chunked"
    assert chunks == [b"h" * 2048 + b"\n", b"o\n", b'c[3000,"Go away!"]\n', b""]
