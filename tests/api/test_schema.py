"""A collection's schema, for forms on the client."""

from __future__ import annotations

from django.contrib.auth.models import User

from dddp.api import Collection
from tests.api.models import Paper


class Papers(Collection):
    model = Paper
    fields = ["title", "status", "weight", "owner", "readers"]


def test_a_text_has_its_label_and_bounds():
    assert Papers().schema()["title"] == {"type": "String", "label": "Headline", "max": 50, "min": 2}


def test_a_choice_has_its_values_and_their_labels():
    described = Papers().schema()["status"]

    assert described["allowedValues"] == ["draft", "printed"]
    assert described["options"][1] == {"value": "printed", "label": "In print"}
    assert described["optional"] is True


def test_a_float_is_a_number_with_decimals():
    assert Papers().schema()["weight"] == {
        "type": "Number",
        "label": "Weight",
        "decimal": True,
        "optional": True,
    }


def test_relations_name_the_model_they_lead_to():
    described = Papers().schema()

    assert described["owner_id"] == {
        "type": "String",
        "label": "Owner",
        "optional": True,
        "relation": "auth.user",
    }
    assert described["readers_ids"] == {"type": "Array", "label": "Readers", "relation": "auth.user"}


def test_only_published_fields_are_described():
    class Users(Collection):
        model = User
        fields = ["username"]

    assert list(Users().schema()) == ["username"]
