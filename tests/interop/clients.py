"""The clients of the matrix, each behind ``ask``: in Node, in a page of Chromium, in Python. Knows no scenario.

What a driver can be asked is said in ``drivers/run.mjs``. Dates and bytes are ``{"date": milliseconds}`` and
``{"bytes": [0, 255]}`` on this side, whatever the client makes of EJSON.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

from playwright.sync_api import Browser, Page, WebSocketRoute

from tests.client import RemoteError, StrictClient

__all__ = ["NODE_MODULES", "TIME_LIMIT", "Client", "Failure", "Kind"]

HERE = Path(__file__).resolve().parent
NODE_MODULES = HERE / "node_modules"
RUN = "async ([driver, ...command]) => (await import('/static/drivers/run.mjs')).run(await import(driver), ...command)"

TIME_LIMIT = 15.0
"""Seconds that a client has for an answer."""


class Failure(Exception):
    """What a client was asked for did not work; ``answer`` is the error that it told, or how it broke."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        super().__init__(answer)


class Client(Protocol):
    def ask(self, name: str, *args: Any, limit: float = TIME_LIMIT) -> Any:
        """Run a command of the driver; what it gives.

        Raises:
            Failure: it raised, or gave nothing within ``limit`` seconds.
        """

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True, eq=False)
class Kind:
    """A column of the matrix.

    Attributes:
        title: its heading.
        driver: a module of ``drivers/``, or "" for Python.
        package: whose version is shown, of ``node_modules``; "" where there is none.
        way: where it runs, and over what.
        options: for the driver's ``connect``, besides the addresses.
        page: the path of the page that it runs in; None for outside of a browser.
        websockets: those that the page opens work.
        login: it has one of its own.
        skips: rows that mean nothing for it.
        transport: what the driver must say that it is connected over.
    """

    title: str
    driver: str
    package: str
    way: str
    options: Mapping[str, Any] = field(default_factory=dict)
    page: str | None = None
    websockets: bool = True
    login: bool = False
    skips: frozenset[str] = frozenset()
    transport: str = ""

    @property
    def version(self) -> str:
        if not self.package:
            return ""
        return str(json.loads((NODE_MODULES / self.package / "package.json").read_text())["version"])

    def start(self, browser: Browser, site: str, ddp: str) -> Client:
        """Start it. Pages are those of ``site``; their server of DDP is at another address, as Meteor's may be."""
        if self.page is not None:
            return PageClient(browser, f"{site}{self.page}?ddp={quote(ddp)}", self.driver, self.websockets)
        return NodeClient(self.driver) if self.driver else PythonClient()


def opened(answer: Any) -> Any:
    """The value of an answer of ``run.mjs``."""
    if "error" in answer:
        raise Failure(answer["error"])
    return answer["value"]


class NodeClient:
    """A driver in a process of its own."""

    def __init__(self, driver: str) -> None:
        command = ["node", str(HERE / "drivers" / "node.mjs"), driver]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def ask(self, name: str, *args: Any, limit: float = TIME_LIMIT) -> Any:
        assert self._process.stdin and self._process.stdout
        try:
            self._process.stdin.write(f"{json.dumps({'name': name, 'args': args, 'limit': limit * 1000})}\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Failure("the process has ended") from None
        line = self._process.stdout.readline()
        if not line:
            raise Failure("the process has ended")
        return opened(json.loads(line))

    def close(self) -> None:
        with self._process:
            self._process.kill()


class PageClient:
    """A driver in a page of its own. Where WebSockets do not work, each is closed before it has opened."""

    def __init__(self, browser: Browser, page: str, driver: str, websockets: bool) -> None:
        self._context = browser.new_context()
        self._page: Page = self._context.new_page()
        self._driver = f"/static/drivers/{driver}.mjs"
        if not websockets:
            self._context.route_web_socket("**", self._refuse)
        self._page.goto(page)

    @staticmethod
    def _refuse(route: WebSocketRoute) -> None:
        route.close()

    def ask(self, name: str, *args: Any, limit: float = TIME_LIMIT) -> Any:
        return opened(self._page.evaluate(RUN, [self._driver, name, list(args), limit * 1000]))

    def close(self) -> None:
        self._context.close()


class PythonClient:
    """The client of our own tests."""

    _client: StrictClient

    def ask(self, name: str, *args: Any, limit: float = TIME_LIMIT) -> Any:
        try:
            return shown(getattr(self, f"_{name}")(*map(revived, args)))
        except RemoteError as error:
            raise Failure({"error": error.error, "reason": error.reason, "details": error.details}) from error
        except (ConnectionError, TimeoutError) as error:
            raise Failure(str(error)) from error

    def close(self) -> None:
        with contextlib.suppress(ConnectionError):
            self._client.close()

    def _connect(self, addresses: Mapping[str, str]) -> None:
        self._client = StrictClient(addresses["websocket"])

    def _connections(self) -> int:
        return 1

    def _subscribe(self, name: str, *params: Any) -> None:
        self._client.subscribed(name, *params)

    def _call(self, name: str, *params: Any) -> Any:
        return self._client.call(name, *params)

    def _documents(self) -> list[Any]:
        return [{"id": id, **fields} for id, fields in self._client.documents("notes").items()]


def shown(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"date": round(value.timestamp() * 1000)}
    if isinstance(value, bytes):
        return {"bytes": list(value)}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return {key: shown(item) for key, item in value.items()} if isinstance(value, dict) else value


def revived(value: Any) -> Any:
    if isinstance(value, dict) and "date" in value:
        return datetime.fromtimestamp(value["date"] / 1000, UTC)
    if isinstance(value, dict) and "bytes" in value:
        return bytes(value["bytes"])
    return value
