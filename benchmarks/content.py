"""What the repositories of the benchmark hold: configurations and layers that all share, and manifests."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from benchmarks import words

CONFIG: Final = "application/vnd.oci.image.config.v1+json"
CHART: Final = "application/vnd.cncf.helm.config.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
INDEX: Final = "application/vnd.oci.image.index.v1+json"
SBOM: Final = "application/spdx+json"
SIGNATURE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"

PLATFORMS: Final = (("amd64", None), ("arm64", "v8"), ("arm", "v7"), ("s390x", None))
STEPS: Final = 12


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob that manifests name; layers have no content here, since no page reads them."""

    digest: str
    size: int
    media_type: str
    content: bytes | None = None

    def descriptor(self, **more: object) -> dict[str, Any]:
        """How a manifest names it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size, **more}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's row, nearly."""

    media_type: str
    content: bytes
    digest: str
    blobs: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()
    subject: str | None = None
    artifact_type: str | None = None
    annotations: Mapping[str, str] | None = None

    def descriptor(self, **more: object) -> dict[str, Any]:
        """How another manifest names it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content), **more}


def configurations(random: Random, count: int) -> Sequence[Blob]:
    """Configurations of images for one platform after the other."""
    return [_configuration(random, number) for number in range(count)]


def charts(random: Random, count: int) -> Sequence[Blob]:
    """Configurations of Helm charts."""
    documents = [
        {"apiVersion": "v2", "name": words.name(random), "version": f"1.{number}.0"}
        for number in range(count)
    ]
    return [_blob(CHART, _json(document)) for document in documents]


def layers(random: Random, count: int) -> Sequence[Blob]:
    """Layers of all sizes."""
    return [
        Blob(_digest(f"layer {number}".encode()), int(random.lognormvariate(15, 2)) + 100, LAYER)
        for number in range(count)
    ]


def nothing() -> Blob:
    """The configuration of what has none."""
    return _blob(EMPTY, b"{}")


def manifest(config: Blob, parts: Sequence[Blob], annotations: Mapping[str, str], **more: object) -> Manifest:
    """A manifest of an image, a chart or something else; `more` may be its artifactType and its subject."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [part.descriptor() for part in parts],
        "annotations": dict(annotations),
        **more,
    }
    named = tuple(dict.fromkeys(blob.digest for blob in (config, *parts)))
    return _manifest(document, blobs=named, annotations=annotations)


def index(children: Sequence[Manifest], annotations: Mapping[str, str]) -> Manifest:
    """An index of images for different platforms."""
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [child.descriptor(platform=_platform(number)) for number, child in enumerate(children)],
        "annotations": dict(annotations),
    }
    named = tuple(dict.fromkeys(child.digest for child in children))
    return _manifest(document, manifests=named, annotations=annotations)


def _manifest(document: Mapping[str, Any], **named: Any) -> Manifest:
    content = _json(document)
    config = document.get("config", {}).get("mediaType")
    return Manifest(
        document["mediaType"],
        content,
        _digest(content),
        subject=document.get("subject", {}).get("digest"),
        artifact_type=document.get("artifactType") or config,
        **named,
    )


def _configuration(random: Random, number: int) -> Blob:
    steps = [f"RUN /bin/sh -c install {words.sentence(random, 8)} # buildkit" for _ in range(STEPS)]
    document = {
        "created": "2026-03-01T12:30:00Z",
        **{key: value for key, value in _platform(number).items() if key != "os"},
        "os": "linux",
        "config": {
            "Entrypoint": ["/usr/bin/entrypoint"],
            "Cmd": ["serve", str(number)],
            "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", *(f"SETTING_{each}={each}" for each in range(8))],
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {"org.opencontainers.image.title": words.name(random)},
            "WorkingDir": "/app",
        },
        "rootfs": {"type": "layers", "diff_ids": [_digest(f"{number}/{step}".encode()) for step in range(2)]},
        "history": [
            {"created": "2026-03-01T12:30:00Z", "created_by": step, "empty_layer": place >= 2}
            for place, step in enumerate(steps)
        ],
    }
    return _blob(CONFIG, _json(document))


def _platform(number: int) -> dict[str, str]:
    architecture, variant = PLATFORMS[number % len(PLATFORMS)]
    return {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}


def _blob(media_type: str, content: bytes) -> Blob:
    return Blob(_digest(content), len(content), media_type, content)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
