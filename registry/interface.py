"""The Registry protocol: the verbs of the OCI Distribution specification, and the values they speak of.

Everything optional is a wrapper that implements the same protocol around another Registry. All methods raise
`RegistryError` to refuse. The ids in brackets are the specification's endpoints.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from registry.names import Reference, RepositoryName, Tag
from storage.blobs import BlobReader
from storage.digest import Digest

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What content is, without its bytes (image specification, "Descriptor"); `size` in bytes."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] | None = None
    warning: str | None = None
    """What to tell whoever pulls a manifest: it is deprecated."""

    def to_json(self) -> dict[str, Any]:
        """Return the descriptor as the image specification writes it."""
        value: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type is not None:
            value["artifactType"] = self.artifact_type
        if self.annotations:
            value["annotations"] = dict(self.annotations)
        return value


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest with its exact bytes."""

    descriptor: Descriptor
    content: bytes


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that is open for reading; whoever asked for it closes the reader."""

    descriptor: Descriptor
    reader: BlobReader


@dataclass(frozen=True, slots=True)
class BlobLink:
    """A blob that is to be fetched elsewhere: from `url`, for a while."""

    descriptor: Descriptor
    url: str


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload under way: `offset` bytes are safe."""

    id: str
    offset: int
    chunk_min_length: int | None = None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes on their way into an upload.

    `start` is where the client says that they belong, `length` how many it says there are.
    """

    data: AsyncIterator[bytes]
    start: int | None = None
    length: int | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """What a tag must mean for a push to change it (RFC 9110, sections 13.1.1 and 13.1.2).

    Each set holds digests, or "*" for any; None means that nothing was said.
    """

    match: frozenset[str] | None = None
    none_match: frozenset[str] | None = None

    def holds(self, current: Digest | None) -> bool:
        """Tell whether a tag that means `current` (None: there is no such tag) may be changed."""
        names = frozenset[str]() if current is None else frozenset({current, "*"})
        if self.match is not None and not self.match & names:
            return False
        return self.none_match is None or not self.none_match & names


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """What a push of a manifest came to."""

    descriptor: Descriptor
    subject: Digest | None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """A part of a list; `more` says that another follows."""

    items: Sequence[T]
    more: bool


class Registry(Protocol):
    """The verbs of the specification."""

    async def find_manifest(self, repository: RepositoryName, reference: Reference) -> Descriptor:
        """Say what a reference means [end-3, HEAD]."""

    async def get_manifest(self, repository: RepositoryName, reference: Reference) -> Manifest:
        """Return a manifest [end-3]."""

    async def put_manifest(
        self,
        repository: RepositoryName,
        body: AsyncIterator[bytes],
        media_type: str | None,
        *,
        digest: Digest | None,
        tags: Sequence[Tag],
        condition: Condition,
    ) -> PushedManifest:
        """Keep a manifest and let the tags mean it, all or nothing [end-7].

        `digest` is what the client says it is, if it says so. The body is read once the caller may push.
        """

    async def delete_manifest(self, repository: RepositoryName, digest: Digest) -> None:
        """Delete a manifest with its tags [end-9]."""

    async def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        """Delete a tag, not what it means [end-9]."""

    async def find_blob(self, repository: RepositoryName, digest: Digest) -> Descriptor:
        """Say whether a blob is there [end-2, HEAD]."""

    async def open_blob(self, repository: RepositoryName, digest: Digest) -> Blob:
        """Open a blob for reading [end-2]."""

    async def link_blob(self, repository: RepositoryName, digest: Digest) -> BlobLink | None:
        """Say where else a blob can be fetched [end-2].

        Returns:
            None where it is to be opened here.
        """

    async def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        """Take a blob from the repository [end-10]."""

    async def mount_blob(
        self, repository: RepositoryName, digest: Digest, source: RepositoryName | None
    ) -> Descriptor | None:
        """Take a blob over from another repository, from any where `source` is None [end-11].

        Returns:
            None when that cannot be, for whatever reason: the client uploads it instead.
        """

    async def start_upload(self, repository: RepositoryName, algorithm: str) -> Upload:
        """Begin an upload whose digest will most likely be of `algorithm` [end-4a]."""

    async def get_upload(self, repository: RepositoryName, upload_id: str) -> Upload:
        """Say how far an upload has come [end-13]."""

    async def append_upload(self, repository: RepositoryName, upload_id: str, chunk: Chunk) -> Upload:
        """Add bytes to an upload [end-5]. What arrived of a chunk that breaks off is kept."""

    async def finish_upload(
        self, repository: RepositoryName, upload_id: str, digest: Digest, chunk: Chunk
    ) -> Descriptor:
        """Add the last bytes, if any, and make the upload a blob [end-6]."""

    async def cancel_upload(self, repository: RepositoryName, upload_id: str) -> None:
        """Give an upload up [end-14]."""

    async def list_tags(self, repository: RepositoryName, *, last: str, limit: int) -> Page[str]:
        """List tags after `last` in byte order [end-8]."""

    async def list_repositories(self, *, last: str, limit: int) -> Page[str]:
        """List the names after `last` that the caller may see, in byte order [`_catalog`]."""

    async def list_referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        artifact_type: str | None,
        last: str,
        limit: int,
    ) -> Page[Descriptor]:
        """List manifests whose subject is `subject`, by digest after `last` [end-12]."""
