"""`longshore gc`: what it tells, takes and brings back."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import select, update

from registry.interface import Registry
from registry.names import Tag
from storage.digest import Digest
from storage.metadata import removed, schema
from tests.registry.commands import Stored, done, isolate, refused, run
from tests.registry.content import Content, describe, image, index, name, pull, push, push_blob, put
from tests.registry.damage import flip, path_of
from tests.registry.registries import opened

APP: Final = "library/app"
CHILD: Final = image(layers=[b"layer"])
WHOLE: Final = index(CHILD, tags=["v1"])
LAYER: Final = Digest.of(b"layer")
NOW: Final = {"gc_grace": "0", "gc_quarantine": "0", "gc_untagged": "0"}
KEPT: Final = {"gc_grace": "0", "gc_quarantine": "1d", "gc_untagged": "0"}


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, clean_environment: None) -> Path:
    """Data with an index of one image, under a tag."""
    with Stored(tmp_path / "data"):
        pass

    async def run() -> None:
        async with opened(tmp_path / "data") as stores:
            await stores.store.prepare()
            await push(stores.registry(), {APP: WHOLE})

    asyncio.run(run())
    return tmp_path / "data"


def use(data: Path, work: Callable[[Registry], Coroutine[Any, Any, Any]]) -> Any:
    """Do something as a server does."""

    async def run() -> Any:
        async with opened(data) as stores:
            return await work(stores.registry())

    return asyncio.run(run())


def untag(data: Path) -> None:
    use(data, lambda registry: registry.delete_tag(name(APP), Tag("v1")))


def explained(digest: Digest, **settings: str) -> list[dict[str, Any]]:
    told: dict[str, list[dict[str, Any]]] = json.loads(done("gc", "--dry-run", digest, "--json", **settings))
    return told[digest]


def outlook(**settings: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(done("gc", "--dry-run", "--json", **settings))
    return told


# Why, and when


def test_way_from_the_tag_to_the_layer() -> None:
    [fate] = explained(LAYER)
    assert (fate["kind"], fate["repository"], fate["state"]) == ("blob", APP, "kept")
    assert fate["way"] == ["v1", WHOLE.digest, CHILD.digest, LAYER]
    assert fate["because"] == "the tag v1 leads to it"
    lines = done("gc", "--dry-run", CHILD.digest).splitlines()
    assert lines == [
        CHILD.digest,
        f"  manifest in {APP} kept: the tag v1 leads to it",
        f"    v1 > {WHOLE.digest} > {CHILD.digest}",
    ]


def test_untagged_manifest_waits_or_stays_or_goes(data: Path) -> None:
    untag(data)
    [fate] = explained(CHILD.digest)
    assert (fate["state"], fate["until"]) == ("kept", None)
    assert "gc_untagged is not set" in fate["because"]
    [fate] = explained(LAYER, gc_untagged="1d")
    assert (fate["state"], fate["way"]) == ("waits", [CHILD.digest, LAYER])
    assert datetime.fromisoformat(fate["until"]) > datetime.now(UTC)
    [fate] = explained(CHILD.digest, gc_untagged="0")
    assert (fate["state"], fate["because"]) == ("goes", "no tag leads to it")
    assert "goes with the next turn" in done("gc", "--dry-run", CHILD.digest, gc_untagged="0")


def test_blob_that_no_manifest_names_waits(data: Path) -> None:
    digest = use(data, lambda registry: push_blob(registry, APP, b"loose"))
    [fate] = explained(digest)
    assert (fate["state"], fate["because"]) == ("waits", "no manifest names it")
    [fate] = explained(digest, gc_grace="0")
    assert fate["state"] == "goes"
    use(data, lambda registry: registry.delete_blob(name(APP), digest))
    [fate] = explained(digest)
    assert (fate["repository"], fate["state"]) == (None, "waits")
    assert "its time begins with the next turn" in fate["because"]
    done("gc", "--now")
    [fate] = explained(digest)
    assert (fate["state"], fate["because"]) == ("waits", "no repository has it")
    assert explained(digest, gc_grace="0")[0]["state"] == "goes"


def test_what_was_removed_says_so(data: Path) -> None:
    untag(data)
    done("gc", "--now", **KEPT)
    [fate] = explained(LAYER)
    assert (fate["kind"], fate["state"]) == ("removed", "waits")
    assert "unused; it can come back until then" in fate["because"]
    [fate] = explained(WHOLE.digest)
    assert (fate["kind"], fate["repository"]) == ("removed", APP)
    with Stored(data) as db:
        db.execute(update(schema.removed_content).values(due_at=datetime.now(UTC)))
        removed.take_due(db, now=datetime.now(UTC), limit=100)
    [fate] = explained(LAYER)
    assert fate["state"] == "goes"
    assert "being deleted" in fate["because"]


def test_removed_bytes_wait_for_whoever_was_sent_to_the_bucket(data: Path) -> None:
    untag(data)
    done("gc", "--now", **{**KEPT, "gc_quarantine": "1m"})
    in_bucket = {"storage": "s3://bucket", "s3_url_lifetime": "7d"}
    [here], [there] = explained(LAYER), explained(LAYER, **in_bucket)
    soon, late = (datetime.fromisoformat(each["until"]) for each in (here, there))
    assert timedelta(days=7) < late - soon < timedelta(days=8)
    [manifest] = explained(WHOLE.digest, **in_bucket)
    assert datetime.fromisoformat(manifest["until"]) == soon
    with Stored(data) as db:
        db.execute(update(schema.removed_content).values(due_at=datetime.now(UTC)))
    assert outlook()["due"]["count"] == 2
    assert outlook(**in_bucket)["due"]["count"] == 0


def test_unknown_digest_is_not_here() -> None:
    nowhere = Digest.of(b"nowhere")
    assert explained(nowhere) == []
    assert done("gc", "--dry-run", nowhere) == f"{nowhere}\n  is not here\n"


def test_outlook(data: Path) -> None:
    assert outlook(**NOW)["going"] == []
    untag(data)
    use(data, lambda registry: push_blob(registry, APP, b"loose"))
    told = outlook(**NOW)
    assert {(each["kind"], each["digest"]) for each in told["going"]} == {
        ("manifest", WHOLE.digest),
        ("manifest", CHILD.digest),
        ("blob", Digest.of(b"loose")),
    }
    assert told["manifests"]["count"] == 2
    assert told["links"] == {"count": 1, "size": 5}
    assert outlook()["going"] == []
    table = done("gc", "--dry-run", **NOW)
    assert CHILD.digest in table
    assert "manifests that no tag leads to" in table
    done("gc", "--now", **KEPT)
    told = outlook(**KEPT)
    assert (told["due"]["count"], told["waiting"]["count"]) == (0, 3)


# Now


def test_all_that_is_due_goes(data: Path) -> None:
    untag(data)
    taken = json.loads(done("gc", "--now", "--json", **NOW))
    assert (taken["manifests"], taken["links"], taken["blobs"]) == (2, 2, 2)
    assert (taken["deleted"], taken["freed"]) == (2, len(b"layer") + len(b"{}"))
    assert not [path for path in (data / "blobs").glob("*/*/*") if path.is_file()]
    assert "blobs deleted from the store" in done("gc", "--now")


def test_what_a_tag_leads_to_stays(data: Path) -> None:
    done("gc", "--now", **NOW)
    assert len(use(data, lambda registry: pull(registry, APP, Tag("v1")))) == 4


# Back


def test_index_comes_back_with_all_of_it(data: Path) -> None:
    untag(data)
    done("gc", "--now", **KEPT)
    words = done("gc", "--undo", WHOLE.digest)
    assert words == f"2 manifests and 2 blobs are back in {APP}\n"
    use(data, lambda registry: put(registry, APP, replace(WHOLE, tags=("v2",))))
    done("gc", "--now", **NOW)
    assert len(use(data, lambda registry: pull(registry, APP, Tag("v2")))) == 4
    with Stored(data) as db:
        assert db.execute(select(schema.removed_content.c.id)).all() == []


def test_blob_comes_back_to_a_repository(data: Path) -> None:
    untag(data)
    done("gc", "--now", **KEPT)
    told = json.loads(done("gc", "--undo", LAYER, "--repository", "app", "--json"))
    assert told == {"repository": APP, "manifests": [], "blobs": [LAYER], "damaged": []}
    pushed = image(tags=["v2"], layers=[b"layer"], config=b"layer")
    use(data, lambda registry: put(registry, APP, pushed))
    done("gc", "--now", **NOW)
    assert len(use(data, lambda registry: pull(registry, APP, Tag("v2")))) == 2


def test_manifest_of_several_repositories_comes_back_where_it_is_said(data: Path) -> None:
    other: Content = replace(CHILD, tags=("v1",))
    use(data, lambda registry: push(registry, {"library/other": other}))
    untag(data)
    use(data, lambda registry: registry.delete_tag(name("other"), Tag("v1")))
    done("gc", "--now", **KEPT)
    words = refused("gc", "--undo", CHILD.digest)
    assert words == f"it was removed from {APP}, library/other: say --repository"
    assert "library/other" in done("gc", "--undo", CHILD.digest, "--repository", "other")
    assert len(use(data, lambda registry: pull(registry, "library/other", CHILD.digest))) == 3


def test_what_is_gone_does_not_come_back(data: Path) -> None:
    untag(data)
    done("gc", "--now", **KEPT)
    with Stored(data) as db:
        db.execute(
            update(schema.removed_content)
            .where(schema.removed_content.c.digest == LAYER)
            .values(due_at=datetime.now(UTC))
        )
        assert len(removed.take_due(db, now=datetime.now(UTC), limit=100)) == 1
    assert refused("gc", "--undo", WHOLE.digest) == f"its blob {LAYER} is gone"
    assert refused("gc", "--undo", LAYER) == f"{LAYER} cannot come back: its bytes are gone"
    assert explained(CHILD.digest)[0]["kind"] == "removed"  # nothing was changed
    with Stored(data) as db:
        assert db.execute(select(schema.manifests.c.digest)).all() == []


def test_damaged_blob_does_not_come_back(data: Path) -> None:
    untag(data)
    done("gc", "--now", **KEPT)
    flip(path_of(data, LAYER))
    assert refused("gc", "--undo", WHOLE.digest) == f"its blob {LAYER} is damaged (corrupt)"
    words = refused("gc", "--undo", LAYER, "--repository", "app")
    assert words == f"{LAYER} cannot come back: its bytes are damaged (corrupt)"


def test_manifest_that_came_back_without_a_damaged_blob_is_told_of(data: Path) -> None:
    foreign = describe(b"foreign", urls=["https://example.com/layer"])
    able = image(tags=["v2"], layers=[b"layer", foreign])

    async def push_all(registry: Registry) -> None:
        await push_blob(registry, APP, b"foreign")
        await push(registry, {APP: able})

    use(data, push_all)
    use(data, lambda registry: registry.delete_tag(name(APP), Tag("v2")))
    done("gc", "--now", **KEPT)
    flip(path_of(data, Digest(foreign["digest"])))
    result = run("gc", "--undo", able.digest)
    assert result.exit_code == 1
    assert result.stdout == f"1 manifests and 2 blobs are back in {APP}\n"
    assert f"Error: damaged blobs stay away: {foreign['digest']}" in result.stderr


def test_repository_that_is_gone_takes_nothing_back(data: Path) -> None:
    untag(data)
    done("gc", "--now", **KEPT)
    done("repo", "delete", "app", "--yes")
    assert refused("gc", "--undo", CHILD.digest) == f"there is no repository {APP}"
    assert refused("gc", "--undo", LAYER, "--repository", "app") == f"there is no repository {APP}"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "say one of --dry-run, --now and --undo"),
        (("--now", "--dry-run"), "say one of --dry-run, --now and --undo"),
        (("--now", LAYER), "digests go with --dry-run"),
        (("--now", "--repository", "app"), "--repository goes with --undo"),
    ],
)
def test_what_makes_no_sense_is_refused(words: tuple[str, ...], told: str) -> None:
    assert refused("gc", *words) == told


def test_deleted_repository_is_free_at_once_without_grace(data: Path) -> None:
    done("repo", "delete", "app", "--yes")
    taken = json.loads(done("gc", "--now", "--json", **NOW))
    assert (taken["blobs"], taken["deleted"], taken["waiting"]["count"]) == (2, 2, 0)
