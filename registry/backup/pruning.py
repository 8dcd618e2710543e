"""Removing old snapshots from a backup, and the blobs that none of the others names."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from registry.backup.vault import Vault


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed; `size` in bytes, as they were stored."""

    snapshots: int
    blobs: int
    size: int


# Blobs that are deleted at once.
_BATCH: Final = 1000


async def prune(vault: Vault, keep: int, require_alone: Callable[[], Awaitable[None]]) -> Pruned:
    """Keep the newest snapshots, and the blobs that they name.

    Nobody else may write meanwhile: `require_alone` is asked again and again, and raises if somebody does.

    What makes a snapshot one goes first, and blobs last: cut off, it leaves what the next one removes.

    Raises:
        BackupError: a snapshot that is to stay cannot be read; blobs were left alone.
    """
    names = await vault.snapshots()
    for snapshot in (*names[:-keep], *await vault.broken_snapshots()):
        # One after the other: what makes it a snapshot is the first.
        first, *others = await vault.files_of(snapshot)
        await vault.objects.delete([first])
        await vault.objects.delete(others)
    unnamed = await vault.stored_blobs()
    for snapshot in names[-keep:]:
        async for digest, _ in vault.blobs(snapshot, await vault.manifest(snapshot)):
            unnamed.pop(vault.sealing.blob(digest), None)
    names_of_blobs = sorted(unnamed)
    for start in range(0, len(names_of_blobs), _BATCH):
        await require_alone()
        await vault.objects.delete(names_of_blobs[start : start + _BATCH])
    await vault.objects.tidy()
    return Pruned(len(names[:-keep]), len(unnamed), sum(unnamed.values()))
