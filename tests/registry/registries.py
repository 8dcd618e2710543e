"""The registries that the contract suite runs over, by name, and the stores under them.

A further implementation is one entry more in `REGISTRIES`.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from auth.identity import SYSTEM, Identity
from registry.authorized import Action, Authorized, Mount
from registry.interface import Registry
from registry.local import DEFAULT_RULES, LocalRegistry, Rules
from registry.names import RepositoryName
from storage.blobs import BlobStore
from storage.filesystem import FileStore
from storage.metadata.databases import PostgresDatabase, SqliteDatabase
from storage.metadata.engine import Metadata


@dataclass(frozen=True, slots=True)
class Stores:
    """What a registry is made of; each object stands for a process of its own."""

    metadata: Metadata
    store: BlobStore

    def registry(self, rules: Rules = DEFAULT_RULES, caller: Identity = SYSTEM) -> LocalRegistry:
        """Return a registry as one process has it."""
        return LocalRegistry(self.metadata, self.store, rules, caller)


@contextlib.asynccontextmanager
async def opened(data: Path, dsn: str | None = None) -> AsyncIterator[Stores]:
    """Open the stores in a data directory, or PostgreSQL at `dsn`, as one more process does."""
    if dsn is None:
        metadata = SqliteDatabase(data / "longshore.db").open()
    else:
        # Where the machine is busy, nobody is refused for having lost for too long.
        metadata = PostgresDatabase(dsn, pool_size=5, patience=120).open()
    try:
        yield Stores(metadata, FileStore(data))
    finally:
        await metadata.close()


class Everything:
    """An access to which everything is allowed."""

    async def require(self, repository: RepositoryName, action: Action) -> RepositoryName:
        """Allow it."""
        return repository

    async def require_mount(self, repository: RepositoryName, source: RepositoryName | None) -> Mount:
        """Allow it."""
        return Mount(repository, source, may_read=True)

    async def require_catalog(self) -> None:
        """Allow it."""


Open = Callable[[Stores, Rules, Identity], AbstractAsyncContextManager[Registry]]


@contextlib.asynccontextmanager
async def local(stores: Stores, rules: Rules, caller: Identity) -> AsyncIterator[Registry]:
    """Open a LocalRegistry."""
    yield stores.registry(rules, caller)


@contextlib.asynccontextmanager
async def authorized(stores: Stores, rules: Rules, caller: Identity) -> AsyncIterator[Registry]:
    """Open one behind access control, with full rights."""
    yield Authorized(stores.registry(rules, caller), Everything())


REGISTRIES: Final[Mapping[str, Open]] = {"local": local, "authorized": authorized}
