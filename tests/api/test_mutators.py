"""What Meteor's collections call by themselves, on a real database: rules, fields, values, ids, errors."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import ValidationError
from django.db import models

from dddp.api import Collection, MeteorError, api_endpoint, method
from dddp.api.registry import Registry
from dddp.api.sanitise import sanitise
from dddp.errors import ImproperlyDeclared
from tests.api.models import LongPaper, Paper, Stamp, Team

pytestmark = pytest.mark.django_db

DRAWN = "aDrawnIdOf17Chars"


class Open(Collection):
    """Everybody may do everything to what they see."""

    def allow_insert(self, user, obj):
        return True

    def allow_update(self, user, obj, changes):
        return True

    def allow_remove(self, user, obj):
        return True


class OpenPapers(Open):
    model = Paper
    exclude = ["secret"]


class OwnPapers(Collection):
    """Users may store what is theirs, rename their drafts, and remove nothing."""

    model = Paper
    exclude = ["secret"]
    user_rel = "owner"

    def allow_insert(self, user, obj):
        if user.is_authenticated:
            obj.owner = user
        return user.is_authenticated

    def allow_update(self, user, obj, changes):
        return obj.status == "draft" and set(changes) <= {"title"} and changes["title"] != "forbidden"


class Stamps(Open):
    model = Stamp


def call(collection, operation, *params, user=None):
    """What a client's call of ``/<collection>/<operation>`` returns."""
    registry = Registry()
    registry.register([collection])
    (name,) = registry.collections
    invoked = registry.methods[f"/{name}/{operation}"]
    return invoked(
        SimpleNamespace(user=user or AnonymousUser(), random_id=lambda stream: DRAWN), *invoked.bind(params)
    )


def refusal(*args, **kwargs):
    """What the client is told instead."""
    with pytest.raises((MeteorError, ValidationError)) as caught:
        call(*args, **kwargs)
    error = sanitise(caught.value)
    return error.error, error.reason


@pytest.fixture
def ann():
    return User.objects.create(username="ann")


@pytest.fixture
def paper(ann):
    return Paper.objects.create(title="Emma", weight=2.5, owner=ann, secret="s")


# -- Who may


class Closed(Collection):
    model = Paper


@pytest.mark.parametrize("suffix", ["", "Async"])
@pytest.mark.parametrize(
    ("operation", "params"), [("insert", [{}]), ("update", ["1", {"$set": {}}]), ("remove", ["1"])]
)
def test_without_rules_everything_is_denied(operation, params, suffix):
    assert refusal(Closed, operation + suffix, *params) == (403, "Access denied")


def test_an_operation_without_a_rule_is_denied(paper, ann):
    assert refusal(OwnPapers, "remove", {"_id": str(paper.pk)}, user=ann) == (
        403,
        "Access denied. No allow validators set on restricted collection for method 'remove'.",
    )


def test_a_rule_that_says_no_denies():
    assert refusal(OwnPapers, "insert", {"title": "Emma"}) == (403, "Access denied")
    assert not Paper.objects.exists()


def test_an_update_rule_sees_the_object_and_the_new_values(paper, ann):
    key = {"_id": str(paper.pk)}

    assert refusal(OwnPapers, "update", key, {"$set": {"title": "forbidden"}}, user=ann) == (
        403,
        "Access denied",
    )
    assert refusal(OwnPapers, "update", key, {"$set": {"weight": 1}}, user=ann) == (403, "Access denied")
    assert call(OwnPapers, "update", key, {"$set": {"title": "Persuasion"}}, {}, user=ann) == 1


def test_an_insert_rule_may_complete_the_object(ann):
    key = call(OwnPapers, "insert", {"title": "Emma"}, user=ann)

    assert Paper.objects.get(pk=key).owner == ann


@pytest.mark.parametrize(("operation", "rest"), [("update", [{"$set": {"title": "Mine"}}]), ("remove", [])])
def test_what_the_user_cannot_see_is_not_there(paper, operation, rest):
    """The same answer as for an id that no row has."""

    class Restricted(Open):
        model = Paper
        user_rel = "owner"

    bob = User.objects.create(username="bob")

    assert call(Restricted, operation, {"_id": str(paper.pk)}, *rest, user=bob) == 0
    assert call(Restricted, operation, {"_id": "0"}, *rest, user=bob) == 0
    assert Paper.objects.get().title == "Emma"


def test_what_qs_filter_leaves_out_is_not_there(paper):
    class Printed(Open):
        model = Paper
        qs_filter = {"status": "printed"}

    assert call(Printed, "remove", {"_id": str(paper.pk)}) == 0


def test_rules_do_not_go_with_serialize():
    class Shaped(Collection):
        model = Paper

        def serialize(self, obj):
            return {}

        def allow_update(self, user, obj, changes):
            return True

    with pytest.raises(ImproperlyDeclared, match="do not go with serialize"):
        Shaped().check()


def test_an_endpoint_of_the_name_is_called_instead():
    class Papers(Closed):
        @api_endpoint
        def insert(self, call, title: str):
            return title

    assert call(Papers, "insert", "Emma") == "Emma"


@pytest.mark.parametrize("order", [1, -1])
def test_a_method_of_the_name_is_called_instead(order):
    insert = method("/app.paper/insert")(lambda call, title: title)
    registry = Registry()
    registry.register([Closed, insert][::order])

    assert registry.methods["/app.paper/insert"] is insert


# -- Insert


def test_insert_answers_the_id():
    key = call(OpenPapers, "insert", {"title": "Emma", "weight": 3})

    assert (key, Paper.objects.get().weight) == (str(Paper.objects.get().pk), 3.0)


def test_a_text_key_is_the_one_that_the_client_has_drawn():
    assert call(Stamps, "insert", {"name": "Penny Black"}) == DRAWN
    assert Stamp.objects.get().pk == DRAWN


def test_a_text_key_may_be_the_clients():
    assert call(Stamps, "insert", {"_id": "black", "name": "Penny Black"}) == "black"


def test_an_id_that_is_taken_is_refused():
    Stamp.objects.create(pk="black", name="Penny Black")

    code, reason = refusal(Stamps, "insert", {"_id": "black"})

    assert code == 400
    assert "already exists" in reason
    assert Stamp.objects.get().name == "Penny Black"


@pytest.mark.parametrize("key", ["", None, 5, {"$gt": ""}])
def test_an_id_that_is_no_text_is_refused(key):
    assert refusal(Stamps, "insert", {"_id": key}) == (400, "An _id must be a text that is not empty")


def test_an_id_longer_than_the_key_is_refused():
    assert refusal(Stamps, "insert", {"_id": "x" * 18})[0] == 400


@pytest.mark.parametrize("model_of_papers", [Paper, LongPaper])
def test_a_key_that_the_database_gives_cannot_be_chosen(model_of_papers):
    class Papers(Open):
        model = model_of_papers

    assert refusal(Papers, "insert", {"_id": "5", "title": "Emma"}) == (
        400,
        "The database gives the ids of this collection; insert without an _id",
    )


def test_an_inherited_model_is_inserted_into_both_tables():
    class LongPapers(Open):
        model = LongPaper
        exclude = ["paper_ptr", "secret"]

    key = call(LongPapers, "insert", {"title": "War and Peace", "pages": 1225})

    assert LongPaper.objects.get(pk=key).title == "War and Peace"


def test_wrong_values_are_told_by_field():
    with pytest.raises(ValidationError) as caught:
        call(OpenPapers, "insert", {"title": {"$gt": ""}, "weight": "heavy"})

    assert set(caught.value.message_dict) == {"title", "weight"}


def test_the_model_is_validated():
    """By validators, choices and uniqueness: ``full_clean``."""
    with pytest.raises(ValidationError) as caught:
        call(OpenPapers, "insert", {"title": "E", "weight": 1, "status": "burnt"})

    assert set(caught.value.message_dict) == {"title", "status"}


def test_a_reference_to_nothing_is_refused():
    assert refusal(OpenPapers, "insert", {"title": "Emma", "weight": 1, "team_id": "99"})[0] == 400


def test_a_reference_is_the_text_of_a_key():
    team = Team.objects.create(name="Readers")

    key = call(OpenPapers, "insert", {"title": "Emma", "team_id": str(team.pk)})

    assert Paper.objects.get(pk=key).team == team


# -- What may be written

UNWRITABLE = "Access denied. Field '{}' cannot be written in this collection."


@pytest.mark.parametrize("field", ["secret", "nonsense", "id", "pk", "readers_ids", "readers", "owner"])
def test_what_is_not_published_cannot_be_written(paper, field):
    """Secret and unknown fields look alike."""
    reason = UNWRITABLE.format(field)

    assert refusal(OpenPapers, "insert", {"title": "Emma", field: "1"}) == (403, reason)
    assert refusal(OpenPapers, "update", str(paper.pk), {"$set": {field: "1"}}) == (403, reason)


def test_the_key_cannot_be_written_though_published(paper):
    class Papers(Open):
        model = Paper
        fields = ["id", "title"]

    assert refusal(Papers, "update", str(paper.pk), {"$set": {"id": 7}})[0] == 403


def test_a_file_cannot_be_named():
    """Or a client could have any file of the storage published."""

    class Filed(models.Model):
        file = models.FileField()
        made = models.DateTimeField(auto_now=True)

        class Meta:
            app_label = "app"
            managed = False

    class Files(Open):
        model = Filed

    assert refusal(Files, "insert", {"file": "../settings.py"}) == (403, UNWRITABLE.format("file"))
    assert refusal(Files, "insert", {"made": 1}) == (403, UNWRITABLE.format("made"))


# -- Update


@pytest.mark.parametrize(
    "selector", [{}, {"title": "Emma"}, {"_id": {"$in": ["1"]}}, {"_id": "1", "title": "Emma"}, 5, None, []]
)
@pytest.mark.parametrize("collection", [OpenPapers, Closed])
def test_a_selector_is_an_id(selector, collection):
    told = "Not permitted. Untrusted code may only {} documents by ID."

    assert refusal(collection, "update", selector, {"$set": {}}) == (403, told.format("update"))
    assert refusal(collection, "remove", selector) == (403, told.format("remove"))


@pytest.mark.parametrize("key", ["0", "emma", "", "1\0", "\ud800", "9" * 40])
def test_an_id_that_no_row_has_changes_nothing(key):
    assert call(OpenPapers, "update", {"_id": key}, {"$set": {"title": "Emma"}}) == 0
    assert call(OpenPapers, "remove", {"_id": key}) == 0


def test_another_spelling_of_a_key_is_another_id(paper):
    assert call(OpenPapers, "remove", {"_id": f"0{paper.pk}"}) == 0


def test_operators_change_fields(paper):
    changed = call(
        OpenPapers,
        "updateAsync",
        {"_id": str(paper.pk)},
        {"$set": {"title": "Persuasion"}, "$inc": {"weight": 0.5}, "$unset": {"owner_id": "", "status": ""}},
        {"multi": True},
    )
    paper.refresh_from_db()

    assert (changed, paper.title, paper.weight, paper.owner, paper.status) == (
        1,
        "Persuasion",
        3.0,
        None,
        "draft",
    )


def test_adding_to_nothing_sets_it():
    paper = Paper.objects.create(title="Emma")

    call(OpenPapers, "update", str(paper.pk), {"$inc": {"weight": -2}})

    assert Paper.objects.get().weight == -2.0


@pytest.mark.parametrize("operand", [{"weight": "much"}, {"weight": None}, {"title": "!"}, {"weight": True}])
def test_only_numbers_are_added(paper, operand):
    assert refusal(OpenPapers, "update", str(paper.pk), {"$inc": operand})[0] == 400


@pytest.mark.parametrize("modifier", [{}, {"title": "Emma"}, {"$set": {"title": "Emma"}, "title": "Emma"}])
def test_a_document_is_not_replaced(paper, modifier):
    code, reason = refusal(OpenPapers, "update", str(paper.pk), modifier)

    assert code == 403
    assert reason.endswith("you can only update documents, not replace them. Use $set, $unset, $inc.")


@pytest.mark.parametrize("operator", ["$push", "$rename", "$where", "$"])
def test_other_operators_are_refused(paper, operator):
    assert refusal(OpenPapers, "update", str(paper.pk), {operator: {"title": "x"}}) == (
        403,
        f"Access denied. Operator {operator} not allowed in a restricted collection.",
    )


def test_an_operator_takes_an_object(paper):
    assert refusal(OpenPapers, "update", str(paper.pk), {"$set": ["title"]})[0] == 400


def test_an_upsert_is_refused(paper):
    assert refusal(OpenPapers, "update", str(paper.pk), {"$set": {"title": "x"}}, {"upsert": True}) == (
        403,
        "Access denied. Upserts not allowed in a restricted collection.",
    )


def test_a_part_of_a_field_is_refused(paper):
    assert refusal(OpenPapers, "update", str(paper.pk), {"$set": {"title.0": "x"}}) == (
        403,
        "Access denied. 'title.0' names a part of a field; set the whole field 'title'.",
    )


def test_the_id_is_not_changed(paper):
    assert refusal(OpenPapers, "update", str(paper.pk), {"$set": {"_id": "x"}}) == (
        403,
        "Access denied. The _id of a document cannot be changed.",
    )


def test_two_operators_for_one_field_are_refused(paper):
    modifier = {"$set": {"weight": 1}, "$inc": {"weight": 1}}

    assert refusal(OpenPapers, "update", str(paper.pk), modifier) == (
        409,
        "Two operators would change the field 'weight'",
    )


def test_a_changed_object_is_validated(paper):
    assert refusal(OpenPapers, "update", str(paper.pk), {"$set": {"title": "E"}})[0] == 400
    assert Paper.objects.get().title == "Emma"


def test_what_is_not_published_stays(paper):
    call(OpenPapers, "update", str(paper.pk), {"$set": {"title": "Persuasion"}})

    assert Paper.objects.get().secret == "s"


# -- Remove, and what the database refuses


def test_remove_answers_how_many(paper):
    assert call(OpenPapers, "remove", {"_id": str(paper.pk)}) == 1
    assert not Paper.objects.exists()


def test_what_the_database_refuses_is_a_conflict(monkeypatch, paper):
    """Its first line says what; the values of other rows, in the second, stay here."""

    class Strict(Open):
        model = Paper

        def allow_update(self, user, obj, changes):
            obj.pk, obj._state.adding = None, True
            obj.full_clean = lambda: None
            obj.title = None
            return True

    code, reason = refusal(Strict, "update", str(paper.pk), {"$set": {"weight": 1}})

    assert code == 409
    assert "title" in reason
    assert "\n" not in reason
