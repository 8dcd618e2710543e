"""Content as people keep it: images with a history, an index, a Helm chart, signatures, bills of material.

What is hostile is here as well: words that would be markup, that turn the reading direction, that never end.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from .images import CONFIG, INDEX, LAYER, MANIFEST, Content, Descriptor, Image, Index, digest_of, noise, tar

CHART_CONFIG: Final = "application/vnd.cncf.helm.config.v1+json"
CHART_LAYER: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
EMPTY: Final = Content("application/vnd.oci.empty.v1+json", b"{}")
SBOM: Final = "application/spdx+json"
SIGNATURE: Final = "application/vnd.dev.sigstore.bundle.v0.3+json"
ATTESTATION: Final = "application/vnd.in-toto+json"

# A step of a Dockerfile and what its layer weighs; a step without weight makes no layer.
Step = tuple[str, int]

STEPS: Final[Sequence[Step]] = (
    ("/bin/sh -c #(nop) ADD file:5a1c2f in / ", 30_000),
    ('/bin/sh -c #(nop)  CMD ["bash"]', 0),
    ("ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", 0),
    (
        "RUN /bin/sh -c set -eux; apt-get update; apt-get install -y tzdata # buildkit",
        12_000,
    ),
    ("COPY requirements.txt /app/ # buildkit", 400),
    ("RUN /bin/sh -c pip install --no-cache-dir -r /app/requirements.txt # buildkit", 60_000),
    ("WORKDIR /app", 200),
    ("EXPOSE map[8080/tcp:{}]", 0),
    ('CMD ["python3"]', 0),
)

RUNTIME: Final[Mapping[str, object]] = {
    "Entrypoint": ["/usr/local/bin/entrypoint", "--verbose"],
    "Cmd": ["python3", "-m", "app", "--greeting", "hello world"],
    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "PYTHON_VERSION=3.12.7", "EMPTY="],
    "ExposedPorts": {"8080/tcp": {}, "9090/udp": {}},
    "Volumes": {"/data": {}, "/var/cache/app": {}},
    "User": "1000:1000",
    "WorkingDir": "/app",
    "StopSignal": "SIGTERM",
    "Labels": {
        "org.opencontainers.image.source": "https://git.example/app",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "maintainer": "Alice Liddell <alice@example.com>",
    },
    "Healthcheck": {
        "Test": ["CMD-SHELL", "curl -f http://127.0.0.1:8080/healthz || exit 1"],
        "Interval": 30_000_000_000,
        "Timeout": 3_000_000_000,
        "Retries": 3,
    },
}

OVERVIEW: Final = """\
# Python

Python is an **interpreted**, interactive, object-oriented language.

## How to use it

```dockerfile
FROM python:3.12-slim
COPY . /app
CMD ["python", "/app/main.py"]
```

| Tag | For |
|-----|-----|
| `latest` | most people |
| `slim` | small images |

1. Write a program.
2. Build it: see <https://docs.example/build>.

> Images are built every night.

![a logo](https://images.example/logo.png)
"""

HOSTILE_LINE: Final = "<script>alert(1)</script> \"'`{{7*7}}&amp;"
HOSTILE_TEXT: Final = f"{HOSTILE_LINE}\u202egnp.exe\u2066"
HOSTILE_OVERVIEW: Final = (
    """\
<script>alert(1)</script>
<img src=x onerror=alert(1)>
<iframe src="https://evil.example"></iframe>
<svg onload=alert(1)><a xlink:href="javascript:alert(1)">x</a></svg>
<form action="/logout" method="post"><button>Click me</button></form>
<style>body { display: none }</style>
<a href="JaVaScRiPt:alert(1)" id="main" name="csrf" class="button" style="position:fixed">click</a>

[link](javascript:alert(1)) [data](data:text/html;base64,PHNjcmlwdD4=) ![image](http://evil.example/x.png)

\u202edrow eht nrut
"""
    + "deep > " * 300
)


def app_image(
    seed: str,
    architecture: str = "amd64",
    *,
    steps: Sequence[Step] = STEPS,
    runtime: Mapping[str, object] = RUNTIME,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An image with a configuration in full and a layer for each step of its Dockerfile that made one."""
    layers = [_layer(f"{seed}/{architecture}/{step}", size) for step, size in steps if size]
    config = {
        "created": "2026-03-01T12:30:00Z",
        "author": "Alice Liddell <alice@example.com>",
        "architecture": architecture,
        "os": "linux",
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": [diff_id for _, diff_id in layers]},
        "history": [_history(step, size) for step, size in steps],
    }
    return _packed(Content(CONFIG, _json(config)), [layer for layer, _ in layers], annotations=annotations)


def app_index(seed: str, platforms: Sequence[str] = ("amd64", "arm64/v8", "arm/v7", "s390x")) -> Index:
    """An index of such images, with an attestation as BuildKit adds it."""
    images = [app_image(seed, platform.partition("/")[0]) for platform in platforms]
    entries = [
        image.manifest.descriptor(platform=_platform(platform))
        for image, platform in zip(images, platforms, strict=True)
    ]
    provenance = artifact(None, {"provenance.json": b"{}"}, kind=ATTESTATION, config=_unknown_config())
    entries.append(
        provenance.manifest.descriptor(
            platform={"os": "unknown", "architecture": "unknown"},
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": images[0].manifest.digest,
            },
        )
    )
    annotations = {"org.opencontainers.image.created": "2026-03-01T12:30:00Z"}
    body = {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries, "annotations": annotations}
    return Index(Content(INDEX, _json(body)), (*images, provenance))


def chart(name: str, version: str) -> Image:
    """A Helm chart as `helm push` sends it."""
    about = {"apiVersion": "v2", "name": name, "version": version, "description": "Runs the application"}
    chart_yaml = "".join(f"{key}: {value}\n" for key, value in about.items()).encode()
    archive = tar({f"{name}/Chart.yaml": chart_yaml, f"{name}/values.yaml": b"replicas: 1\n"})
    layer = Content(CHART_LAYER, gzip.compress(archive, mtime=0))
    annotations = {
        "org.opencontainers.image.title": name,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.description": "Runs the application",
    }
    return _packed(Content(CHART_CONFIG, _json(about)), [layer], annotations=annotations)


def artifact(
    artifact_type: str | None,
    files: Mapping[str, bytes],
    *,
    kind: str = "application/octet-stream",
    config: Content = EMPTY,
    subject: Image | Index | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """Files as `oras push` sends them, maybe attached to a subject."""
    layers = [Content(kind, data) for data in files.values()]
    titles = [{"org.opencontainers.image.title": name} for name in files]
    more: dict[str, object] = {} if artifact_type is None else {"artifactType": artifact_type}
    if subject is not None:
        more["subject"] = subject.manifest.descriptor()
    return _packed(config, layers, titles=titles, annotations=annotations, **more)


def signature(subject: Image | Index) -> Image:
    """A signature of `subject`."""
    annotations = {
        "org.opencontainers.image.created": "2026-03-01T12:31:00Z",
        "dev.sigstore.bundle.predicateType": "https://sigstore.dev/cosign/sign/v1",
    }
    bundle = {"bundle.json": b'{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json"}'}
    return artifact(SIGNATURE, bundle, kind=SIGNATURE, subject=subject, annotations=annotations)


def bill_of_materials(subject: Image | Index) -> Image:
    """An SBOM of `subject`."""
    document = {"sbom.spdx.json": _json({"spdxVersion": "SPDX-2.3", "packages": ["bash", "python"]})}
    annotations = {"org.opencontainers.image.description": "what is in the image"}
    return artifact(SBOM, document, kind=SBOM, subject=subject, annotations=annotations)


def hostile_image() -> Image:
    """An image whose every text tries to be more than text."""
    long = HOSTILE_TEXT + "x" * 20_000
    runtime = {
        **RUNTIME,
        "Entrypoint": [HOSTILE_TEXT, long],
        "Env": [f"A={HOSTILE_TEXT}", f"{HOSTILE_TEXT}=B", f"LONG={long}", "no equals sign"],
        "Labels": {HOSTILE_TEXT: HOSTILE_TEXT, "long": long},
        "User": HOSTILE_TEXT,
        "ExposedPorts": {HOSTILE_TEXT: {}},
        "Volumes": {HOSTILE_TEXT: {}},
    }
    steps = [(f"RUN {HOSTILE_TEXT}", 300), (f"RUN {long}", 0)]
    annotations = {HOSTILE_TEXT: HOSTILE_TEXT, "long": long}
    return app_image("hostile", steps=steps, runtime=runtime, annotations=annotations)


def _packed(
    config: Content,
    layers: Sequence[Content],
    *,
    titles: Sequence[Mapping[str, str]] = (),
    annotations: Mapping[str, str] | None = None,
    **more: object,
) -> Image:
    entries: list[Descriptor] = [layer.descriptor() for layer in layers]
    for entry, title in zip(entries, titles, strict=False):
        entry["annotations"] = dict(title)
    body: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": entries,
        **more,
    }
    if annotations:
        body["annotations"] = dict(annotations)
    return Image(Content(MANIFEST, _json(body)), (config, *layers))


def _layer(seed: str, size: int) -> tuple[Content, str]:
    """A layer of about `size` bytes, and the digest of the archive in it."""
    archive = tar({"content": noise(seed, size)})
    return Content(f"{LAYER}+gzip", gzip.compress(archive, 1, mtime=0)), digest_of([archive])


def _history(step: str, size: int) -> dict[str, object]:
    made = {"created": "2026-03-01T12:30:00Z", "created_by": step}
    return {**made, "comment": "buildkit.dockerfile.v0"} if size else {**made, "empty_layer": True}


def _platform(text: str) -> dict[str, str]:
    architecture, _, variant = text.partition("/")
    return {"os": "linux", "architecture": architecture, **({"variant": variant} if variant else {})}


def _unknown_config() -> Content:
    rootfs = {"type": "layers", "diff_ids": [digest_of([b"{}"])]}
    return Content(CONFIG, _json({"architecture": "unknown", "os": "unknown", "rootfs": rootfs}))


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
