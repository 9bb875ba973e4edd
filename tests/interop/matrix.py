"""The columns of the matrix, what is known of the clients, and the page that is made of what a run saw."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from tests.interop.clients import Kind
from tests.interop.scenario import ROWS
from tests.server import ROOT

__all__ = ["KINDS", "KNOWN", "PAGE", "Seen", "rendered"]

Seen = Mapping[tuple[Kind, str], str]

PAGE = ROOT / "docs" / "reference" / "clients.rst"

NO_LOGIN = frozenset({"relogin"})
EVENTS_ONLY = frozenset({"forget"})
TEXTS_ONLY = frozenset({"dates", "binary", "login", "resubscribe", "forget", "relogin"})

NODE = "Node; WebSocket"
METEOR = "Chromium; SockJS"

CLIENTS = [
    Kind("ddp", "ddp", "ddp", NODE, skips=NO_LOGIN),
    Kind("simpleddp", "simpleddp", "simpleddp", f"{NODE}, with simpleddp-plugin-login", login=True),
    Kind("ddp.js", "ddp.js", "ddp.js", NODE, skips=NO_LOGIN | EVENTS_ONLY),
    Kind("asteroid", "asteroid", "asteroid", NODE, login=True, skips=EVENTS_ONLY),
    Kind("@meteorrn/core", "meteorrn", "@meteorrn/core", f"{NODE}, without React Native", login=True),
    Kind("meteor-sdk", "meteor-sdk", "meteor-sdk", NODE, skips=NO_LOGIN),
    Kind(
        "old Meteor",
        "meteor",
        "meteor-client-side-0.2",
        "Chromium; SockJS, which chooses websocket",
        page="/old-meteor/",
        skips=NO_LOGIN,
        transport="websocket",
    ),
    Kind(
        "Meteor",
        "meteor",
        "meteor-client-side",
        "Chromium; SockJS, which chooses websocket",
        page="/meteor/",
        login=True,
        transport="websocket",
    ),
    Kind(
        "Meteor, polling",
        "meteor",
        "meteor-client-side",
        "Chromium; SockJS, which falls back to xhr-polling since WebSockets are blocked",
        page="/meteor/",
        login=True,
        websockets=False,
        transport="xhr-polling",
    ),
    Kind("our ddp.js", "own", "", "Chromium; WebSocket", page="/", skips=NO_LOGIN),
    Kind("Python", "", "", "tests/client.py, which checks every message; WebSocket", skips=NO_LOGIN),
]


def sockjs(transport: str, *, browser: bool) -> Kind:
    where = "Chromium" if browser else "Node"
    return Kind(
        f"{where}: {transport}",
        "sockjs",
        "sockjs-client",
        where,
        {"transport": transport},
        page="/" if browser else None,
        skips=TEXTS_ONLY,
        transport=transport,
    )


IN_CHROMIUM = (
    "websocket",
    "xhr-streaming",
    "eventsource",
    "iframe-eventsource",
    "iframe-htmlfile",
    "xhr-polling",
    "iframe-xhr-polling",
    "jsonp-polling",
)
IN_NODE = ("websocket", "xhr-streaming", "eventsource", "xhr-polling")
TRANSPORTS = [
    *(sockjs(transport, browser=True) for transport in IN_CHROMIUM),
    *(sockjs(transport, browser=False) for transport in IN_NODE),
]

KINDS = [*CLIENTS, *TRANSPORTS]

AS_JSON = "It hands values over as they are on the wire, ``{$date: ...}`` and ``{$binary: ...}``, and sends them so."
ONE_CONNECTION = "It is made for tests: one object is one connection."

KNOWN = {
    ("ddp", "restart"): "Once an attempt to connect is refused it makes no other.",
    ("ddp", "resubscribe"): "The callback of ``connect``, called at each connection, has to subscribe.",
    ("ddp", "forget"): "It never empties its collections.",
    ("ddp.js", "dates"): AS_JSON,
    ("ddp.js", "binary"): AS_JSON,
    ("ddp.js", "resubscribe"): "A listener of its event ``connected`` has to.",
    ("asteroid", "dates"): AS_JSON,
    ("asteroid", "binary"): AS_JSON,
    (
        "@meteorrn/core",
        "nosub",
    ): "It writes a warning to the console, and calls neither ``onError`` nor ``onStop``.",
    ("meteor-sdk", "forget"): "It looks for ``id`` in its documents to clear them, but they have ``_id``.",
    ("Python", "cut"): ONE_CONNECTION,
    ("Python", "restart"): ONE_CONNECTION,
    (
        "Chromium: iframe-htmlfile",
        "cut",
    ): "It does not notice that the page in its iframe was cut off while it loaded.",
}
"""Title of a client and row -> its own limitation because of which the cell is no."""

BY_CALL = (
    "It has no login of its own: ``login`` is called as any method, with ``{user: {username}, password}``."
)

TEXT = """\
Clients
=======

.. This page is written by tests/interop/test_clients.py: change it there, and run
   DDDP_CLIENTS_PAGE=write make test PYTEST_ARGS=tests/interop

What DDP clients do with dddp. Each cell is what the tests have seen: they drive every client, unmodified, by its own
interface against the running server, through a TCP proxy that they cut. A *no* is a limitation of the client itself,
named below.

{matrix}

Where a client has documents, they are compared with the database. *ddp.js* and *asteroid* have none: they tell events.

{notes}

{versions}

*Meteor* is the client of Meteor 1.3, the newest one that npm has in a form that works without Meteor's build tool; *old
Meteor* is that of Meteor 1.0 or 1.1. Their page comes from another origin than its server.

*meteor-sdk*'s ``main`` is TypeScript, which Node does not run: import ``meteor-sdk/src/DDPClient.js``.
*@meteorrn/core* is run without ``react-native`` and ``netinfo``; it comes back by its own timer then.

Of PyPI's, two were tried by hand on Python 3.11: *python-meteor* 0.1.6 subscribes and calls methods, with dates and
binary, but its login hashes text without encoding it and raises; *ddp-asyncio* 0.3.0 cannot be imported
(``collections.Mapping``).


SockJS transports
-----------------

*sockjs-client* {version} itself, with the least of a DDP client on top of it. It does not reconnect by itself: *cut*
and *restart* say whether it notices, and whether a new socket works.

{transports}

{transport_notes}
"""


def rendered(seen: Seen) -> str:
    """The page.

    Args:
        seen: what was wrong, or "", for each client and row that was attempted.
    """
    notes = Notes()
    matrix = [[text, *(cell(kind, row, seen, notes) for kind in CLIENTS)] for row, text in ROWS.items()]
    transport_notes = Notes(notes)
    rows = [row for row in ROWS if row not in TEXTS_ONLY]
    transports = [
        [kind.title, *(cell(kind, row, seen, transport_notes) for row in rows)] for kind in TRANSPORTS
    ]
    versions = [[kind.title, kind.version or "\N{EN DASH}", kind.way] for kind in CLIENTS]
    return TEXT.format(
        matrix=table(["the client", *(kind.title for kind in CLIENTS)], matrix),
        notes=notes,
        versions=table(["client", "version", "as tested"], versions),
        version=TRANSPORTS[0].version,
        transports=table(["transport", *rows], transports),
        transport_notes=transport_notes,
    )


def cell(kind: Kind, row: str, seen: Seen, notes: Notes) -> str:
    if (kind, row) not in seen:
        return "\N{EN DASH}"
    if seen[kind, row]:
        return f"no {notes.refer(KNOWN.get((kind.title, row), 'Not explained.'))}"
    if row == "login" and not kind.login:
        return f"by a call {notes.refer(BY_CALL)}"
    return "yes"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A simple table of reStructuredText."""
    cells = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    texts = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]
    return "\n".join([rule, texts[0], rule, *texts[1:], rule])


class Notes:
    """Footnotes, numbered in the order in which they are first referred to.

    Args:
        before: those that the page has before them.
    """

    def __init__(self, before: Notes | None = None) -> None:
        self.texts: list[str] = []
        self._begin = len(before.texts) if before else 0

    def refer(self, text: str) -> str:
        if text not in self.texts:
            self.texts.append(text)
        return f"[{self._begin + self.texts.index(text) + 1}]_"

    def __str__(self) -> str:
        numbered = enumerate(self.texts, self._begin + 1)
        return "\n".join(f".. [{number}] {text}" for number, text in numbered)
