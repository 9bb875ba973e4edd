"""A change that moves a row between two of many joined queries: what the router spends on it, without the database.

    python benchmarks/joining.py

Each query is ``Book.filter(author__email=...)`` with another e-mail: a live set of one author each. Timed is the
dispatch of one transaction that changes one author's e-mail (the books leave one query; the other one asks for the
rows that enter), and of one that changes a held book.
"""

from __future__ import annotations

import gc
import os
import platform
import time
import tracemalloc
from statistics import median
from typing import Any

from dddp.changes import Change, Key, Kind, Row, Snapshot, Table, Transaction, Xid
from dddp.livequery.predicate import Column, Compare, InSet, Predicate, SetSpec
from dddp.livequery.read import Related
from dddp.livequery.router import Router
from dddp.livequery.spec import Fields, QuerySpec

COUNTS = (100, 1_000, 10_000, 100_000)
REPEATS = 300

BOOK, AUTHOR = Table("shop.book"), Table("shop.author")
READS = frozenset({BOOK, AUTHOR})


class Books:
    """Books as documents."""

    name = "shop.book"
    table = BOOK

    def document(self, row: Row) -> Fields | None:
        return {"title": b'"title":"%d"' % row["n"]}


SHAPE = Books()


def spec(number: int) -> QuerySpec:
    authors = SetSpec(AUTHOR, Compare(Column("email"), "=", f"{number}@example.org"), Column("id"))
    predicate = Predicate(InSet(Column("author_id"), authors))
    return QuerySpec((number,), SHAPE, READS, predicate=predicate, sets={authors: None})


def row(number: int, n: int = 0) -> Row:
    return {"id": number, "author_id": number, "n": n}


class World:
    """A router with so many queries, each with its one author and one book."""

    def __init__(self, count: int) -> None:
        self.router = Router()
        self.xid = 10
        for number in range(count):
            query, _ = self.router.open(spec(number))
            self.router.begin(query)
        self.read_all()

    def read_all(self) -> None:
        while (read := self.router.next_read(10_000)) is not None:
            found = {
                each: {self.key(each): SHAPE.document(row(each.identity[0])) or {}} for each in read.specs
            }
            links = {each: {self.key(each): row(each.identity[0])} for each in read.specs}
            sets = {values: {self.number(values): int(self.number(values))} for values in read.sets}
            entered = {
                asked: {Key(str(n)): (row(n), SHAPE.document(row(n)) or {}) for n in asked.values}
                for asked in read.move_ins
            }
            read.reached = True
            self.run(self.router.snapshot_taken(read, Snapshot(self.xid + 1, self.xid + 1)))
            self.run(self.router.rows_read(read, found, Related(sets, links, entered)))

    def key(self, each: QuerySpec) -> Key:
        return Key(str(each.identity[0]))

    def number(self, values: Any) -> Key:
        return Key(values.where.constant.partition("@")[0])

    def run(self, effects: Any) -> None:
        for _ in effects:
            pass

    def dispatch(self, change: Change) -> float:
        """Dispatch a transaction; the CPU microseconds it took."""
        self.xid += 1
        transaction = Transaction(Xid(self.xid), (change,))
        start = time.thread_time_ns()
        self.run(self.router.receive(transaction))
        return (time.thread_time_ns() - start) / 1000


def changed_book(world: World, turn: int, count: int) -> float:
    number = turn * 7919 % count
    return world.dispatch(Change(BOOK, Key(str(number)), Kind.ROW, row(number, turn + 1)))


def moved_author(world: World, turn: int, count: int) -> float:
    """An author takes another one's e-mail, then has the old one back."""
    number, other = turn * 7919 % count, (turn * 7919 + 1) % count
    moved = Change(AUTHOR, Key(str(number)), Kind.ROW, {"id": number, "email": f"{other}@example.org"})
    spent = world.dispatch(moved)
    world.read_all()
    back = Change(AUTHOR, Key(str(number)), Kind.ROW, {"id": number, "email": f"{number}@example.org"})
    world.dispatch(back)
    world.read_all()
    return spent


def main() -> None:
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    print(f"CPU microseconds of one dispatch, median of {REPEATS}")
    print(f"{'':16}" + "".join(f"{count:>12,}" for count in COUNTS) + f"{'ratio':>9}")
    times: dict[str, list[float]] = {"held book": [], "moved author": []}
    for count in COUNTS:
        world = World(count)
        gc.collect()
        gc.freeze()
        times["held book"].append(median(changed_book(world, turn, count) for turn in range(REPEATS)))
        times["moved author"].append(median(moved_author(world, turn, count) for turn in range(REPEATS)))
        del world
        gc.unfreeze()
    for kind, spent in times.items():
        print(f"{kind:16}" + "".join(f"{each:9.1f} us" for each in spent) + f"{spent[-1] / spent[0]:8.2f}x")
    print(
        f"memory of one such query with its set, its link and its document: {memory(COUNTS[-1]):,.0f} bytes"
    )


def memory(count: int) -> float:
    """Bytes that each of so many queries holds."""
    gc.collect()
    tracemalloc.start()
    world = World(count)
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del world
    return held / count


if __name__ == "__main__":
    main()
