"""Collections: names, fields, and who may see which rows, on a real database."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.db.models import Q

from dddp.api import Collection
from dddp.api.collection import computed
from dddp.errors import ImproperlyDeclared
from tests.api.models import LongPaper, Paper, PrintedPaper, Team


class Papers(Collection):
    model = Paper


class OwnPapers(Collection):
    model = Paper
    user_rel = "owner"


class SharedPapers(Collection):
    model = Paper
    user_rel = ["owner", "readers", "team__members"]


@pytest.fixture
def ann(db):
    return User.objects.create(username="ann")


@pytest.fixture
def bob(db):
    return User.objects.create(username="bob")


def titles(collection, user, queryset=None):
    """What a user sees of a collection, each row as often as it comes."""
    rows = Paper.objects.all() if queryset is None else queryset
    return sorted(paper.title for paper in collection().restrict(rows, user))


def test_the_name_is_the_models_label():
    assert Papers().name == "app.paper"


def test_a_given_name_is_kept():
    class Named(Collection):
        model = Paper
        name = "papers"

    assert Named().name == "papers"


@pytest.mark.parametrize("given", [None, "app.Paper", object])
def test_a_collection_without_a_model_is_a_mistake(given):
    class Nothing(Collection):
        model = given

    with pytest.raises(ImproperlyDeclared, match="collection Nothing: set model to a Django model"):
        Nothing()


def test_every_concrete_field_but_the_key_is_published_by_default():
    assert {"title", "status", "weight", "secret", "owner_id", "team_id"} == Papers().shape.field_names


def test_fields_and_exclude_choose_what_is_published():
    class Chosen(Collection):
        model = Paper
        fields = ["title", "owner", "readers"]
        exclude = ["owner"]

    assert {"title", "readers_ids"} == Chosen().shape.field_names


def test_an_unknown_field_is_a_mistake():
    class Wrong(Collection):
        model = Paper
        fields = ["titel"]

    with pytest.raises(ImproperlyDeclared, match="titel"):
        Wrong().check()


def test_without_user_rel_everyone_sees_everything(ann):
    Paper.objects.create(title="one")

    assert ["one"] == titles(Papers, None) == titles(Papers, AnonymousUser()) == titles(Papers, ann)


def test_a_user_sees_the_rows_that_lead_to_them(ann, bob):
    Paper.objects.create(title="ann's", owner=ann)
    Paper.objects.create(title="bob's", owner=bob)
    Paper.objects.create(title="nobody's")

    assert titles(OwnPapers, ann) == ["ann's"]


@pytest.mark.parametrize("nobody", [None, AnonymousUser()])
def test_without_a_login_a_collection_with_user_rel_is_empty(ann, nobody):
    Paper.objects.create(title="ann's", owner=ann)
    Paper.objects.create(title="nobody's")

    assert titles(OwnPapers, nobody) == []


def test_one_of_several_paths_is_enough_and_no_row_is_doubled(ann, bob):
    team = Team.objects.create(name="both")
    team.members.set([ann, bob])
    Paper.objects.create(title="owned and read", owner=ann, team=team).readers.set([ann, bob])
    Paper.objects.create(title="team's", team=team)
    Paper.objects.create(title="bob's", owner=bob)

    assert titles(SharedPapers, ann) == ["owned and read", "team's"]


def test_a_slice_is_cut_from_the_users_rows(ann, bob):
    """The first of mine, not mine among the first."""
    Paper.objects.create(title="a, bob's", owner=bob)
    Paper.objects.create(title="b, ann's", owner=ann)
    Paper.objects.create(title="c, ann's", owner=ann)

    assert titles(OwnPapers, ann, Paper.objects.order_by("title")[:1]) == ["b, ann's"]


def test_a_superuser_sees_everything(ann):
    Paper.objects.create(title="ann's", owner=ann)
    root = User.objects.create(username="root", is_superuser=True)

    assert titles(OwnPapers, root) == ["ann's"]


def test_a_superuser_is_like_others_where_the_collection_says_so(ann):
    class Private(OwnPapers):
        always_allow_superusers = False

    Paper.objects.create(title="ann's", owner=ann)
    root = User.objects.create(username="root", is_superuser=True)

    assert titles(Private, root) == []


def test_the_path_of_the_users_own_collection_is_the_key(ann, bob):
    class Users(Collection):
        model = User
        user_rel = "pk"
        fields = ["username"]

    assert [ann] == list(Users().restrict(User.objects.all(), ann))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("ownr", r"app.Paper has no 'ownr'; its relations are .*owner"),
        ("team", r"it ends at app.Paper.team, not at auth.User"),
        ("title", r"it ends at app.Paper.title, not at auth.User"),
        ("title__pk", r"'title' is no relation of app.Paper"),
        ("team__pk", r"it ends at app.Team.pk, not at auth.User"),
    ],
)
def test_a_path_that_does_not_lead_to_the_user_is_a_mistake(path, reason):
    class Astray(Collection):
        model = Paper
        user_rel = path

    with pytest.raises(ImproperlyDeclared, match=f"user_rel '{path}' of app.Paper: {reason}"):
        Astray().check()


@pytest.mark.parametrize("path", ["owner", "owner_id", "owner__pk", "owner__id", "team__members", "readers"])
def test_the_ways_to_write_a_path_to_the_user(ann, path):
    class Mine(Collection):
        model = Paper
        user_rel = path

    team = Team.objects.create(name="ann's")
    team.members.add(ann)
    Paper.objects.create(title="ann's", owner=ann, team=team).readers.add(ann)
    Paper.objects.create(title="nobody's")

    assert titles(Mine, ann) == ["ann's"]


@pytest.mark.parametrize("condition", [{"status": "printed"}, Q(status="printed")])
def test_every_published_row_meets_qs_filter(ann, condition):
    class Printed(OwnPapers):
        qs_filter = condition

    Paper.objects.create(title="printed", owner=ann, status="printed")
    Paper.objects.create(title="draft", owner=ann)
    Paper.objects.create(title="bob's", status="printed")

    assert titles(Printed, ann) == ["printed"]


def test_a_superuser_does_not_escape_qs_filter(db):
    class Printed(OwnPapers):
        qs_filter = {"status": "printed"}

    Paper.objects.create(title="draft")

    assert titles(Printed, User.objects.create(username="root", is_superuser=True)) == []


def test_order_by_decides_what_an_unordered_slice_takes(db):
    class Alphabetical(Collection):
        model = Paper
        order_by = ["title"]

    for title in "bca":
        Paper.objects.create(title=title)

    assert titles(Alphabetical, None, Paper.objects.all()[:2]) == ["a", "b"]


def test_order_by_gives_way_to_the_querysets_own_order(db):
    class Alphabetical(Collection):
        model = Paper
        order_by = ["title"]

    for title in "bca":
        Paper.objects.create(title=title)

    assert titles(Alphabetical, None, Paper.objects.order_by("-title")[:2]) == ["b", "c"]


def test_a_misspelt_order_or_filter_is_a_mistake():
    class Wrong(Collection):
        model = Paper
        order_by = ["titel"]

    with pytest.raises(ImproperlyDeclared, match=r"qs_filter or order_by: .*titel"):
        Wrong().check()


def test_tables_are_what_restricting_reads():
    assert {"app.paper"} == Papers().tables()
    assert {"app.paper", "app.paper_readers", "app.team_members"} <= SharedPapers().tables()


def test_tables_of_named_relations_and_of_parents_belong_to_it():
    class Long(Collection):
        model = LongPaper
        fields = ["title", "pages"]

    class Read(Collection):
        model = Paper
        fields = ["title", "readers"]

    assert {"app.longpaper", "app.paper"} == Long().tables()
    assert {"app.paper", "app.paper_readers"} == Read().tables()


def test_columns_are_what_is_published_and_filtered_on():
    class Chosen(Collection):
        model = Paper
        fields = ["title"]
        filter_fields = ["weight"]

    assert Chosen().columns() == {"app.paper": ("id", "title", "weight")}


def test_a_filter_field_of_a_parent_is_a_column_of_the_parents_table():
    class Long(Collection):
        model = LongPaper
        filter_fields = ["weight"]

    assert Long().columns()["app.paper"] == ("weight",)


@pytest.mark.parametrize("name", ["wieght", "readers"])
def test_a_filter_field_that_is_no_column_is_a_mistake(name):
    class Wrong(Collection):
        model = Paper
        filter_fields = [name]

    with pytest.raises(
        ImproperlyDeclared, match=f"filter_fields names '{name}', which is no column of app.Paper"
    ):
        Wrong().check()


def test_a_collection_of_a_proxy_has_the_table_of_its_model():
    class Printed(Collection):
        model = PrintedPaper

    assert Printed().name == "app.printedpaper"
    assert {"app.paper"} == Printed().tables()


def test_serialize_takes_a_read_and_no_column_but_the_key():
    class Shouted(Collection):
        model = Paper

        def serialize(self, obj):
            return {"title": obj.title.upper()}

    shape = Shouted().shape

    assert shape.serialize(Paper(title="loud")) == {"title": "LOUD"}
    assert shape.document({"id": 1, "title": "loud"}) is None
    assert shape.columns == ("id",)


def test_computed_fields_are_functions_of_the_collection():
    class Labelled(Collection):
        model = Paper
        fields = ["title"]
        prefix = "*"

        @computed("title", "status")
        def label(self, title, status):
            return f"{self.prefix}{title}, {status}"

    class Starred(Labelled):
        prefix = "**"

    document = Starred().shape.document({"id": 1, "title": "Emma", "status": "draft"})

    assert document["label"] == b'"label":"**Emma, draft"'
    assert set(Starred().columns()["app.paper"]) == {"id", "title", "status"}
