"""Synthetic images: small, deterministic and of every shape that clients push."""

import gzip
import hashlib
import io
import json
import random
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FOREIGN_LAYER = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
ZSTD_BLOCK = 1 << 17  # the format's largest block

Descriptor = dict[str, Any]


def digest_of(blocks: Iterable[bytes]) -> str:
    """The sha256 digest of bytes that come in blocks."""
    hasher = hashlib.sha256()
    for block in blocks:
        hasher.update(block)
    return f"sha256:{hasher.hexdigest()}"


@dataclass(frozen=True)
class Content:
    """Bytes and their media type: a config, a layer, a manifest or an index."""

    media_type: str
    data: bytes

    @cached_property
    def digest(self) -> str:
        """The digest of the bytes."""
        return digest_of([self.data])

    def descriptor(self, **more: object) -> Descriptor:
        """What points at this content, with `more` fields such as a platform."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data), **more}


@dataclass(frozen=True)
class Layer:
    """A layer as it is pushed, and the digest of the tar in it that its image's config names."""

    content: Content
    diff_id: str
    urls: tuple[str, ...] = ()

    def descriptor(self) -> Descriptor:
        """What points at this layer, with the addresses of one that is not pushed."""
        return self.content.descriptor(**({"urls": list(self.urls)} if self.urls else {}))


@dataclass(frozen=True)
class Image:
    """A manifest and the blobs that are pushed with it."""

    manifest: Content
    blobs: tuple[Content, ...]

    @property
    def children(self) -> "tuple[Image, ...]":
        """An image has none: for the sake of `Index`."""
        return ()


@dataclass(frozen=True)
class Index:
    """An index and the images that it lists."""

    manifest: Content
    children: tuple[Image, ...]

    @property
    def blobs(self) -> tuple[Content, ...]:
        """An index has none of its own."""
        return ()


def tar(files: Mapping[str, bytes]) -> bytes:
    """An archive of `files` by path that depends on nothing else."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in sorted(files.items()):
            member = tarfile.TarInfo(path)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def gzip_layer(archive: bytes, level: int = 6) -> Layer:
    """A layer compressed with gzip; level 0 is quick and keeps the size of random bytes."""
    return Layer(Content(f"{LAYER}+gzip", gzip.compress(archive, level, mtime=0)), digest_of([archive]))


def zstd_layer(archive: bytes) -> Layer:
    """A layer in a zstd frame of raw blocks, which every decoder reads (RFC 8878, section 3.1.1)."""
    return Layer(Content(f"{LAYER}+zstd", _zstd(archive)), digest_of([archive]))


def foreign_layer(archive: bytes) -> Layer:
    """A layer that clients neither push nor find here."""
    layer = gzip_layer(archive)
    urls = ("http://127.0.0.1:9/layer.tar.gz",)
    return Layer(Content(FOREIGN_LAYER, layer.content.data), layer.diff_id, urls)


def image(layers: Sequence[Layer], architecture: str = "amd64") -> Image:
    """An image of `layers` for Linux on `architecture`."""
    config = Content(CONFIG, _json(_config(layers, architecture)))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.descriptor() for layer in layers],
    }
    pushed = tuple(layer.content for layer in layers if not layer.urls)
    return Image(Content(MANIFEST, _json(manifest)), (config, *pushed))


def small_image(seed: str, architecture: str = "amd64") -> Image:
    """An image of one small layer, different for each `seed`."""
    layer = gzip_layer(tar({"seed": seed.encode(), "noise": noise(seed, 10_000)}))
    return image([layer], architecture)


def index(images: Mapping[str, Image]) -> Index:
    """An index of images by architecture."""
    manifests = [
        child.manifest.descriptor(platform={"os": "linux", "architecture": architecture})
        for architecture, child in images.items()
    ]
    body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
    return Index(Content(INDEX, _json(body)), tuple(images.values()))


def small_index(seed: str, architectures: Sequence[str] = ("amd64", "arm64", "s390x")) -> Index:
    """An index of small images, one for each architecture."""
    return index({name: small_image(f"{seed}/{name}", name) for name in architectures})


def noise(seed: str, size: int) -> bytes:
    """Bytes that do not compress, the same for the same `seed`."""
    return random.Random(seed).randbytes(size)


def noise_blocks(seed: str, size: int, start: int = 0, block: int = 1 << 20) -> Iterator[bytes]:
    """The bytes from `start` up to `size` of a large content, without ever holding it whole."""
    body = noise(seed, block - 8)
    while start < size:
        number, skip = divmod(start, block)
        piece = (number.to_bytes(8, "big") + body)[skip : skip + size - start]
        start += len(piece)
        yield piece


def write_layout(folder: Path, tag: str, content: Image | Index) -> Path:
    """Write `content` as an OCI image layout with one tag; return `folder`."""
    folder.mkdir(parents=True)
    (folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))
    entry = content.manifest.descriptor(annotations={"org.opencontainers.image.ref.name": tag})
    (folder / "index.json").write_bytes(_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
    for blob in _contents(content):
        path = folder / "blobs" / blob.digest.replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(blob.data)
    return folder


def _contents(content: Image | Index) -> Iterator[Content]:
    yield content.manifest
    yield from content.blobs
    for child in content.children:
        yield from _contents(child)


def _config(layers: Sequence[Layer], architecture: str) -> dict[str, object]:
    return {
        "architecture": architecture,
        "os": "linux",
        "config": {"Cmd": ["/seed"]},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _zstd(data: bytes) -> bytes:
    single_segment_with_size_of_four_bytes = b"\xa0"
    frame = [ZSTD_MAGIC, single_segment_with_size_of_four_bytes, len(data).to_bytes(4, "little")]
    for start in range(0, len(data), ZSTD_BLOCK):
        block = data[start : start + ZSTD_BLOCK]
        last = start + ZSTD_BLOCK >= len(data)
        raw_block_header = (len(block) << 3) | last
        frame += [raw_block_header.to_bytes(3, "little"), block]
    return b"".join(frame)
