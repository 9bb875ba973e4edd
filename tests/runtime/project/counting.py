"""What the server holds, counted from inside: for tests that nothing is left behind."""

from __future__ import annotations

import gc
from collections import Counter
from typing import Any

PER_CLIENT = (
    "Connection",
    "Run",
    "Subscription",
    "Invocation",
    "UserChange",
    "WriteFence",
    "MergeBox",
    "Outbox",
)


def held(application: Any) -> dict[str, int]:
    gc.collect()
    counts = {"connections": len(application.connections), **objects()}
    for alias, live in application.databases.items():
        router = live.router
        counts |= {
            f"{alias} queries": len(list(router.queries)),
            f"{alias} live sets": len(router.sets),
            f"{alias} tables": len(router.tables),
            f"{alias} documents": len(router.documents),
            f"{alias} subscribers": len(live._subscribers),
            f"{alias} due": len(router._due) + len(router._repeat),
            f"{alias} fences": len(router.fences) + len(live._fences),
            f"{alias} wanted": len(live.listener._wanted),
            f"{alias} free readers": live._free,
        }
    return counts


def spent(application: Any) -> dict[str, int]:
    """The SQL that live queries have cost so far: whole runs, and reads of rows that entered through a relation."""
    router = application.databases["default"].router
    return {"runs": router.runs, "move_ins": router.move_ins}


def objects() -> dict[str, int]:
    """How many there are of each class that stands for one client or its work."""
    found = Counter(
        type(each).__name__ for each in gc.get_objects() if type(each).__module__.startswith("dddp.")
    )
    return {name: found[name] for name in PER_CLIENT}
