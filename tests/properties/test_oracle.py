"""The oracle test of promises 1 to 7: random scripts on the real server, each client against a fresh run.

``DDDP_ORACLE_EXAMPLES``  examples per way of capturing (300)
``DDDP_ORACLE_SEED``      the seed of the first example; printed with a failure
"""

from __future__ import annotations

import os
import random

from hypothesis import HealthCheck, given, note, seed, settings

from tests.properties.scripts import Step, play, scripts
from tests.properties.stage import Stage

EXAMPLES = int(os.environ.get("DDDP_ORACLE_EXAMPLES", "300"))
SEED = int(os.environ.get("DDDP_ORACLE_SEED", random.randrange(2**32)))

oracle_settings = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    print_blob=False,
)


def test_every_promise_is_kept(library: Stage) -> None:
    """Whatever the interleaving of writers, subscriptions, logins and lost connections."""

    @seed(SEED)
    @oracle_settings
    @given(scripts(library.capture))
    def run(script: list[Step]) -> None:
        try:
            play(script, library)
        except BaseException as error:
            error.add_note(f"DDDP_ORACLE_SEED={SEED}, capture by {library.capture}")
            note("\n".join(line for line in library.server.text().splitlines() if "dddp.access" not in line))
            raise
        finally:
            library.clear()

    run()
