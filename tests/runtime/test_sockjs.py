"""DDP over SockJS's polling, on the real process: by plain requests, as a client without a WebSocket makes them."""

from __future__ import annotations

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import psycopg2
import pytest

from tests.runtime.conftest import Project, serve


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"ORIGINS": "tests.runtime.project.origins.accepted", "SOCKJS_COOKIE": True}


class Polling:
    """A DDP client that polls."""

    def __init__(self, project: Project) -> None:
        self.session = f"/sockjs/000/{secrets.token_hex(4)}"
        self.http = HTTPConnection("127.0.0.1", project.server.port, timeout=30)
        assert self.post("xhr") == "o\n"

    def ask(self, transport: str, body: str = "", **headers: str) -> HTTPResponse:
        """The answer; its body is in ``text``."""
        self.http.request("POST", f"{self.session}/{transport}", body, headers)
        answer = self.http.getresponse()
        self.text = answer.read().decode()
        return answer

    def post(self, transport: str, body: str = "") -> str:
        assert self.ask(transport, body).status in (200, 204), self.text
        return self.text

    def send(self, *messages: dict[str, Any]) -> None:
        self.post("xhr_send", json.dumps([json.dumps(message) for message in messages]))

    def frames(self) -> Iterator[list[dict[str, Any]]]:
        """The messages of each frame."""
        while True:
            frame = self.post("xhr")
            assert frame.startswith("a"), frame
            yield [json.loads(message) for message in json.loads(frame[1:])]

    def until(self, name: str) -> list[dict[str, Any]]:
        """All messages up to the frame that has one of this name."""
        found = []
        for frame in self.frames():
            found += frame
            if name in [message.get("msg") for message in frame]:
                return found
        raise AssertionError("polling never ends")

    def connect(self) -> None:
        self.send({"msg": "connect", "version": "1", "support": ["1"]})
        self.until("connected")


def test_a_client_that_polls_is_a_client(project: Project) -> None:
    book = project.add_book("Emma")
    client = Polling(project)
    client.send(
        {"msg": "connect", "version": "1", "support": ["1"]},
        {"msg": "sub", "id": "s", "name": "Books"},
    )
    messages = client.until("ready")

    assert messages[0] == {"server_id": "0"}
    assert [message["id"] for message in messages if message.get("collection") == "shop.book"] == [book]


def test_what_a_transaction_did_is_one_frame(project: Project) -> None:
    client = Polling(project)
    client.connect()
    client.send({"msg": "sub", "id": "s", "name": "Books"})
    client.until("ready")
    project.execute("INSERT INTO shop_book (title, price) SELECT 'row', n FROM generate_series(1, 50) n")

    frame = next(
        frame for frame in client.frames() if "row" in str(frame)
    )  # others' rows may still go before
    assert [message["msg"] for message in frame] == ["added"] * 50


def test_a_large_first_batch_comes_by_polling(project: Project) -> None:
    """In slices, one for each response."""
    sql = "INSERT INTO shop_book (title, price) SELECT repeat('x', 100), n FROM generate_series(1, 5000) n"
    with project.client() as other:
        other.subscribed("Books")
        project.execute(sql)
        other.wait(lambda view: len(view.documents("shop.book")) == 5000)
        client = Polling(project)
        client.connect()
        client.send({"msg": "sub", "id": "s", "name": "Books"})
        messages = client.until("ready")

    assert len([message for message in messages if message.get("collection") == "shop.book"]) == 5000
    assert messages[-1] == {"msg": "ready", "subs": ["s"]}


def test_origins_hold_for_sockjs(project: Project) -> None:
    client = Polling(project)

    accepted, refused = (
        client.ask("xhr_send", "[]", Origin=origin)
        for origin in ("https://good.example", "https://evil.example")
    )

    assert (accepted.status, refused.status) == (204, 403)


def test_the_cookie_is_a_setting(project: Project) -> None:
    assert Polling(project).ask("xhr_send", "[]").headers["set-cookie"] == "JSESSIONID=dummy; path=/"


def test_a_method_in_flight_at_the_stop_tells_a_client_that_polls(templates: tuple[str, str]) -> None:
    """On the connection that it has; the last thing it hears is the end."""
    with serve(templates) as project, contextlib.closing(psycopg2.connect(project.database)) as holder:
        holder.cursor().execute("SELECT pg_advisory_lock(1)")
        client = Polling(project)
        client.connect()
        client.send({"msg": "method", "id": "1", "method": "lock_then_add", "params": [1, "saved"]})
        project.client().call("arrival", "1")
        since = len(project.server.log)
        stopper = threading.Thread(target=project.server.stop)
        stopper.start()
        project.server.wait_for_log("Stopping", since=since)
        holder.cursor().execute("SELECT pg_advisory_unlock(1)")
        heard = []
        while not heard or not heard[-1].startswith("c"):
            heard.append(client.post("xhr"))
        stopper.join(30)

    assert heard[-1] == 'c[1001,"the server stops"]\n'
    messages = [json.loads(message) for frame in heard[:-1] for message in json.loads(frame[1:])]
    assert {"result", "updated"} <= {message["msg"] for message in messages}
