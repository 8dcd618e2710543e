"""Objects by name, in a directory or a bucket: each is written as a whole or not at all.

Unlike a BlobStore this keeps things under names that the caller gives, and replaces what has
the name already. Names are made of parts between slashes; errors are those of `storage.blobs`.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class ObjectsBusy(Exception):
    """Another process of this machine writes here."""


@dataclass(frozen=True, slots=True)
class NamedObject:
    """An object in a list; its size is in bytes."""

    name: str
    size: int


class Objects(Protocol):
    """A place for objects. As text it is what an operator calls it."""

    async def prepare(self) -> None:
        """Make ready for writing.

        Raises:
            StoreUnavailable: in words for the operator.
        """

    def hold(self) -> AbstractAsyncContextManager[bool]:
        """Keep other processes from writing here, where that can be; yields whether it can.

        Raises:
            ObjectsBusy: another one writes.
        """

    async def put(self, name: str, data: AsyncIterator[bytes], size: int) -> None:
        """Write an object of about `size` bytes, durably. Where `data` raises, nothing was written."""

    def read(self, name: str) -> AsyncIterator[bytes]:
        """Yield the bytes of an object in pieces.

        Raises:
            BlobMissing: there is none.
        """

    def pages(self, prefix: str) -> AsyncIterator[Sequence[NamedObject]]:
        """List the objects whose names begin with `prefix`, which ends with a slash or is empty."""

    async def delete(self, names: Sequence[str]) -> None:
        """Drop objects, durably; those that are gone are no error."""

    async def tidy(self) -> None:
        """Drop what writers have left that were cut off, a day ago or longer."""
