"""What compressing a document's message costs and saves, by its size, as the WebSocket transport does it.

A message is compressed once for all who get it; inflating is one client's work. The clients of
``benchmarks.connections`` negotiate compression.
Run it as ``python -m benchmarks.deflate [rounds]``.
"""

from __future__ import annotations

import random
import statistics
import sys
import time
import zlib
from collections.abc import Callable

import orjson

from benchmarks import peers
from dddp.transport.deflate import inflate
from dddp.transport.frames import EMPTY_BLOCK, DeflatedFrames, text_frames

SIZES = (200, 300, 400, 500, 700, 1000, 2000, 8000, 64000)
WORDS = (
    "amber",
    "stone",
    "river",
    "quiet",
    "garden",
    "winter",
    "letter",
    "morning",
    "shadow",
    "window",
    "crystal",
)


def document(size: int, dice: random.Random) -> bytes:
    """An ``added`` message of at least that size: numbers, a date, ids, and words."""
    summary = ""
    fields = {
        "isbn": f"{dice.randrange(10**13):013}",
        "price": dice.randrange(10_000) / 100,
        "author_id": dice.randrange(10**6),
        "published": {"$date": 1_700_000_000_000 + dice.randrange(10**9)},
        "title": " ".join(dice.choices(WORDS, k=3)),
        "summary": summary,
    }
    message = {
        "msg": "added",
        "collection": "books",
        "id": f"{dice.randrange(16**17):017x}",
        "fields": fields,
    }
    while len(text := orjson.dumps(message)) < size:
        fields["summary"] = f"{fields['summary']}{dice.choice(WORDS)} "
    return text


def cost(way: Callable[[], object], rounds: int) -> float:
    """The least CPU microseconds of one call."""
    found = []
    for _ in range(5):
        began = time.process_time()
        for _ in range(rounds):
            way()
        found.append((time.process_time() - began) / rounds)
    return min(found) * 1e6


def row(size: int, rounds: int) -> str:
    """The costs of messages of one size."""
    dice = random.Random(size)
    messages = [(document(size, dice),) for _ in range(20)]
    deflated_frames = DeflatedFrames(0)
    plain, deflated = (
        statistics.mean(len(way(each)) for each in messages) for way in (text_frames, deflated_frames)
    )
    message = messages[0]
    payload = inflatable(message[0])
    return (
        f"{plain:9.0f} {deflated:9.0f} {deflated / plain:7.0%}"
        f" {cost(lambda: text_frames(message), rounds):10.1f}"
        f" {cost(lambda: deflated_frames(message), rounds):11.1f}"
        f" {cost(lambda: inflate(payload, 1 << 20), rounds):11.1f}"
    )


def inflatable(message: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return (compressor.compress(message) + compressor.flush(zlib.Z_SYNC_FLUSH)).removesuffix(EMPTY_BLOCK)


def main(rounds: int = 200) -> None:
    print(peers.machine())
    print("    bytes  deflated   share   plain µs  deflate µs  inflate µs")
    for size in SIZES:
        print(row(size, rounds))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
