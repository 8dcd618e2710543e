"""Holding rows and bytes against each other: nothing is missing, and nothing is there that nobody needs."""

from sqlalchemy import Connection, select

from storage.blobs import BlobStore
from storage.metadata import reachability, schema
from tests.registry.registries import Stores
from tests.registry.storm import years_later


async def assert_no_garbage(stores: Stores) -> None:
    """Fail unless each row is needed by a tag, and exactly the bytes are there that rows name."""
    rows, locations = await stores.metadata.read(_remains)
    assert rows == {}, rows
    found = await kept_bytes(stores.store)
    assert found == locations, (found - locations, locations - found)


async def kept_bytes(store: BlobStore) -> set[str]:
    """Return the locations of all bytes."""
    return {each.location async for page in store.walk() for each in page}


def _remains(db: Connection) -> tuple[dict[str, list[object]], set[str]]:
    """Return rows that nobody needs, by kind, and the locations of all blobs."""
    manifests, references, links = (
        schema.manifests.c,
        schema.manifest_references.c,
        schema.blob_links.c,
    )
    loose: list[object] = []
    for repository_id in db.execute(select(schema.repositories.c.id)).scalars().all():
        digests = db.execute(select(manifests.digest).where(manifests.repository_id == repository_id))
        wanted = set(digests.scalars())
        loose += wanted - reachability.ways(db, repository_id, wanted, young=years_later()).kept
    needed = (
        select(references.target)
        .where(references.repository_id == links.repository_id, references.target == links.digest)
        .exists()
    )
    linked = select(links.digest).where(links.digest == schema.blobs.c.digest).exists()
    found: dict[str, list[object]] = {
        "manifests": loose,
        "links": list(db.execute(select(links.digest).where(~needed)).scalars()),
        "blobs": list(db.execute(select(schema.blobs.c.digest).where(~linked)).scalars()),
        "removed": list(db.execute(select(schema.removed_content.c.digest)).scalars()),
        "uploads": list(db.execute(select(schema.uploads.c.id)).scalars()),
    }
    locations = set(db.execute(select(schema.blobs.c.location)).scalars())
    return {kind: rows for kind, rows in found.items() if rows}, locations
