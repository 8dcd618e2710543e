"""Authorized: a Registry behind access control, one for each request.

It writes out every method of the protocol and inherits none: a verb added later does not exist here until
somebody decides who may use it.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from registry.interface import (
    Blob,
    BlobLink,
    Chunk,
    Condition,
    Descriptor,
    Manifest,
    Page,
    PushedManifest,
    Registry,
    Upload,
)
from registry.names import Reference, RepositoryName, Tag
from storage.digest import Digest

Action = Literal["pull", "push", "delete"]


@dataclass(frozen=True, slots=True)
class Mount:
    """A mount that is allowed as far as `may_read`; the names are those of now."""

    repository: RepositoryName
    source: RepositoryName | None
    may_read: bool


class Access(Protocol):
    """What the caller of one request may do."""

    async def require(self, repository: RepositoryName, action: Action) -> RepositoryName:
        """Return what the repository is called now, which may be another name, if the caller may do this.

        Raises:
            RegistryError: UNAUTHORIZED where a better token may help, else DENIED.
        """

    async def require_mount(self, repository: RepositoryName, source: RepositoryName | None) -> Mount:
        """Require push on `repository`, and find out whether the caller may pull from `source` as well.

        Raises:
            RegistryError: as `require` does; UNAUTHORIZED also where only the token lacks the pull.
        """

    async def require_catalog(self) -> None:
        """Return if the caller may list repositories, each according to its rights.

        Raises:
            RegistryError: UNAUTHORIZED.
        """


@dataclass(frozen=True, slots=True)
class Authorized:
    """A Registry that asks `access` before each call."""

    registry: Registry
    access: Access

    async def find_manifest(self, repository: RepositoryName, reference: Reference) -> Descriptor:
        repository = await self.access.require(repository, "pull")
        return await self.registry.find_manifest(repository, reference)

    async def get_manifest(self, repository: RepositoryName, reference: Reference) -> Manifest:
        repository = await self.access.require(repository, "pull")
        return await self.registry.get_manifest(repository, reference)

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
        repository = await self.access.require(repository, "push")
        return await self.registry.put_manifest(
            repository, body, media_type, digest=digest, tags=tags, condition=condition
        )

    async def delete_manifest(self, repository: RepositoryName, digest: Digest) -> None:
        repository = await self.access.require(repository, "delete")
        await self.registry.delete_manifest(repository, digest)

    async def delete_tag(self, repository: RepositoryName, tag: Tag) -> None:
        repository = await self.access.require(repository, "delete")
        await self.registry.delete_tag(repository, tag)

    async def find_blob(self, repository: RepositoryName, digest: Digest) -> Descriptor:
        repository = await self.access.require(repository, "pull")
        return await self.registry.find_blob(repository, digest)

    async def open_blob(self, repository: RepositoryName, digest: Digest) -> Blob:
        repository = await self.access.require(repository, "pull")
        return await self.registry.open_blob(repository, digest)

    async def link_blob(self, repository: RepositoryName, digest: Digest) -> BlobLink | None:
        repository = await self.access.require(repository, "pull")
        return await self.registry.link_blob(repository, digest)

    async def delete_blob(self, repository: RepositoryName, digest: Digest) -> None:
        repository = await self.access.require(repository, "delete")
        await self.registry.delete_blob(repository, digest)

    async def mount_blob(
        self, repository: RepositoryName, digest: Digest, source: RepositoryName | None
    ) -> Descriptor | None:
        mount = await self.access.require_mount(repository, source)
        if not mount.may_read:
            return None
        return await self.registry.mount_blob(mount.repository, digest, mount.source)

    async def start_upload(self, repository: RepositoryName, algorithm: str) -> Upload:
        repository = await self.access.require(repository, "push")
        return await self.registry.start_upload(repository, algorithm)

    async def get_upload(self, repository: RepositoryName, upload_id: str) -> Upload:
        repository = await self.access.require(repository, "push")
        return await self.registry.get_upload(repository, upload_id)

    async def append_upload(self, repository: RepositoryName, upload_id: str, chunk: Chunk) -> Upload:
        repository = await self.access.require(repository, "push")
        return await self.registry.append_upload(repository, upload_id, chunk)

    async def finish_upload(
        self, repository: RepositoryName, upload_id: str, digest: Digest, chunk: Chunk
    ) -> Descriptor:
        repository = await self.access.require(repository, "push")
        return await self.registry.finish_upload(repository, upload_id, digest, chunk)

    async def cancel_upload(self, repository: RepositoryName, upload_id: str) -> None:
        repository = await self.access.require(repository, "push")
        await self.registry.cancel_upload(repository, upload_id)

    async def list_tags(self, repository: RepositoryName, *, last: str, limit: int) -> Page[str]:
        repository = await self.access.require(repository, "pull")
        return await self.registry.list_tags(repository, last=last, limit=limit)

    async def list_repositories(self, *, last: str, limit: int) -> Page[str]:
        await self.access.require_catalog()
        return await self.registry.list_repositories(last=last, limit=limit)

    async def list_referrers(
        self,
        repository: RepositoryName,
        subject: Digest,
        *,
        artifact_type: str | None,
        last: str,
        limit: int,
    ) -> Page[Descriptor]:
        repository = await self.access.require(repository, "pull")
        return await self.registry.list_referrers(
            repository, subject, artifact_type=artifact_type, last=last, limit=limit
        )
