"""Is this a connection on which LISTEN works? Asked at every connect; the answer names the cause and the mend.

What would otherwise look like a database in which nothing ever changes: a replica, a pooler that hands each
transaction to another server session, a database that only speaks PostgreSQL's protocol. Knows SQL and sentences, no
sockets: whoever has a connection asks ``ENGINE`` and ``SESSION`` and shows the answers.
"""

from __future__ import annotations

from dddp.errors import FeedUnavailable

__all__ = ["ENGINE", "SESSION", "check_engine", "check_primary", "pooled", "silent"]

ENGINE = "SELECT version()"
SESSION = "SELECT pg_is_in_recovery(), pg_backend_pid()"

DIRECT = (
    "Connect to PostgreSQL itself: HOST and PORT of this database in DATABASES must be the server's, "
    "not the pooler's"
)


def check_engine(version: str) -> None:
    """
    Raises:
        FeedUnavailable: a server with this version() is no PostgreSQL.
    """
    if not version.startswith("PostgreSQL ") or "-YB-" in version:
        name = " ".join(version.split()[:2])
        raise FeedUnavailable(
            f"the server calls itself {name!r}: live queries need LISTEN and NOTIFY of PostgreSQL itself. Name a "
            "PostgreSQL in DATABASES, or keep dddp out of this database by a router (allow_migrate)"
        )


def check_primary(in_recovery: bool) -> None:
    """
    Raises:
        FeedUnavailable: the server is a replica.
    """
    if in_recovery:
        raise FeedUnavailable(
            "the database is a replica (pg_is_in_recovery() is true), on which LISTEN does not work: HOST of this "
            "database in DATABASES must be the primary's. Live queries read where they listen"
        )


def pooled(place: str) -> FeedUnavailable:
    """For a connection whose transactions are run in different server sessions."""
    return FeedUnavailable(
        f"a connection pooler in transaction or statement mode is at {place}: it hands each transaction to another "
        f"server session, so LISTEN is lost. {DIRECT}; or set the pooler's pool_mode to session for this user"
    )


def silent(place: str, seconds: float) -> FeedUnavailable:
    """For a connection on which our own notification does not come back."""
    return FeedUnavailable(
        f"a notification to ourselves through {place} has not come back within {seconds:g} seconds. Is a pooler or "
        f"proxy in between that does not pass notifications on? {DIRECT}"
    )
