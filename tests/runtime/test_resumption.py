"""Session resumption over real sockets (ddp-wire 13): who gets the session back, what of it, and who does not.

It takes long, for heartbeats that are waited for and for servers with settings of their own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import polling
from tests.client import StrictClient
from tests.faults.proxy import Proxy
from tests.runtime.conftest import Project, serve
from tests.runtime.raw import CONNECT, GREETING
from tests.runtime.resuming import ResumingClient
from tests.runtime.test_sockjs import Polling
from tests.strict import Message

HEARTBEAT = 1.5


@pytest.fixture(scope="module")
def settings() -> dict[str, Any]:
    return {"HEARTBEAT_INTERVAL": HEARTBEAT, "RESUMPTION_QUEUE_LIMIT": 200_000, "RATE_LIMITS": []}


@pytest.fixture
def proxy(project: Project) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", project.server.port)) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[ResumingClient]:
    with ResumingClient(f"ws://127.0.0.1:{proxy.port}/websocket") as client:
        client.call("nothing")
        client.ping()
        yield client


@pytest.fixture
def other(project: Project) -> Iterator[StrictClient]:
    with project.client() as other:
        other.call("nothing")
        yield other


def titles(client: StrictClient) -> list[str]:
    return sorted(book["title"] for book in client.documents("shop.book").values())


def since(client: StrictClient, before: int) -> list[Message]:
    return [message for message in client.received()[before:] if message.get("msg") not in ("ping", "pong")]


def wait_until(condition: Callable[[], Any]) -> None:
    polling.until(condition, 10)


def cut(proxy: Proxy, other: StrictClient) -> None:
    """Cut the client off; the server knows it, and sends nothing to where nobody is."""
    before = other.call("absent")
    proxy.cut()
    wait_until(lambda: other.call("absent") > before)


# --- a session goes on


def test_session_goes_on_with_what_happened_meanwhile(
    project: Project, proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    project.add_book("before")
    client.subscribed("Books")
    client.ping()
    session, before = client.session, len(client.received())
    cut(proxy, other)
    other.call("add_book", "meanwhile")

    assert client.come_back()
    assert client.session == session
    client.wait(lambda view: len(view.documents("shop.book")) == 2)
    client.ping()
    kinds = [message["msg"] for message in since(client, before)]
    assert kinds == ["connected", "added"]  # nothing is sent again
    other.call("add_book", "after")
    client.wait(lambda view: len(view.documents("shop.book")) == 3)


def test_login_and_connection_id_stay(proxy: Proxy, client: ResumingClient) -> None:
    client.call("log_in", "jane")
    user = client.call("who")
    client.ping()
    proxy.cut()

    assert client.come_back()
    assert client.call("who") == user


def test_method_that_was_running_answers_once(
    proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    """It is sent again, and not run again."""
    client.subscribed("Books")
    call = client.invoke("wait_then_add", "resumed", "once")
    other.call("arrival", "resumed")
    client.ping()
    proxy.cut()
    client.come_back()
    assert client.resumed == 1
    other.call("open", "resumed")
    client.wait_done(call)
    client.call("nothing")

    assert titles(client) == ["once"]


def test_result_that_waited_is_not_made_again(
    project: Project, proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    call = client.invoke("wait_then_add", "absent", "once")
    other.call("arrival", "absent")
    client.ping()
    cut(proxy, other)
    other.call("open", "absent")
    wait_until(lambda: project.execute("SELECT 1 FROM shop_book"))
    assert client.come_back()
    client.wait_done(call)
    client.call("nothing")

    assert project.execute("SELECT title FROM shop_book") == [("once",)]


def test_method_that_was_lost_is_run(proxy: Proxy, client: ResumingClient) -> None:
    proxy.freeze()
    call = client.invoke("echo", "lost")
    proxy.cut()
    proxy.resume()

    assert client.come_back()
    assert client.wait_done(call) == "lost"


def test_subscription_that_ended_meanwhile_is_not_begun_again(
    proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    subscription = client.subscribed("Ticker", "gone")
    client.ping()
    cut(proxy, other)
    other.call("open", "gone change")
    other.call("open", "gone end")
    other.call("wait", "gone done")

    assert client.come_back()
    client.wait(lambda view: subscription.ended)
    client.call("nothing")
    assert client.documents("things") == {}


def test_unsub_that_was_lost_is_made_up_for(proxy: Proxy, client: ResumingClient) -> None:
    """The client does not send that subscription again, but its others: so it has given it up."""
    client.subscribed("Nothing")
    subscription = client.subscribed("Hand", "1", {"a": 1})
    client.ping()
    proxy.freeze()
    client.send({"msg": "unsub", "id": subscription.id})
    proxy.cut()
    proxy.resume()

    assert client.come_back()
    client.wait(lambda view: subscription.ended and not view.documents("things"))


def test_client_that_sends_no_subscription_again_keeps_them(project: Project, proxy: Proxy) -> None:
    """Some clients rely on the session to know them."""
    with project.raw() as first:
        first.receive()
        session = json.loads(first.ask(CONNECT))["session"]
        first.receive_some(2)
        assert first.ask('{"msg":"sub","id":"s1","name":"Nothing"}') == '{"msg":"ready","subs":["s1"]}'
        with project.raw() as second:
            second.receive()
            message = {"msg": "connect", "version": "1", "support": ["1"], "session": session}
            assert json.loads(second.ask(json.dumps({**message, "receivedCount": 4})))["session"] == session
            for _ in range(3):
                assert second.receive() == '{"msg":"ping"}'
                second.send('{"msg":"pong"}')
            assert second.drain() == []


def test_channel_that_seems_open_is_replaced(proxy: Proxy, client: ResumingClient) -> None:
    """The client's network has changed and the server has not noticed."""
    client.subscribed("Books")
    client.ping()

    assert client.come_back(hang_up=False)
    client.call("add_book", "on the new one")
    assert titles(client) == ["on the new one"]
    assert client.come_back(hang_up=False)
    client.ping("still there")


def test_messages_lost_on_the_way_are_sent_again_to_a_client_that_came_back_before(
    project: Project, proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    client.subscribed("Books")
    client.ping()
    proxy.cut()
    assert client.come_back()
    client.ping()
    proxy.freeze()
    for number in range(5):
        other.call("add_book", str(number))
    proxy.cut()
    proxy.resume()

    assert client.come_back()
    client.wait(lambda view: len(view.documents("shop.book")) == 5)


def test_session_goes_on_from_one_transport_to_another(project: Project, other: StrictClient) -> None:
    """Cut off from a poll, back on a WebSocket."""
    client = Polling(project)
    client.send(
        {"msg": "connect", "version": "1", "support": ["1"]}, {"msg": "sub", "id": "s", "name": "Books"}
    )
    heard = client.until("ready")
    client.send({"msg": "method", "id": "1", "method": "open_at_end", "params": ["polling"]})
    heard += client.until("result")
    counted = [message for message in heard if message.get("msg") not in (None, "ping", "pong")]
    session = next(message["session"] for message in counted if message["msg"] == "connected")
    client.http.request("POST", f"{client.session}/xhr")
    client.http.close()  # an aborted poll ends the SockJS session
    connect = {"msg": "connect", "version": "1", "support": ["1"], "session": session}
    with project.raw() as back:
        back.receive()
        answer = json.loads(back.ask(json.dumps({**connect, "receivedCount": len(counted)})))
        assert answer == {"msg": "connected", "session": session}
        other.call("add_book", "Emma")
        assert json.loads(back.receive())["msg"] == "added"


def test_session_goes_on_over_polling(project: Project, other: StrictClient) -> None:
    with project.raw() as first:
        first.receive()
        session = json.loads(first.ask(CONNECT))["session"]
        first.receive_some(2)
        first.ask('{"msg":"sub","id":"s1","name":"Books"}')
        client = Polling(project)
        client.send(
            {"msg": "connect", "version": "1", "support": ["1"], "session": session, "receivedCount": 4}
        )
        assert client.until("connected")[-1] == {"msg": "connected", "session": session}
        other.call("add_book", "Emma")
        assert client.until("added")[-1]["collection"] == "shop.book"


# --- a session does not go on


def renewed(client: ResumingClient) -> bool:
    session = client.session
    return not client.come_back() and client.session != session


def test_client_that_does_not_count_gets_a_new_session(proxy: Proxy, client: ResumingClient) -> None:
    session = client.session
    client.ping()
    proxy.cut()

    assert not client.come_back(receivedCount=None)
    assert client.session != session


@pytest.mark.parametrize("surplus", [-1, 1, -1_000_000, 1_000_000])
def test_count_that_does_not_fit_is_a_new_session(proxy: Proxy, client: ResumingClient, surplus: int) -> None:
    client.subscribed("Books")
    client.ping()
    proxy.cut()

    assert not client.come_back(receivedCount=client.received_count + surplus)
    client.call("add_book", "after a fresh start")
    assert titles(client) == ["after a fresh start"]


def test_unknown_session_is_a_new_one(proxy: Proxy, client: ResumingClient) -> None:
    client.ping()
    proxy.cut()

    assert not client.come_back(session="x" * 17)


def test_other_version_is_a_new_session(project: Project, proxy: Proxy, client: ResumingClient) -> None:
    client.ping()
    proxy.cut()

    assert not client.come_back(version="pre2", support=["pre2"])


def test_session_that_the_server_has_ended_does_not_go_on(proxy: Proxy, client: ResumingClient) -> None:
    client.invoke("leave")
    client.wait_closed()

    assert renewed(client)


def test_session_that_is_ended_while_its_client_is_away_does_not_go_on(
    proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    client.call("open_at_end", "kicked away")
    client.invoke("wait_then_leave", "kick")
    other.call("arrival", "kick")
    client.ping()
    cut(proxy, other)
    other.call("open", "kick")
    other.call("wait", "kicked away")

    assert renewed(client)


def test_disconnect_ends_the_session_at_once(
    proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    client.call("open_at_end", "disconnected")
    client.send({"msg": "disconnect"})
    assert client.wait_closed().code == 1000
    other.call("wait", "disconnected")

    assert renewed(client)


def test_close_in_order_ends_the_session_at_once(
    proxy: Proxy, client: ResumingClient, other: StrictClient
) -> None:
    client.call("open_at_end", "closed in order")
    client._socket.send_close(1001)
    other.call("wait", "closed in order")

    assert renewed(client)


def test_session_of_another_address_is_not_given(templates: tuple[str, str]) -> None:
    """Its id may have been published: in lists of who is there."""
    with serve(templates, FORWARDED_COUNT=1) as project:
        victim = StrictClient(project.server.url, headers={"X-Forwarded-For": "1.1.1.1"})
        victim.call("nothing")
        victim.ping()
        count = len([message for message in victim.received() if message.get("msg") not in (None, "pong")])
        connect = {"session": victim.session, "receivedCount": count}
        with StrictClient(project.server.url, connect=False, headers={"X-Forwarded-For": "2.2.2.2"}) as thief:
            thief.connect(**connect)
            assert thief.session != victim.session
        victim.ping("goes on")
        with StrictClient(
            project.server.url, connect=False, headers={"X-Forwarded-For": "1.1.1.1"}
        ) as returned:
            returned.connect(**connect)
            assert returned.session == victim.session


# --- bounds


def test_session_ends_when_its_time_is_up(templates: tuple[str, str]) -> None:
    with serve(templates, RESUMPTION_TIME_LIMIT=0.3) as project, project.client() as watcher:
        watcher.call("counts")
        idle = watcher.call("counts")
        project.add_book("Emma")
        client = ResumingClient(project.server.url)
        client.subscribed("Books")
        client.call("open_at_end", "forgotten")
        client.drop()
        assert watcher.call("counts")["connections"] == idle["connections"] + 1
        watcher.call("wait", "forgotten")
        wait_until(lambda: watcher.call("counts") == idle)
        assert renewed(client)


def test_session_with_too_much_to_tell_ends(
    templates: tuple[str, str],
) -> None:
    with serve(templates, RESUMPTION_QUEUE_LIMIT=5000) as project, project.client() as watcher:
        client = ResumingClient(project.server.url)
        client.subscribed("Books")
        client.call("open_at_end", "too much")
        client.drop()
        watcher.call("add_book", "little")
        assert watcher.call("counts")["connections"] == 2
        project.execute(
            "INSERT INTO shop_book (title, price) SELECT repeat('x', 90), 1 FROM generate_series(1, 100)"
        )
        watcher.call("wait", "too much")
        wait_until(lambda: watcher.call("counts")["connections"] == 1)
        assert renewed(client)
        client.wait(lambda view: len(view.documents("shop.book")) == 101)


def test_client_cut_off_from_a_large_first_batch_begins_anew(project: Project, proxy: Proxy) -> None:
    project.execute(
        "INSERT INTO shop_book (title, price) SELECT repeat('x', 90), 1 FROM generate_series(1, 12000)"
    )
    with ResumingClient(f"ws://127.0.0.1:{proxy.port}/websocket") as client:
        client.subscribe("Books")
        client.wait(lambda view: view.documents("shop.book"))
        proxy.cut()
        assert renewed(client)
        client.wait(lambda view: len(view.documents("shop.book")) == 12000)


def test_those_away_longest_end_first(templates: tuple[str, str]) -> None:
    with serve(templates, RESUMPTION_SESSIONS_LIMIT=2) as project, project.client() as watcher:
        clients = [ResumingClient(project.server.url) for _ in range(3)]
        for number, client in enumerate(clients):
            client.call("open_at_end", f"end of {number}")
            client.ping()
        for client in clients:
            client.drop()
            wait_until(lambda: watcher.call("absent") >= 1)
        watcher.call("wait", "end of 0")
        assert watcher.call("absent") == 2
        assert renewed(clients[0])
        assert clients[1].come_back()
        assert clients[2].come_back()
        assert watcher.call("absent") == 0


def test_one_address_keeps_no_more_sessions_than_it_may_have(templates: tuple[str, str]) -> None:
    with serve(templates, SESSIONS_PER_ADDRESS=3) as project, project.client() as watcher:
        for number in range(5):
            client = ResumingClient(project.server.url)
            client.call("open_at_end", f"end of {number}")
            client.drop()
            if number < 3:
                wait_until(lambda number=number: watcher.call("absent") == number + 1)
            else:
                watcher.call("wait", f"end of {number}")
        assert watcher.call("absent") == 3


# --- whatever happens


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_lost_or_done_twice_over_random_cuts(project: Project, proxy: Proxy, seed: int) -> None:
    """The strict judge watches every message; the rows tell that each method ran once."""
    chance = random.Random(seed)
    client = ResumingClient(f"ws://127.0.0.1:{proxy.port}/websocket")
    with client, project.client() as other:
        books = client.subscribed("Books")
        client.ping()
        proxy.cut()
        assert client.come_back()  # from now on every cut can be mended
        script = Script(project, client, other, chance)
        for _ in range(12):
            script.act()
            script.cut(proxy)
        proxy.delay = 0.0
        for call in list(client.view.invocations.values()):
            client.wait(lambda view, call=call: call.done)
        for call in script.others:
            other.wait_done(call)
        rows = sorted(title for (title,) in project.execute("SELECT title FROM shop_book"))
        client.wait(lambda view: len(view.documents("shop.book")) == len(rows))
        assert (client.renewed, client.resumed) == (0, 13)
        assert rows == sorted(script.expected)
        assert titles(client) == rows
        client.wait(lambda view: view.documents("things").keys() == script.hand.keys())
        assert not books.ended


class Script:
    """Random doings of a client and of others, between two cuts."""

    def __init__(
        self, project: Project, client: ResumingClient, other: StrictClient, chance: random.Random
    ) -> None:
        self.project = project
        self.client = client
        self.other = other
        self.chance = chance
        self.expected: list[str] = []  #: the titles that there must be, each once
        self.others: list[Any] = []
        self.hand: dict[str, Any] = {}  #: open subscriptions of one document each

    def act(self) -> None:
        for _ in range(self.chance.randint(1, 8)):
            self.chance.choice((self._add, self._add, self._add_by_other, self._toggle))()

    def cut(self, proxy: Proxy) -> None:
        way = self.chance.choice(("cut", "late", "freeze", "replace"))
        if way == "late":
            proxy.delay = 0.05
            self.act()
        if way == "freeze":
            proxy.freeze()
            self.act()
        if way != "replace":
            proxy.cut()
        proxy.resume()
        if self.chance.random() < 0.5:
            self._add_by_other()
        self.client.come_back(hang_up=way != "replace")
        proxy.delay = 0.0

    def _title(self) -> str:
        self.expected.append(f"book {len(self.expected)}")
        return self.expected[-1]

    def _add(self) -> None:
        self.client.invoke("add_book", self._title())

    def _add_by_other(self) -> None:
        self.others.append(self.other.invoke("add_book", self._title()))

    def _toggle(self) -> None:
        name = self.chance.choice("abc")
        if name in self.hand:
            self.client.send({"msg": "unsub", "id": self.hand.pop(name).id})
        else:
            self.hand[name] = self.client.subscribe("Hand", name, {"by": "hand"})


def test_greeting_precedes_the_session_that_goes_on(project: Project) -> None:
    with project.raw() as first, project.raw() as second:
        first.receive()
        session = json.loads(first.ask(CONNECT))["session"]
        first.receive_some(2)
        assert second.receive() == GREETING
        message = {"msg": "connect", "version": "1", "support": ["1"], "session": session, "receivedCount": 3}
        assert second.ask(json.dumps(message)) == f'{{"msg":"connected","session":"{session}"}}'
        assert first.receive_close()[0] == 1000
        assert second.ask('{"msg":"connect"}') == (
            '{"msg":"error","reason":"Already connected","offendingMessage":{"msg":"connect"}}'
        )
