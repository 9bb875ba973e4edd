"""Where ``dddp`` and ``python -m dddp`` begin: gevent's patches come first, everything else is imported after them.

A module that was imported before would keep the blocking sockets and locks it found. So this one imports nothing at
its top, and parses on old Pythons too, to be able to refuse them in a sentence.
"""

from __future__ import annotations

__all__ = ["main"]


def main() -> int:
    """Run the command line; the exit code."""
    import sys

    if sys.version_info < (3, 11):  # noqa: UP036 - pip refuses to install there, but a checkout may be run
        sys.stderr.write(f"dddp: needs Python 3.11 or newer, this is {sys.version.split()[0]}\n")
        return 1
    _patch()
    from dddp.server import cli

    return cli.main(sys.argv[1:])


def _patch() -> None:
    """Make the standard library and psycopg2 wait in greenlets instead of in the whole process."""
    from gevent import monkey

    monkey.patch_all()

    from dddp.feed.cooperative import make_psycopg2_cooperative

    make_psycopg2_cooperative()


if __name__ == "__main__":
    raise SystemExit(main())
