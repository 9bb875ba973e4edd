"""Finding the live queries that one change touches, among 100 and among 100,000 of them.

    python benchmarks/matching.py

For each kind of query: the CPU time to find those that one row is in; what it is of the
time among 100; and what one query's predicate and its place in the index hold in memory.
"""

from __future__ import annotations

import gc
import os
import platform
import random
import sys
import time
import tracemalloc
from collections.abc import Callable
from statistics import median
from typing import Any

from dddp.livequery.index import Index
from dddp.livequery.predicate import Column, Compare, Expression, In, IsNull, Predicate, all_of, any_of

COUNTS = (100, 1_000, 10_000, 100_000)
LOOKUPS = 5_000
REPEATS = 7

A, B, C = Column("author_id"), Column("status"), Column("price")


def equal(n: int, count: int) -> Expression:
    """``filter(author=n)``: each query another author."""
    return Compare(A, "=", n)


def two_columns(n: int, count: int) -> Expression:
    """``filter(author=n, status=s)``: five queries on each author."""
    return all_of([Compare(A, "=", n // 5), Compare(B, "=", n % 5)])


def alternatives(n: int, count: int) -> Expression:
    """``filter(Q(author__in=[n, n + 1]) | Q(price=n))``."""
    return any_of([In(A, frozenset((n, n + 1))), Compare(C, "=", n)])


def excluded(n: int, count: int) -> Expression:
    """``filter(author=n).exclude(status=3)``, which lets NULL in."""
    return all_of([Compare(A, "=", n), any_of([Compare(B, "<>", 3), IsNull(B)])])


def disjoint_ranges(n: int, count: int) -> Expression:
    """``filter(price__gte=n, price__lt=n + 1)``: found by bisection, whose steps are the number's logarithm."""
    return all_of([Compare(C, ">=", n), Compare(C, "<", n + 1)])


def range_of_author(n: int, count: int) -> Expression:
    """``filter(author=n, price__gte=n)``."""
    return all_of([Compare(A, "=", n), Compare(C, ">=", n)])


def overlapping_ranges(n: int, count: int) -> Expression:
    """``filter(price__range=(n, n + 1.2))``: each overlaps the next; every fiftieth is wide; a treap has those."""
    return all_of([Compare(C, ">=", n), Compare(C, "<=", n + 8 * (n % 50 == 0) + 1.2)])


KINDS = (equal, two_columns, alternatives, excluded, disjoint_ranges, overlapping_ranges, range_of_author)


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {platform.platform()}")
    print(
        f"Python {platform.python_version()}; median of {REPEATS} runs of {LOOKUPS:,} rows, each in 1 to 5 queries"
    )
    print(
        f"\n{'kind':18}" + "".join(f"{count:>12,}" for count in COUNTS) + f"{'ratio':>9}{'bytes/query':>13}"
    )
    for kind in KINDS:
        indexes = {count: indexed(kind, count) for count in COUNTS}
        times = dict.fromkeys(COUNTS, 0.0)
        for count, index in indexes.items():
            times[count] = microseconds(index, count)
        cells = "".join(f"{times[count]:9.2f} us" for count in COUNTS)
        del indexes
        print(f"{kind.__name__:18}{cells}{times[COUNTS[-1]] / times[COUNTS[0]]:8.2f}x{memory(kind):13,.0f}")
    controls()
    churn()


def controls() -> None:
    """What the processor's caches alone make of the same rows: a dict's ``get``, of as many entries."""
    for name, key in (("a dict, by int", lambda n: n), ("by tuple", lambda n: (n // 5, n % 5))):
        times = []
        for count in COUNTS:
            table: dict[Any, Any] = {key(n): object() for n in range(count)}
            keys = [key(row["id"]) for row in sample(count)]
            times.append(median(timed_gets(table, keys) for _ in range(REPEATS)) / LOOKUPS * 1e6)
        print(f"{name:18}" + "".join(f"{each:9.2f} us" for each in times) + f"{times[-1] / times[0]:8.2f}x")


def timed_gets(table: dict[Any, Any], keys: list[Any]) -> float:
    started = time.thread_time()
    for key in keys:
        table.get(key)
    return time.thread_time() - started


def indexed(kind: Callable[[int, int], Expression], count: int) -> Index[Any]:
    index: Index[Any] = Index()
    for n in range(count):
        predicate = Predicate(kind(n, count))
        index.add(predicate, predicate)
    return index


def microseconds(index: Index[Any], count: int) -> float:
    """The time of one row: candidates found, and predicates asked where being found is not enough."""
    rows = sample(count)
    for row in rows:
        index.matches(row)  # predicates compile at their first row
    return median(timed(index, rows) for _ in range(REPEATS)) / LOOKUPS * 1e6


def sample(count: int) -> list[dict[str, Any]]:
    chosen = random.Random(1)
    numbers = [chosen.randrange(count // 5) for _ in range(LOOKUPS)]
    return [{"author_id": n, "status": n % 5, "price": n + 0.5, "title": "Emma", "id": n} for n in numbers]


def timed(index: Index[Any], rows: list[dict[str, Any]]) -> float:
    gc.disable()
    started = time.thread_time()  # on a busy machine the clock tells of others
    for row in rows:
        index.matches(row)
    elapsed = time.thread_time() - started
    gc.enable()
    return elapsed


def memory(kind: Callable[[int, int], Expression]) -> float:
    """Bytes that each of 100,000 queries' predicates and index entries hold."""
    gc.collect()
    tracemalloc.start()
    index = indexed(kind, COUNTS[-1])
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return held / len(index)


def churn() -> None:
    """What a subscription and its end cost the index, among 100,000."""
    for kind in (equal, disjoint_ranges):
        index = indexed(kind, COUNTS[-1])
        tokens = [Predicate(kind(COUNTS[-1] + n, 0)) for n in range(LOOKUPS)]
        started = time.perf_counter()
        for predicate in tokens:
            index.add(predicate, predicate)
        for predicate in tokens:
            index.remove(predicate)
        print(
            f"add and remove one {kind.__name__} query: {(time.perf_counter() - started) / LOOKUPS * 1e6:.1f} us"
        )


if __name__ == "__main__":
    sys.exit(main())
