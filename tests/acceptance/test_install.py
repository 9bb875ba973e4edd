"""The newcomer's own project: dddp from a wheel in an empty environment, a project by ``startproject``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from psycopg2.extensions import parse_dsn

from tests.server import ROOT, DDDPServer, fresh_database

pytestmark = pytest.mark.install

MODELS = """
from django.db import models

class Note(models.Model):
    text = models.CharField(max_length=100)
"""

DDP = """
from dddp.api import API, Collection, Publication, method
from notes import models

class Note(Collection):
    model = models.Note

class AllNotes(Publication):
    queries = [models.Note.objects.all()]

@method("notes.add")
def add(call, text: str):
    return str(models.Note.objects.create(text=text).pk)

API.register([Note, AllNotes, add])
"""

SETTINGS = """
INSTALLED_APPS += ["dddp", "notes"]
DATABASES = {{"default": {{"ENGINE": "django.db.backends.postgresql", **{database!r}}}}}
"""


@dataclass(frozen=True)
class Project:
    """A Django project in a folder of its own, with the virtual environment that runs it."""

    folder: Path
    bin: Path

    def manage(self, *arguments: str) -> str:
        return run([str(self.bin / "python"), "manage.py", *arguments], cwd=self.folder)

    def server(self, *command: str) -> DDDPServer:
        return DDDPServer("mysite.settings", path=(), cwd=self.folder, options=(), command=command)


def run(command: list[str], cwd: Path) -> str:
    """Run a program that knows nothing of the checkout; its output."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ("PYTHONPATH", "DJANGO_SETTINGS_MODULE")
    }
    done = subprocess.run(
        command, cwd=cwd, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def wheel(folder: Path) -> Path:
    """Build the wheel from a copy: what an earlier build left in the checkout must not slip in."""
    source = folder / "source"
    source.mkdir()
    for name in ("setup.cfg", "setup.py", "pyproject.toml", "README.rst", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "dddp", source / "dddp", ignore=shutil.ignore_patterns("__pycache__"))
    run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", "wheels", "./source"],
        cwd=folder,
    )
    (built,) = (folder / "wheels").glob("dddp-*.whl")
    return built


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """``pip install`` the wheel, ``startproject``, add ``dddp`` to ``INSTALLED_APPS``, write ``ddp.py``, migrate."""
    folder = tmp_path_factory.mktemp("newcomer")
    run([sys.executable, "-m", "venv", "env"], cwd=folder)
    bin_folder = folder / "env" / "bin"
    run([str(bin_folder / "python"), "-m", "pip", "install", "--quiet", str(wheel(folder))], cwd=folder)
    run([str(bin_folder / "django-admin"), "startproject", "mysite"], cwd=folder)
    made = Project(folder / "mysite", bin_folder)
    made.manage("startapp", "notes")
    (made.folder / "notes" / "models.py").write_text(MODELS)
    (made.folder / "notes" / "ddp.py").write_text(DDP)
    with fresh_database("newcomer") as url, (made.folder / "mysite" / "settings.py").open("a") as settings:
        settings.write(SETTINGS.format(database=database(url)))
        settings.flush()
        made.manage("makemigrations", "notes")
        made.manage("migrate")
        yield made


def database(url: str) -> dict[str, str]:
    """Django's words for libpq's."""
    words = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return {words[name]: value for name, value in parse_dsn(url).items()}


def test_dddp_serves_a_project_made_by_startproject(project: Project) -> None:
    """A row added in a plain ``manage.py shell`` and one added by a method both arrive."""
    with project.server(str(project.bin / "dddp")) as server, server.client() as client:
        client.subscribed("AllNotes")
        project.manage(
            "shell", "-c", "from notes.models import Note; Note.objects.create(text='By the shell')"
        )
        client.wait(lambda view: len(view.documents("notes.note")) == 1)
        client.call("notes.add", "By a method")

        texts = {document["text"] for document in client.documents("notes.note").values()}
        assert texts == {"By the shell", "By a method"}


def test_manage_py_dddp_serves_it_too(project: Project) -> None:
    with (
        project.server(str(project.bin / "python"), "manage.py", "dddp") as server,
        server.client() as client,
    ):
        client.subscribed("AllNotes")

        assert client.call("notes.add", "By manage.py") in client.documents("notes.note")


def test_a_mistake_in_ddp_py_stops_the_start(project: Project) -> None:
    """One line names the file and the reason."""
    source = project.folder / "notes" / "ddp.py"
    source.write_text(DDP.replace("models.Note\n", "models.Nothing\n", 1))
    try:
        done = subprocess.run(
            [str(project.bin / "dddp"), "--settings=mysite.settings"],
            cwd=project.folder,
            text=True,
            capture_output=True,
            timeout=60,
            check=False,
        )
    finally:
        source.write_text(DDP)

    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert str(source) in line
    assert "Nothing" in line
