"""The merge box against every scenario of ddp-wire 4.3, and its derived view of live queries."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence

import pytest

from dddp.changes import Key, Table
from dddp.livequery.document import Documents, Version
from dddp.livequery.query import LiveQuery, Phase
from dddp.livequery.spec import Fields, QuerySpec
from dddp.livequery.step import Step
from dddp.mergebox import HandSource, MergeBox

A1 = Key("A1")


def member(name: str, value: object) -> bytes:
    return json.dumps({name: value}, separators=(",", ":")).encode()[1:-1]


def members(**fields: object) -> dict[str, bytes]:
    return {name: member(name, value) for name, value in fields.items()}


def brief(messages: list[bytes]) -> list[str]:
    """Messages as the scenarios write them: ``added{"a":1}``, ``changed{...} cleared[...]``, ``removed``."""
    told = []
    for message in map(json.loads, messages):
        text = message["msg"]
        if "fields" in message:
            text += json.dumps(dict(sorted(message["fields"].items())), separators=(",", ":"))
        if "cleared" in message:
            text += f" cleared{sorted(message['cleared'])}"
        told.append(text)
    return told


class HandScenario:
    """Sources named by letters publishing the one document A1."""

    def __init__(self) -> None:
        self.box: MergeBox[object] = MergeBox(lambda batch: None)
        self.sources: dict[str, HandSource] = {}

    def play(self, line: str) -> str:
        """``A added foo=bar``, ``A changed foo=baz thing``: a name without a value is cleared."""
        letter, verb, *words = line.split()
        source = self.sources.setdefault(letter, HandSource())
        fields = members(**{name: value for name, _, value in (w.partition("=") for w in words) if value})
        cleared = [word for word in words if "=" not in word]
        if verb == "added":
            messages = self.box.added(source, "c", A1, fields)
        elif verb == "changed":
            messages = self.box.changed(source, "c", A1, fields, cleared)
        else:
            messages = self.box.removed(source, "c", A1)
        return " ; ".join(brief(messages)) or "-"


SCENARIOS = {
    "two empty": ["A added -> added", "B added -> -", "A removed -> -", "B removed -> removed"],
    "more fields": [
        'A added a=foo -> added{"a":"foo"}',
        'B added a=foo b=bar -> changed{"b":"bar"}',
        "A removed -> -",
        "B removed -> removed",
    ],
    "the other value shows when the first leaves": [
        'A added foo=bar -> added{"foo":"bar"}',
        "B added foo=baz -> -",
        'A removed -> changed{"foo":"baz"}',
    ],
    "cleared once": [
        'A added foo=bar -> added{"foo":"bar"}',
        "A changed foo -> changed cleared['foo']",
        "A changed foo -> -",
    ],
    "cleared by the owner": [
        'A added foo=bar -> added{"foo":"bar"}',
        "B added foo=baz -> -",
        'A changed foo -> changed{"foo":"baz"}',
        "A removed -> -",
        "B removed -> removed",
    ],
    "three clear in turn": [
        'A added foo=bar -> added{"foo":"bar"}',
        "B added foo=bar -> -",
        "C added foo=bar -> -",
        "A changed foo -> -",
        "B changed foo -> -",
        "C changed foo -> changed cleared['foo']",
    ],
    "three change": [
        'A added foo=bar -> added{"foo":"bar"}',
        "B added foo=bar -> -",
        "C added foo=bar -> -",
        "B changed foo=baz -> -",
        'A changed foo=baz -> changed{"foo":"baz"}',
        "C changed foo=baz -> -",
    ],
    "change and clear at once": [
        'A added foo=bar baz=quux -> added{"baz":"quux","foo":"bar"}',
        "B added foo=baz -> -",
        'A changed thing=stuff foo baz -> changed{"foo":"baz","thing":"stuff"} cleared[\'baz\']',
        "A removed -> changed cleared['thing']",
    ],
    "ownership stays until given up": [
        'A added f=A o=1 -> added{"f":"A","o":"1"}',
        "B added f=B -> -",
        'A changed f=A2 -> changed{"f":"A2"}',
        "B changed f=B2 -> -",
        'A changed f -> changed{"f":"B2"}',
        "A removed -> changed cleared['o']",
    ],
    "a field added later is owned by who had it first": [
        'A added a=1 -> added{"a":"1"}',
        'B added b=1 -> changed{"b":"1"}',
        "A changed b=2 -> -",
        'B removed -> changed{"b":"2"}',
    ],
}


@pytest.mark.parametrize("steps", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_hand_published_document_follows_the_scenario(steps: list[str]) -> None:
    """Each step sends just what the reference implementation sent."""
    scenario = HandScenario()
    for step in steps:
        line, _, expected = step.partition(" -> ")

        assert scenario.play(line) == expected, line


def test_added_twice_updates_the_fields() -> None:
    """A departure from the reference: a second ``added`` of the same source is a change, not a second entry."""
    scenario = HandScenario()
    scenario.play("A added a=1")

    assert scenario.play("A added a=2 b=3") == 'changed{"a":"2","b":"3"}'


def test_changed_unknown_document_raises() -> None:
    box: MergeBox[object] = MergeBox(lambda batch: None)

    with pytest.raises(KeyError):
        box.changed(HandSource(), "c", A1, members(a=1))


class Shape:
    name = "c"
    table = Table("app.c")

    def document(self, row: object) -> Fields | None:
        return None


class World:
    """Live queries over one store of documents, moved by hand as the router would."""

    def __init__(self) -> None:
        self.documents: Documents[LiveQuery] = Documents()
        self.clock = 0

    def query(self, name: str, *keys: str, fields: frozenset[str] | None = None) -> LiveQuery:
        query = LiveQuery(QuerySpec((name,), Shape(), frozenset({Shape.table}), fields), self.documents)
        query.phase = Phase.SETTLED
        for key in keys:
            self.enter(query, Key(key), Step())
        return query

    def enter(self, query: LiveQuery, key: Key, step: Step, **fields: object) -> None:
        self.clock += 1
        document = self.documents.get("c", key)
        version = (
            document.current if document else Version(self.clock, members(**(fields or {"a": 1, "b": 2})))
        )
        self.documents.hold("c", key, version, query)
        query.keys.add(key)
        step.add(query, key, None, version)

    def leave(self, query: LiveQuery, key: Key, step: Step) -> None:
        step.add(query, key, query.shown(key), None)
        query.keys.discard(key)
        self.documents.release("c", key, query)

    def update(self, key: Key, step: Step, *queries: LiveQuery, **fields: object) -> None:
        self.clock += 1
        document = self.documents.get("c", key)
        assert document is not None
        before, document.current = document.current, Version(self.clock, members(**fields))
        for query in queries:
            step.add(query, key, before, document.current)


def test_only_source_is_attached_alone() -> None:
    world = World()
    query = world.query("q", "1")
    box: MergeBox[object] = MergeBox(lambda batch: None)

    messages = box.replace([], [query])

    assert brief(messages) == ['added{"a":1,"b":2}']
    assert (list(query.alone), list(query.shared)) == ([box], [])


def test_second_source_shares_and_leaving_restores() -> None:
    world = World()
    first, second = world.query("q", "1"), world.query("r", "1", "2")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [first])

    assert brief(box.replace([], [second])) == ['added{"a":1,"b":2}']
    assert box in first.shared
    assert box in second.shared

    assert brief(box.replace([second], [])) == ["removed"]
    assert box in first.alone
    assert box not in second.shared


def test_same_query_twice_shows_once() -> None:
    world = World()
    query = world.query("q", "1")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [query])

    assert box.replace([], [query]) == []
    assert box.replace([query], []) == []
    assert brief(box.replace([query], [])) == ["removed"]


def test_fields_of_two_queries_are_united() -> None:
    world = World()
    narrow = world.query("q", "1", fields=frozenset({"a"}))
    wide = world.query("r", "1", fields=frozenset({"b"}))
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [narrow])

    assert brief(box.replace([], [wide])) == ['changed{"b":2}']
    assert brief(box.replace([narrow], [])) == ["changed cleared['a']"]


def test_document_moving_between_two_queries_is_only_changed() -> None:
    """One step takes it out of one source and into the other: the client keeps it."""
    world = World()
    first, second = world.query("q", "1"), world.query("r", "2")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [first, second])
    step = Step()
    world.enter(second, Key("1"), step)
    world.leave(first, Key("1"), step)

    assert box.apply(step, [first, second]) == []


def test_boxes_with_equal_live_sources_have_equal_views() -> None:
    """So that what a step means to one of them may be sent to the other."""
    world = World()
    first, second = world.query("q", "1"), world.query("r", "1")
    boxes: list[MergeBox[object]] = [MergeBox(lambda batch: None) for _ in range(3)]
    for box in boxes[:2]:
        box.replace([], [first, second])
    boxes[2].replace([], [second])

    views = [box.view([second]) for box in boxes]
    assert views == [(first, second), (first, second), (second,)]


def test_box_with_documents_by_hand_shares_its_view_with_none() -> None:
    world = World()
    query = world.query("q", "1")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [query])
    box.added(HandSource(), "c", Key("1"), members(z=8))

    assert box.view([query]) is None


def test_withheld_query_never_shows_an_older_value_after_a_newer_one() -> None:
    """A query that waits for a read still shows the old version; the union shows the newest."""
    world = World()
    current, waiting = world.query("q", "1"), world.query("r", "1")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [current, waiting])
    old = waiting.shown(Key("1"))
    assert old is not None
    waiting.stale[Key("1")] = old
    step = Step()
    world.update(Key("1"), step, current, a=9, b=2)
    told = brief(box.apply(step, [current]))
    settle = Step()
    del waiting.stale[Key("1")]
    settle.add(waiting, Key("1"), old, waiting.shown(Key("1")))

    assert told == ['changed{"a":9}']
    assert box.apply(settle, [waiting]) == []


def test_newer_value_stays_when_only_a_withheld_query_is_left_with_the_document() -> None:
    """The newer query loses the document while the other waits: the client is not taken back, then is told all."""
    world = World()
    current, waiting = world.query("q", "1"), world.query("r", "1")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [current, waiting])
    old = waiting.shown(Key("1"))
    assert old is not None
    waiting.stale[Key("1")] = old
    newer = Step()
    world.update(Key("1"), newer, current, a=9, b=2)
    box.apply(newer, [current])
    leaving = Step()
    world.leave(current, Key("1"), leaving)
    told = brief(box.apply(leaving, [current]))
    box.replace([current], [])
    shared = box in waiting.shared
    settle = Step()
    del waiting.stale[Key("1")]
    world.update(Key("1"), settle, a=1, b=3)
    settle.add(waiting, Key("1"), old, waiting.shown(Key("1")))

    assert told == []
    assert shared
    assert brief(box.apply(settle, [waiting])) == ['changed{"a":1,"b":3}']


def test_swap_tells_the_difference_only() -> None:
    """Login: the old queries leave and the new ones enter in one step."""
    world = World()
    old, new = world.query("q", "1", "2"), world.query("r", "2", "3")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [old])

    assert sorted(brief(box.replace([old], [new]))) == ['added{"a":1,"b":2}', "removed"]
    assert box in new.alone
    assert box not in old.alone


def test_hand_source_over_a_live_document_owns_only_its_new_fields() -> None:
    world = World()
    query = world.query("q", "1")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [query])
    hand = HandSource()

    assert brief(box.added(hand, "c", Key("1"), members(a=7, z=8))) == ['changed{"z":8}']
    step = Step()
    world.update(Key("1"), step, query, a=5, b=2)
    assert brief(box.apply(step, [query])) == ['changed{"a":5}']
    assert brief(box.replace([query], [])) == ["changed{\"a\":7} cleared['b']"]
    assert brief(box.replace([hand], [])) == ["removed"]
    assert not box.queries()


def test_hand_source_enters_and_leaves_as_a_whole() -> None:
    """What a publication has prepared shows in one step, and goes in one step."""
    box: MergeBox[object] = MergeBox(lambda batch: None)
    old, new = HandSource(), HandSource()
    box.added(old, "c", Key("1"), members(a=1))
    box.added(old, "c", Key("2"), members(a=1))
    new.documents = {"c": {Key("2"): members(a=5), Key("3"): members(a=3)}}

    assert sorted(brief(box.replace([old], [new]))) == ['added{"a":3}', 'changed{"a":5}', "removed"]
    assert sorted(brief(box.replace([new], []))) == ["removed", "removed"]


# --- a client that lags


class Place:
    """Where what was held back goes."""

    def __init__(self) -> None:
        self.size = 0
        self.messages: list[bytes] = []

    def charge(self, size: int) -> None:
        self.size += size

    def fill(self, messages: Sequence[bytes]) -> None:
        self.messages += messages


def lagging(*queries: LiveQuery) -> tuple[MergeBox[object], Place]:
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], queries)
    place = Place()
    box.hold_back(place)
    return box, place


def test_box_that_holds_back_is_told_steps_itself() -> None:
    """The query's own frames would go past it."""
    query = World().query("q", "1")
    box, _ = lagging(query)
    assert (list(query.alone), list(query.shared)) == ([], [box])
    assert box.view([query]) is None
    box.catch_up()

    assert (list(query.alone), list(query.shared)) == ([box], [])


def test_what_is_held_back_is_folded_to_the_last_state() -> None:
    world = World()
    query = world.query("q", "1", "2")
    box, place = lagging(query)
    for value in range(50):
        step = Step()
        world.update(Key("1"), step, query, a=value, b=2)
        assert box.apply(step, [query]) == []
    coming = Step()
    world.enter(query, Key("3"), coming)
    box.apply(coming, [query])
    going = Step()
    world.leave(query, Key("3"), going)
    world.leave(query, Key("2"), going)
    box.apply(going, [query])

    assert 0 < place.size < 3 * 400
    assert sorted(brief(box.catch_up())) == ['changed{"a":49}', "removed"]
    assert box.catch_up() == []


def test_what_is_held_back_is_told_before_what_a_source_brings() -> None:
    world = World()
    query, other = world.query("q", "1"), world.query("r", "1", "2")
    hand = HandSource()
    for bring in (
        lambda box: box.replace([], [other]),
        lambda box: box.replace([query], []),
        lambda box: box.added(hand, "c", Key("9"), members(z=1)),
        lambda box: box.changed(hand, "c", Key("9"), members(z=2)),
        lambda box: box.removed(hand, "c", Key("9")),
    ):
        box, place = lagging(query)
        step = Step()
        world.update(Key("1"), step, query, a=world.clock + 10, b=2)
        box.apply(step, [query])
        hand.documents = {"c": {Key("9"): members(z=0)}}
        if bring.__code__.co_names[0] in ("changed", "removed"):
            box._enter(hand)
        bring(box)

        assert brief(place.messages) == [f'changed{{"a":{world.clock + 9}}}']


@pytest.mark.parametrize("seed", range(300))
def test_client_that_lags_at_times_ends_as_one_that_never_does(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    queries = [world.query("q", "1", "2"), world.query("r", "2", "3", fields=frozenset({"a"}))]
    boxes: list[MergeBox[object]] = [MergeBox(lambda batch: None) for _ in range(2)]
    clients = [Documented(), Documented()]
    place = Place()
    for box, client in zip(boxes, clients, strict=True):
        client.read(box.replace([], queries[: 1 + seed % 2]))
    for _ in range(40):
        step = Step()
        query, key = chance.choice(queries), Key(chance.choice("123"))
        if key not in query.keys:
            world.enter(query, key, step, a=world.clock, b=0)
        elif chance.random() < 0.4:
            world.leave(query, key, step)
        else:
            holders = [each for each in queries if key in each.keys]
            world.update(key, step, *holders, a=world.clock, b=chance.randint(0, 1))
        for box, client in zip(boxes, clients, strict=True):
            client.read(box.apply(step, [each for each in step.transitions if each in box.queries()]))
        if chance.random() < 0.2:
            boxes[1].hold_back(place)
        elif chance.random() < 0.2:
            clients[1].read(boxes[1].catch_up())
            assert clients[0].documents == clients[1].documents
    clients[1].read(boxes[1].catch_up())

    assert clients[0].documents == clients[1].documents


class Twins:
    """Two sessions of the same sources, of which the second lags at times."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.world = World()
        narrow = frozenset({"a"})
        self.queries = [self.world.query("q", "1", "2"), self.world.query("r", "2", "3", fields=narrow)]
        self.boxes: list[MergeBox[object]] = [MergeBox(lambda batch: None) for _ in range(2)]
        self.clients = [Documented(), Documented()]
        self.hands = [HandSource(), HandSource()]
        self.attached: list[LiveQuery] = []

    def tell(self, told: Callable[[MergeBox[object], HandSource], Iterable[bytes]]) -> None:
        for box, hand, client in zip(self.boxes, self.hands, self.clients, strict=True):
            client.read(told(box, hand))

    def deliver(self, step: Step) -> None:
        self.tell(
            lambda box, _: box.apply(step, [each for each in step.transitions if each in self.attached])
        )

    def attach_or_detach(self) -> None:
        query = self.chance.choice(self.queries)
        if query in self.attached:
            self.attached.remove(query)
            self.tell(lambda box, _: box.replace([query], []))
        else:
            self.attached.append(query)
            self.tell(lambda box, _: box.replace([], [query]))

    def publish(self) -> None:
        key, fields = Key(self.chance.choice("123")), members(**{self.chance.choice("abz"): self.world.clock})
        if self.hands[0].fields("c", key) is None:
            self.tell(lambda box, hand: box.added(hand, "c", key, fields))
        elif self.chance.random() < 0.5:
            self.tell(lambda box, hand: box.removed(hand, "c", key))
        else:
            self.tell(lambda box, hand: box.changed(hand, "c", key, fields, {"a", "b", "z"} - fields.keys()))

    def move(self) -> None:
        step, query, key = Step(), self.chance.choice(self.queries), Key(self.chance.choice("123"))
        if key not in query.keys:
            self.world.enter(query, key, step, a=self.world.clock, b=0)
        elif key in query.stale:
            return
        elif self.chance.random() < 0.4:
            self.world.leave(query, key, step)
        else:
            self.update(key, step)
        self.deliver(step)

    def update(self, key: Key, step: Step) -> None:
        """Some of the queries that have the document wait for a read."""
        holders = [each for each in self.queries if key in each.keys]
        waiting = [each for each in holders if key in each.stale or self.chance.random() < 0.3]
        for query in waiting:
            query.stale.setdefault(key, self.world.documents.current("c", key))
        told = [each for each in holders if each not in waiting]
        self.world.update(key, step, *told, a=self.world.clock, b=self.chance.randint(0, 1))

    def settle(self) -> None:
        for query in self.queries:
            step = Step()
            stale, query.stale = query.stale, {}
            for key, old in stale.items():
                step.add(query, key, old, query.shown(key))
            self.deliver(step)

    def lag(self) -> None:
        self.boxes[1].hold_back(self)

    def catch_up(self) -> None:
        self.clients[1].read(self.boxes[1].catch_up())

    def charge(self, size: int) -> None:
        """What is held back counts; not here."""

    def fill(self, told: Sequence[bytes]) -> None:
        self.clients[1].read(told)

    def check(self) -> None:
        """Who lagged has the same documents and fields; of values that differ between sources maybe another one."""
        self.settle()
        self.catch_up()
        one, other = (client.documents for client in self.clients)
        assert {key: set(fields) for key, fields in one.items()} == {
            k: set(fields) for k, fields in other.items()
        }
        for key, fields in other.items():
            assert all(value in self.values(Key(key), name) for name, value in fields.items())

    def values(self, key: Key, name: str) -> list[object]:
        versions = [query.shown(key) for query in self.attached]
        sources = [each.fields for each in versions if each is not None]
        sources.append(self.hands[0].fields("c", key) or {})
        return [json.loads(b"{%b}" % fields[name])[name] for fields in sources if name in fields]


@pytest.mark.parametrize("seed", range(300))
def test_client_that_lags_at_times_is_told_what_its_sources_have(seed: int) -> None:
    twins = Twins(seed)
    doings = [
        twins.attach_or_detach,
        twins.publish,
        twins.move,
        twins.move,
        twins.settle,
        twins.lag,
        twins.catch_up,
    ]
    for _ in range(60):
        twins.chance.choice(doings)()
    twins.check()


class Documented:
    """A client that raises on any illegal message."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, object]] = {}

    def read(self, messages: Iterable[bytes]) -> None:
        for message in map(json.loads, messages):
            match message["msg"]:
                case "added":
                    assert message["id"] not in self.documents
                    self.documents[message["id"]] = message.get("fields", {})
                case "changed":
                    document = self.documents[message["id"]]
                    document |= message.get("fields", {})
                    for name in message.get("cleared", ()):
                        del document[name]
                case "removed":
                    del self.documents[message["id"]]


def test_closed_box_is_in_no_audience() -> None:
    world = World()
    query = world.query("q", "1")
    box: MergeBox[object] = MergeBox(lambda batch: None)
    box.replace([], [query])

    box.close()

    assert (list(query.alone), list(query.shared)) == ([], [])
