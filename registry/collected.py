"""What garbage collection did."""

from dataclasses import dataclass

from storage.metadata.removed import NOTHING, Sizes


@dataclass(slots=True)
class Collected:
    """What a turn came to: rows taken, and bytes that are gone from the store."""

    manifests: int = 0
    links: int = 0
    blobs: int = 0
    """Whose bytes wait in quarantine now."""
    deleted: int = 0
    """Blobs whose bytes are gone."""
    freed: int = 0
    """Bytes."""
    failed: int = 0
    """Blobs whose bytes could not be deleted, which is tried again."""
    waiting: Sizes = NOTHING
    """What is in quarantine at the end."""
