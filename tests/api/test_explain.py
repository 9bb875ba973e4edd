"""How querysets are kept live, in words: ``explain``, the command that prints it, and the check that warns."""

from __future__ import annotations

import io
from typing import Any

import pytest
from bookstore.models import Author, Book
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db.models import Q

from dddp import checks
from dddp.api import API, Collection, MeteorError, Publication, publication
from dddp.api.explain import Explanation, explain, explain_static, is_static
from tests.api.models import Paper

pytestmark = pytest.mark.django_db


class Authors(Collection):
    model = Author


class Books(Collection):
    model = Book


class Papers(Collection):
    model = Paper
    user_rel = "owner"


class BooksByLanguage(Publication):
    def get_queries(self, language: str):
        return Book.objects.filter(language=language)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The program's registry, with the collections of this module and nothing else."""
    for kind in ("collections", "publications", "methods"):
        monkeypatch.setattr(API, kind, {})
    API.register([Authors, Books, Papers, BooksByLanguage])
    return API


def of(queryset: Any) -> Explanation:
    """What is said of one queryset."""

    class Declared(Publication):
        queries = [queryset]

    Declared.registry = API
    explained = explain(API, Declared, [], None)
    assert explained is not None
    return explained[0]


def declared(name: str, **attributes: Any) -> type[Publication]:
    """A publication, registered."""
    made = type(name, (Publication,), attributes)
    API.register([made])
    return made


def printed(*arguments: str, **options: Any) -> str:
    output = io.StringIO()
    call_command("ddp_explain", *arguments, stdout=output, no_color=True, **options)
    return output.getvalue()


# -- One queryset


@pytest.mark.parametrize(
    ("queryset", "kind", "found_by"),
    [
        (Book.objects.all(), "unfiltered", "every change of bookstore.book"),
        (Book.objects.none(), "empty", "nothing"),
        (Book.objects.filter(language="Latin"), "indexed", "language"),
        (Book.objects.filter(language__in=["Latin", "Greek"]), "indexed", "language"),
        (Book.objects.filter(published__gt=1900), "indexed", "published (a range)"),
        (
            Book.objects.filter(language="Latin", published__lt=0),
            "indexed",
            "language and published (a range)",
        ),
        (Book.objects.filter(Q(language="Latin") | Q(author=1)), "indexed", "language or author_id"),
        (Book.objects.exclude(language="Latin"), "scanned", "every change of bookstore.book"),
        (
            Book.objects.filter(author__email="a@x"),
            "joined",
            "author_id (in the live set of bookstore.author.id)",
        ),
        (
            Book.objects.filter(author=1, author__email="a@x"),
            "joined",
            "author_id (in the live set of bookstore.author.id)",
        ),
        (Book.objects.order_by("price")[:3], "windowed", "every change of bookstore.book"),
        (Book.objects.filter(author=1).order_by("price")[:3], "windowed", "author_id"),
        (Book.objects.order_by("author__name")[:3], "re-run", "any change of a table it listens to"),
        (Book.objects.distinct("title"), "re-run", "any change of a table it listens to"),
    ],
    ids=range(14),
)
def test_kind_and_index_key(queryset, kind, found_by):
    explained = of(queryset)

    assert (explained.kind, explained.found_by) == (kind, found_by)


def test_columns_that_would_multiply_to_too_many_keys_are_no_index_key():
    """The index leaves the longer list to the predicate."""
    years, prices = list(range(100)), list(range(200))

    assert of(Book.objects.filter(published__in=years, price__in=prices)).found_by == "published"


def test_a_compiled_queryset_costs_no_sql():
    assert of(Book.objects.filter(language="Latin")).cost == "no SQL"


@pytest.mark.parametrize(
    ("queryset", "cost"),
    [
        (Book.objects.order_by("author__name")[:3], "one run of the query per batch of changes"),
        (
            Book.objects.filter(title__icontains="e"),
            "one run of the query per batch of changes, for the changed rows alone",
        ),
        (
            Book.objects.filter(author__name__icontains="e"),
            "one run of the query per batch of changes, for the changed rows alone; "
            "for all, where bookstore.author changes",
        ),
    ],
    ids=["whole", "row by row", "joined"],
)
def test_what_is_run_again_says_for_which_rows(queryset, cost):
    assert of(queryset).cost == cost


def test_rows_that_enter_a_joined_queryset_cost_one_read():
    explained = of(Book.objects.filter(author__email="a@x"))

    assert explained.cost == (
        "no SQL; for rows that enter through bookstore.author: one read per transaction, shared by all queries"
    )
    assert explained.reads == ("bookstore.author", "bookstore.book")


def test_a_condition_two_tables_away_says_what_it_is_run_again_for():
    inner = Author.objects.filter(books__language="Latin")

    assert of(Book.objects.filter(author__in=inner.filter(email="a@x"))).cost.endswith(
        "; where bookstore.book alters that of bookstore.author: one read more"
    )


@pytest.mark.parametrize(
    ("queryset", "cost"),
    [
        (
            Book.objects.order_by("price")[:3],
            "no SQL; one run of the query where a row moves in that was beyond it",
        ),
        (
            Book.objects.order_by("title")[:3],
            "no SQL; one run of the query where a row moves in that was beyond it "
            "or the order by title has to be asked for",
        ),
        (
            Book.objects.filter(author__email="a@x").order_by("price")[:3],
            "no SQL; one run of the query where rows of bookstore.author change or a row moves in that was beyond it",
        ),
    ],
    ids=["by number", "by text", "joined"],
)
def test_a_window_says_what_it_is_run_again_for(queryset, cost):
    explained = of(queryset)

    assert (explained.cost, explained.is_rerun) == (cost, False)


@pytest.mark.parametrize(
    ("queryset", "reason"),
    [
        (Book.objects.order_by("author__name")[:3], "it is ordered by name of another table"),
        (Book.objects.distinct("title"), "it is distinct by some columns"),
    ],
    ids=["slice", "distinct"],
)
def test_a_queryset_that_is_run_again_says_why(queryset, reason):
    explained = of(queryset)

    assert explained.is_rerun
    assert explained.reason == reason
    assert explained.cost.startswith("one run of the query per batch of changes")


def test_a_queryset_that_cannot_be_kept_says_why():
    explained = of(Book.objects.select_for_update())

    assert explained.kind == "refused"
    assert "Leave out select_for_update()" in (explained.reason or "")


# -- A publication


def test_rows_of_a_user_are_told_for_that_user():
    papers = declared("MyPapers", queries=[Paper.objects.all()])
    user = User.objects.create_user("ann")

    (nobody,) = explain(API, papers, [], None) or ()
    (ann,) = explain(API, papers, [], str(user.pk)) or ()

    assert (nobody.kind, ann.kind, ann.found_by) == ("empty", "indexed", "owner_id")


def test_static_queries_are_told_for_no_user_in_particular():
    papers = declared("MyPapers", queries=[Paper.objects.all()])

    (explained,) = explain_static(API, papers)

    assert (explained.kind, explained.found_by) == ("indexed", "owner_id")
    assert is_static(papers)
    assert not is_static(BooksByLanguage)


def test_a_publication_by_hand_has_nothing_to_explain():
    """It runs for a subscription that is over, so its clean-up runs too."""
    seen = []

    @publication("by hand")
    def by_hand(pub):
        pub.on_stop(lambda: seen.append(pub.active))
        pub.connection.on_close(lambda: seen.append(pub.connection.http_headers))
        pub.added("clock", "1", {"time": 1})
        pub.ready()

    API.register([by_hand])

    assert explain(API, by_hand, [], None) is None
    assert seen == [False, {}]


def test_an_error_by_hand_is_raised():
    @publication("failing")
    def failing(pub):
        pub.error(MeteorError(404, "No such shop"))

    API.register([failing])

    with pytest.raises(MeteorError, match="No such shop"):
        explain(API, failing, [], None)


# -- The command


def test_a_publication_with_parameters_is_printed():
    assert printed("BooksByLanguage", '["Latin"]') == (
        'BooksByLanguage ["Latin"]\n'
        "  1. bookstore.book: indexed, a changed row finds it by the values of its columns\n"
        "       found by    language\n"
        "       listens to  bookstore.book\n"
        "       one change  no SQL\n"
        "\n"
    )


def test_the_reason_is_printed():
    declared("Cheapest", queries=[Book.objects.distinct("title")])

    assert "       because     it is distinct by some columns\n" in printed("Cheapest")


def test_without_a_name_all_publications_are_printed():
    """Those with parameters say how to give them."""
    declared("AllBooks", queries=[Book.objects.all()])
    declared("Mine", queries=[Paper.objects.all()], login_required=True)

    output = printed()

    assert "AllBooks\n  1. bookstore.book: unfiltered, every row of the table belongs to it\n" in output
    assert "Run: manage.py ddp_explain BooksByLanguage '[<language>]'" in output
    assert "You must be logged in [403]" in output


def test_the_user_of_the_command():
    declared("Mine", queries=[Paper.objects.all()], login_required=True)
    user = User.objects.create_user("ann")

    assert "found by    owner_id" in printed("Mine", user=str(user.pk))


def test_by_hand_is_printed():
    API.register([publication("by hand")(lambda pub: pub.ready())])

    assert "It sends its documents by hand" in printed("by hand")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Nothing"], "There is no publication 'Nothing'; registered are BooksByLanguage."),
        (
            ["BooksByLanguage"],
            r"Match failed \[400\], arguments: expected 1 \(language\), got 0\. Run: .*'\[<language>\]'",
        ),
        (["BooksByLanguage", "Latin"], "The parameters are not JSON"),
        (["BooksByLanguage", '"Latin"'], "The parameters have to be a JSON array, such as '\\[\"Latin\"\\]'"),
    ],
    ids=["unknown", "missing", "no JSON", "no array"],
)
def test_a_wrong_call_says_how_to_mend_it(arguments, message):
    with pytest.raises(CommandError, match=message):
        printed(*arguments)


# -- The check


@pytest.fixture
def migrated(registry):
    """Capture is up to date with what a test declares: call it."""
    return lambda: call_command("migrate", verbosity=0)


def test_static_queries_that_are_run_again_are_a_warning(migrated):
    declared("Cheapest", queries=[Author.objects.all(), Book.objects.distinct("title")])
    migrated()

    (message,) = checks.check_reruns(databases=["default"])

    assert message.id == "dddp.W003"
    assert "Publication Cheapest: its queryset of bookstore.book" in message.msg
    assert "it is distinct by some columns" in message.msg
    assert "rerun_accepted" in message.hint


def test_queries_of_one_user_that_are_run_again_are_a_warning(migrated):
    declared("Latest", queries=[Paper.objects.distinct("pk")])
    migrated()

    assert [message.id for message in checks.check_reruns(databases=["default"])] == ["dddp.W003"]


@pytest.mark.parametrize("accepted", ["", "Prices change at night only."])
def test_static_queries_that_are_refused_are_a_warning(migrated, accepted):
    """Nobody can subscribe to them: no cost that one may accept."""
    declared("Titles", queries=[Book.objects.values("title")], rerun_accepted=accepted)
    migrated()

    (message,) = checks.check_reruns(databases=["default"])

    assert message.id == "dddp.W006"
    assert "Publication Titles: its queryset of bookstore.book is refused" in message.msg
    assert "Use .only() instead of values()" in message.msg


def test_an_accepted_rerun_is_no_warning(migrated):
    declared(
        "Cheapest",
        queries=[Book.objects.distinct("title")],
        rerun_accepted="Prices change at night only.",
    )
    migrated()

    assert checks.check_reruns(databases=["default"]) == []


def test_compiled_queries_are_no_warning(migrated):
    declared("AllBooks", queries=[Book.objects.all(), Paper.objects.all()])
    migrated()

    assert checks.check_reruns(databases=["default"]) == []


def test_reruns_are_not_looked_for_before_migrate():
    """Types of columns count, and check W002 says what to do."""
    declared("Cheapest", queries=[Book.objects.distinct("title")])

    assert checks.check_reruns(databases=["default"]) == []


def test_reruns_are_not_looked_for_in_a_database_nobody_asked_about():
    declared("Cheapest", queries=[Book.objects.distinct("title")])

    assert checks.check_reruns(databases=None) == []
