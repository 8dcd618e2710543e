"""Removing old snapshots from a backup, and the blobs that none of the others names."""

from dataclasses import dataclass

from registry.backup.vault import Vault


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was removed; `size` in bytes, as they were stored."""

    snapshots: int
    blobs: int
    size: int


async def prune(vault: Vault, keep: int) -> Pruned:
    """Keep the newest snapshots, and the blobs that they name. Nobody else writes meanwhile.

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
    await vault.objects.delete(sorted(unnamed))
    await vault.objects.tidy()
    return Pruned(len(names[:-keep]), len(unnamed), sum(unnamed.values()))
