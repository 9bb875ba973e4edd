"""Whatever a client sends to insert, update and remove: an answer, or an error that is meant for it; never a 500."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from dddp.api import MeteorError
from dddp.api.sanitise import is_internal
from dddp.orm.documents import ModelShape
from tests.api.test_mutators import Open, call
from tests.orm.models import Everything

pytestmark = pytest.mark.django_db


class Lenient(Everything):
    """Its fields may be left out."""

    class Meta:
        app_label = "app"
        proxy = True

    def full_clean(self, exclude: Any = None, **options: Any) -> None:
        absent = {field.name for field in self._meta.concrete_fields if vars(self).get(field.attname) is None}
        super().full_clean(exclude=absent, **options)


class All(Open):
    model = Lenient


@pytest.mark.parametrize("name", ["char", "json", "moment", "integers"])
def test_something_gets_through(name: str) -> None:
    """Or the rest would prove little."""
    value = {"char": "a", "json": {"a": 1}, "moment": datetime.datetime.now(datetime.UTC), "integers": [1]}[
        name
    ]

    assert call(All, "insert", {name: value})


FIELDS = sorted(ModelShape("all", Everything).concrete)

texts = some.text(max_size=8) | some.sampled_from(
    ["", "1", "-1", "NaN", "1e400", "2026-01-02", "25:00", "P1D", "\0", "\ud800", "::1", "$a.b", "true"]
)
numbers = some.integers(-(2**70), 2**70) | some.floats() | some.sampled_from([0, 2**31, 2**63, 1e300])
moments = some.datetimes(timezones=some.just(datetime.UTC))
scalars = some.none() | some.booleans() | numbers | texts | moments | some.binary(max_size=4)
values = some.recursive(
    scalars,
    lambda inner: (
        some.lists(inner, max_size=3)
        | some.dictionaries(texts | some.sampled_from(["lower", "upper"]), inner, max_size=3)
    ),
    max_leaves=6,
)
names = some.sampled_from(FIELDS) | texts | some.sampled_from(["_id", "pk", "id", "json.a"])
documents = some.dictionaries(names, values, max_size=3)
operators = some.sampled_from(["$set", "$unset", "$inc", "$push", "$", ""])
modifiers = some.dictionaries(operators, documents | values, max_size=2)
selectors = values | some.fixed_dictionaries({"_id": values})


def answers(operation: str, *params: Any) -> bool:
    """Whether the client gets an answer, or an error of its own making."""
    try:
        with transaction.atomic():
            call(All, operation, *params)
    except Exception as error:  # noqa: BLE001 - which one is the question
        assert not is_internal(error), repr(error)
        assert not isinstance(error, MeteorError) or error.error in (400, 403, 409)
    return True


fuzz = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    database=None,
)


@fuzz
@given(document=documents)
def test_insert(document: dict[str, Any]) -> None:
    assert answers("insert", document)


@fuzz
@given(name=some.sampled_from(FIELDS), value=values, operator=some.sampled_from(["$set", "$inc", "$unset"]))
def test_update_of_one_field(name: str, value: Any, operator: str) -> None:
    obj = Everything.objects.create(small=1, decimal=1, real=1.5)

    assert answers("update", {"_id": str(obj.pk)}, {operator: {name: value}})


@fuzz
@given(selector=selectors, modifier=modifiers, options=values)
def test_update(selector: Any, modifier: Any, options: Any) -> None:
    assert answers("update", selector, modifier, options)
    assert answers("remove", selector)
