"""What the interface says of tags and of what is in them."""

from datetime import datetime
from typing import Final

from registry import images
from registry.catalog import TagRow
from registry.images import Facts
from registry.web.api.models import Model


class Tag(Model):
    """A tag, with what it means; `pulls` are those of the last 30 days."""

    name: str
    digest: str
    media_type: str
    artifact_type: str | None
    kind: str
    size: int
    platforms: list[str]
    tagged_at: datetime
    tagged_by: str | None
    deprecation: str | None
    pulls: int
    last_pulled_at: datetime | None

    @classmethod
    def of(cls, row: TagRow, facts: Facts | None) -> "Tag":
        """Return a tag with what is known of its manifest."""
        own = {name: getattr(row, name) for name in cls.model_fields.keys() - _FACTS}
        known = facts or _NO_FACTS
        return cls(**own, kind=known.kind, size=known.size, platforms=list(known.platforms))


_FACTS: Final = {"kind", "size", "platforms"}
_NO_FACTS: Final = Facts(0, (), "artifact")


class Platform(Model):
    """A manifest of an index; `attests` is the digest of the one that it is an attestation of."""

    digest: str
    media_type: str
    size: int
    platform: str
    attests: str


class Layer(Model):
    """A layer, with its share of the size of all, 0 to 1."""

    digest: str
    media_type: str
    size: int
    share: float


class Step(Model):
    """An instruction of the build, with the digest of the layer that it made, if it made one."""

    instruction: str
    layer: str | None


class Variable(Model):
    """A variable of the environment."""

    name: str
    value: str


class HealthCheck(Model):
    """How a container is probed; durations in seconds."""

    test: str
    interval: float | None
    timeout: float | None
    start_period: float | None
    retries: int | None


class Configuration(Model):
    """What a container starts with."""

    platform: str
    created: str
    author: str
    entrypoint: list[str]
    command: list[str]
    environment: list[Variable]
    ports: list[str]
    volumes: list[str]
    labels: dict[str, str]
    user: str
    working_directory: str
    stop_signal: str
    health_check: HealthCheck | None

    @classmethod
    def of(cls, found: images.Configuration) -> "Configuration":
        """Return what an image's configuration says."""
        lists = {name: list(getattr(found, name).items) for name in _LISTS}
        plain = {name: getattr(found, name) for name in cls.model_fields.keys() - _LISTS - _PAIRS}
        environment = [Variable(name=name, value=value) for name, value in found.environment.items]
        return cls.model_validate(
            {**lists, **plain, "environment": environment, "labels": dict(found.labels.items)}
        )


_LISTS: Final = {"entrypoint", "command", "ports", "volumes"}
_PAIRS: Final = {"environment", "labels"}


class Image(Model):
    """What is in a manifest. Of an index the rest is about the manifest in `selected`."""

    repository: str
    digest: str
    media_type: str
    artifact_type: str
    kind: str
    words: str
    size: int
    total_size: int
    subject: str
    annotations: dict[str, str]
    tags: list[str]
    pushed_at: datetime
    pushed_by: str | None
    platforms: list[Platform]
    selected: Platform | None
    layers: list[Layer]
    steps: list[Step]
    configuration: Configuration | None
    damaged: list[str]

    @classmethod
    def of(cls, found: images.Image) -> "Image":
        """Return what is known of an image."""
        whole = found.outline
        return cls.model_validate(
            {
                **{name: getattr(found, name) for name in _OF_IMAGE},
                **{name: getattr(whole, name) for name in _OF_OUTLINE},
                "repository": found.name,
                "tags": list(found.tags),
                "damaged": list(found.damaged),
                "annotations": dict(whole.annotations.items),
                "platforms": list(whole.children.items),
                "layers": list(found.layers.items),
                "steps": [
                    Step(instruction=each.instruction, layer=each.layer.digest if each.layer else None)
                    for each in found.steps.items
                ],
                "configuration": Configuration.of(found.configuration) if found.configuration else None,
            }
        )


_OF_IMAGE: Final = ("digest", "size", "total_size", "pushed_at", "pushed_by", "selected")
_OF_OUTLINE: Final = ("media_type", "artifact_type", "kind", "words", "subject")


class Referrer(Model):
    """Something that refers to a manifest; `words` is what people call it."""

    digest: str
    artifact_type: str
    media_type: str
    words: str
    size: int
    annotations: dict[str, str]
