"""The rows of a catalog: what stands in the tables for each repository and what it holds."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final

from sqlalchemy import Table

from benchmarks import content, words
from storage.metadata import schema

NOW: Final = datetime(2026, 11, 1, tzinfo=UTC)

OFFICIAL: Final = 150
"""How many repositories, the most popular ones, are official."""

CONFIGURATIONS: Final = 64
LAYERS: Final = 400
WRITE: Final = 2

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository; `rank` is its place in popularity, from 0."""

    id: int
    namespace_id: int
    name: str
    rank: int
    kind: str
    tags: int
    stars: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Shelf:
    """What manifests are made of."""

    configurations: Sequence[content.Blob]
    charts: Sequence[content.Blob]
    layers: Sequence[content.Blob]
    nothing: content.Blob

    @classmethod
    def stocked(cls, seed: int) -> "Shelf":
        """The same shelf for the same seed."""
        random = Random(f"{seed} shelf")
        return cls(
            content.configurations(random, CONFIGURATIONS),
            content.charts(random, CONFIGURATIONS),
            content.layers(random, LAYERS),
            content.nothing(),
        )

    @property
    def everything(self) -> Sequence[content.Blob]:
        """All blobs."""
        return (*self.configurations, *self.charts, *self.layers, self.nothing)

    def config(self, kind: str, number: int) -> content.Blob:
        """A configuration for this kind of repository."""
        if kind == "artifact":
            return self.nothing
        shelf = self.configurations if kind == "image" else self.charts
        return shelf[number % len(shelf)]


def content_rows(random: Random, repository: Repository, shelf: Shelf) -> Iterator[tuple[Table, Row]]:
    """Yield what a repository holds: a manifest for each three tags, an index, and what refers to it."""
    parts = random.sample(shelf.layers, 4)
    first = random.randrange(CONFIGURATIONS) // 4 * 4  # so that the platforms of an index come in order
    linked: set[str] = set()
    made: list[content.Manifest] = []
    more: dict[str, object] = {}
    if repository.kind == "artifact":
        more["artifactType"] = "application/vnd.example.model"
    for number in range((repository.tags + 2) // 3):
        config = shelf.config(repository.kind, first + number % 4)
        pair = (parts[0], parts[1 + number % 3])
        made.append(content.manifest(config, pair, {"version": f"{repository.name} {number}"}, **more))
    newest = made[-1]
    if repository.kind == "image" and len(made) >= 4:
        made.append(content.index(made[:4], {"version": f"{repository.name} index"}))
        newest = made[-1]
    made += _referrers(repository, newest, shelf) if repository.rank < 1000 else ()
    for place, manifest in enumerate(made):
        yield schema.manifests, _manifest_row(repository, manifest, place)
        linked.update(manifest.blobs)
        yield from ((schema.manifest_references, row) for row in _reference_rows(repository.id, manifest))
    for digest in linked:
        yield schema.blob_links, {"repository_id": repository.id, "digest": digest, "linked_at": NOW}
    for number in range(repository.tags):
        digest = newest.digest if number == repository.tags - 1 else made[number // 3].digest
        yield schema.tags, _tag_row(repository, number, digest)


def _referrers(repository: Repository, subject: content.Manifest, shelf: Shelf) -> Sequence[content.Manifest]:
    return [
        content.manifest(
            shelf.nothing,
            [shelf.nothing],
            {"org.opencontainers.image.description": f"of {repository.name}"},
            artifactType=artifact_type,
            subject=subject.descriptor(),
        )
        for artifact_type in (content.SIGNATURE, content.SBOM)
    ]


def _manifest_row(repository: Repository, manifest: content.Manifest, place: int) -> Row:
    return {
        "repository_id": repository.id,
        "digest": manifest.digest,
        "media_type": manifest.media_type,
        "size": len(manifest.content),
        "subject": manifest.subject,
        "artifact_type": manifest.artifact_type,
        "annotations": None,
        "pushed_at": repository.created_at + timedelta(minutes=place),
        "pushed_by": "admin",
        "content": manifest.content,
    }


def _reference_rows(repository_id: int, manifest: content.Manifest) -> Iterator[Row]:
    for kind, targets in (("blob", manifest.blobs), ("manifest", manifest.manifests)):
        for target in targets:
            yield {
                "repository_id": repository_id,
                "digest": manifest.digest,
                "kind": kind,
                "target": target,
            }


def _tag_row(repository: Repository, number: int, digest: str) -> Row:
    version, flavour = divmod(number, 3)
    name = f"{version // 100}.{version // 10 % 10}.{version % 10}{('', '-slim', '-alpine')[flavour]}"
    return {
        "repository_id": repository.id,
        "name": "latest" if number == repository.tags - 1 else name,
        "digest": digest,
        "tagged_at": repository.created_at + timedelta(minutes=number),
        "tagged_by": "admin",
        "deprecation": "Move on to the newest one." if number % 50 == 7 else None,
    }


def repository_row(random: Random, repository: Repository) -> Row:
    """A repository's row."""
    pushed = repository.created_at + timedelta(minutes=repository.tags)
    return {
        "id": repository.id,
        "namespace_id": repository.namespace_id,
        "name": repository.name,
        "is_public": repository.rank < OFFICIAL or random.random() < 0.8,
        "created_at": repository.created_at,
        "summary": words.sentence(random, random.randint(4, 14)),
        "overview": words.overview(random, repository.name) if random.random() < 0.5 else "",
        "deprecation": "No longer kept." if random.random() < 0.02 else None,
        "archived_at": NOW if random.random() < 0.01 else None,
        "kind": repository.kind,
        "last_pushed_at": pushed,
        "last_pulled_at": pushed + timedelta(minutes=random.randint(1, 1000)),
        "star_count": repository.stars,
        "pull_count": pulls_of(repository.rank),
    }


def member_rows(members: Iterable[tuple[int, Sequence[int]]]) -> Iterator[Row]:
    """The members of organizations; the first of each is an owner."""
    for organization, persons in members:
        for place, person in enumerate(persons):
            yield {
                "namespace_id": organization,
                "account_id": person,
                "is_owner": place == 0,
                "joined_at": NOW,
            }


def team_row(organization: int) -> Row:
    """An organization's one team."""
    return {
        "id": organization,
        "namespace_id": organization,
        "name": "developers",
        "about": "Who build it.",
        "role": WRITE,
        "created_at": NOW,
    }


def pulls_of(rank: int) -> int:
    """How often the repository of this rank was pulled."""
    return int(50_000_000 / (rank + 1) ** 1.1)
