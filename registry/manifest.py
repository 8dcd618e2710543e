"""Models over exact manifest bytes: what a manifest names, never a rewrite of it.

Sources: image specification ("Image manifest", "Image index"), Docker image manifest version 2, schema 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ValidationError,
)

from registry.errors import Problem, RegistryError
from storage.digest import Digest

OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_ARTIFACT: Final = "application/vnd.oci.artifact.manifest.v1+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
OCTET_STREAM: Final = "application/octet-stream"

Kind = Literal["image", "chart", "artifact"]

# What the configuration says of the whole (image specification, "Guidelines for Artifact Usage"; Helm).
_KINDS: Final[dict[str, Kind]] = {
    "application/vnd.oci.image.config.v1+json": "image",
    "application/vnd.docker.container.image.v1+json": "image",
    "application/vnd.cncf.helm.config.v1+json": "chart",
}

_SCHEMA_1: Final = frozenset(
    {
        "application/vnd.docker.distribution.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    }
)

_MAX_PART: Final = 64

# Descriptors that one manifest may hold: each is a row to write, and is looked up in one transaction.
MAX_DESCRIPTORS: Final = 10_000

M = TypeVar("M", bound=BaseModel)


class _Model(BaseModel):
    # Unknown fields are the pusher's business; of a wrong known one the input is not repeated.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


def _first_wrong(value: object) -> object:
    """Leave only the first wrong value of a mapping, if one is: to list a million takes half a minute."""
    if not isinstance(value, dict):
        return value
    return next(({name: each} for name, each in value.items() if not isinstance(each, str)), value)


_Annotations = Annotated[dict[str, str] | None, BeforeValidator(_first_wrong)]


class _Descriptor(_Model):
    media_type: str = Field(alias="mediaType", min_length=1, max_length=255)
    digest: Annotated[str, AfterValidator(Digest.parse)]
    size: int = Field(ge=0, le=2**63 - 1)
    urls: Annotated[tuple[str, ...], FailFast()] = ()
    annotations: _Annotations = None
    artifact_type: str | None = Field(default=None, alias="artifactType", max_length=255)

    @property
    def is_manifest(self) -> bool:
        return self.media_type in _MODELS

    @property
    def is_distributable(self) -> bool:
        """Whether clients push the content: layers with URLs come from there."""
        return (
            not self.urls
            and ".nondistributable." not in self.media_type
            and ".foreign." not in self.media_type
        )


# Clients in Go write an empty list as null. The first wrong descriptor is enough to refuse all of them.
_Descriptors = Annotated[
    tuple[_Descriptor, ...],
    Field(max_length=MAX_DESCRIPTORS),
    FailFast(),
    BeforeValidator(lambda value: () if value is None else value),
]


class _Document(_Model):
    media_type: str | None = Field(default=None, alias="mediaType")
    artifact_type: str | None = Field(default=None, alias="artifactType", max_length=255)
    subject: _Descriptor | None = None
    annotations: _Annotations = None


class _Image(_Document):
    schema_version: Literal[2] = Field(alias="schemaVersion")
    config: _Descriptor
    layers: _Descriptors
    # An image that is an index as well means different things to different clients (CVE-2021-41190).
    manifests: None = None

    def named(self) -> Iterator[_Descriptor]:
        yield self.config
        yield from self.layers

    def type_for_referrers(self) -> str | None:
        return self.artifact_type or self.config.media_type

    def kind(self) -> Kind:
        return "artifact" if self.artifact_type else _KINDS.get(self.config.media_type, "artifact")


class _Index(_Document):
    schema_version: Literal[2] = Field(alias="schemaVersion")
    manifests: _Descriptors
    config: None = None
    layers: None = None

    def named(self) -> Iterator[_Descriptor]:
        yield from self.manifests

    def type_for_referrers(self) -> str | None:
        return self.artifact_type

    def kind(self) -> Kind:
        # Of children only the descriptors are known here; those of images say no type of their own.
        images = (each.is_manifest and not each.artifact_type for each in self.manifests)
        return "image" if not self.artifact_type and any(images) else "artifact"


class _Artifact(_Document):
    blobs: _Descriptors = ()
    manifests: None = None
    config: None = None
    layers: None = None

    def named(self) -> Iterator[_Descriptor]:
        yield from self.blobs

    def type_for_referrers(self) -> str | None:
        return self.artifact_type

    def kind(self) -> Kind:
        return "artifact"


_MODELS: Final[dict[str, type[_Image] | type[_Index] | type[_Artifact]]] = {
    OCI_MANIFEST: _Image,
    DOCKER_MANIFEST: _Image,
    OCI_INDEX: _Index,
    DOCKER_LIST: _Index,
    OCI_ARTIFACT: _Artifact,
}


class _MediaType(_Model):
    media_type: str | None = Field(default=None, alias="mediaType")
    schema_version: Any = Field(default=None, alias="schemaVersion")


@dataclass(frozen=True, slots=True)
class Child:
    """A manifest that an index names, as its descriptor there tells of it."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None
    annotations: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """What a manifest says; `artifact_type` and `annotations` as a list of referrers shows them.

    `kind` is what people call such a thing.
    """

    media_type: str
    is_index: bool
    blobs: tuple[Digest, ...]
    optional_blobs: tuple[Digest, ...]
    """Blobs that clients do not push: non-distributable layers."""
    children: tuple[Child, ...]
    subject: Digest | None
    artifact_type: str | None
    annotations: dict[str, str] | None
    kind: Kind


def parse_manifest(content: bytes, media_type: str | None) -> ParsedManifest:
    """Read a manifest that was pushed with the content type `media_type` (None: with none).

    Raises:
        RegistryError: MANIFEST_INVALID.
    """
    said = _validate(_MediaType, content)
    media_type = media_type or said.media_type
    if media_type is None:
        raise _invalid("the push says no Content-Type and the manifest no mediaType")
    if media_type in _SCHEMA_1 or said.schema_version == 1:
        raise _invalid("Docker image manifests of schema 1 are not supported: push with a current client")
    model = _MODELS.get(media_type)
    if model is None:
        raise _invalid(f"the media type is none of {', '.join(_MODELS)}")
    if said.media_type not in (None, media_type):
        raise _invalid("the manifest's mediaType differs from the Content-Type of the push")
    return _describe(_validate(model, content), media_type)


def _describe(document: _Image | _Index | _Artifact, media_type: str) -> ParsedManifest:
    named = list(document.named())
    blobs = [each for each in named if not each.is_manifest]
    return ParsedManifest(
        media_type=media_type,
        is_index=isinstance(document, _Index),
        blobs=tuple(Digest(each.digest) for each in blobs if each.is_distributable),
        optional_blobs=tuple(Digest(each.digest) for each in blobs if not each.is_distributable),
        children=tuple(
            Child(each.media_type, Digest(each.digest), each.size, each.artifact_type, each.annotations)
            for each in named
            if each.is_manifest
        ),
        subject=None if document.subject is None else Digest(document.subject.digest),
        artifact_type=document.type_for_referrers() or None,
        annotations=document.annotations,
        kind=document.kind(),
    )


def _validate(model: type[M], content: bytes) -> M:
    try:
        return model.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        # A part may be a key that the client made up, of any length.
        where = ".".join(str(part)[:_MAX_PART] for part in first["loc"])
        raise _invalid(f"{where}: {first['msg']}" if where else first["msg"]) from error


def _invalid(message: str) -> RegistryError:
    return RegistryError(Problem.MANIFEST_INVALID, message)
