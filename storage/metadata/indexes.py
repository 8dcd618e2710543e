"""Which manifests list another, and what it costs to read many of them."""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection, select

from storage.metadata.schema import manifest_references, manifests


def listing(db: Connection, repository_id: int, digest: str, *, limit: int) -> Sequence[str]:
    """Return the digests of manifests of the repository that list the manifest."""
    c = manifest_references.c
    statement = select(c.digest).where(
        c.repository_id == repository_id, c.target == digest, c.kind == "manifest"
    )
    return db.execute(statement.order_by(c.digest).limit(limit)).scalars().all()


def affordable(
    db: Connection, repository_id: int, digests: Iterable[str], *, max_bytes: int
) -> Sequence[str]:
    """Return those of the manifests, in order, that have `max_bytes` together at most.

    One that is too large is left out, and those after it are not. What the repository lacks is left out.
    """
    wanted = list(dict.fromkeys(digests))
    statement = select(manifests.c.digest, manifests.c.size).where(
        manifests.c.repository_id == repository_id, manifests.c.digest.in_(wanted)
    )
    sizes = {row.digest: row.size for row in db.execute(statement)}
    found: list[str] = []
    for digest in wanted:
        if digest in sizes and sizes[digest] <= max_bytes:
            max_bytes -= sizes[digest]
            found.append(digest)
    return found
