from functools import partial
from typing import Any, Final, get_args

import pytest
from sqlalchemy import update

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from registry.errors import Problem, RegistryError
from registry.listing import encode
from registry.search import Search, Sort
from storage.metadata import documents, repositories
from storage.metadata.engine import Connection
from storage.metadata.schema import repositories as rows
from tests.registry.accounts import NOW, add_account
from tests.registry.registries import Stores

ORDERS: Final[tuple[Sort, ...]] = get_args(Sort)


def add(db: Connection, name: str, *, public: bool = True, **values: Any) -> int:
    repository_id = repositories.ensure(db, name, public=public, make_namespace=True, now=NOW)
    db.execute(update(rows).where(rows.c.id == repository_id).values(summary="a word", **values))
    documents.refresh(db, repository_id)
    return repository_id


@pytest.fixture
async def search(stores: Stores) -> Search:
    """A search among seven public repositories and `ann/hidden`."""
    for number in range(6):
        pushed = NOW if number % 2 else None
        await stores.metadata.write(
            partial(
                add, name=f"bob/r{number}", star_count=number // 2, pull_count=number, last_pushed_at=pushed
            )
        )
    await stores.metadata.write(partial(add, name="library/word", kind="chart"))
    return Search(stores.metadata)


async def read(search: Search, caller: Identity = ANONYMOUS, q: str = "word", **wanted: Any) -> list[str]:
    """Return the names of all pages."""
    names: list[str] = []
    cursor: str | None = None
    while True:
        found = await search.find(caller, q, cursor=cursor, **wanted)
        names += [card.name for card in found.items]
        cursor = found.next
        if cursor is None:
            return names


@pytest.mark.parametrize("q", ["word", ""])
@pytest.mark.parametrize("sort", ORDERS)
async def test_pages_hold_everything_once(search: Search, sort: Sort, q: str) -> None:
    whole = await read(search, q=q, sort=sort, limit=100)
    assert len(whole) == len(set(whole)) == 7
    for limit in (1, 2, 3, 7):
        assert await read(search, q=q, sort=sort, limit=limit) == whole


async def test_no_cursor_leads_to_an_empty_page(search: Search) -> None:
    found = await search.find(ANONYMOUS, "word", limit=7)
    assert (len(found.items), found.next, found.total, found.capped) == (7, None, 7, False)


async def test_best_match_is_first(search: Search) -> None:
    assert (await read(search))[0] == "library/word"
    assert (await read(search, sort="stars"))[:2] == ["bob/r5", "bob/r4"]
    assert await read(search, kind="chart") == ["library/word"]
    assert await read(search, official=True) == ["library/word"]
    assert sorted(await read(search, stars=2)) == ["bob/r4", "bob/r5"]
    assert await read(search, stars=10**30) == []
    assert await read(search, category="sea") == []


@pytest.mark.parametrize(("limit", "count"), [(-1, 1), (0, 1), (3, 3), (100, 7), (10**9, 7)], ids=str)
async def test_pages_are_bounded(search: Search, limit: int, count: int) -> None:
    assert len((await search.find(ANONYMOUS, "word", limit=limit)).items) == count


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        encode(("relevance",)),
        encode(("relevance", "1")),
        encode(("relevance", -1)),
        encode(("relevance", 1001)),
        encode(("relevance", 2**62)),
        encode(("stars", 1, 1, "a")),
        encode((1,)),
        "A" * 5000,
    ],
)
async def test_cursor_of_something_else_is_refused(search: Search, cursor: str) -> None:
    with pytest.raises(RegistryError) as caught:
        await search.find(ANONYMOUS, "word", cursor=cursor)
    assert caught.value.problem is Problem.PAGE_INVALID


@pytest.mark.parametrize("sort", ORDERS)
async def test_cursor_is_of_one_order(search: Search, sort: Sort) -> None:
    cursor = (await search.find(ANONYMOUS, "word", sort=sort, limit=1)).next
    for other in ORDERS:
        if other != sort:
            with pytest.raises(RegistryError):
                await search.find(ANONYMOUS, "word", sort=other, cursor=cursor)


async def test_invented_keys_are_harmless(search: Search) -> None:
    for key in (("pushed", 2**62, "x"), ("pushed", None, ""), ("pushed", -1, "")):
        await search.find(ANONYMOUS, "word", sort="pushed", cursor=encode(key))
    await search.find(ANONYMOUS, "word", sort="stars", cursor=encode(("stars", 2**62, -(2**62), "\u20ac")))


@pytest.mark.parametrize("wanted", [{"kind": "ship"}, {"kind": ""}, {"sort": "best"}, {"kind": "\0"}])
async def test_filters_that_are_none_are_refused(search: Search, wanted: dict[str, Any]) -> None:
    with pytest.raises(RegistryError) as caught:
        await search.find(ANONYMOUS, "word", **wanted)
    assert caught.value.problem is Problem.INVALID
    assert list(caught.value.detail["fields"]) == list(wanted)


@pytest.mark.parametrize("text", ["\0", "\ud800", "word\0", "'; DROP TABLE search; --", '"' * 1_000_000])
async def test_no_text_is_an_error(search: Search, text: str) -> None:
    await search.find(ANONYMOUS, text)
    await search.find(ANONYMOUS, "word", category=text)
    await search.suggest(ANONYMOUS, text)
    await search.find_page(ANONYMOUS, text, number=1, size=5)


async def test_callers_find_what_they_may_see(search: Search, stores: Stores) -> None:
    ann, bob = await add_account(stores, "ann"), await add_account(stores, "eve")
    hidden: int = await stores.metadata.write(partial(add, name="ann/hidden", public=False))
    root = Identity(99, "root", is_admin=True)
    elsewhere = Limit(1, Permission.READ, frozenset({hidden + 1}))
    sees = [ann, root, SYSTEM, Identity(ann.account_id, "ann", limit=Limit(1, Permission.READ))]
    sees += [Identity(ann.account_id, "ann", limit=Limit(1, Permission.READ, frozenset({hidden})))]
    blind = [ANONYMOUS, bob, Identity(None, "outside", external=True)]
    blind += [Identity(ann.account_id, "ann", limit=elsewhere)]
    blind += [Identity(99, "root", is_admin=True, limit=elsewhere)]
    for callers, expected in ((sees, ["ann/hidden"]), (blind, [])):
        for caller in callers:
            assert await read(search, caller, "ann/hidden") == expected
            assert [each.name for each in await search.suggest(caller, "hid")] == expected
            page = await search.find_page(caller, "hidden", number=1, size=25)
            assert [card.name for card in page.items] == expected


async def test_suggestions_say_what_they_are(search: Search) -> None:
    (suggestion,) = await search.suggest(ANONYMOUS, "wor")
    assert (suggestion.name, suggestion.summary) == ("library/word", "a word")
    assert (suggestion.kind, suggestion.is_official) == ("chart", True)
    assert len(await search.suggest(ANONYMOUS, "bob", limit=2)) == 2
    assert len(await search.suggest(ANONYMOUS, "bob", limit=0)) == 1


async def test_numbered_pages(search: Search) -> None:
    whole = await read(search)
    paged = [
        card.name
        for number in (1, 2, 3, 4)
        for card in (await search.find_page(ANONYMOUS, "word", number=number, size=3)).items
    ]
    assert paged == whole
    far = await search.find_page(ANONYMOUS, "word", number=10**9, size=100)
    assert (far.items, far.total) == ([], 7)


async def test_without_a_word_there_is_one_page(search: Search) -> None:
    first = await search.find_page(ANONYMOUS, "", number=1, size=3)
    assert ([card.name for card in first.items], first.total) == (["bob/r5", "bob/r4", "bob/r3"], 3)
    assert (await search.find_page(ANONYMOUS, "", number=2, size=3)).items == ()
