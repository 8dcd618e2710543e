from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, get_args

import pytest
from alembic import command
from alembic.config import Config
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy import text as sql

from storage.metadata import documents, migrate, repositories, search
from storage.metadata.accounts import edit as edit_account
from storage.metadata.order import Order, key_of
from storage.metadata.organizations import edit as edit_organization
from storage.metadata.repositories import Viewer
from storage.metadata.schema import (
    namespaces,
    organization_members,
    repository_aliases,
    repository_categories,
    team_members,
    team_repository_roles,
    teams,
)
from storage.metadata.schema import repositories as rows
from storage.metadata.search import MAX_FOUND, Sort, Wanted
from storage.metadata.sqlite import open_sqlite
from tests.storage.metadata.content import NOW, SECOND, add_account, add_repository

EVERYBODY: Final = Viewer()
ADMIN: Final = Viewer(sees_all=True)


def add(
    db: Connection,
    name: str,
    summary: str = "",
    *,
    overview: str = "",
    categories: Sequence[str] = (),
    stars: int = 0,
    pulls: int = 0,
    kind: str = "image",
    pushed: int | None = None,
    public: bool = True,
) -> int:
    """Add a repository that says this of itself; `pushed` is in seconds after NOW."""
    repository_id = add_repository(db, name, public=public)
    values = {
        "summary": summary,
        "overview": overview,
        "star_count": stars,
        "pull_count": pulls,
        "kind": kind,
        "last_pushed_at": None if pushed is None else NOW + pushed * SECOND,
    }
    db.execute(update(rows).where(rows.c.id == repository_id).values(**values))
    for category in categories:
        row = {"repository_id": repository_id, "category": category}
        db.execute(insert(repository_categories).values(**row))
    documents.refresh(db, repository_id)
    return repository_id


def found(db: Connection, text: str, viewer: Viewer = EVERYBODY, **wanted: Any) -> list[str]:
    result = search.find(db, viewer, Wanted(text, **wanted), limit=100)
    assert not result.more
    assert result.total == len(result.cards)
    return [card.name for card in result.cards]


# -- what matches ----------------------------------------------------------------------------------------


@pytest.fixture
def nginx(db: Connection) -> Connection:
    """A database with one repository that has a word of its own in each place."""
    repository_id = add(
        db,
        "ann/web-server_v2",
        "Serves Café pages",
        overview="Written in **Zürich**, with `sockets`.",
        categories=["networking"],
    )
    namespace = namespaces.c.name == "ann"
    db.execute(update(namespaces).where(namespace).values(full_name="Ann Other"))
    documents.refresh(db, repository_id)
    return db


@pytest.mark.parametrize(
    ("text", "hit"),
    [
        ("web", True),
        ("WEB", True),
        ("we", True),
        ("w", True),
        ("eb", False),
        ("server", True),
        ("v2", True),
        ("web-server", True),
        ("web_server", True),
        ("ann", True),
        ("other", True),
        ("ann/web", True),
        ("ann/web-server_v2", True),
        ("cafe", True),
        ("café", True),
        ("cafe\u0301", True),
        ("CAFÉ", True),
        ("zurich", True),
        ("sockets", True),
        ("network", True),
        ("web network zur", True),
        ("web absent", False),
        ("absent", False),
        ("image", False),
    ],
)
def test_words_match_from_their_beginning(nginx: Connection, text: str, hit: bool) -> None:
    assert found(nginx, text) == (["ann/web-server_v2"] if hit else [])


@pytest.mark.parametrize(
    "text",
    [
        '"',
        '"" ""',
        "*",
        "( )",
        "^",
        ":",
        "-",
        "\0",
        "\0 \0",
        "\ud800",
        "_",
        "👻",
        " \t\n",
    ],
)
def test_text_without_a_word_is_harmless(nginx: Connection, text: str) -> None:
    expected = [] if text.strip() else ["ann/web-server_v2"]
    assert found(nginx, text) == expected
    assert search.suggest(nginx, EVERYBODY, text, limit=8) == ()


@pytest.mark.parametrize(
    "text",
    [
        "web NOT server",
        "web OR absent",
        "web AND server",
        "NEAR(web server)",
        "overview:web",
        "summary : web",
    ],
)
def test_operators_are_words(nginx: Connection, text: str) -> None:
    assert found(nginx, text) == []


@pytest.mark.parametrize(
    "text", ['"web', 'web"', "web*", "(web", "^web", "web + server", "-web", "web\0", "{web}"]
)
def test_signs_only_separate_words(nginx: Connection, text: str) -> None:
    assert found(nginx, text) == ["ann/web-server_v2"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=300) | st.text('"*:^(){}+-ANDORNEAR \0', max_size=60))
def test_no_text_is_an_error(nginx: Connection, text: str) -> None:
    for viewer in (EVERYBODY, ADMIN, Viewer(1), Viewer(1, only=frozenset({1}))):
        search.find(nginx, viewer, Wanted(text))
        search.suggest(nginx, viewer, text, limit=8)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b  c", ("a", "b", "c")),
        ("Web web WEB", ("web",)),
        (" ".join("abcdefghijklmnop"), tuple("abcdefghij")),
        ("x" * 10_000_000, ("x" * documents.MAX_TEXT,)),
        (" " * documents.MAX_TEXT + "late", ()),
    ],
)
def test_queries_are_bounded(text: str, words: tuple[str, ...]) -> None:
    assert documents.words_in(text) == words


# -- the order of relevance --------------------------------------------------------------------------------

SHELF: Final[dict[str, dict[str, Any]]] = {
    "library/redis": {"summary": "A store in memory", "stars": 5, "pulls": 100},
    "ann/redis": {"summary": "Mine", "pulls": 10_000_000, "stars": 900},
    "bob/redis-cluster": {"summary": "Many of them"},
    "library/redis-sentinel": {"summary": "Watches"},
    "carl/my-redis": {"summary": "Another"},
    "redis/insight": {"summary": "Looks into it"},
    "dora/cache": {"summary": "A cache over redis"},
    "emil/queue": {"summary": "Jobs", "categories": ["redis"]},
    "fay/notes": {"summary": "Notes", "overview": "Once tried with redis. " + "Other things. " * 40},
    "gus/unrelated": {"summary": "None of it", "pulls": 10**9, "stars": 10**5},
}


@pytest.fixture
def shelf(db: Connection) -> Connection:
    for name, values in SHELF.items():
        add(db, name, **values)
    return db


@pytest.mark.parametrize(
    ("text", "order"),
    [
        (
            "redis",
            [
                "library/redis",  # the name itself
                "ann/redis",  # the same words
                "library/redis-sentinel",  # begins with it, official
                "bob/redis-cluster",  # begins with it
                "redis/insight",
                "carl/my-redis",  # in the name
                "emil/queue",  # in a category
                "dora/cache",  # in the summary
                "fay/notes",  # in the overview
            ],
        ),
        ("library/redis", ["library/redis", "library/redis-sentinel"]),
        ("ann/redis", ["ann/redis"]),
        ("redis cluster", ["bob/redis-cluster"]),
        ("redis insight", ["redis/insight"]),
        ("unrel", ["gus/unrelated"]),
    ],
)
def test_nearest_names_come_first(shelf: Connection, text: str, order: list[str]) -> None:
    assert found(shelf, text) == order


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        ({"summary": "ships", "stars": 1000}, {"summary": "ships", "stars": 10}),
        ({"summary": "ships", "pulls": 10**6}, {"summary": "ships", "pulls": 10}),
        ({"summary": "about ships"}, {"overview": "about ships"}),
        ({"categories": ["ships"]}, {"overview": "about ships, " * 3}),
        ({"summary": "ships and ships"}, {"summary": "a ship among many other words that say else"}),
        ({"summary": "a ship", "pulls": 10**9}, {"summary": "ships and ships"}),
    ],
)
def test_worth(db: Connection, better: dict[str, Any], worse: dict[str, Any]) -> None:
    add(db, "ann/a", **worse)
    add(db, "ann/b", **better)
    assert found(db, "ship") == ["ann/b", "ann/a"]


def test_former_name_finds_what_it_is_now(db: Connection) -> None:
    repository_id = add(db, "ann/now", "nothing of the kind")
    row = {"name": "ann/before", "repository_id": repository_id, "created_at": NOW}
    db.execute(insert(repository_aliases).values(**row))
    assert found(db, "ann/before") == ["ann/now"]
    assert found(db, "before") == []


def test_names_are_found_where_more_popular_documents_hold_the_word(db: Connection) -> None:
    for number in range(MAX_FOUND + 5):
        add(db, f"ann/r{number}", "wanted", pulls=1000)
    add(db, "bob/wanted")
    add(db, "bob/wanted-too")
    add(db, "library/wanted")
    result = search.find(db, EVERYBODY, Wanted("wanted"), limit=3)
    assert [card.name for card in result.cards] == ["library/wanted", "bob/wanted", "bob/wanted-too"]
    assert (result.total, result.capped, result.more) == (MAX_FOUND, True, True)
    last = search.find(db, EVERYBODY, Wanted("wanted"), after=(MAX_FOUND - 2,), limit=10)
    assert (len(last.cards), last.more) == (2, False)


def test_pages_of_relevance_are_the_whole_list(shelf: Connection) -> None:
    whole = found(shelf, "redis")
    paged: list[str] = []
    more = True
    while more:
        page = search.find(shelf, EVERYBODY, Wanted("redis"), after=(len(paged),), limit=2)
        paged += [card.name for card in page.cards]
        more = page.more
        assert page.total == len(whole)
    assert paged == whole


# -- other orders and filters ------------------------------------------------------------------------------


@pytest.fixture
def ships(db: Connection) -> Connection:
    add(db, "ann/a", "ship", stars=3, pulls=1, pushed=5)
    add(db, "ann/b", "ship", stars=3, pulls=9, kind="chart")
    add(db, "bob/c", "ship", stars=1, pulls=9, pushed=7, categories=["sea", "web"])
    add(db, "library/d", "ship", pushed=1, kind="artifact", categories=["sea"])
    add(db, "ann/e", "boat")
    return db


ORDERS: Final[dict[Order, list[str]]] = {
    "stars": ["ann/b", "ann/a", "bob/c", "library/d"],
    "pulls": ["ann/b", "bob/c", "ann/a", "library/d"],
    "pushed": ["bob/c", "ann/a", "library/d", "ann/b"],
    "name": ["ann/a", "ann/b", "bob/c", "library/d"],
}


@pytest.mark.parametrize("dense", [False, True], ids=["counted", "capped"])
@pytest.mark.parametrize("text", ["ship", ""])
@pytest.mark.parametrize("sort", ORDERS)
def test_orders(
    ships: Connection, monkeypatch: pytest.MonkeyPatch, sort: Order, text: str, dense: bool
) -> None:
    """The list is the same whether all matches were counted or too many, read at once or page by page."""
    if dense:
        monkeypatch.setattr(search, "MAX_FOUND", 1)
    boat = [] if text else ["ann/e"]
    expected = {"name": [*ORDERS["name"][:2], *boat, *ORDERS["name"][2:]]}.get(sort, [*ORDERS[sort], *boat])
    if sort == "pushed" and not text:
        expected = [*ORDERS["pushed"][:3], "ann/e", "ann/b"]  # of those never pushed, the last name first
    for limit in (1, 2, 10):
        paged: list[str] = []
        after = None
        more = True
        while more:
            page = search.find(ships, EVERYBODY, Wanted(text, sort=sort), after=after, limit=limit)
            paged += [card.name for card in page.cards]
            more, after = page.more, key_of(page.cards[-1], sort)
            assert page.capped == dense
        assert paged == expected


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({"kind": "image"}, {"ann/a", "bob/c"}),
        ({"kind": "chart"}, {"ann/b"}),
        ({"kind": "artifact"}, {"library/d"}),
        ({"official": True}, {"library/d"}),
        ({"stars": 1}, {"ann/a", "ann/b", "bob/c"}),
        ({"stars": 3}, {"ann/a", "ann/b"}),
        ({"stars": 4}, set()),
        ({"category": "sea"}, {"bob/c", "library/d"}),
        ({"category": "web"}, {"bob/c"}),
        ({"category": "absent"}, set()),
        ({"category": "sea", "stars": 1, "kind": "image"}, {"bob/c"}),
        ({"category": "sea", "official": True, "kind": "chart"}, set()),
    ],
)
@pytest.mark.parametrize("rare", [0, 20_000], ids=["checked", "narrowed"])
def test_filters(
    ships: Connection,
    monkeypatch: pytest.MonkeyPatch,
    filters: dict[str, Any],
    names: set[str],
    rare: int,
) -> None:
    monkeypatch.setattr(search, "_RARE", rare)
    for sort in get_args(Sort):
        assert set(found(ships, "ship", sort=sort, **filters)) == names
        assert set(found(ships, "", sort=sort, **filters)) - {"ann/e"} == names


# -- who sees what -----------------------------------------------------------------------------------------


@pytest.fixture
def people(db: Connection) -> dict[str, Viewer]:
    """Viewers by how they come to see `org/hidden`, and two who do not."""
    ids = {name: add_account(db, name) for name in ("owner", "member", "direct", "team", "granted", "none")}
    add(db, "org/shown", "secret")
    hidden = add(db, "org/hidden", "secret", public=False)
    org = db.execute(select(rows.c.namespace_id).where(rows.c.id == hidden)).scalar_one()
    for name, is_owner in (("owner", True), ("member", False)):
        row = {"namespace_id": org, "account_id": ids[name], "is_owner": is_owner, "joined_at": NOW}
        db.execute(insert(organization_members).values(**row))
    repositories.grant(db, "org/hidden", "direct", 1)
    repositories.grant(db, "org", "granted", 1)
    team = {"namespace_id": org, "name": "crew", "created_at": NOW}
    team_id = db.execute(insert(teams).values(**team).returning(teams.c.id)).scalar_one()
    db.execute(insert(team_members).values(team_id=team_id, account_id=ids["team"]))
    db.execute(insert(team_repository_roles).values(team_id=team_id, repository_id=hidden, role=1))
    viewers = {name: Viewer(account_id) for name, account_id in ids.items()}
    return viewers | {
        "anonymous": EVERYBODY,
        "administrator": ADMIN,
        "token for it": Viewer(ids["direct"], only=frozenset({hidden})),
        "token for another": Viewer(ids["direct"], only=frozenset({hidden + 1})),
        "token of an administrator for it": Viewer(ids["none"], sees_all=True, only=frozenset({hidden})),
        "token of an administrator for another": Viewer(ids["none"], sees_all=True, only=frozenset({0})),
        "token for what its owner may not see": Viewer(ids["none"], only=frozenset({hidden})),
    }


@pytest.mark.parametrize(
    ("who", "sees"),
    [
        ("anonymous", False),
        ("none", False),
        ("member", False),
        ("owner", True),
        ("direct", True),
        ("granted", True),
        ("team", True),
        ("administrator", True),
        ("token for it", True),
        ("token for another", False),
        ("token of an administrator for it", True),
        ("token of an administrator for another", False),
        ("token for what its owner may not see", False),
    ],
)
def test_only_what_the_viewer_may_see(
    db: Connection, people: dict[str, Viewer], monkeypatch: pytest.MonkeyPatch, who: str, sees: bool
) -> None:
    viewer = people[who]
    shown = {"org/shown", "org/hidden"} if sees else {"org/shown"}
    hidden = shown - {"org/shown"}
    for text, names in (("secret", shown), ("org", shown), ("hidden", hidden), ("org/hidden", hidden)):
        assert set(found(db, text, viewer)) == set(found(db, text, viewer, sort="name")) == names
    for text, names in (("org", shown), ("hidden", hidden), ("org/hidden", hidden), ("secret", set())):
        assert {card.name for card in search.suggest(db, viewer, text, limit=8)} == names
    assert set(found(db, "", viewer)) == shown
    monkeypatch.setattr(search, "MAX_FOUND", 0)
    for text in ("secret", ""):
        result = search.find(db, viewer, Wanted(text, sort="name"))
        assert {card.name for card in result.cards} == shown


def test_index_that_was_not_told_shows_nothing_more(db: Connection) -> None:
    """What decides is the row: a document that still says "public" is of no use to anybody."""
    repository_id = add(db, "ann/a", "secret")
    db.execute(update(rows).where(rows.c.id == repository_id).values(is_public=False))
    assert found(db, "secret") == []


OLD_ROWS: Final = """
INSERT INTO accounts (id, name, is_admin, created_at, full_name) VALUES (1, 'ann', 0, 0, 'Grace');
INSERT INTO namespaces (id, name, owner_id, created_at, full_name) VALUES (9, 'ann', 1, 0, 'Hopper');
INSERT INTO repositories (id, namespace_id, name, is_public, created_at, summary, star_count, pull_count)
VALUES (1, 9, 'ann/app', 0, 0, 'a word', 7, 2000000);
INSERT INTO repositories (id, namespace_id, name, is_public, created_at, overview)
SELECT 2, id, 'library/app', 1, 0, 'word' FROM namespaces WHERE name = 'library';
INSERT INTO repository_categories VALUES (1, 'sea'), (1, 'air')
"""


# -- keeping the index -------------------------------------------------------------------------------------


def documents_of(db: Connection) -> int:
    return db.execute(select(func.count()).select_from(documents.search)).scalar_one()


def test_index_follows_the_repositories(db: Connection) -> None:
    first = add_repository(db, "ann/first")
    assert found(db, "first") == ["ann/first"]
    add_repository(db, "ann/first")
    assert documents_of(db) == 1
    repositories.set_public(db, "ann/first", public=False)
    assert (found(db, "first"), found(db, "first", ADMIN)) == ([], ["ann/first"])
    repositories.set_public(db, "ann/first", public=True)
    assert found(db, "first") == ["ann/first"]
    db.execute(update(rows).where(rows.c.id == first).values(summary="new words"))
    documents.refresh(db, first)
    assert (found(db, "new words"), documents_of(db)) == (["ann/first"], 1)
    assert repositories.remove(db, "ann/first")
    assert (found(db, "first", ADMIN), documents_of(db)) == ([], 0)
    assert not repositories.remove(db, "ann/first")
    documents.refresh(db, first)
    assert documents_of(db) == 0


def test_full_names_of_owners_are_searched(db: Connection) -> None:
    account_id = add_account(db, "ann")
    add_repository(db, "ann/app")
    repository_id = add_repository(db, "org/app")
    edit_account(db, account_id, {"full_name": "Grace Hopper"})
    assert found(db, "hopper") == ["ann/app"]
    namespace_id = db.execute(select(rows.c.namespace_id).where(rows.c.id == repository_id)).scalar_one()
    edit_organization(db, namespace_id, {"full_name": "The Navy"})
    assert found(db, "navy app") == ["org/app"]
    assert documents_of(db) == 2


@pytest.mark.parametrize(("stars", "pulls"), [(0, 0), (1, 0), (0, 10**6), (10**9, 2**62), (3, 50)])
def test_document_is_where_the_counts_say(db: Connection, stars: int, pulls: int) -> None:
    repository_id = add(db, "ann/a", "word", public=False)
    for counts in ({"star_count": stars, "pull_count": pulls}, {"star_count": 0, "pull_count": 0}):
        db.execute(update(rows).values(**counts))
        documents.move(db, [repository_id, repository_id + 1])
        assert documents_of(db) == 1
        level, repository = db.execute(
            select(documents.LEVEL, documents.REPOSITORY_ID).select_from(documents.search)
        ).one()
        worth = min(1 + 10 * counts["star_count"] + counts["pull_count"], 2**64 - 1)
        assert 2**level <= worth
        assert level == documents.MAX_LEVEL or worth < 2 ** (level + 1)
        assert repository == repository_id
    documents.forget(db, repository_id)
    assert documents_of(db) == 0


def test_long_overviews_are_searched_at_their_beginning(db: Connection) -> None:
    add(db, "ann/a", overview="early " + "and " * 5000 + "late")
    assert (found(db, "early"), found(db, "late")) == (["ann/a"], [])


def test_migration_writes_the_documents_of_what_is_there(tmp_path: Path) -> None:
    engine = open_sqlite(tmp_path / "old.db", begin="BEGIN IMMEDIATE")
    config = Config()
    config.set_main_option("script_location", str(Path(migrate.__file__).parent / "migrations"))
    with engine.begin() as db:
        config.attributes["connection"] = db
        command.upgrade(config, "0002")
        for statement in OLD_ROWS.split(";"):
            db.execute(sql(statement))
        migrate.migrate(db)
        every = select(documents.search).order_by(documents.search.c.rowid)
        made = db.execute(every).all()
        for repository_id in (1, 2):
            documents.refresh(db, repository_id)
        assert db.execute(every).all() == made
        assert found(db, "grace word sea", ADMIN) == ["ann/app"]
        assert found(db, "word") == ["library/app"]
    engine.dispose()


@pytest.mark.sqlite
def test_id_that_comes_again_has_no_old_words(db: Connection) -> None:
    """SQLite gives the id of a repository that is gone to the next one."""
    first = add(db, "ann/old", "ancient")
    db.execute(delete(rows).where(rows.c.id == first))
    assert add_repository(db, "ann/new") == first
    assert (found(db, "ancient"), found(db, "new"), documents_of(db)) == ([], ["ann/new"], 1)


# -- suggestions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("redis", ["library/redis", "ann/redis", "library/redis-sentinel"]),
        ("red", ["ann/redis", "library/redis", "library/redis-sentinel"]),
        ("ann/", ["ann/redis"]),
        ("ann/re", ["ann/redis"]),
        ("redis sen", ["library/redis-sentinel"]),
        ("memory", []),
        ("", []),
    ],
)
def test_suggestions(shelf: Connection, text: str, names: list[str]) -> None:
    suggested = [card.name for card in search.suggest(shelf, EVERYBODY, text, limit=3)]
    assert suggested == names


def test_moment_of_a_push_orders_to_the_microsecond(db: Connection) -> None:
    for name, shift in (("ann/a", 0), ("ann/b", 2), ("ann/c", 1)):
        repository_id = add(db, name, "word")
        pushed = NOW + timedelta(microseconds=shift)
        db.execute(update(rows).where(rows.c.id == repository_id).values(last_pushed_at=pushed))
    assert found(db, "word", sort="pushed") == ["ann/b", "ann/c", "ann/a"]
