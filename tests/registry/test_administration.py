"""What administrators look at, and nobody else."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import pytest

from auth.identity import ANONYMOUS, SYSTEM, Identity, Limit, Permission
from registry.administration import Administration, Job, NamespaceUse
from registry.errors import Problem
from registry.setting_layers import load
from storage.metadata import leases
from storage.metadata.engine import Metadata, MetadataUnavailable
from tests.registry.accounts import add_account
from tests.registry.content import image, push, push_blob, refused
from tests.registry.registries import Stores

Act = Callable[[Administration], Callable[[Identity], Awaitable[Any]]]

OPERATIONS: Final[dict[str, Act]] = {
    "namespaces": lambda a: a.namespaces,
    "jobs": lambda a: a.jobs,
    "settings": lambda a: a.settings,
    "health": lambda a: a.health,
}


@pytest.fixture
def administration(stores: Stores) -> Administration:
    flags = {"admin_password": "a long secret of the tests"}
    return Administration(stores.metadata, stores.store, load(environ={}, config_file=None, flags=flags))


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_it_is_for_administrators(
    stores: Stores, administration: Administration, operation: str
) -> None:
    act = OPERATIONS[operation](administration)
    root = await add_account(stores, "root", is_admin=True)
    await act(root)
    await act(SYSTEM)
    with refused(Problem.UNAUTHORIZED):
        await act(ANONYMOUS)
    for who in (
        await add_account(stores, "ann"),
        replace(root, limit=Limit(1, Permission.DELETE)),
        replace(root, limit=Limit(1, Permission.ADMIN, frozenset({1}))),
        Identity(None, "outside", external=True),
    ):
        with refused(Problem.DENIED):
            await act(who)


async def test_namespaces_with_what_they_take(stores: Stores, administration: Administration) -> None:
    registry = stores.registry()
    await push_blob(registry, "team/app", b"alone")
    for repository in ("team/app", "team/other", "away/app"):
        await push_blob(registry, repository, b"shared")
    first = await administration.namespaces(SYSTEM, limit=1)
    assert first.items == [NamespaceUse("away", 1, exclusive=0, shared=6)]
    second = await administration.namespaces(SYSTEM, limit=1, cursor=first.next)
    assert (second.items, second.next) == ([NamespaceUse("team", 2, exclusive=5, shared=6)], None)
    with refused(Problem.PAGE_INVALID):
        await administration.namespaces(SYSTEM, cursor="none")


async def test_namespaces_are_not_added_up_for_each_look(
    stores: Stores, administration: Administration
) -> None:
    await push_blob(stores.registry(), "team/app", b"one")
    before = await administration.namespaces(SYSTEM)
    await push_blob(stores.registry(), "team/app", b"two")
    assert await administration.namespaces(SYSTEM) == before


async def test_jobs(stores: Stores, administration: Administration) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    for job, end in (("sweep", now + hour), ("collect", now - hour)):
        await stores.metadata.write(leases.take, job, "me", now=now - 2 * hour, expires_at=end)
    await stores.metadata.write(leases.note, "collect", began_at=now - 2 * hour, seconds=0.5, failed=False)
    assert await administration.jobs(SYSTEM) == [
        Job("collect", "me", now - hour, False, now - 2 * hour, 0.5, failed=False),
        Job("sweep", "me", now + hour, current=True),
    ]


async def test_secrets_are_masked(administration: Administration) -> None:
    rows = {row.name: row for row in await administration.settings(SYSTEM)}
    assert "secret of the tests" not in str(rows)
    assert rows["admin_password"].source == "--admin-password"


async def test_health(stores: Stores, administration: Administration, data: Path) -> None:
    await push(stores.registry(), {"team/app": image(tags=["v1"], layers=[b"layer"])})
    health = await administration.health(SYSTEM)
    assert health.database
    assert health.space is not None
    assert 0 < health.space.free <= health.space.total
    assert health.totals is not None
    assert (health.totals.tags, health.totals.manifests, health.totals.blobs) == (1, 1, 2)
    assert health.totals.size == len(b"{}") + len(b"layer")


async def test_health_of_a_database_that_takes_no_writes(stores: Stores) -> None:
    class Stuck:
        async def write(self, *_: object) -> None:
            raise MetadataUnavailable("stuck")

        async def read(self, *_: object) -> None:
            raise MetadataUnavailable("stuck")

    loaded = load(environ={}, config_file=None, flags={})
    health = await Administration(cast(Metadata, Stuck()), stores.store, loaded).health(SYSTEM)
    assert (health.database, health.totals) == (False, None)
