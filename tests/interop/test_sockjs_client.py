"""npm's ``sockjs-client`` speaks DDP with the bookstore, over each transport that it has in Node."""

from __future__ import annotations

import pytest

from tests.interop.test_npm_clients import in_django, running
from tests.server import DDDPServer

pytestmark = pytest.mark.node


@pytest.mark.parametrize("transport", ["websocket", "xhr-streaming", "eventsource", "xhr-polling"])
def test_sockjs_client_of_npm(bookstore: DDDPServer, transport: str) -> None:
    """It loads every book, calls a method and sees what it did, and goes."""
    books, book_id = in_django(bookstore, "print(Book.objects.count(), Book.objects.first().pk)").split()
    with running("sockjs.js", f"{bookstore.http}/sockjs", transport, book_id, f"By {transport}") as client:
        ready = client.next("ready")
        renamed = client.next("renamed")
        closed = client.next("closed")

    assert ready == {"books": int(books), "transport": transport}
    assert renamed == {"result": book_id, "title": f"By {transport}"}
    assert closed == {"code": 4000, "clean": True}
