"""DDP through nginx as ``docs/how-to/nginx.rst`` configures it, beside the distribution's own configuration."""

from __future__ import annotations

import http.client
import json
import socket
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import websocket

from tests.client import StrictClient
from tests.interop.clients import NodeClient
from tests.proxy import nginx
from tests.server import ROOT, DDDPServer, fresh_database, run_django
from tests.test_docs import blocks

pytestmark = pytest.mark.nginx

SETTINGS = "tests.interop.project.settings"
PAGE = ROOT / "docs" / "how-to" / "nginx.rst"
TIME_LIMIT = 15.0

BEAT = 0.2
"""Seconds from one heartbeat to the next of the server that has short ones."""

READ_TIMEOUT = 2
"""Seconds that nginx waits for a word of the server where it has little patience."""

CLIENT = "127.0.0.2"
"""The address that a client has. Servers see their neighbours as 127.0.0.1."""

FORGED = "6.6.6.6"
"""The one that it pretends to have."""

CALL = [
    '{"msg":"connect","version":"1","support":["1"]}',
    '{"msg":"method","id":"1","method":"address","params":[]}',
]

Front = Callable[..., str]


@pytest.fixture(scope="module")
def shown() -> list[str]:
    """What the page shows of nginx's configuration: the file, and its beginning for several servers."""
    return [block.text for block in blocks(PAGE) if block.language == "nginx"]


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with fresh_database("proxy") as url:
        env = {"DATABASE_URL": url}
        run_django("migrate", "--run-syncdb", "--verbosity=0", settings_module=SETTINGS, env=env)
        yield url


def serve(database: str, **settings: Any) -> AbstractContextManager[DDDPServer]:
    (block,) = [block for block in blocks(PAGE) if block.language == "python"]
    scope: dict[str, Any] = {}
    exec(block.text, scope)  # the page's own setting
    return DDDPServer(SETTINGS, {"DATABASE_URL": database, "DDDP": json.dumps({**scope["DDDP"], **settings})})


@pytest.fixture(scope="module")
def server(database: str) -> Iterator[DDDPServer]:
    with serve(database) as running:
        yield running


@pytest.fixture
def front(shown: list[str], tmp_path: Path) -> Iterator[Front]:
    """Start an nginx before a server, with further texts of the page's file replaced; ``host:port``."""
    with ExitStack() as stack:

        def start(server: DDDPServer, replaced: dict[str, str] | None = None) -> str:
            upstream = {"127.0.0.1:8000": f"127.0.0.1:{server.port}"}
            return stack.enter_context(
                nginx.running(tmp_path / "nginx", shown[0], upstream | (replaced or {}))
            )

        yield start


def post(address: str, path: str, body: str = "") -> bytes:
    """The answer to a request of ``CLIENT`` that says to come from elsewhere."""
    with closing(
        http.client.HTTPConnection(address, timeout=TIME_LIMIT, source_address=(CLIENT, 0))
    ) as connection:
        connection.request("POST", path, body, {"X-Forwarded-For": FORGED})
        return connection.getresponse().read()


def write(database: str, sql: str, *parameters: Any) -> None:
    with closing(psycopg2.connect(database)) as pgconn, pgconn, pgconn.cursor() as cursor:
        cursor.execute(sql, parameters)


# --- WebSockets, streaming and polling


@pytest.mark.node
@pytest.mark.parametrize("transport", ["websocket", "xhr-streaming", "eventsource", "xhr-polling"])
def test_sockjs_passes(front: Front, server: DDDPServer, transport: str) -> None:
    """A document arrives when it is there, and not when nginx has buffered enough of them."""
    address, end = front(server), time.monotonic() + TIME_LIMIT
    client = NodeClient("sockjs")
    try:
        client.ask("connect", {"http": f"http://{address}", "transport": transport})
        client.ask("subscribe", "notes", transport)
        key = client.ask("call", "add", transport, "through nginx")
        while key not in [note["id"] for note in client.ask("documents")]:
            assert time.monotonic() < end, "the document has not arrived"
        assert client.ask("transport") == transport
    finally:
        client.close()


def test_a_plain_websocket_passes(front: Front, server: DDDPServer) -> None:
    """With its compression, which is between the client and the server."""
    with StrictClient(f"ws://{front(server)}/websocket") as client:
        client.subscribed("notes", "ann")
        write(server.database, "INSERT INTO notes_note (owner, text) VALUES ('ann', 'Milk')")
        client.wait(lambda view: [note["text"] for note in view.documents("notes").values()] == ["Milk"])


def test_a_page_passes(front: Front, server: DDDPServer) -> None:
    with closing(http.client.HTTPConnection(front(server), timeout=TIME_LIMIT)) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().status == 200


def htmlfile(address: str, session: str, time_limit: float = TIME_LIMIT) -> http.client.HTTPResponse:
    """A stream in HTML, which is the type that nginx compresses by default."""
    connection = http.client.HTTPConnection(address, timeout=time_limit)
    connection.request(
        "GET", f"/sockjs/000/{session}/htmlfile?c=callback", headers={"Accept-Encoding": "gzip"}
    )
    return connection.getresponse()


def test_a_stream_that_nginx_compresses_passes(front: Front, server: DDDPServer) -> None:
    with closing(htmlfile(front(server), "compressed")) as response:
        assert response.headers["Content-Encoding"] == "gzip"
        gunzip, text = zlib.decompressobj(wbits=31), b""
        while b'p("o")' not in text:
            text += gunzip.decompress(response.read1())


def test_nginx_would_keep_a_stream_that_does_not_ask_it_not_to(front: Front, server: DDDPServer) -> None:
    """Why there is ``X-Accel-Buffering``."""
    address = front(server, {"proxy_read_timeout 60s;": "proxy_ignore_headers X-Accel-Buffering;"})

    with pytest.raises(TimeoutError):
        htmlfile(address, "kept", time_limit=1.0)


# --- Idle connections


def idle(client: StrictClient) -> None:
    """Wait until nothing but heartbeats has come for longer than nginx waits for a word."""
    begin = time.monotonic()
    client.wait(lambda view: time.monotonic() > begin + 1.5 * READ_TIMEOUT)


@pytest.mark.node
def test_heartbeats_keep_idle_connections(front: Front, database: str) -> None:
    with serve(database, HEARTBEAT_INTERVAL=BEAT) as server:
        address = front(server, {"proxy_read_timeout 60s;": f"proxy_read_timeout {READ_TIMEOUT}s;"})
        polling = NodeClient("sockjs")
        try:
            polling.ask("connect", {"http": f"http://{address}", "transport": "xhr-polling"})
            with StrictClient(f"ws://{address}/websocket") as client:
                idle(client)
                client.ping()
            assert polling.ask("connections") == 1
            assert polling.ask("call", "who") is None
        finally:
            polling.close()


def test_nginx_ends_what_is_silent_for_longer(front: Front, server: DDDPServer) -> None:
    """Why heartbeats must come before its read timeout; the server's come after 15 seconds."""
    address = front(server, {"proxy_read_timeout 60s;": f"proxy_read_timeout {READ_TIMEOUT}s;"})
    client = StrictClient(f"ws://{address}/websocket")

    assert client.wait_closed().code == 1006


# --- The client's address


def test_the_address_of_a_websocket_is_the_clients(front: Front, server: DDDPServer) -> None:
    address = front(server)
    host, port = address.split(":")
    plain = socket.create_connection((host, int(port)), TIME_LIMIT, source_address=(CLIENT, 0))
    headers = {"X-Forwarded-For": FORGED}
    with closing(
        websocket.create_connection(f"ws://{address}/websocket", socket=plain, header=headers)
    ) as client:
        for message in CALL:
            client.send(message)
        results = (message for message in iter(lambda: json.loads(client.recv()), None))
        assert next(message["result"] for message in results if message.get("msg") == "result") == CLIENT


def test_the_address_of_a_client_that_polls_is_its_own(front: Front, server: DDDPServer) -> None:
    session = "/sockjs/000/address"
    address = front(server)
    assert post(address, f"{session}/xhr") == b"o\n"
    post(address, f"{session}/xhr_send", json.dumps(CALL))
    results: list[Any] = []
    while not results:
        messages = map(json.loads, json.loads(post(address, f"{session}/xhr")[1:]))
        results = [message["result"] for message in messages if message.get("msg") == "result"]

    assert results == [CLIENT]


# --- A restart of the server


@pytest.mark.node
def test_clients_come_back_after_a_restart_behind_nginx(front: Front, server: DDDPServer) -> None:
    """Meanwhile nginx answers 502."""
    address = front(server)
    client = NodeClient("simpleddp")
    try:
        client.ask("connect", {"websocket": f"ws://{address}/websocket"})
        server.stop()
        with closing(http.client.HTTPConnection(address, timeout=TIME_LIMIT)) as connection:
            connection.request("GET", "/websocket")
            assert connection.getresponse().status == 502
        server.start()
        assert client.ask("call", "who") is None
        assert client.ask("connections") == 2
    finally:
        client.close()


# --- Several servers


@pytest.mark.node
def test_clients_that_poll_stay_at_one_of_several_servers(
    shown: list[str], server: DDDPServer, database: str, tmp_path: Path
) -> None:
    """Each request is a connection of its own; a session's must reach the server that has it."""
    config, several = shown
    with serve(database) as other, ExitStack() as stack:
        replaced = {
            "http://127.0.0.1:8000": "http://dddp",
            "10.0.0.1:8000": f"127.0.0.1:{server.port}",
            "10.0.0.2:8000": f"127.0.0.1:{other.port}",
        }
        address = stack.enter_context(nginx.running(tmp_path / "nginx", several + config, replaced))
        for _ in range(4):
            client = NodeClient("sockjs")
            stack.callback(client.close)
            client.ask("connect", {"http": f"http://{address}", "transport": "xhr-polling"})
            for _ in range(4):
                assert client.ask("call", "who") is None
            assert client.ask("connections") == 1
