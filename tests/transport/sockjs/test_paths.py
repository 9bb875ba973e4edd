"""What stands where under the mount point (ddp-wire 1.3)."""

from __future__ import annotations

import pytest

from dddp.transport.sockjs.paths import METHODS, Place, place

TRANSPORTS = [
    *(set(METHODS) - {"greeting", "info", "iframe"}),
    "websocket",
]


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("path", "name"),
    [("", "greeting"), ("/info", "info"), ("/iframe.html", "iframe"), ("/websocket", "raw")],
)
def test_static_places(path: str, name: str, slash: str) -> None:
    assert place(path + slash) == Place(name)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_transports_stand_behind_server_and_session(transport: str) -> None:
    assert place(f"/000/abc/{transport}") == Place(transport, "abc")
    assert place(f"/any thing/_-%/{transport}/") == Place(transport, "_-%")


@pytest.mark.parametrize("name", ["-a", "-", "-0.1.2", "-0.1.2abc-dirty.2144"])
def test_iframe_pages_may_name_a_version(name: str) -> None:
    assert place(f"/iframe{name}.html") == Place("iframe")


@pytest.mark.parametrize(
    "path",
    [
        *("//", "///", "/a", "/a.html", "/a/a", "/a/a/", "/websocket/xhr", "/INFO", "/info.html", "info"),
        *(
            "/a./a/xhr",
            "/a/a./xhr",
            "/./a/xhr",
            "/a/./xhr",
            "//a/xhr",
            "/a//xhr",
            "///xhr",
            "/a/xhr",
            "/a/b/c/xhr",
        ),
        *("/iframe", "/iframe.htm", "/IFRAME.HTML", "/iframe.HTML", "/iframe.xml", "/iframe-/.html"),
        *(
            "/a/b/nothing",
            "/a/b/XHR",
            "/a/b/xhr/xhr",
            "/a/b/greeting",
            "/a/b/raw",
            "/raw",
            "/greeting",
            "/a/b/info",
        ),
    ],
)
def test_elsewhere_is_nothing(path: str) -> None:
    assert place(path) is None
