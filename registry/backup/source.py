"""Where bytes can be had again that a store has lost."""

from collections.abc import AsyncIterator
from typing import Protocol

from storage.digest import Digest


class BlobSource(Protocol):
    """Something that may have the bytes of a blob: a backup, another registry."""

    async def open(self, digest: Digest) -> AsyncIterator[bytes] | None:
        """Begin to read a blob's bytes; None where it is not there.

        Whoever reads hashes what comes: the source may be damaged as well. What fails in the middle is
        raised by the iterator, as an OSError or a `storage.blobs.BlobStoreError`.
        """
