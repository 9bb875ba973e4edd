"""Two servers on one database, which share nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.faults.arena import Arena
from tests.faults.faults import FEED
from tests.faults.proxy import Proxy
from tests.server import DDDPServer

pytestmark = pytest.mark.parametrize("arena", ["triggers"], indirect=True, scope="module")


@pytest.fixture(scope="module")
def link(arena: Arena) -> Iterator[Proxy]:
    """Between the peer and PostgreSQL."""
    with Proxy(("127.0.0.1", arena.cluster.port)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def peer(arena: Arena, link: Proxy) -> Iterator[DDDPServer]:
    """A second server, on the arena's database."""
    with arena.new_server(link.port) as peer:
        yield peer


def test_a_write_through_one_reaches_clients_of_both(arena: Arena, peer: DDDPServer) -> None:
    with (
        arena.trial("two peers, no fault", servers=[arena.server, peer]) as trial,
        ExitStack() as clients,
    ):
        one, other = (clients.enter_context(server.client()) for server in (arena.server, peer))
        for client in (one, other):
            client.subscribed("Bank", trial.number)
        for number, client in ((f"by one in {trial.number}", one), (f"by other in {trial.number}", other)):
            client.call("transfer", arena.ways[-1], number, trial.number, 1, 2, 5)
            trial.ledger.note(number, "committed")
            for each in (one, other):
                each.wait(lambda view, number=number: number in numbers(view))


def numbers(view) -> set[str]:
    return {document["number"] for document in view.documents("bank.transfer").values()}


def test_one_peer_is_cut_off(arena: Arena, peer: DDDPServer, link: Proxy) -> None:
    """The other serves its clients meanwhile, who see everything at once."""
    with arena.trial("one of two peers is cut off for 3 s", servers=[arena.server, peer]) as trial:
        link.refuse()
        trial.fault()
        with arena.server.client() as client:
            client.subscribed("Bank", trial.number)
            for _ in range(5):
                trial.progress(10)
                made = trial.ledger.count()
                client.wait(lambda view, made=made: len(view.documents("bank.transfer")) >= made, 2)
        trial.let_pass(1)
        link.accept()


def test_one_peer_hangs_in_the_network(arena: Arena, peer: DDDPServer, link: Proxy) -> None:
    with arena.trial("one of two peers hears nothing for 3 s", servers=[arena.server, peer]) as trial:
        link.freeze()
        trial.fault()
        trial.let_pass(3)
        link.resume()


def test_one_peer_is_killed(arena: Arena, peer: DDDPServer) -> None:
    """Its clients find it again when it is back; those of the other notice nothing."""
    with arena.trial("one of two peers is killed", servers=[arena.server, peer]) as trial:
        peer.kill()
        trial.fault()
        trial.progress(10)
        peer.start()


def test_a_peer_listens_only_to_tables_that_its_clients_need(arena: Arena, peer: DDDPServer) -> None:
    """Seen from PostgreSQL, in its log of the statements of the peer's listening session."""
    for setting in ("log_statement = 'all'", "log_min_messages = 'log'"):
        arena.execute(f"ALTER DATABASE {arena.database} SET {setting}")
    peer.stop()
    before = set(arena.backends(FEED))
    peer.start()
    (feed,) = set(arena.backends(FEED)) - before
    try:
        with arena.trial("a peer without subscribers") as trial:
            trial.progress(20)
        assert listened(arena, feed) == []

        with peer.client() as client:
            client.unsubscribe(client.subscribed("Poorest", 3))
        trial.until(lambda: len(listened(arena, feed)) == 2, "LISTEN and UNLISTEN")
        assert listened(arena, feed) == ["LISTEN dddp.bank.account", "UNLISTEN dddp.bank.account"]
    finally:
        arena.execute(f"ALTER DATABASE {arena.database} RESET ALL")


def listened(arena: Arena, pid: int) -> list[str]:
    """What a session has listened to and given up, in order, its process's own channel left out."""
    lines = [line for line in arena.cluster.log.splitlines() if f"[{pid}]" in line]
    return [
        f"{verb} {channel}"
        for verb, channel in re.findall(r'((?:UN)?LISTEN) "(dddp\.[^@"]+)"', "\n".join(lines))
    ]
