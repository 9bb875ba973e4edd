"""The registry: names, mistakes found at start with their place, and which columns of which tables are captured."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db.models.expressions import RawSQL

from dddp.api import APIMixin, Collection, Publication, method, publication
from dddp.api.registry import Registry
from dddp.errors import ImproperlyDeclared
from dddp.orm.queries import specify
from tests.api.models import LongPaper, Paper, PrintedPaper, Team

ROOT = Path(__file__).parent.parent.parent

SETTINGS = """
SECRET_KEY = "tests"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "dddp", "shop"]
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "nowhere"}}
DDDP = {}
"""

DECLARATIONS = """
from django.contrib.auth.models import Group, User
from dddp.api import API, Collection, Publication, method

class Groups(Collection):
    model = Group
"""


class Papers(Collection):
    model = Paper


class AllPapers(Publication):
    queries = [Paper.objects.all()]


@method
def shred(call, paper_id: str): ...


def registry(*items):
    made = Registry()
    made.register(items)
    return made


def mistake(*items):
    """What the start says of these declarations."""
    with pytest.raises(ImproperlyDeclared) as error:
        registry(*items).validate()
    return str(error.value)


def test_items_are_found_by_the_names_that_clients_use():
    filled = registry(Papers, AllPapers, shred)

    assert list(filled.collections) == ["app.paper"]
    assert filled.publications == {"AllPapers": AllPapers}
    assert filled.methods["shred"] is shred


def test_a_collection_has_the_methods_that_meteor_calls():
    assert set(registry(Papers).methods) >= {
        f"/app.paper/{operation}{suffix}"
        for operation in ("insert", "update", "remove")
        for suffix in ("", "Async")
    }


def test_automatic_are_those_that_need_no_subscription():
    @publication("everybody's", auto=True)
    def automatic(pub): ...

    assert registry(Papers, AllPapers, automatic).automatic == [automatic]


def test_clear_forgets_everything():
    filled = registry(Papers, AllPapers, shred)

    filled.clear()

    assert (filled.collections, filled.publications, filled.methods) == ({}, {}, {})


def test_correct_declarations_pass():
    filled = registry(Papers, AllPapers, shred)

    filled.validate()

    assert [table.table for table in filled.captured_tables()] == ["app.paper"]


def test_two_collections_of_one_name_are_both_named_with_their_places():
    class MorePapers(Collection):
        model = Paper

    said = mistake(Papers, MorePapers)

    assert "two collections are named 'app.paper': tests.api.test_registry.Papers (" in said
    assert f"MorePapers ({__file__}:" in said


def test_two_publications_or_methods_of_one_name_are_a_mistake():
    @method("shred")
    def burn(call): ...

    class Other(Publication):
        name = "AllPapers"

    assert "two methods are named 'shred'" in mistake(shred, burn)
    assert "two publications are named 'AllPapers'" in mistake(Papers, AllPapers, Other)


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (Paper, "the class Paper"),
        ("AllPapers", "'AllPapers'"),
        (None, "None"),
        (AllPapers([], None, None, None), "an instance of the publication AllPapers, not the class"),
        (mistake, "the plain function mistake, without @method or @publication"),
        (Collection, "the class Collection"),
        (Publication, "the class Publication"),
        (APIMixin, "the class APIMixin"),
    ],
)
def test_something_else_is_refused_and_called_by_its_name(item, said):
    assert f"API.register was given {said}; give Collection, Publication and APIMixin classes" in mistake(
        item
    )


def test_a_static_query_without_a_collection_is_a_mistake():
    said = mistake(AllPapers)

    assert said.startswith(f"tests.api.test_registry.AllPapers ({__file__}:")
    assert said.endswith("no collection for app.Paper: register a Collection whose model is Paper")


def test_a_static_query_of_an_unknown_collection_is_a_mistake():
    class Wrong(Publication):
        queries = [(Paper.objects.all(), "papers")]

    assert "collection 'papers' is not registered; registered are app.paper" in mistake(Papers, Wrong)


def test_a_static_query_of_raw_sql_is_a_mistake():
    class Wrong(Publication):
        queries = [Paper.objects.annotate(one=RawSQL("SELECT 1", ()))]

    assert "raw SQL does not tell which tables it reads" in mistake(Papers, Wrong)


def test_a_publication_that_publishes_nothing_is_a_mistake():
    class Nothing(Publication):
        pass

    assert (
        "publication Nothing: expected a list of querysets, got None; set queries, or return them"
        in mistake(Nothing)
    )


def test_an_automatic_publication_with_parameters_is_a_mistake():
    class Wrong(Publication):
        auto = True

        def get_queries(self, title): ...

    assert "auto = True: nobody gives it parameters" in mistake(Wrong)


def test_a_wrong_field_is_reported_with_its_place():
    class Wrong(Collection):
        model = Paper
        fields = ["titel"]

    said = mistake(Wrong)

    assert f"Wrong ({__file__}:" in said
    assert "'titel'" in said


def test_an_annotation_that_no_client_can_meet_is_reported_with_its_place():
    @method
    def wrong(call, paper: Paper): ...

    said = mistake(wrong)

    assert f".wrong ({__file__}:" in said
    assert "the annotation of 'paper' is <class 'tests.api.models.Paper'>, which clients cannot send" in said


def test_a_publication_made_of_a_function_has_its_place():
    @publication
    def wrong(pub, paper: Paper): ...

    said = mistake(wrong)

    assert f".wrong ({__file__}:{wrong.publish.__code__.co_firstlineno}): " in said


def test_a_queryset_of_a_proxy_finds_its_models_collection():
    filled = registry(Papers)

    assert filled.collection_for(PrintedPaper).name == "app.paper"


def test_a_collection_of_the_proxy_itself_comes_first():
    class Printed(Collection):
        model = PrintedPaper

    filled = registry(Papers, Printed)

    assert filled.collection_for(PrintedPaper).name == "app.printedpaper"
    assert filled.collection_for(Paper).name == "app.paper"


def test_a_collection_is_found_by_name_class_and_instance():
    filled = registry(Papers)
    (papers,) = filled.collections.values()

    assert filled.collection_of("app.paper") is papers
    assert filled.collection_of(Papers) is papers
    assert filled.collection_of(papers) is papers


# -- What is captured


def captured(*items):
    """Table -> columns."""
    return {table.table: table.columns for table in registry(*items).captured_tables()}


def test_a_table_is_captured_with_what_its_collections_publish():
    class Titles(Collection):
        model = Paper
        fields = ["title"]

    class Weights(Collection):
        model = Paper
        name = "weights"
        fields = ["weight"]

    assert captured(Titles, Weights) == {"app.paper": ("id", "owner_id", "team_id", "title", "weight")}


def test_what_is_excluded_is_not_captured():
    class Public(Collection):
        model = Paper
        exclude = ["secret"]

    assert "secret" not in captured(Public)["app.paper"]


def test_a_table_that_only_leads_to_the_user_is_captured_with_its_keys():
    class Own(Collection):
        model = Paper
        fields = ["title"]
        user_rel = ["team__members"]

    tables = captured(Own)

    assert tables["app.team_members"] == ("id", "team_id", "user_id")
    assert "auth.user" not in tables


def test_a_table_that_a_static_query_reads_is_captured_with_its_keys():
    """Nobody publishes users, so nothing of them but the key travels: no password, no e-mail."""

    class Ann(Publication):
        queries = [Paper.objects.filter(owner__username="ann")]

    assert captured(Papers, Ann)["auth.user"] == ("id",)


def test_a_named_many_to_many_is_captured():
    class Read(Collection):
        model = Paper
        fields = ["title", "readers"]

    assert captured(Read)["app.paper_readers"] == ("id", "paper_id", "user_id")


def test_a_parents_table_is_captured_with_its_keys():
    class Long(Collection):
        model = LongPaper

    assert captured(Long) == {"app.longpaper": ("paper_ptr_id",), "app.paper": ("id", "owner_id", "team_id")}


def test_filter_fields_are_captured_though_not_published():
    class Titles(Collection):
        model = Paper
        fields = ["title"]
        filter_fields = ["secret"]

    assert "secret" in captured(Titles)["app.paper"]


def test_capture_models_are_captured_with_their_keys(settings):
    settings.DDDP = {"CAPTURE_MODELS": ["auth.User", "app.Paper_readers"]}

    assert captured() == {"auth.user": ("id",), "app.paper_readers": ("id", "paper_id", "user_id")}


def test_an_unknown_capture_model_is_a_mistake(settings):
    settings.DDDP = {"CAPTURE_MODELS": ["auth.Usr"]}

    assert (
        "settings.DDDP['CAPTURE_MODELS'] names 'auth.Usr': App 'auth' doesn't have a 'Usr' model."
        in mistake()
    )


def test_relations_are_quoted_as_sql_names_them():
    (table,) = registry(Papers).captured_tables()

    assert (table.relation, table.key_column) == ('"app_paper"', "id")


def test_only_the_tables_of_a_database_are_captured_there(settings):
    settings.DATABASE_ROUTERS = ["tests.api.test_registry.PapersElsewhere"]

    class Teams(Collection):
        model = Team

    filled = registry(Papers, Teams)

    assert [table.table for table in filled.captured_tables("default")] == ["app.team"]
    assert [table.table for table in filled.captured_tables("other")] == ["app.paper"]


class PapersElsewhere:
    def allow_migrate(self, db, app_label, model_name=None, **hints):
        return (db == "other") == (model_name == "paper")


@pytest.mark.parametrize("nobody", [True, False])
def test_what_is_captured_is_enough_to_keep_restricted_queries_live(db, nobody):
    """The contract with ``orm``: no queryset that needs no other table than these is refused."""

    class Shared(Collection):
        model = Paper
        fields = ["title", "readers"]
        user_rel = ["owner", "readers", "team__members"]
        qs_filter = {"team__name__gt": "a"}
        order_by = ["owner__username"]

    class Some(Publication):
        queries = [Paper.objects.all(), Paper.objects.all()[:3]]

    filled = registry(Shared, Some)
    user_id = None if nobody else str(User.objects.create(username="ann").pk)
    tables = frozenset(table.table for table in filled.captured_tables())

    specs = [
        specify(each.queryset, each.collection.shape, captured=tables)
        for each in Some([], user_id, None, None).resolve()
    ]

    assert [spec.shape.name for spec in specs] == ["app.paper", "app.paper"]
    assert all(spec.reads <= tables for spec in specs)


# -- A program of its own, from its first line


@pytest.fixture
def shop(tmp_path):
    """Run a program of a project whose one app has these declarations; gives the exit code and what it said."""
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").touch()
    environment = os.environ | {
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "project",
    }

    def run(declarations, *command, settings=SETTINGS):
        (tmp_path / "project.py").write_text(settings)
        if declarations is not None:
            (tmp_path / "shop" / "ddp.py").write_text(declarations)
        program = [sys.executable, *(command or ("-m", "django", "check"))]
        done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    run.file = tmp_path / "shop" / "ddp.py"
    return run


def test_an_app_without_declarations_starts(shop):
    code, said = shop(None)

    assert (code, "no issues" in said) == (0, True), said


def test_declarations_are_found_and_need_no_gevent(shop):
    """A worker, a shell or a test imports ``ddp.py`` too, and must not be patched or slowed by it."""
    program = (
        "import django, sys; django.setup()\n"
        "from dddp.api import API\n"
        "print(list(API.collections), 'gevent' in sys.modules)"
    )

    code, said = shop(DECLARATIONS + "API.register([Groups])", "-c", program)

    assert (code, said) == (0, "['auth.group'] False\n")


@pytest.mark.parametrize(
    ("declarations", "line", "reason"),
    [
        ("import nothing_like_it\n", 1, "ModuleNotFoundError: No module named 'nothing_like_it'"),
        ("x = 1\nclass Broken(:\n", 2, "SyntaxError: invalid syntax"),
        (DECLARATIONS + "API.register([Groups, 7])\n", 7, "API.register was given 7; give Collection"),
        (
            DECLARATIONS + "API.register(Groups)\n",
            7,
            "API.register was given the class Groups, not a list; write API.register([Groups])",
        ),
        (
            DECLARATIONS + "API.register([Groups, Groups])\n",
            7,
            "two collections are named 'auth.group': shop.ddp.Groups",
        ),
        (
            DECLARATIONS + "\nGroup.objects.filter(nme=1)\n",
            8,
            "FieldError: Cannot resolve keyword 'nme' into field.",
        ),
    ],
)
def test_a_mistake_stops_the_start_with_file_line_and_reason(shop, declarations, line, reason):
    code, said = shop(declarations)

    assert code != 0
    assert f"ImproperlyDeclared: {shop.file}:{line}: {reason}" in said


def test_a_mistake_found_by_validation_stops_the_start_too(shop):
    code, said = shop(
        DECLARATIONS
        + "class Users(Publication):\n    queries = [User.objects.all()]\nAPI.register([Groups, Users])\n"
    )

    assert code != 0
    assert f"ImproperlyDeclared: shop.ddp.Users ({shop.file}:7): no collection for auth.User" in said


@pytest.mark.parametrize(
    ("items", "said"),
    [
        (AllPapers, "the class AllPapers, not a list; write API.register([AllPapers])"),
        (shred, "<Method shred>, not a list; write API.register([shred])"),
        (Papers(), "<Papers app.paper>, not a list; write API.register([...])"),
        (None, "None, not a list; write API.register([...])"),
    ],
    ids=["publication", "method", "instance", "nothing"],
)
def test_one_declaration_without_a_list_is_told_the_mend(items, said):
    with pytest.raises(ImproperlyDeclared) as error:
        Registry().register(items)

    assert str(error.value) == f"API.register was given {said}"


def test_an_unknown_setting_stops_the_start(shop):
    code, said = shop(None, settings=SETTINGS + 'DDDP = {"CAPTUR": "signals"}')

    assert code != 0
    assert "ImproperlyDeclared: settings.DDDP has no key 'CAPTUR'; did you mean 'CAPTURE'?" in said


def test_users_are_not_needed_to_import_the_api(shop):
    program = "import sys, dddp.api; print('gevent' in sys.modules)"

    assert shop(None, "-c", program, settings="SECRET_KEY = ''\n") == (0, "False\n")


def test_user_model_is_what_paths_lead_to():
    class Own(Collection):
        model = Paper
        user_rel = "owner"

    assert registry(Own).collections["app.paper"].user_paths[0].condition(User(pk=3)).children[0][1].pk == 3
