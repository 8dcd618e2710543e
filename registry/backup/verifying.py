"""Reading all of a backup, to find out whether it could be restored."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from registry.backup.sealing import SealBroken
from registry.backup.vault import BackupError, Vault
from registry.move import AT_ONCE, Progress
from registry.several import work_on
from storage.blobs import BlobMissing
from storage.digest import Digest, digest_of


@dataclass(slots=True)
class Verified:
    """What was read, `size` in bytes of content, and what is wrong, in words, by what it is wrong with."""

    snapshots: int = 0
    blobs: int = 0
    size: int = 0
    wrong: dict[str, str] = field(default_factory=dict)


async def verify(vault: Vault, snapshots: Sequence[str], progress: Progress) -> Verified:
    """Read and hash every file of the snapshots and every blob that one of them names, once."""
    found = Verified()
    wanted: dict[Digest, int] = {}
    for snapshot in snapshots:
        try:
            wanted.update(await _blobs_of(vault, snapshot))
            found.snapshots += 1
        except BackupError as error:
            found.wrong[f"snapshot {snapshot}"] = str(error)
    progress.expect("blobs", sum(wanted.values()))
    await work_on(_each(wanted), partial(_verify_blob, vault, found, progress), at_once=AT_ONCE)
    return found


async def _blobs_of(vault: Vault, snapshot: str) -> Mapping[Digest, int]:
    """Read the files of a snapshot and return the blobs that it names."""
    manifest = await vault.manifest(snapshot)
    async for _ in vault.part(snapshot, manifest, "metadata.db"):
        pass
    blobs = {digest: size async for digest, size in vault.blobs(snapshot, manifest)}
    if (len(blobs), sum(blobs.values())) != (manifest.blobs, manifest.blobs_size):
        raise BackupError(f"snapshot {snapshot}: blobs.txt does not list what the manifest counts")
    return blobs


async def _each(wanted: Mapping[Digest, int]) -> AsyncIterator[tuple[Digest, int]]:
    for each in wanted.items():
        yield each


async def _verify_blob(vault: Vault, found: Verified, progress: Progress, blob: tuple[Digest, int]) -> None:
    digest, size = blob
    try:
        read = await digest_of(vault.read(vault.sealing.blob(digest)), digest.algorithm)
    except BlobMissing:
        found.wrong[digest] = "missing"
    except SealBroken as error:
        found.wrong[digest] = str(error)
    except OSError as error:
        found.wrong[digest] = f"cannot be read: {error.strerror or error}"
    else:
        if read == digest:
            found.blobs += 1
            found.size += size
        else:
            found.wrong[digest] = "the bytes are not what the digest says"
    progress.advance(size)
