"""Meteor ids as keys of Django models."""

from __future__ import annotations

import pytest
from django.db import models

from dddp.api.random import random_streams
from dddp.models import AleaIdField
from dddp.protocol.alea import RandomStreams
from tests.api.models import Stamp

SEED = "abcdef0123456789abcd"


@pytest.fixture
def seeded():
    token = random_streams.set(RandomStreams(SEED))
    yield
    random_streams.reset(token)


def test_a_new_object_has_an_id(db):
    stamp = Stamp.objects.create(name="blue")

    assert len(stamp.pk) == 17
    assert Stamp.objects.get(pk=stamp.pk) == stamp


def test_in_a_method_the_ids_are_those_of_the_models_collection(seeded):
    drawn = RandomStreams(SEED).stream("/collection/app.stamp")

    assert [Stamp().pk, Stamp().pk] == [drawn.id(), drawn.id()]


def test_loading_draws_no_id(db):
    """Or the next insert would not get the id that the client drew for it."""
    Stamp.objects.create(pk="x")
    token = random_streams.set(RandomStreams(SEED))

    list(Stamp.objects.all())
    list(Stamp.objects.defer("id").only("name"))
    drawn = Stamp().pk
    random_streams.reset(token)

    assert drawn == RandomStreams(SEED).stream("/collection/app.stamp").id()


def test_a_given_id_is_kept(db):
    assert Stamp.objects.create(pk="mine").pk == "mine"


def test_a_migration_names_the_field_and_nothing_it_sets_by_itself():
    _, path, args, kwargs = AleaIdField(primary_key=True).deconstruct()

    assert (path, args, kwargs) == ("dddp.models.AleaIdField", [], {"primary_key": True})


def test_a_migration_keeps_what_was_given():
    _, _, _, kwargs = AleaIdField(max_length=24, default=None).deconstruct()

    assert kwargs == {"max_length": 24, "default": None}


def test_another_default_is_used():
    class Numbered(models.Model):
        key = AleaIdField(default="one")

        class Meta:
            app_label = "elsewhere"

    assert Numbered().key == "one"
