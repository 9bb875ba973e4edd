"""A partition is made under a running server, which says so; with its triggers, what is written there is seen."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from tests.server import ROOT, DDDPServer, fresh_database, run_django

FILES = {
    "sales/__init__.py": "",
    "sales/models.py": """
from django.db import models
class Sale(models.Model):
    day = models.DateField()
    class Meta:
        managed = False
""",
    "sales/ddp.py": """
from dddp.api import API, Collection, Publication
from sales import models
class Sale(Collection):
    model = models.Sale
class AllSales(Publication):
    queries = [models.Sale.objects.all()]
API.register([Sale, AllSales])
""",
    "sales_settings.py": """
from bookstore_project.settings import *
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "dddp", "sales"]
MIDDLEWARE = []
ROOT_URLCONF = "sales_settings"
urlpatterns = []
DDDP = {"CAPTURE": "triggers"}
""",
}
TABLE = "CREATE TABLE sales_sale (id bigint, day date, PRIMARY KEY (id, day)) PARTITION BY RANGE (day)"
LEAF = "CREATE TABLE sale_{year} PARTITION OF sales_sale FOR VALUES FROM ('{year}-01-01') TO ('{year}-12-31')"
INTERRUPT = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'dddp %'"


class Sales:
    """A project with a partitioned table, and its server."""

    def __init__(self, folder: Path, database: str) -> None:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        self.folder = folder
        self.database = database
        self.server = DDDPServer(
            "sales_settings",
            {"DATABASE_URL": database},
            path=(folder, ROOT, ROOT / "bookstore_example"),
        )

    def execute(self, statement: str, *parameters: Any) -> None:
        with contextlib.closing(psycopg2.connect(self.database)) as pgconn, pgconn, pgconn.cursor() as cursor:
            cursor.execute(statement, parameters or None)

    def manage(self, *arguments: str) -> None:
        path = f"{self.folder}:{ROOT}:{ROOT / 'bookstore_example'}"
        env = {"DATABASE_URL": self.database, "PYTHONPATH": path}
        run_django(*arguments, settings_module="sales_settings", env=env)

    def warning_after(self, statement: str) -> str:
        """What the server says about capture after a statement, once its feed was interrupted."""
        since = len(self.server.log)
        self.execute(statement)
        self.execute(INTERRUPT)
        return self.server.wait_for_log("capture in the database", since=since)


@pytest.fixture
def sales(tmp_path: Path) -> Iterator[Sales]:
    with fresh_database("sales") as database:
        sales = Sales(tmp_path, database)
        sales.execute(TABLE)
        sales.execute(LEAF.format(year=2026))
        sales.manage("migrate", "--verbosity=0")
        with sales.server:
            yield sales


def test_partition_made_under_a_running_server(sales: Sales) -> None:
    events = "insert, update, delete, truncate trigger on public"
    with sales.server.client() as client:
        client.subscribed("AllSales")
        first = sales.warning_after(LEAF.format(year=2027))
        second = sales.warning_after(LEAF.format(year=2028))
        sales.manage("ddp_triggers", "install")
        mended = sales.warning_after("INSERT INTO sale_2028 VALUES (1, '2028-02-02')")
        client.wait(lambda view: view.documents("sales.sale"))

        assert f"sales.sale: {events}.sale_2027 is missing; run: manage.py ddp_triggers install" in first
        assert all(f"{events}.sale_{year} is missing" in second for year in (2027, 2028))
        assert "up to date again" in mended
        assert len([line for line in sales.server.log if "capture in the database" in line]) == 3


def test_server_starts_where_a_partition_lacks_triggers(sales: Sales) -> None:
    """Made at night by a job: a restart is no outage, nor is a reload or a worker's replacement. It is told."""
    sales.execute(LEAF.format(year=2027))

    sales.server.restart()
    sales.server.wait_for_log("capture is out of date for sales.sale")

    with sales.server.client() as client:
        client.subscribed("AllSales")
        sales.execute("INSERT INTO sales_sale VALUES (1, '2027-02-02')")  # through the parent
        client.wait(lambda view: len(view.documents("sales.sale")) == 1)
        sales.execute("INSERT INTO sale_2027 VALUES (2, '2027-02-02')")  # seen by nobody
        sales.manage("ddp_triggers", "install")
        client.wait(lambda view: len(view.documents("sales.sale")) == 2)


def test_server_does_not_start_where_the_table_itself_lacks_triggers(sales: Sales) -> None:
    sales.execute("DROP TRIGGER dddp_capture_insert_v1 ON sales_sale")
    sales.server.stop()

    with pytest.raises(AssertionError, match=r"capture is out of date for sales\.sale"):
        sales.server.start()
