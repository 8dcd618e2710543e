"""Manifests for the tests, in a line each."""

import json
from collections.abc import Sequence
from typing import Any, Final

from registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from storage.digest import Digest
from tests.registry.web.live import Client, Pushable, descriptor

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"

ABSENT: Final = Digest.of(b"nobody has pushed this")
"""The digest of what is nowhere."""


def image(*layers: bytes, config: bytes = b"{}", media_type: str = OCI_MANIFEST, **more: object) -> Pushable:
    """An image of these layers; None leaves a member out."""
    return pushable(
        media_type,
        config=descriptor(CONFIG, config),
        layers=[descriptor(LAYER, layer) for layer in layers],
        **more,
    )


def index(*children: dict[str, Any], media_type: str = OCI_INDEX, **more: object) -> Pushable:
    """An index of these descriptors: alone, it names nothing that has to be there."""
    return pushable(media_type, manifests=list(children), **more)


def pushable(media_type: str, **members: object) -> Pushable:
    """A manifest of these members."""
    document = {"schemaVersion": 2, "mediaType": media_type, **members}
    return Pushable(
        media_type,
        json.dumps({k: v for k, v in document.items() if v is not None}, ensure_ascii=False).encode(),
    )


async def push_image(
    client: Client, name: str, *tags: str, layers: Sequence[bytes] = (b"layer",)
) -> Pushable:
    """Push an image with its blobs, by its digest if there are no tags."""
    manifest = image(*layers)
    for blob in (b"{}", *layers):
        await client.push_blob(name, blob)
    for tag in tags or (None,):
        await client.push_manifest(name, tag, manifest)
    return manifest


__all__ = [
    "ABSENT",
    "CONFIG",
    "DOCKER_LIST",
    "DOCKER_MANIFEST",
    "LAYER",
    "OCI_INDEX",
    "OCI_MANIFEST",
    "image",
    "index",
    "push_image",
    "pushable",
]
