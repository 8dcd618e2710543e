"""The data that commands work on: by themselves in a transaction, or as the system through the services."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from registry.access_tokens import AccessTokens
from registry.accounts import StoredThrottle
from registry.catalog import Catalog
from registry.config import Settings
from registry.errors import Problem, RegistryError
from registry.installation import passwords_of, prepare_database
from registry.invitations import Invitations
from registry.listing import Listing
from registry.organizations import Organizations
from registry.people import PasswordHashing, People
from storage.metadata.engine import Connection, Metadata

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Hub:
    """The services that commands call on, with SYSTEM as the caller."""

    people: People
    organizations: Organizations
    invitations: Invitations
    access_tokens: AccessTokens
    catalog: Catalog


def change(
    settings: Settings, query: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    """Run a query function in a transaction."""
    return with_metadata(settings, lambda metadata: metadata.write(query, *args, **kwargs))


def with_metadata(settings: Settings, work: Callable[[Metadata], Awaitable[T]]) -> T:
    """Open the database, brought to this program's schema, for one piece of work."""

    async def run() -> T:
        async with opened(settings) as metadata:
            return await work(metadata)

    return asyncio.run(run())


@contextlib.asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Metadata]:
    """Open the database, brought to this program's schema, while the block runs."""
    database = await asyncio.to_thread(prepare_database, settings)
    metadata = database.open()
    try:
        yield metadata
    finally:
        await metadata.close()


def ask(settings: Settings, question: Callable[[Hub], Awaitable[T]], *, missing: str = "") -> T:
    """Ask the services and return their answer; `missing` says what is not there when they find nothing.

    Raises:
        RegistryError: the refusal.
    """
    try:
        return with_metadata(settings, lambda metadata: _ask(settings, metadata, question))
    except RegistryError as error:
        # The services are careful not to tell what there is. Who runs commands may know.
        if missing and error.problem is Problem.NOT_HERE and error.message == error.problem.message:
            raise RegistryError(error.problem, missing) from error
        raise


async def everything(part: Callable[[str | None], Awaitable[Listing[T]]]) -> Sequence[T]:
    """Return all pages of a list as one; `part` gives the one at a cursor."""
    found: list[T] = []
    cursor: str | None = None
    while True:
        listing = await part(cursor)
        found += listing.items
        cursor = listing.next
        if cursor is None:
            return found


async def _ask(settings: Settings, metadata: Metadata, question: Callable[[Hub], Awaitable[T]]) -> T:
    with ThreadPoolExecutor(1) as threads:
        return await question(_hub(settings, metadata, PasswordHashing(passwords_of(settings), threads)))


def _hub(settings: Settings, metadata: Metadata, hashing: PasswordHashing) -> Hub:
    throttle = StoredThrottle(metadata)
    return Hub(
        people=People(metadata, hashing, throttle),
        organizations=Organizations(metadata, settings.organizations),
        invitations=Invitations(metadata, hashing, throttle, signup=settings.signup),
        access_tokens=AccessTokens(metadata),
        catalog=Catalog(metadata, public=settings.default_visibility == "public"),
    )


class Alone:
    """Holds for a store that nobody else writes to."""

    @contextlib.asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Hold nothing."""
        yield
