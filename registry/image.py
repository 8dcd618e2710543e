"""What a manifest and its configuration tell a person. Pure: bytes in, values out.

Everything in them is the pusher's: of any type, of any size, or not there. Nothing here raises for that; what
cannot be read is left out, and long lists and texts end early and say so.
Source: image specification, "Image Configuration", "Image Manifest", "Image Index".
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from registry.instructions import instruction
from registry.manifest import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX

T = TypeVar("T")

MAX_ENTRIES: Final = 500
MAX_TEXT: Final = 4096

# Characters of all texts of a list, and those of each that are told even behind these.
MAX_LIST: Final = 32 * 1024
MAX_BEHIND: Final = 48

_HELM: Final = "application/vnd.cncf.helm.config."
ATTESTATION: Final = "attestation-manifest"
_REFERENCE_TYPE: Final = "vnd.docker.reference.type"
_REFERENCE_DIGEST: Final = "vnd.docker.reference.digest"

_IMAGE_CONFIGS: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)

# What a media type or an artifact type is called, by how it begins; the first that fits.
_NAMES: Final = (
    ("application/vnd.cncf.helm.", "Helm chart"),
    ("application/vnd.dev.cosign.artifact.sbom", "SBOM"),
    ("application/vnd.dev.cosign.", "signature"),
    ("application/vnd.dev.sigstore.bundle", "signature"),
    ("application/vnd.cncf.notary.signature", "signature"),
    ("application/spdx", "SBOM"),
    ("text/spdx", "SBOM"),
    ("application/vnd.cyclonedx", "SBOM"),
    ("application/vnd.syft", "SBOM"),
    ("application/sarif", "scan report"),
    ("application/vnd.in-toto", "attestation"),
    ("application/vnd.dsse.envelope", "attestation"),
    ("application/vnd.docker.attestation.", "attestation"),
    ("application/vnd.wasm.", "WebAssembly module"),
    ("application/vnd.module.wasm", "WebAssembly module"),
    ("application/vnd.bytecodealliance.", "WebAssembly module"),
    ("application/wasm", "WebAssembly module"),
    ("application/vnd.cncf.openpolicyagent.", "policy"),
    ("application/vnd.docker.plugin", "Docker plugin"),
    ("application/vnd.docker.compose.", "Compose project"),
    ("application/vnd.docker.ai.", "model"),
    ("application/vnd.cncf.model.", "model"),
    ("application/vnd.ollama.", "model"),
)


@dataclass(frozen=True, slots=True)
class Some(Generic[T]):
    """The first entries of a list, and how many more there are."""

    items: tuple[T, ...] = ()
    more: int = 0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """How a container is probed; durations in seconds, None where the runtime's default counts."""

    test: str
    interval: float | None = None
    timeout: float | None = None
    start_period: float | None = None
    retries: int | None = None


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a container of an image starts with."""

    platform: str = ""
    created: str = ""
    author: str = ""
    entrypoint: Some[str] = field(default_factory=Some)
    command: Some[str] = field(default_factory=Some)
    environment: Some[tuple[str, str]] = field(default_factory=Some)
    ports: Some[str] = field(default_factory=Some)
    volumes: Some[str] = field(default_factory=Some)
    labels: Some[tuple[str, str]] = field(default_factory=Some)
    user: str = ""
    working_directory: str = ""
    stop_signal: str = ""
    health_check: HealthCheck | None = None


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer and its share of the size of all, 0 to 1."""

    digest: str
    media_type: str
    size: int
    share: float


@dataclass(frozen=True, slots=True)
class Step:
    """An instruction of the build, with the layer that it made if it made one."""

    instruction: str
    layer: Layer | None = None


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest of an index; `attests` is the digest of the one that it is an attestation of."""

    digest: str
    media_type: str
    size: int
    platform: str
    attests: str = ""


@dataclass(frozen=True, slots=True)
class Outline:
    """What a manifest says by itself, without its configuration."""

    media_type: str = ""
    artifact_type: str = ""
    config: tuple[str, str, int] | None = None
    """Digest, media type and size of the configuration."""
    layers: Some[Layer] = field(default_factory=Some)
    children: Some[Child] = field(default_factory=Some)
    annotations: Some[tuple[str, str]] = field(default_factory=Some)
    subject: str = ""
    total_size: int = 0
    """Bytes of the configuration and the layers."""

    @property
    def is_index(self) -> bool:
        """Whether it lists manifests instead of layers."""
        return self.media_type in (OCI_INDEX, DOCKER_LIST)

    @property
    def kind(self) -> str:
        """What lists call it: "image", "chart" or "artifact"."""
        config = self._config_type
        if config.startswith(_HELM):
            return "chart"
        if self.artifact_type and self.artifact_type not in _IMAGE_CONFIGS:
            return "artifact"
        if self.is_index:
            return "image"
        # Signatures and attestations come with the configuration of an image, but have no layers of one.
        named = [name_of(each.media_type) for each in self.layers.items]
        if name_of(config) or (named and all(named)):
            return "artifact"
        return "image" if self.media_type == DOCKER_MANIFEST or config in _IMAGE_CONFIGS else "artifact"

    @property
    def words(self) -> str:
        """What people call it, such as "image", "Helm chart" or "signature"."""
        kind = self.kind
        if kind == "image":
            return kind
        types = [self.artifact_type, self._config_type, *(each.media_type for each in self.layers.items)]
        return next((name for each in types if (name := name_of(each))), kind)

    @property
    def _config_type(self) -> str:
        return self.config[1] if self.config else ""


def name_of(media_type: str) -> str:
    """Return what an artifact of the type is called; "" where it has no common name."""
    return next((name for start, name in _NAMES if media_type.startswith(start)), "")


# -- manifests -------------------------------------------------------------------------------------------


def outline(content: bytes, media_type: str) -> Outline:
    """Read a manifest."""
    document = _object(_load(content))
    config = _object(document.get("config"))
    descriptors = _list(document.get("layers")) or _list(document.get("blobs"))
    sizes = [_size(_object(each).get("size")) for each in descriptors]
    layers = sum(sizes)
    config_size = _size(config.get("size"))
    return Outline(
        media_type=media_type,
        artifact_type=_text(document.get("artifactType")),
        config=(_text(config.get("digest")), _text(config.get("mediaType")), config_size) if config else None,
        layers=_some([_layer(_object(each), layers) for each in descriptors[:MAX_ENTRIES]], len(descriptors)),
        children=_children(document.get("manifests")),
        annotations=_pairs(document.get("annotations")),
        subject=_text(_object(document.get("subject")).get("digest")),
        total_size=config_size + layers,
    )


def _layer(descriptor: Mapping[str, Any], total: int) -> Layer:
    size = _size(descriptor.get("size"))
    share = size / total if total else 0.0
    return Layer(_text(descriptor.get("digest")), _text(descriptor.get("mediaType")), size, share)


def _children(value: object) -> Some[Child]:
    listed = _list(value)
    return _some([_child(_object(each)) for each in listed[:MAX_ENTRIES]], len(listed))


def _child(descriptor: Mapping[str, Any]) -> Child:
    annotations = _object(descriptor.get("annotations"))
    attests = annotations.get(_REFERENCE_TYPE) == ATTESTATION
    return Child(
        _text(descriptor.get("digest")),
        _text(descriptor.get("mediaType")),
        _size(descriptor.get("size")),
        platform_of(_object(descriptor.get("platform"))),
        _text(annotations.get(_REFERENCE_DIGEST)) if attests else "",
    )


def platform_of(value: Mapping[str, Any]) -> str:
    """Return a platform as clients write it, "linux/arm64/v8"; "" for none and for an unknown one."""
    parts = [_text(value.get(name), 64) for name in ("os", "architecture", "variant")]
    if not all(parts[:2]) or "unknown" in parts[:2]:
        return ""
    return "/".join(part for part in parts if part)


# -- configurations --------------------------------------------------------------------------------------


def configuration(content: bytes) -> Configuration:
    """Read the configuration of an image."""
    document = _object(_load(content))
    config = _object(document.get("config"))
    return Configuration(
        platform=platform_of(document),
        created=_text(document.get("created"), 64),
        author=_text(document.get("author")),
        entrypoint=_texts(config.get("Entrypoint")),
        command=_texts(config.get("Cmd")),
        environment=_environment(config.get("Env")),
        ports=_keys(config.get("ExposedPorts")),
        volumes=_keys(config.get("Volumes")),
        labels=_pairs(config.get("Labels")),
        user=_text(config.get("User")),
        working_directory=_text(config.get("WorkingDir")),
        stop_signal=_text(config.get("StopSignal")),
        health_check=_health_check(_object(config.get("Healthcheck"))),
    )


def steps(content: bytes, layers: Sequence[Layer]) -> Some[Step]:
    """Return the steps of the build in order, each with the layer that it made.

    Where the history does not fit the layers, the layers are steps that nothing is known of.
    """
    history = [_object(each) for each in _list(_object(_load(content)).get("history"))]
    made = [each for each in history if each.get("empty_layer") is not True]
    if len(made) != len(layers) or len(history) > 10 * MAX_ENTRIES:
        return _some([Step("", layer) for layer in layers[:MAX_ENTRIES]], len(layers))
    waiting = iter(layers)
    found = [_step(each, None if each.get("empty_layer") is True else next(waiting)) for each in history]
    told = [each for each in found if each.instruction or each.layer]
    shown = zip(told, _fit(each.instruction for each in told[:MAX_ENTRIES]), strict=False)
    return _some([Step(text, each.layer) for each, text in shown], len(told))


def _step(entry: Mapping[str, Any], layer: Layer | None) -> Step:
    said = instruction(_text(entry.get("created_by")))
    comment = _text(entry.get("comment"))
    # Builders without a Dockerfile tell in the comment what they did; BuildKit which it is.
    return Step(said or ("" if comment.startswith("buildkit.") else comment), layer)


def _health_check(value: Mapping[str, Any]) -> HealthCheck | None:
    test = _texts(value.get("Test")).items
    if not test or test[0] == "NONE":
        return None
    words = test[1:] if test[0] in ("CMD", "CMD-SHELL") else test
    retries = value.get("Retries")
    return HealthCheck(
        " ".join(words),
        _seconds(value.get("Interval")),
        _seconds(value.get("Timeout")),
        _seconds(value.get("StartPeriod")),
        retries if type(retries) is int and 0 < retries < 10**6 else None,
    )


def _environment(value: object) -> Some[tuple[str, str]]:
    entries = [each for each in _list(value) if isinstance(each, str)]
    pairs = [each.partition("=") for each in entries[:MAX_ENTRIES]]
    return _some(_fit_pairs((name, text) for name, _, text in pairs), len(entries))


# -- values of any kind ----------------------------------------------------------------------------------


def _load(content: bytes) -> object:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _size(value: object) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0


def _seconds(value: object) -> float | None:
    """Return nanoseconds in seconds."""
    return value / 10**9 if type(value) is int and 0 < value < 2**63 else None


def _text(value: object, limit: int = MAX_TEXT) -> str:
    if not isinstance(value, str):
        return ""
    # A lone surrogate, which JSON can write, is in no encoding.
    text = value[: limit + 1].encode(errors="replace").decode()
    return text if len(text) <= limit else f"{text[:limit]}…"


def _some(items: Sequence[T], total: int) -> Some[T]:
    return Some(tuple(items), max(0, total - len(items)))


def _texts(value: object) -> Some[str]:
    # The classic builder wrote a command of the shell form as one string.
    listed = [value] if isinstance(value, str) else _list(value)
    texts = [each for each in listed if isinstance(each, str)]
    return _some(list(_fit(texts[:MAX_ENTRIES])), len(texts))


def _keys(value: object) -> Some[str]:
    names = sorted(_object(value))
    return _some(list(_fit(names[:MAX_ENTRIES], 256)), len(names))


def _pairs(value: object) -> Some[tuple[str, str]]:
    pairs = _object(value)
    return _some(_fit_pairs((name, pairs[name]) for name in sorted(pairs)[:MAX_ENTRIES]), len(pairs))


def _fit_pairs(pairs: Iterable[tuple[str, object]]) -> Sequence[tuple[str, str]]:
    pairs = list(pairs)
    names, texts = _fit((name for name, _ in pairs), 256), _fit(text for _, text in pairs)
    return list(zip(names, texts, strict=True))


def _fit(values: Iterable[object], limit: int = MAX_TEXT) -> Iterator[str]:
    """Yield texts, shorter ones as soon as all of them together are long."""
    room = MAX_LIST
    for value in values:
        text = _text(value, min(limit, max(room, MAX_BEHIND)))
        room -= len(text)
        yield text


# -- commands --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Command:
    """A line to copy, and the program that it is for."""

    tool: str
    text: str


def pull_commands(kind: str, repository: str, tag: str, digest: str) -> Sequence[Command]:
    """Return how to get an artifact; `repository` has the host before it, and `tag` or `digest` may be ""."""
    exactly = f"{repository}@{digest}"
    reference = f"{repository}:{tag}" if tag else exactly
    match kind:
        case "chart":
            # A tag holds no "+": Helm keeps a version that has one under "_".
            version = f"{repository} --version {tag.replace('_', '+')}" if tag else exactly
            return [
                Command("helm", f"helm pull oci://{version}"),
                Command("oras", f"oras pull {reference}"),
            ]
        case "artifact":
            return [
                Command("oras", f"oras pull {reference}"),
                Command("crane", f"crane manifest {reference}"),
            ]
    by_digest = [Command("by digest", f"docker pull {exactly}")] if digest and tag else []
    return [
        Command("docker", f"docker pull {reference}"),
        Command("podman", f"podman pull {reference}"),
        *by_digest,
    ]
