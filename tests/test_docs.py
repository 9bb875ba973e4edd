"""The documentation is held to the code: it parses, its links lead somewhere, its examples run, it names what exists.

Every block of a page that follows a paragraph naming a file (``board/ddp.py:``) is that file, or its end if the
paragraph says "add to the end"; every ``shell`` block is typed in order. So the tutorial is run as a reader would.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from playwright.sync_api import ConsoleMessage, Page, expect, sync_playwright

import dddp.api
from dddp import checks, conf
from dddp.api.registry import Registry
from dddp.server import cli
from tests.acceptance.test_install import database
from tests.acceptance.test_page import FLAGS
from tests.client import StrictClient
from tests.conftest import BOOKSTORE
from tests.server import ROOT, DDDPServer, fresh_database, run_django

DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.rst"), *DOCS.rglob("*.rst"), ROOT / "meteor_client" / "README.rst"])
README = ROOT / "README.rst"
TUTORIAL = DOCS / "tutorial" / "index.rst"

page_names = [str(page.relative_to(ROOT)) for page in PAGES]


@dataclass(frozen=True)
class Block:
    """One piece of code on a page."""

    language: str
    text: str
    lead: str  #: the paragraph before it

    @property
    def file(self) -> str | None:
        """The file that it is, or is the end of."""
        named = re.findall(r"([\w/]+/[\w.]+\.\w+):?$", self.lead)
        return named[0] if named and self.language != "shell" else None

    @property
    def appends(self) -> bool:
        return "to the end of" in self.lead


def parsed(page: Path, warnings: io.StringIO | None = None) -> nodes.document:
    settings = {"syntax_highlight": "none", "warning_stream": warnings or io.StringIO(), "report_level": 2}
    return publish_doctree(page.read_text(), source_path=str(page), settings_overrides=settings)


def blocks(page: Path) -> list[Block]:
    return [_block(node) for node in parsed(page).findall(nodes.literal_block)]


def _block(node: nodes.literal_block) -> Block:
    before = node.previous_sibling()
    lead = " ".join(before.astext().split()) if isinstance(before, nodes.paragraph) else ""
    language = next((name for name in node["classes"] if name != "code"), "")
    return Block(language, node.astext() + "\n", lead)


def headings_and_terms(*pages: Path) -> str:
    """Titles, literals and definition terms: what a reader can look a name up by."""
    kinds = (nodes.title, nodes.literal, nodes.term)
    return "\n".join(node.astext() for page in pages for kind in kinds for node in parsed(page).findall(kind))


# -- Form


@pytest.mark.parametrize("page", PAGES, ids=page_names)
def test_a_page_parses_without_warnings(page: Path) -> None:
    warnings = io.StringIO()
    parsed(page, warnings)

    assert warnings.getvalue() == ""


@pytest.mark.parametrize("page", PAGES, ids=page_names)
def test_a_row_of_a_table_is_one_row(page: Path) -> None:
    """In a simple table each line with text in its first column begins a row: such a cell has to fit in one line."""
    assert [row.astext() for row in parsed(page).findall(nodes.row) if _is_torn(row)] == []


def test_a_torn_row_is_found() -> None:
    table = """\
========== ========= ======
what       before    now
========== ========= ======
whole      (a, b)    1
whole      two       2
           lines
a torn     one
row        and its   3
torn (too  ends      4
here)      now       5
meant      \\         6
========== ========= ======
"""
    torn = [row.astext().split() for row in publish_doctree(table).findall(nodes.row) if _is_torn(row)]

    assert torn == [["a", "torn", "one"], ["torn", "(too", "ends", "4"], ["here)", "now", "5"]]


def _is_torn(row: nodes.row) -> bool:
    """Whether its first cell ends or begins in the middle, or a cell is empty that is not written as a backslash."""
    first, *others = row
    if any(first.findall(nodes.strong)) and not any(cell.children for cell in others):
        return False  # the heading of a group of rows
    name = first.astext()
    return not all(cell.children for cell in row) or name.endswith(",") or name.count("(") != name.count(")")


@pytest.mark.parametrize("page", PAGES, ids=page_names)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """Links inside the project are relative paths; those to other sites are not tried."""
    targets = [node["refuri"] for node in parsed(page).findall(nodes.reference) if "refuri" in node]
    inside = [target for target in targets if not re.match(r"[a-z]+:", target)]

    assert [target for target in inside if not (page.parent / target.partition("#")[0]).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    found, waiting = set(), [DOCS / "index.rst"]
    while waiting:
        page = waiting.pop().resolve()
        if page in found or page.suffix != ".rst":
            continue
        found.add(page)
        links = [node.get("refuri", "") for node in parsed(page).findall(nodes.reference)]
        waiting += [page.parent / link.partition("#")[0] for link in links if ":" not in link]

    assert set(DOCS.rglob("*.rst")) - found == set()


# -- Names


def test_the_reference_names_all_of_the_api() -> None:
    found = headings_and_terms(*(DOCS / "reference").glob("*.rst"))

    assert [name for name in dddp.api.__all__ if not re.search(rf"\b{name}\b", found)] == []


@pytest.mark.parametrize(
    ("page", "kind"),
    [("collections", dddp.api.Collection), ("publications", dddp.api.Publication)],
)
def test_the_reference_names_what_can_be_declared(page: str, kind: type) -> None:
    """Every public attribute and function that a declaration may set, override or call."""
    internal = {"registry", "wire_name", "signature", "resolve", "selections", "check", "tables", "columns"}
    internal |= {"shape", "restrict", "user_paths"}
    public = {name for each in kind.__mro__[:-1] for name in (*vars(each), *inspect.get_annotations(each))}
    found = headings_and_terms(DOCS / "reference" / f"{page}.rst")

    assert {
        name
        for name in public - internal
        if not name.startswith("_") and not re.search(rf"\b{name}\b", found)
    } == set()


def test_the_reference_names_what_a_call_offers() -> None:
    found = headings_and_terms(DOCS / "reference" / "methods.rst")
    public = [name for name in vars(dddp.api.Call) if not name.startswith("_")]

    assert [name for name in public if not re.search(rf"\b{name}\b", found)] == []


def test_the_reference_names_every_option_of_the_command_line() -> None:
    page = (DOCS / "reference" / "command-line.rst").read_text()
    options = [option for action in cli.parser()._actions for option in action.option_strings]

    assert [option for option in options if option not in page] == []


def test_the_reference_names_every_system_check() -> None:
    ids = set(re.findall(r"dddp\.[WE]\d+", inspect.getsource(checks)))

    assert ids == set(re.findall(r"dddp\.[WE]\d+", (DOCS / "reference" / "command-line.rst").read_text()))


@pytest.mark.parametrize("page", PAGES, ids=page_names)
def test_settings_that_a_page_shows_exist(page: Path, settings: Any) -> None:
    """Each ``DDDP = {...}`` of an example is accepted."""
    for block in blocks(page):
        for text in re.findall(r"^DDDP = \{.*?\}$", block.text, re.DOTALL | re.MULTILINE):
            scope: dict[str, Any] = {}
            exec(text, scope)
            settings.DDDP = scope["DDDP"]
            conf.load()


def test_the_make_targets_and_files_in_shell_blocks_exist() -> None:
    """In the README and CONTRIBUTING."""
    makefile = (ROOT / "Makefile").read_text()
    for page in (README, ROOT / "CONTRIBUTING.rst"):
        shell = "".join(block.text for block in blocks(page) if block.language == "shell")
        targets = set(re.findall(r"\bmake ([a-z]+)", shell))
        scripts = set(re.findall(r"(?:tests|benchmarks|bookstore_example)/[\w/]+\.py", shell))
        scripts |= {f"{name.replace('.', '/')}.py" for name in re.findall(r"-m (benchmarks\.\w+)", shell)}

        assert targets
        assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.MULTILINE)] == []
        assert [name for name in scripts if not (ROOT / name).exists()] == []


def test_contributing_names_the_variables_of_the_tests() -> None:
    sources = "".join(file.read_text() for file in (ROOT / "tests").rglob("*.py"))
    named = re.findall(r"``(DDDP_\w+)``", (ROOT / "CONTRIBUTING.rst").read_text())

    assert set(named) == set(re.findall(r"environ\.get\(.(DDDP_\w+)", sources))


@pytest.mark.parametrize("page", PAGES, ids=page_names)
def test_python_on_a_page_is_python(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.text, str(page), "exec")


# -- The README's examples, against the bookstore


@pytest.fixture(scope="module")
def ddp_py() -> str:
    """The README's ``bookstore/ddp.py``."""
    (block,) = [block for block in blocks(README) if block.file == "bookstore/ddp.py"]
    return block.text


def test_the_readme_registers_cleanly(ddp_py: str, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = Registry()
    monkeypatch.setattr(dddp.api, "API", registry)
    exec(compile(ddp_py, "README.rst", "exec"), {"__name__": "bookstore.ddp"})
    registry.validate()

    assert set(registry.collections) == {"bookstore.author", "bookstore.book"}
    assert set(registry.publications) == {"AllBooks", "BooksByAuthorEmail"}
    assert {name for name in registry.methods if not name.startswith("/")} == {"bookstore.rename"}


@pytest.fixture(scope="module")
def readme_server(ddp_py: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DDDPServer]:
    """The bookstore with the README's ``ddp.py`` instead of its own."""
    with bookstore_with(ddp_py, tmp_path_factory.mktemp("readme")) as server:
        yield server


@contextlib.contextmanager
def bookstore_with(ddp_py: str, folder: Path) -> Iterator[DDDPServer]:
    """The bookstore with a page's ``ddp.py`` instead of its own."""
    example = folder / "bookstore_example"
    shutil.copytree(ROOT / "bookstore_example", example, ignore=shutil.ignore_patterns("__pycache__"))
    (example / "bookstore" / "ddp.py").write_text(ddp_py)
    with fresh_database("docs") as url:
        env = {"DATABASE_URL": url}
        for command in (["migrate", "--verbosity=0"], ["load_books"]):
            run_django(*command, settings_module=BOOKSTORE, env=env)
        with DDDPServer(BOOKSTORE, env, path=(ROOT, example)) as server:
            yield server


def test_the_readme_is_served(readme_server: DDDPServer) -> None:
    (promised,) = re.findall(r"(\d+) authors and (\d+) books", README.read_text())
    with readme_server.client() as client:
        everything = client.subscribed("AllBooks")
        counts = [len(client.documents(f"bookstore.{name}")) for name in ("author", "book")]
        client.unsubscribe(everything)
        client.subscribed("BooksByAuthorEmail", "jane.austen@example.org")
        books = client.documents("bookstore.book")
        book_id = next(iter(books))
        client.call("bookstore.rename", book_id, "Another title")

        assert counts == [int(number) for number in promised]
        assert len(client.documents("bookstore.author")) == 1
        assert client.documents("bookstore.book")[book_id]["title"] == "Another title"


def javascript(word: str, server: DDDPServer) -> str:
    """The README's example that has a word in it, told where the server is."""
    (block,) = [block for block in blocks(README) if block.language == "javascript" and word in block.text]
    return block.text.replace("localhost:8000", f"127.0.0.1:{server.port}")


@pytest.mark.node
@pytest.mark.parametrize("package", ["ddp", "simpleddp"])
def test_the_readme_in_node(readme_server: DDDPServer, package: str, tmp_path: Path) -> None:
    """The example prints how many books there are."""
    installed = ROOT / "tests" / "interop" / "node_modules"
    (tmp_path / "node_modules").symlink_to(installed)
    script = tmp_path / "example.js"
    script.write_text(javascript(f'require("{package}")', readme_server))
    with subprocess.Popen(["node", str(script)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        limit = threading.Timer(30, process.kill)  # seconds; a client that has connected never ends by itself
        limit.start()
        line = process.stdout.readline()
        limit.cancel()
        process.kill()

    assert line == "720 books\n"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser.new_page()
        browser.close()


@pytest.mark.chromium
def test_the_readme_in_a_browser(readme_server: DDDPServer, page: Page) -> None:
    page.goto(readme_server.http)

    def printed_all(message: ConsoleMessage) -> bool:
        return message.text == "720 books"

    with page.expect_console_message(printed_all):
        page.add_script_tag(content=javascript("/static/dddp/ddp.js", readme_server), type="module")


# -- The tutorial

SET_UP = ("python3 -m venv", ". env/bin/activate", "pip install", "cd ", "createdb ")
"""Lines that the test does its own way; ``tests/acceptance/test_install.py`` proves the installation."""

SERVE = "DJANGO_SETTINGS_MODULE=mysite.settings dddp"


class Reader:
    """Somebody who follows the tutorial to the letter."""

    def __init__(self, folder: Path, database: dict[str, str]) -> None:
        self.folder = folder / "mysite"
        self.server = DDDPServer("mysite.settings", path=(), cwd=self.folder, options=())
        self._parent = folder
        self._database = database

    def follow(self, block: Block) -> None:
        if block.file:
            self._write(self.folder / block.file, block)
        elif block.language == "shell":
            for line in block.text.splitlines():
                self.type(line)

    def _write(self, file: Path, block: Block) -> None:
        text = block.text.replace('"NAME": "board"', repr(self._database)[1:-1])
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text((file.read_text() if block.appends else "") + text)

    def type(self, line: str) -> None:
        if line == SERVE:
            self.server.restart()
        elif not line.startswith(SET_UP):
            self._run(line)

    def shell(self, code: str) -> None:
        self._run(f'python manage.py shell -c "{code}"')

    def _run(self, line: str) -> None:
        done = subprocess.run(
            line,
            shell=True,
            cwd=self.folder if self.folder.exists() else self._parent,
            env=self._environment(),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}"

    def _environment(self) -> dict[str, str]:
        """Ours without its settings module, and with this interpreter's ``python`` and ``django-admin`` first."""
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        ours = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
        return {**ours, "PATH": path, "PYTHONPATH": str(ROOT)}


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with fresh_database("tutorial") as url:
        reader = Reader(tmp_path, database(url))
        yield reader
        with contextlib.suppress(AssertionError):
            reader.server.stop()


def pinned(client: StrictClient) -> dict[str, bool]:
    return {note["text"]: note["pinned"] for note in client.documents("board.note").values()}


@pytest.mark.chromium
def test_the_tutorial(reader: Reader, page: Page) -> None:
    """Every file and command of it, in order; the page follows as it says."""
    steps = iter(blocks(TUTORIAL))

    def follow_until(text: str) -> None:
        for block in steps:
            reader.follow(block)
            if text in block.text:
                return
        raise AssertionError(f"no {text!r} in the rest of the tutorial")

    follow_until(SERVE)
    page.goto(reader.server.http)
    page.get_by_role("textbox").fill("From the page")
    page.get_by_role("button").click()
    expect(page.get_by_role("listitem")).to_have_text(["From the page"])

    follow_until("objects.create")
    expect(page.get_by_role("listitem")).to_have_text(["From the page", "From the shell"])

    follow_until("update(pinned=True)")
    with reader.server.client() as client:
        client.subscribed("AllNotes")
        assert pinned(client) == {"From the page": False, "From the shell": False}

    follow_until(SERVE)
    expect(page.get_by_role("listitem")).to_have_text(["From the page (pinned)", "From the shell (pinned)"])

    follow_until("update(pinned=False)")
    expect(page.get_by_role("listitem")).to_have_text(["From the page", "From the shell"])
    with reader.server.client() as client:
        client.subscribed("PinnedNotes")
        assert pinned(client) == {}


# -- How-to guides


@pytest.fixture
def todo(tmp_path: Path) -> Iterator[Reader]:
    """The project of the guide to ``user_rel``, with two users."""
    with fresh_database("todo") as url:
        reader = Reader(tmp_path, database(url))
        for line in ("django-admin startproject mysite", "python manage.py startapp tasks"):
            reader.type(line)
        reader.follow(_settings_of_the_tutorial("tasks"))
        for block in blocks(DOCS / "how-to" / "user-rel.rst"):
            reader.follow(block)
        for line in ("python manage.py makemigrations tasks", "python manage.py migrate"):
            reader.type(line)
        reader.shell(
            "from django.contrib.auth.models import User; from tasks.models import *; "
            "[User.objects.create_user(name, password=name) for name in ('ann', 'bob')]; "
            "shared = List.objects.create(name='Shopping'); shared.task_set.create(text='Milk'); "
            "shared.members.add(User.objects.get(username='ann'))"
        )
        reader.server.start()
        yield reader
        reader.server.stop()


def _settings_of_the_tutorial(app: str) -> Block:
    (block,) = [each for each in blocks(TUTORIAL) if "INSTALLED_APPS" in each.text]
    return Block(block.language, block.text.replace('"board"]', f'"{app}"]'), block.lead)


def test_the_guide_to_user_rel(todo: Reader) -> None:
    """A user who becomes a member gets the list and its tasks, one who leaves it loses them."""
    with todo.server.client() as client:
        client.call("tasks.log_in", "bob", "bob")
        client.subscribed("MyTasks")
        assert client.collections() == {}

        imports = "from tasks.models import *; from django.contrib.auth.models import User"
        members, bob = "List.objects.get().members", "User.objects.get(username='bob')"
        todo.shell(f"{imports}; {members}.add({bob})")
        client.wait(lambda view: view.documents("tasks.list") and view.documents("tasks.task"))
        todo.shell(f"{imports}; {members}.remove({bob})")
        client.wait(lambda view: not view.documents("tasks.list") and not view.documents("tasks.task"))


REPRICE = """
from dddp.api import method

@method
def reprice_all(call):
    for book in models.Book.objects.all():
        book.price = 1
        book.save()

API.register([reprice_all])
"""


def test_the_guide_to_publishing_by_hand(tmp_path: Path) -> None:
    status, dashboard = [each for each in blocks(DOCS / "how-to" / "publish-by-hand.rst") if each.file]
    with (
        bookstore_with(status.text + dashboard.text + REPRICE, tmp_path) as server,
        server.client() as client,
    ):
        client.subscribed("Status")
        first = client.documents("status")["shop"]
        client.wait(lambda view: view.documents("status")["shop"]["time"] != first["time"])
        client.subscribed("Dashboard")
        totals = client.documents("dashboard")["books"]
        client.call("reprice_all")
        client.wait(lambda view: view.documents("dashboard")["books"]["worth"] == "720.00")

        assert first["books"] == totals["books"] == 720


def test_the_guide_to_testing(tmp_path: Path) -> None:
    """Its test case passes in the bookstore."""
    (block,) = [each for each in blocks(DOCS / "how-to" / "test.rst") if "TestCase" in each.text]
    (tmp_path / "test_rename.py").write_text(block.text)
    path = os.pathsep.join(map(str, (ROOT, ROOT / "bookstore_example", tmp_path)))
    with fresh_database("guide") as url:
        env = {"DATABASE_URL": url, "PYTHONPATH": path}

        assert "Ran 1 test" in run_django("test", "test_rename", settings_module=BOOKSTORE, env=env)
