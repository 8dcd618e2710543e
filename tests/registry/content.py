"""Content as data: `await push(registry, {"team/app": image(tags=["v1"], layers=[b"a"])})`.

And what clients do with content, a line each.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pytest

from registry.errors import Problem, RegistryError
from registry.interface import Chunk, Condition, PushedManifest, Registry
from registry.manifest import OCI_INDEX, OCI_MANIFEST
from registry.names import Reference, RepositoryName, Tag, parse_name
from storage.digest import Digest

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"

ANY: Final = Condition()


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest with all that it names; `tags` are what it is pushed under, `media_type` as what."""

    content: bytes
    media_type: str | None
    tags: tuple[str, ...] = ()
    blobs: tuple[bytes, ...] = ()
    children: tuple["Content", ...] = ()

    @property
    def digest(self) -> Digest:
        """The digest that most clients give it."""
        return Digest.of(self.content)

    @property
    def descriptor(self) -> dict[str, Any]:
        """How another manifest names it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


def describe(content: bytes, media_type: str = LAYER, **fields: object) -> dict[str, Any]:
    """Return the descriptor of a blob."""
    return {"mediaType": media_type, "digest": Digest.of(content), "size": len(content), **fields}


def image(
    *,
    tags: Sequence[str] = (),
    layers: Sequence[bytes | Mapping[str, object]] = (),
    config: bytes = b"{}",
    media_type: str = OCI_MANIFEST,
    **fields: object,
) -> Content:
    """Return an image; `fields` are added to the document, or taken from it where they are None.

    A layer is its bytes, or a descriptor where nobody pushes the bytes.
    """
    blobs = [layer for layer in layers if isinstance(layer, bytes)]
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": describe(config, CONFIG),
        "layers": [describe(layer) if isinstance(layer, bytes) else layer for layer in layers],
    }
    return Content(_encode({**document, **fields}), media_type, tuple(tags), (config, *blobs))


def index(
    *children: Content, tags: Sequence[str] = (), media_type: str = OCI_INDEX, **fields: object
) -> Content:
    """Return an index of the children; `fields` as for an image."""
    document = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [child.descriptor for child in children],
    }
    return Content(_encode({**document, **fields}), media_type, tuple(tags), children=children)


def manifest(media_type: str | None, *, tags: Sequence[str] = (), **document: object) -> Content:
    """Return a manifest that is just this document."""
    return Content(_encode(document), media_type, tuple(tags))


def _encode(document: Mapping[str, object]) -> bytes:
    return json.dumps({name: value for name, value in document.items() if value is not None}).encode()


def name(text: str) -> RepositoryName:
    """Return the repository's name in full."""
    return parse_name(text)


# What clients do


async def push(registry: Registry, contents: Mapping[str, Content | Sequence[Content]]) -> None:
    """Push the contents of each repository, blobs and children first."""
    for repository, content in contents.items():
        for each in [content] if isinstance(content, Content) else content:
            await _push_all(registry, repository, each)


async def _push_all(registry: Registry, repository: str, content: Content) -> None:
    for blob in content.blobs:
        await push_blob(registry, repository, blob)
    for child in content.children:
        await _push_all(registry, repository, child)
    await put(registry, repository, content)


async def put(
    registry: Registry,
    repository: str,
    content: Content,
    *,
    digest: Digest | None = None,
    condition: Condition = ANY,
) -> PushedManifest:
    """Push a manifest alone, under its tags."""
    return await registry.put_manifest(
        name(repository),
        body(content.content),
        content.media_type,
        digest=digest,
        tags=[Tag(tag) for tag in content.tags],
        condition=condition,
    )


async def push_blob(registry: Registry, repository: str, content: bytes, algorithm: str = "sha256") -> Digest:
    """Upload a blob with one request after the first, as containerd does."""
    digest = Digest.of(content, algorithm)
    upload = await registry.start_upload(name(repository), algorithm)
    await registry.finish_upload(name(repository), upload.id, digest, Chunk(body(content)))
    return digest


async def read_blob(registry: Registry, repository: str, digest: Digest) -> bytes:
    """Read a whole blob, and hold its descriptor against it."""
    blob = await registry.open_blob(name(repository), digest)
    try:
        content = b"".join([data async for data in blob.reader.read(0, blob.descriptor.size)])
    finally:
        await blob.reader.close()
    assert blob.descriptor.digest == digest
    assert blob.descriptor.size == len(content)
    return content


async def pull(registry: Registry, repository: str, reference: Reference) -> Mapping[Digest, bytes]:
    """Pull a manifest with all that it names; fails where something is missing or not what it should be."""
    found = await registry.get_manifest(name(repository), reference)
    pulled = {found.descriptor.digest: found.content}
    document = json.loads(found.content)
    for each in [document.get("config"), *document.get("layers", [])]:
        if each is not None:
            digest = Digest(each["digest"])
            pulled[digest] = await read_blob(registry, repository, digest)
    for each in document.get("manifests", []):
        pulled.update(await pull(registry, repository, Digest(each["digest"])))
    assert all(digest.matches(content) for digest, content in pulled.items())
    return pulled


async def tags_of(registry: Registry, repository: str) -> Sequence[str]:
    """List every tag."""
    return (await registry.list_tags(name(repository), last="", limit=1000)).items


async def repositories_of(registry: Registry) -> Sequence[str]:
    """List every repository."""
    return (await registry.list_repositories(last="", limit=1000)).items


async def body(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield a request's body."""
    for part in parts:
        yield part


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    """Yield a request's body whose client goes away before its end."""
    for part in parts:
        yield part
    raise ConnectionResetError("the client went away")


@contextlib.contextmanager
def refused(problem: Problem) -> Iterator[pytest.ExceptionInfo[RegistryError]]:
    """Expect this refusal."""
    with pytest.raises(RegistryError) as caught:
        yield caught
    assert caught.value.problem is problem
