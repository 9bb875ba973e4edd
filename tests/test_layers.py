"""Imports obey the layers (design.md section 11): each layer imports only what stands to its right."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

import dddp.api

PACKAGE = Path(__file__).resolve().parent.parent / "dddp"

ORDER = ("server", "runtime", "api", "orm", "feed", "mergebox", "livequery", "protocol", "changes", "errors")
"""A layer may import itself and the layers behind it."""

ALLOWED = (
    {name: set(ORDER[at:]) for at, name in enumerate(ORDER)}
    | {
        "changes": {"changes"},  # it and errors stand side by side
        "errors": {"errors"},
        "livequery": {"livequery", "protocol", "changes"},
        "mergebox": {"mergebox", "livequery", "protocol", "changes"},
        "transport": {"transport", "errors"},
        "conf": {"conf", "errors"},
        "meteor": {"meteor", "errors"},
        "views": {"views", "meteor", "conf", "errors"},
        "ddp": {"ddp", "views", "api"},  # declarations, as any app's
        "accounts": {"accounts", "api"},
        "checks": {"checks", "conf", "views", "meteor", *ORDER[ORDER.index("api") :]},
    }
)
"""Layer -> the layers of dddp it may import. More is said in BESIDE."""

BESIDE = {
    "server": {"conf", "transport"},
    "runtime": {"conf", "transport", "checks"},
    "api": {"conf"},
    "accounts": {"conf"},
}
"""What stands beside the arrow: settings are read at the top; the runtime drives the transport, and says at its start
what ``manage.py check`` says."""

EDGES = {"__init__", "__main__", "apps", "models", "migrations", "management"}
"""Where Django or Python begins: these tie the layers together and may import any."""

LIBRARIES: dict[str, set[str]] = {
    "errors": set(),
    "changes": set(),
    "protocol": {"orjson"},
    "livequery": set(),
    "mergebox": set(),
    "transport": {"gevent", "geventwebsocket", "websockets"},
    "feed": {"django", "gevent", "orjson", "psycopg2"},
    "orm": {"django", "psycopg2"},
    "api": {"django"},
    "conf": {"django"},
    "checks": {"django"},
    "meteor": set(),
    "views": {"django"},
    "ddp": {"django"},
    "accounts": {"django", "gevent"},  # gevent for its threads alone, where it is there already
    "runtime": {"django", "gevent", "psycopg2"},
}
"""Layer -> the libraries it may import besides the standard one."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def layer_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> Iterator[str]:
    """The dotted names a module imports when it runs, inside functions too; not those for type checkers alone."""
    waiting: list[ast.AST] = [ast.parse(path.read_text())]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting += node.orelse
        else:
            waiting += ast.iter_child_nodes(node)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def imported_layers(path: Path) -> set[str]:
    names = [name.split(".") for name in imports(path)]
    return {name[1] for name in names if name[0] == "dddp" and len(name) > 1} - {"__version__", "__name__"}


def imported_libraries(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)} - set(sys.stdlib_module_names) - {"dddp"}


def modules_of(layers: Iterable[str]) -> list[Any]:
    chosen = [path for path in MODULES if layer_of(path) in layers]
    return [pytest.param(path, id=str(path.relative_to(PACKAGE))) for path in chosen]


@pytest.mark.parametrize("path", modules_of(ALLOWED))
def test_imports_point_down(path: Path) -> None:
    layer = layer_of(path)
    allowed = ALLOWED[layer] | BESIDE.get(layer, set())

    assert imported_layers(path) - allowed == set()


@pytest.mark.parametrize("path", modules_of(LIBRARIES))
def test_libraries_are_those_of_the_layer(path: Path) -> None:
    assert imported_libraries(path) - LIBRARIES[layer_of(path)] == set()


@pytest.mark.parametrize("path", modules_of(["accounts"]))
def test_accounts_use_nothing_that_a_project_could_not(path: Path) -> None:
    """Of the api, what ``dddp.api`` itself offers."""
    used = {name for name in imports(path) if name.startswith("dddp.api")}

    assert used - {f"dddp.api.{name}" for name in dddp.api.__all__} == set()


def test_every_module_belongs_to_a_layer() -> None:
    assert {layer_of(path) for path in MODULES} <= set(ALLOWED) | EDGES


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(
        "def f():\n    if g():\n        from dddp import runtime\n        import dddp.server.cli\n"
    )

    assert imported_layers(module) == {"runtime", "server"}


def test_imports_for_type_checkers_do_not_count(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("if TYPE_CHECKING:\n    import dddp.runtime\nelse:\n    import dddp.orm\n")

    assert imported_layers(module) == {"orm"}


def run(code: str) -> str:
    """Run code in a Python of its own, without settings; its output."""
    environment = {"PATH": "", "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, text=True, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["dddp", "dddp.api"])
def test_import_brings_no_gevent_and_reads_no_settings(name: str) -> None:
    """A ``ddp.py`` is imported by every program of the project."""
    check = (
        f"import sys, {name}; from django.conf import settings; "
        "print('gevent' in sys.modules, settings.configured, 'socket' in dir(sys.modules.get('gevent')))"
    )

    assert run(check) == "False False False"


def test_import_of_the_package_brings_no_django() -> None:
    assert run("import sys, dddp; print('django' in sys.modules)") == "False"


def test_import_of_the_pure_layers_brings_neither_django_nor_gevent() -> None:
    check = (
        "import sys, dddp.livequery.router, dddp.protocol.session, dddp.mergebox, dddp.changes; "
        "print([name for name in ('django', 'gevent', 'psycopg2') if name in sys.modules])"
    )

    assert run(check) == "[]"
