"""Publications: from a name, parameters and a user to querysets, or to documents sent by hand."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import AnonymousUser, Permission, User

from dddp.api import Collection, Publication, publication
from dddp.api.registry import Registry
from dddp.errors import ImproperlyDeclared, MeteorError
from tests.api.models import Paper, Team


class Papers(Collection):
    model = Paper


class OwnTeams(Collection):
    model = Team
    name = "teams"
    user_rel = "members"


class OtherTeams(Collection):
    model = Team
    name = "other teams"


class RecordingSource:
    """A subscription that writes down what its publication does."""

    active = True

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *arguments: self.calls.append((name, *arguments))


def subscribe(declared, *params, user_id=None, source=None):
    """An instance, as a subscription has it, registered beside three collections."""
    Registry().register([Papers, OwnTeams, OtherTeams, declared])
    return declared(list(params), user_id, None, source or RecordingSource())


def names(selections):
    return [selection.collection.name for selection in selections]


def test_static_queries_are_published_by_the_collections_of_their_models():
    class AllPapers(Publication):
        queries = [Paper.objects.all()]

    (selection,) = subscribe(AllPapers).resolve()

    assert selection.collection.name == "app.paper"
    assert Paper is selection.queryset.model


@pytest.mark.parametrize(
    "given",
    [
        [(Team.objects.all(), "teams"), Paper.objects],
        [(Team.objects.all(), OwnTeams), Paper.objects.all()],
        ((Team.objects, OwnTeams), Paper.objects.filter(title="x")),
    ],
)
def test_items_are_querysets_managers_and_pairs(given):
    class Given(Publication):
        queries = given

    assert names(subscribe(Given).resolve()) == ["teams", "app.paper"]


@pytest.mark.parametrize("given", [Paper.objects.all(), Paper.objects, (Paper.objects.all(), "app.paper")])
def test_a_single_item_needs_no_list(given):
    class Given(Publication):
        def get_queries(self):
            return given

    assert names(subscribe(Given).resolve()) == ["app.paper"]


def test_a_model_with_several_collections_needs_a_pair():
    class AllTeams(Publication):
        queries = [Team.objects.all()]

    with pytest.raises(
        ImproperlyDeclared, match=r"app.Team has several collections, teams, other teams: say which"
    ):
        subscribe(AllTeams).resolve()


def test_a_model_without_a_collection_is_a_mistake():
    class Users(Publication):
        queries = [User.objects.all()]

    with pytest.raises(ImproperlyDeclared, match=r"no collection for auth.User: register a Collection"):
        subscribe(Users).resolve()


def test_a_pair_may_hold_a_registered_instance():
    teams = OwnTeams()

    class Given(Publication):
        queries = [(Team.objects.all(), teams)]

    Registry().register([teams, Given])

    assert teams is Given([], None, None, RecordingSource()).resolve()[0].collection


def test_no_queries_at_all_is_an_empty_list():
    class Nothing(Publication):
        queries = []

    assert subscribe(Nothing).resolve() == []


def test_get_queries_is_given_the_parameters():
    class ByTitle(Publication):
        def get_queries(self, title, status="draft"):
            return [Paper.objects.filter(title=title, status=status)]

    sql = str(subscribe(ByTitle, "x").resolve()[0].queryset.query)

    assert '"title" = x' in sql
    assert '"status" = draft' in sql


@pytest.mark.parametrize("params", [[], ["x", "y"], [1]])
def test_parameters_that_do_not_fit_are_error_400(params):
    class ByTitle(Publication):
        def get_queries(self, title: str):
            return [Paper.objects.filter(title=title)]

    with pytest.raises(MeteorError) as error:
        subscribe(ByTitle, *params).resolve()

    assert (error.value.error, error.value.reason) == (400, "Match failed")


def test_static_queries_take_no_parameters():
    class AllPapers(Publication):
        queries = [Paper.objects.all()]

    with pytest.raises(MeteorError) as error:
        subscribe(AllPapers, 1).resolve()

    assert error.value.details == {"arguments": "expected 0, got 1"}


def test_the_rows_are_restricted_to_the_user(db):
    class Teams(Publication):
        queries = [(Team.objects.all(), "teams")]

    ann, bob = (User.objects.create(username=name) for name in ("ann", "bob"))
    for user in (ann, bob):
        Team.objects.create(name=user.username).members.add(user)

    (selection,) = subscribe(Teams, user_id=str(ann.pk)).resolve()

    assert [team.name for team in selection.queryset] == ["ann"]


def test_the_user_is_not_read_where_nobody_asks(django_assert_num_queries, db):
    class AllPapers(Publication):
        queries = [Paper.objects.all()]

    with django_assert_num_queries(0):
        subscribe(AllPapers, user_id="1").resolve()


def test_the_user_is_read_once(django_assert_num_queries, db):
    ann = User.objects.create(username="ann")
    subscription = subscribe(type("Nothing", (Publication,), {"queries": []}), user_id=str(ann.pk))

    with django_assert_num_queries(1):
        assert ann == subscription.user
        assert ann == subscription.user


def test_without_a_login_the_user_is_anonymous():
    subscription = subscribe(type("Nothing", (Publication,), {"queries": []}))

    assert AnonymousUser() == subscription.user


def test_login_required_refuses_the_anonymous():
    class Secret(Publication):
        queries = []
        login_required = True

    with pytest.raises(MeteorError, match=r"You must be logged in \[403\]"):
        subscribe(Secret).resolve()


def test_permission_required_refuses_those_without_it(db):
    class Secret(Publication):
        queries = []
        permission_required = "auth.change_user"

    ann = User.objects.create(username="ann")

    with pytest.raises(MeteorError, match=r"You need the permission auth.change_user \[403\]"):
        subscribe(Secret, user_id=str(ann.pk)).resolve()


def test_permission_required_passes_those_with_it(db):
    class Secret(Publication):
        queries = []
        permission_required = ["auth.change_user"]

    ann = User.objects.create(username="ann")
    ann.user_permissions.add(Permission.objects.get(codename="change_user"))

    assert subscribe(Secret, user_id=str(ann.pk)).resolve() == []


def test_access_is_checked_before_parameters():
    """Whoever may not subscribe learns nothing of how it is done."""

    class Secret(Publication):
        login_required = True

        def get_queries(self, key: int):
            return []

    with pytest.raises(MeteorError, match="403"):
        subscribe(Secret).resolve()


def test_publish_sends_by_hand():
    class ByHand(Publication):
        def publish(self, count: int):
            for number in range(count):
                self.added("numbers", number, {"value": number})
            self.changed("numbers", 0, {"value": -1})
            self.removed(Papers, 1)
            self.ready()

    source = RecordingSource()

    assert subscribe(ByHand, 2, source=source).resolve() is None
    assert source.calls == [
        ("added", "numbers", "0", {"value": 0}),
        ("added", "numbers", "1", {"value": 1}),
        ("changed", "numbers", "0", {"value": -1}),
        ("removed", "app.paper", "1"),
        ("ready",),
    ]


def test_publish_may_end_the_subscription():
    error = ValueError()

    class ByHand(Publication):
        def publish(self):
            self.on_stop(print)
            self.error(error)
            self.stop()

    source = RecordingSource()
    subscription = subscribe(ByHand, source=source)

    subscription.resolve()

    assert [("on_stop", print), ("error", error), ("stop",)] == source.calls
    assert subscription.active is True


def test_publish_may_return_querysets_too():
    class Both(Publication):
        def publish(self):
            self.added("numbers", "1", {})
            return [Paper.objects.all()]

    assert names(subscribe(Both).resolve()) == ["app.paper"]


@pytest.mark.parametrize("given", [None, "papers", [Paper], [None], {Paper.objects: 1}])
def test_something_that_is_no_queryset_is_a_mistake(given):
    class Wrong(Publication):
        def get_queries(self):
            return given

    with pytest.raises(ImproperlyDeclared, match=r"publication Wrong: .*queryset"):
        subscribe(Wrong).resolve()


def test_a_pair_of_another_models_collection_is_a_mistake():
    class Wrong(Publication):
        queries = [(Paper.objects.all(), "teams")]

    with pytest.raises(
        ImproperlyDeclared, match=r"app.Paper cannot be published as teams, .* collection of app.Team"
    ):
        subscribe(Wrong).resolve()


def test_publication_makes_one_of_a_function():
    @publication
    def papers(pub, title: str):
        """Papers with a title."""
        return Paper.objects.filter(title=title)

    assert papers.wire_name() == "papers"
    assert papers.__doc__ == "Papers with a title."
    assert names(subscribe(papers, "x").resolve()) == ["app.paper"]
    with pytest.raises(MeteorError, match="Match failed"):
        subscribe(papers, 1).resolve()


def test_publication_takes_a_name_and_options():
    @publication("secret papers", login_required=True)
    def papers(pub):
        return None

    assert papers.wire_name() == "secret papers"
    with pytest.raises(MeteorError, match="403"):
        subscribe(papers).resolve()


def test_a_function_that_returns_nothing_sends_by_hand():
    @publication
    def numbers(pub):
        pub.ready()

    assert subscribe(numbers).resolve() is None
