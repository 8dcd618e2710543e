"""How many uploads one account may have begun and not finished."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import func, select, update

from auth.identity import Identity
from registry.errors import Problem, RegistryError
from registry.interface import Chunk
from registry.local import LocalRegistry, Rules
from storage.metadata import schema
from storage.metadata.engine import Connection
from tests.registry.content import body, name
from tests.registry.registries import Stores

APP: Final = name("team/app")
ADMINS: Final = {
    each: Identity(number, each, is_admin=True) for number, each in enumerate(("alice", "bob"), 1)
}
RULES: Final = Rules(uploads=3)


def registry_for(stores: Stores, account: str) -> LocalRegistry:
    return stores.registry(RULES, ADMINS[account])


async def begin(registry: LocalRegistry) -> str:
    return (await registry.start_upload(APP, "sha256")).id


async def refusal_of(registry: LocalRegistry) -> RegistryError | None:
    """Begin one more; return why it may not be."""
    try:
        await begin(registry)
    except RegistryError as error:
        return error
    return None


async def count(stores: Stores) -> int:
    """Return how many uploads there are."""
    found = await stores.metadata.read(
        lambda db: db.execute(select(func.count(schema.uploads.c.id))).scalar()
    )
    return found or 0


async def set_back(stores: Stores, upload_id: str, by: timedelta) -> None:
    """Let it be as long ago that something was added to an upload."""

    def query(db: Connection) -> None:
        moment = datetime.now(UTC) - by
        db.execute(update(schema.uploads).where(schema.uploads.c.id == upload_id).values(touched_at=moment))

    await stores.metadata.write(query)


async def test_one_account_begins_so_many_uploads_at_a_time(stores: Stores) -> None:
    registry = registry_for(stores, "alice")
    begun = [await begin(registry) for _ in range(3)]
    refused = await refusal_of(registry)
    assert refused is not None
    assert (refused.problem, refused.retry_after) == (Problem.TOO_MANY_REQUESTS, 30)
    assert "3 uploads" in refused.message
    # Nothing was left of the one that was refused, and those that are under way go on.
    assert await count(stores) == 3
    await registry.append_upload(APP, begun[0], Chunk(body(b"content")))
    await registry.cancel_upload(APP, begun[0])
    assert await refusal_of(registry) is None


async def test_each_account_counts_for_itself(stores: Stores) -> None:
    alice, bob = registry_for(stores, "alice"), registry_for(stores, "bob")
    for _ in range(3):
        await begin(alice)
    assert await refusal_of(alice) is not None
    assert await refusal_of(bob) is None


async def test_without_accounts_all_count_together(stores: Stores) -> None:
    for _ in range(3):
        await begin(stores.registry(RULES))
    assert await refusal_of(stores.registry(RULES)) is not None


async def test_an_upload_that_was_forgotten_makes_room(stores: Stores) -> None:
    registry = registry_for(stores, "alice")
    begun = [await begin(registry) for _ in range(3)]
    await set_back(stores, begun[1], timedelta(hours=3))
    await set_back(stores, begun[2], timedelta(hours=2))
    assert await refusal_of(registry) is None
    assert await count(stores) == 3
    async with stores.store.hold(begun[2]):  # the next one, but that somebody just went on with it
        refused = await refusal_of(registry)
    assert refused is not None
    assert refused.problem is Problem.TOO_MANY_REQUESTS
