"""``@rate_limit`` on everything it can be put on."""

from __future__ import annotations

import pytest

from dddp.api import APIMixin, Publication, api_endpoint, method, publication, rate_limit
from dddp.api.endpoints import endpoints
from dddp.errors import ImproperlyDeclared
from dddp.protocol.ratelimit import Rule

EXPECTED = (Rule(5, 10, ("user",)),)


def test_below_the_decorator_of_a_method():
    @method("a.b")
    @rate_limit(5, 10, per="user")
    def limited(call): ...

    assert limited.rate_limits == EXPECTED


def test_above_the_decorator_of_a_method():
    @rate_limit(5, 10, per="user")
    @method
    def limited(call): ...

    assert limited.rate_limits == EXPECTED


def test_twice():
    @rate_limit(100, 3600, per=["user", "address"], message="Enough")
    @method
    @rate_limit(5, 10, per="user")
    def limited(call): ...

    assert limited.rate_limits == (*EXPECTED, Rule(100, 3600, ("user", "address"), message="Enough"))


def test_class_of_a_publication():
    @rate_limit(5, 10, per="user")
    class Limited(Publication): ...

    class More(Limited): ...

    assert Limited.rate_limits == More.rate_limits == EXPECTED
    assert Publication.rate_limits == ()


def test_function_of_a_publication():
    @publication
    @rate_limit(5, 10, per="user")
    def limited(self): ...

    assert limited.rate_limits == EXPECTED


def test_endpoint():
    class Tools(APIMixin):
        @api_endpoint
        @rate_limit(5, 10, per="user")
        def add(self, call): ...

    assert [each.rate_limits for each in endpoints(Tools(), "/")] == [EXPECTED]


def test_nothing_is_limited_by_itself():
    @method
    def free(call): ...

    assert free.rate_limits == ()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"count": 0}, "count must be a whole number, 1 or more, not 0"),
        ({"count": 1, "interval": 0}, "interval must be a number of seconds above 0, not 0"),
        ({"count": 1, "per": "session"}, "per must be 'connection', 'user', 'address', not 'session'"),
        ({"count": 1, "message": 5}, "message must be a text, not 5"),
    ],
)
def test_options_that_do_not_fit(options, reason):
    with pytest.raises(ImproperlyDeclared, match=reason):
        rate_limit(**options)
