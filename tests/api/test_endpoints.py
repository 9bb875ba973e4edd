"""Methods named by paths, of collections and of objects of their own."""

from __future__ import annotations

import pytest

from dddp.api import APIMixin, Collection, api_endpoint
from dddp.api.registry import Registry
from dddp.errors import ImproperlyDeclared, MeteorError
from tests.api.models import Paper


class Papers(Collection):
    model = Paper

    @api_endpoint("schema", login_required=True, atomic=False)
    def published_schema(self, call):
        return self.schema()


class Sums(APIMixin):
    api_path_prefix = "/sums/"
    start = 100

    @property
    def costly(self):
        raise AssertionError("a property was run to find endpoints")

    @api_endpoint
    def add(self, call, a: int, b: int):
        return self.start + a + b

    def helper(self): ...


def methods(*items):
    registry = Registry()
    registry.register(items)
    registry.validate()
    return registry.methods


def test_a_collections_endpoints_are_under_its_name():
    declared = methods(Papers)["/app.paper/schema"]

    assert (declared.login_required, declared.atomic) == (True, False)
    assert declared(None) == Papers().schema()


def test_an_objects_endpoints_are_under_its_prefix():
    declared = methods(Sums)

    assert list(declared) == ["/sums/add"]
    assert declared["/sums/add"](None, *declared["/sums/add"].bind([1, 2.0])) == 103


def test_arguments_of_endpoints_are_checked():
    with pytest.raises(MeteorError) as error:
        methods(Sums)["/sums/add"].bind(["1"])

    assert error.value.details == {"arguments": "expected 2 (a, b), got 1"}


def test_a_subclass_may_replace_or_drop_an_endpoint():
    class Doubled(Sums):
        @api_endpoint
        def add(self, call, a: int):
            return 2 * a

    class Dropped(Sums):
        add = None

    assert methods(Doubled)["/sums/add"](None, 4) == 8
    assert methods(Dropped) == {}


def test_an_instance_may_be_registered():
    sums = Sums()
    sums.start = 0

    assert methods(sums)["/sums/add"](None, 1, 2) == 3


def test_two_endpoints_of_one_name_are_a_mistake():
    class Other(APIMixin):
        @api_endpoint("sums/add")
        def plus(self, call): ...

    with pytest.raises(
        ImproperlyDeclared, match=r"two methods are named '/sums/add': .*Sums.add .*Other.plus"
    ):
        methods(Sums, Other)
