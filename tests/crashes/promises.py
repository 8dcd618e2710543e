"""What a registry that was killed must keep, and how a start after that is looked at."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from registry.errors import Problem, RegistryError
from registry.jobs.sweep import Sweep
from registry.local import LocalRegistry, Rules
from registry.names import Tag
from storage.digest import Digest
from tests.registry.content import image, name, pull, read_blob
from tests.registry.damage import check, kinds
from tests.registry.registries import Stores, opened

THERE, GONE, MAYBE = "there", "gone", "maybe"
"""What was acknowledged; of an operation that was begun and not acknowledged nobody knows."""

Promises = Mapping[str, str]
"""Key → one of the three. A key is `blob|repository|text` or `tag|repository|tag|layers, by commas`."""

_ABSENT = {Problem.BLOB_UNKNOWN, Problem.MANIFEST_UNKNOWN, Problem.NAME_UNKNOWN}


@contextlib.asynccontextmanager
async def registry_in(data: Path, *, prepare: bool = False) -> AsyncIterator[tuple[LocalRegistry, Stores]]:
    """Open the data directory, as a start of the server does; it need not prepare the store each time."""
    async with opened(data) as stores:
        if prepare:
            await stores.store.prepare()
        yield stores.registry(Rules(sparse="none")), stores


async def require_kept(data: Path, promises: Promises) -> None:
    """Require all that was promised, byte for byte, and that rows and bytes agree once it was swept."""
    async with registry_in(data) as (registry, stores):
        # Uploads that were cut off lie idle for longer than anybody waits.
        await Sweep(stores.metadata, stores.store, 0).sweep_uploads(datetime.now(UTC) + timedelta(hours=1))
        report = await check(stores.metadata, stores.store)
        assert report.is_clean, kinds(report)
        for key, state in promises.items():
            found = await _find(registry, key)
            assert found or state != THERE, f"{key} was acknowledged and is lost"
            assert not found or state != GONE, f"{key} is back"


async def _find(registry: LocalRegistry, key: str) -> bool:
    """Tell whether it is there; what is must be whole."""
    kind, repository, *rest = key.split("|")
    try:
        if kind == "blob":
            content = rest[0].encode()
            assert await read_blob(registry, repository, Digest.of(content)) == content
        else:
            tag, layers = rest
            wanted = image(layers=[each.encode() for each in layers.split(",")])
            found = await registry.get_manifest(name(repository), Tag(tag))
            assert found.content == wanted.content
            assert await pull(registry, repository, wanted.digest)
    except RegistryError as error:
        if error.problem in _ABSENT:
            return False
        raise
    return True
