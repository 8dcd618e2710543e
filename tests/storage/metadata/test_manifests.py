from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import Connection, select
from sqlalchemy.exc import IntegrityError

from storage.digest import Digest
from storage.metadata import manifests, schema, tags
from storage.metadata.manifests import References, StoredManifest
from tests.storage.metadata.content import (
    INDEX,
    MANIFEST,
    NOW,
    SECOND,
    add_manifest,
    add_repository,
    count,
    digest,
)

CONTENT = b'{\r\n "schemaVersion" : 2}\n\x00\xff'
STORED = StoredManifest(Digest.of(CONTENT), MANIFEST, len(CONTENT))


def put(db: Connection, repository_id: int, manifest: StoredManifest, at: int = 0, by: str = "ann") -> None:
    manifests.put(db, repository_id, manifest, CONTENT, References(), by=by, now=NOW + at * SECOND)


def named(db: Connection, word: str) -> set[tuple[str, str]]:
    """Return what a manifest names, in whichever repository."""
    columns = schema.manifest_references.c
    rows = db.execute(select(columns.kind, columns.target).where(columns.digest == digest(word)))
    return {(kind, target) for kind, target in rows}


@pytest.mark.parametrize("reference", [STORED.digest, "v1"])
def test_manifest_comes_back_byte_for_byte(db: Connection, reference: str) -> None:
    app = add_repository(db, "library/app")
    put(db, app, STORED)
    tags.put(db, app, "v1", STORED.digest, by=None, now=NOW)
    assert manifests.find(db, "library/app", reference) == STORED
    assert manifests.read(db, "library/app", reference) == (STORED, CONTENT)


@pytest.mark.parametrize(
    ("repository", "reference"),
    [
        ("library/app", "v2"),
        ("library/app", ""),
        ("library/app", "V1"),
        ("library/app", digest("other")),
        ("library/app", digest("elsewhere")),
        ("library/other", "v1"),
        ("library/nowhere", "v1"),
        ("library/nowhere", digest("v1")),
    ],
)
def test_unknown_reference_means_nothing(db: Connection, repository: str, reference: str) -> None:
    add_manifest(db, add_repository(db, "library/app"), "v1")
    add_manifest(db, add_repository(db, "library/other"), "elsewhere")
    assert manifests.find(db, repository, reference) is None
    assert manifests.read(db, repository, reference) is None


def test_same_tag_and_digest_stay_apart_by_repository(db: Connection) -> None:
    for repository, word in (("library/one", "one"), ("library/two", "two")):
        repository_id = add_repository(db, repository)
        add_manifest(db, repository_id, word)
        tags.put(db, repository_id, "latest", digest(word), by=None, now=NOW)
    for repository, word in (("library/one", "one"), ("library/two", "two")):
        found = manifests.read(db, repository, "latest")
        assert found is not None
        assert found[1] == word.encode()


def test_media_type_of_the_last_push_counts(db: Connection) -> None:
    app = add_repository(db, "library/app")
    put(db, app, STORED)
    put(db, app, replace(STORED, media_type=INDEX), at=1, by="bob")
    assert manifests.read(db, "library/app", STORED.digest) == (replace(STORED, media_type=INDEX), CONTENT)
    columns = schema.manifests.c
    assert tuple(db.execute(select(columns.pushed_by, columns.pushed_at)).one()) == ("bob", NOW + SECOND)


def test_pushing_again_keeps_tags_and_references(db: Connection) -> None:
    app = add_repository(db, "library/app")
    for _ in range(2):
        add_manifest(db, app, "v1", references=References((digest("layer"),), (digest("child"),)))
    tags.put(db, app, "latest", digest("v1"), by=None, now=NOW)
    add_manifest(db, app, "v1", references=References((digest("layer"),), (digest("child"),)))
    assert list(tags.names(db, "library/app", last="", limit=9)) == ["latest", "v1"]
    assert named(db, "v1") == {("blob", digest("layer")), ("manifest", digest("child"))}


def test_manifest_needs_its_repository(db: Connection) -> None:
    with pytest.raises(IntegrityError):
        put(db, 99, STORED)


def test_references_are_kept_once_each(db: Connection) -> None:
    app = add_repository(db, "library/app")
    both, layer = digest("both"), digest("layer")
    add_manifest(db, app, "v1", references=References(blobs=(layer, both, layer), manifests=(both, both)))
    add_manifest(db, app, "v2")
    assert named(db, "v1") == {("blob", layer), ("blob", both), ("manifest", both)}
    assert named(db, "v2") == set()


def test_any_number_of_references_is_kept(db: Connection) -> None:
    layers = tuple(Digest(f"sha256:{number:064x}") for number in range(10_000))
    add_manifest(db, add_repository(db, "library/app"), "v1", references=References(blobs=layers))
    assert named(db, "v1") == {("blob", layer) for layer in layers}


def test_missing_manifests_come_once_and_in_order(db: Connection) -> None:
    one, two = add_repository(db, "library/one"), add_repository(db, "library/two")
    add_manifest(db, one, "here")
    add_manifest(db, two, "elsewhere")
    wanted = [digest(word) for word in ("z", "here", "elsewhere", "z", "a")]
    assert manifests.missing(db, one, wanted) == [digest("z"), digest("elsewhere"), digest("a")]
    assert manifests.missing(db, one, []) == []


def test_removed_manifest_takes_its_tags_and_references_along(db: Connection) -> None:
    one, two = add_repository(db, "library/one"), add_repository(db, "library/two")
    for repository_id in (one, two):
        add_manifest(db, repository_id, "v1", references=References(blobs=(digest("layer"),)))
    add_manifest(db, one, "v2", references=References(manifests=(digest("v1"),)))
    tags.put(db, one, "latest", digest("v1"), by=None, now=NOW)
    assert manifests.remove(db, "library/one", digest("v1"), now=NOW)
    assert not manifests.remove(db, "library/one", digest("v1"), now=NOW)
    assert not manifests.remove(db, "library/nowhere", digest("v1"), now=NOW)
    assert list(tags.names(db, "library/one", last="", limit=9)) == ["v2"]
    assert list(tags.names(db, "library/two", last="", limit=9)) == ["v1"]
    assert named(db, "v2") == {("manifest", digest("v1"))}  # an index goes on naming its child
    assert count(db, schema.manifests, schema.manifest_references) == [2, 2]


MANY = 1 << 20
SUBJECT = digest("subject")
SBOM, SIGNATURE = "application/spdx+json", "application/vnd.example.signature"


def referrers(
    db: Connection,
    repository: str = "library/app",
    subject: Digest = SUBJECT,
    artifact_type: str | None = None,
    last: str = "",
    limit: int = 100,
) -> list[StoredManifest]:
    found, more = manifests.referrers(
        db, repository, subject, artifact_type=artifact_type, last=last, limit=limit, max_bytes=MANY
    )
    assert len(found) == limit or not more
    return found


def test_referrers_end_where_annotations_take_too_much(db: Connection) -> None:
    repository_id = add_repository(db, "library/app")
    for word in ("a", "b", "c"):
        add_manifest(db, repository_id, word, subject=SUBJECT, annotations={"note": "x" * 100})
    page = partial(manifests.referrers, db, "library/app", SUBJECT, artifact_type=None, limit=9)
    every, more = page(last="", max_bytes=MANY)
    assert (len(every), more) == (3, False)
    assert page(last="", max_bytes=100) == (every[:1], True)
    assert page(last=every[0].digest, max_bytes=100) == (every[1:2], True)
    assert page(last=every[1].digest, max_bytes=100) == (every[2:], False)


def attach(db: Connection, repository_id: int, words: list[str], artifact_type: str | None) -> list[Digest]:
    return [
        add_manifest(db, repository_id, word, subject=SUBJECT, artifact_type=artifact_type) for word in words
    ]


@pytest.mark.parametrize("annotations", [None, {"a": "b", "ü": '"\n'}, {"org.example/é": ""}])
@pytest.mark.parametrize("artifact_type", [None, SBOM])
def test_referrer_is_listed_with_its_descriptor(
    db: Connection, annotations: dict[str, str] | None, artifact_type: str | None
) -> None:
    app = add_repository(db, "library/app")
    add_manifest(db, app, "v1", subject=SUBJECT, artifact_type=artifact_type, annotations=annotations)
    assert referrers(db) == [StoredManifest(digest("v1"), MANIFEST, 2, SUBJECT, artifact_type, annotations)]


def test_empty_annotations_are_none(db: Connection) -> None:
    add_manifest(db, add_repository(db, "library/app"), "v1", subject=SUBJECT, annotations={})
    assert [found.annotations for found in referrers(db)] == [None]


def test_subject_need_not_exist_nor_be_of_this_repository(db: Connection) -> None:
    one, two = add_repository(db, "library/one"), add_repository(db, "library/two")
    attach(db, one, ["v1"], SBOM)
    add_manifest(db, two, "subject")
    assert [found.digest for found in referrers(db, "library/one")] == [digest("v1")]
    assert referrers(db, "library/two") == []
    assert referrers(db, "library/nowhere") == []
    assert referrers(db, "library/one", subject=digest("other")) == []


@pytest.mark.parametrize(
    ("artifact_type", "words"),
    [
        (None, ["a", "b", "c", "d"]),
        (SBOM, ["a", "b"]),
        (SIGNATURE, ["c"]),
        ("", []),
        ("application/spdx", []),
        ("application/SPDX+json", []),
    ],
)
def test_referrers_are_filtered_by_artifact_type(
    db: Connection, artifact_type: str | None, words: list[str]
) -> None:
    app = add_repository(db, "library/app")
    attach(db, app, ["a", "b"], SBOM)
    attach(db, app, ["c"], SIGNATURE)
    attach(db, app, ["d"], None)
    add_manifest(db, app, "no referrer", artifact_type=SBOM)
    found = [referrer.digest for referrer in referrers(db, artifact_type=artifact_type)]
    assert found == sorted(digest(word) for word in words)


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8, 100])
def test_pages_of_referrers_add_up(db: Connection, limit: int) -> None:
    app = add_repository(db, "library/app")
    wanted = sorted(attach(db, app, [f"sbom {number}" for number in range(7)], SBOM))
    attach(db, app, ["signature"], SIGNATURE)
    pages: list[str] = []
    while page := referrers(db, artifact_type=SBOM, last=pages[-1] if pages else "", limit=limit):
        assert len(page) <= limit
        pages += [found.digest for found in page]
    assert pages == wanted


def test_page_begins_after_a_digest_that_does_not_exist(db: Connection) -> None:
    app = add_repository(db, "library/app")
    attached = sorted(attach(db, app, ["a", "b", "c"], SBOM))
    between = attached[0] + "0"
    assert [found.digest for found in referrers(db, last=between)] == attached[1:]
    assert referrers(db, last=attached[-1]) == []
    assert referrers(db, limit=0) == []


def test_removed_manifest_is_no_referrer(db: Connection) -> None:
    app = add_repository(db, "library/app")
    attach(db, app, ["a", "b"], SBOM)
    manifests.remove(db, "library/app", digest("a"), now=NOW)
    assert [found.digest for found in referrers(db)] == [digest("b")]


def test_referrers_outlive_their_subject(db: Connection) -> None:
    app = add_repository(db, "library/app")
    add_manifest(db, app, "subject")
    attach(db, app, ["a"], SBOM)
    manifests.remove(db, "library/app", SUBJECT, now=NOW)
    assert [found.digest for found in referrers(db)] == [digest("a")]
