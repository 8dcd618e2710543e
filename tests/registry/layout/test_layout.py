"""What is exported is imported again, and what cannot be imported is refused."""

import json
from pathlib import Path
from typing import Final

import pytest

from registry.errors import Problem
from registry.interface import Registry
from registry.layout.exporting import Export, Exported
from registry.layout.importing import Import, Imported
from registry.layout.reading import LayoutError, open_layout
from registry.layout.writing import write_layout
from registry.local import LocalRegistry
from registry.names import Reference, Tag
from storage.digest import Digest
from storage.metadata import blobs
from tests.registry.content import Content, image, index, name, pull, push, refused, tags_of

LIMIT: Final = 4 * 1024 * 1024
APP: Final = image(tags=["v1"], layers=[b"first", b"second", b"first"])
MANY: Final = index(image(layers=[b"amd64"]), image(layers=[b"arm64"]), tags=["many"])
SIGNATURE: Final = image(layers=[b"signed"], subject=APP.descriptor, artifactType="application/x.signature")
COUNTER: Final = image(
    layers=[b"again"], subject=SIGNATURE.descriptor, artifactType="application/x.signature"
)


class Silent:
    """Hears how far it has come."""

    def expect(self, what: str, total: int) -> None: ...

    def advance(self, amount: int) -> None: ...


@pytest.fixture(params=["layout", "layout.tar"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / str(request.param)


async def export(
    registry: Registry, repository: str, path: Path, *references: Reference, referrers: bool = False
) -> Exported:
    writer = write_layout(path)
    try:
        return await Export(registry, name(repository), writer, Silent()).run(references, referrers=referrers)
    finally:
        writer.give_up()


async def import_(registry: Registry, repository: str, path: Path, tag: str | None = None) -> Imported:
    layout = open_layout(path)
    try:
        wanted = None if tag is None else Tag(tag)
        return await Import(registry, name(repository), layout, LIMIT, Silent()).run(wanted)
    finally:
        layout.close()


async def test_round_trip(local: LocalRegistry, path: Path) -> None:
    await push(local, {"team/app": [APP, MANY]})
    done = await export(local, "team/app", path, Tag("v1"), Tag("many"))
    assert (done.manifests, done.blobs, done.missing) == (4, 5, [])
    found = await import_(local, "team/copy", path)
    assert (found.manifests, found.blobs, found.tags) == (4, 5, ["v1", "many"])
    for tag in ("v1", "many"):
        assert await pull(local, "team/copy", Tag(tag)) == await pull(local, "team/app", Tag(tag))
    # What is there does not come again.
    assert (await import_(local, "team/copy", path)).blobs == 0


async def test_what_refers_to_it_comes_along(local: LocalRegistry, path: Path) -> None:
    await push(local, {"team/app": [APP, SIGNATURE, COUNTER]})
    done = await export(local, "team/app", path, APP.digest, Tag("v1"), referrers=True)
    assert done.manifests == 3
    found = await import_(local, "team/copy", path, "new")
    assert found.tags == ["new"]
    page = await local.list_referrers(name("team/copy"), APP.digest, artifact_type=None, last="", limit=10)
    assert [each.digest for each in page.items] == [SIGNATURE.digest]
    page = await local.list_referrers(
        name("team/copy"), SIGNATURE.digest, artifact_type=None, last="", limit=10
    )
    assert [each.digest for each in page.items] == [COUNTER.digest]


async def test_an_index_may_lack_images(local: LocalRegistry, path: Path) -> None:
    lacking = index(image(layers=[b"here"]), image(layers=[b"not here"]), tags=["v1"])
    here, gone = lacking.children
    await push(local, {"team/app": [here, Content(lacking.content, lacking.media_type, lacking.tags)]})
    done = await export(local, "team/app", path, Tag("v1"))
    assert done.missing == [gone.digest]
    assert (await import_(local, "team/copy", path)).manifests == 2


async def test_tags_that_a_layout_gives(local: LocalRegistry, path: Path) -> None:
    await push(local, {"team/app": [APP, MANY]})
    await export(local, "team/app", path, Tag("v1"), Tag("many"))
    assert (await import_(local, "team/one", path, "many")).tags == ["many"]
    assert await tags_of(local, "team/one") == ["many"]
    with pytest.raises(LayoutError, match="none of them is v2: v1, many"):
        await import_(local, "team/two", path, "v2")


@pytest.mark.parametrize(
    ("given", "tag"),
    [
        ("v1", "v1"),
        ("docker.io/library/app:v1", "v1"),
        ("localhost:5000/app", "app"),
        ("not a tag", None),
        (None, None),
    ],
)
async def test_names_of_other_tools(
    local: LocalRegistry, tmp_path: Path, given: str | None, tag: str | None
) -> None:
    layout = await directory(local, tmp_path)
    entry = {
        **APP.descriptor,
        "annotations": {} if given is None else {"org.opencontainers.image.ref.name": given},
    }
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    found = await import_(local, "team/copy", layout)
    assert found.tags == ([] if tag is None else [tag])
    assert found.untagged == ([APP.digest] if tag is None else [])


async def directory(local: LocalRegistry, tmp_path: Path) -> Path:
    """Export the image into a directory."""
    await push(local, {"team/app": APP})
    layout = tmp_path / "layout"
    await export(local, "team/app", layout, Tag("v1"))
    return layout


def exists(path: Path) -> bool:
    return path.exists()


def blob(layout: Path, digest: Digest) -> Path:
    return layout / "blobs" / "sha256" / digest.hex


async def test_damage_is_found(local: LocalRegistry, tmp_path: Path) -> None:
    layout = await directory(local, tmp_path)
    blob(layout, Digest.of(b"first")).write_bytes(b"FIRST")
    with refused(Problem.DIGEST_INVALID):
        await import_(local, "team/copy", layout)
    blob(layout, Digest.of(b"first")).unlink()
    with refused(Problem.MANIFEST_BLOB_UNKNOWN):
        await import_(local, "team/copy", layout)
    blob(layout, APP.digest).write_bytes(APP.content + b" ")
    with pytest.raises(LayoutError, match="are damaged"):
        await import_(local, "team/copy", layout)
    blob(layout, APP.digest).unlink()
    with pytest.raises(LayoutError, match="lacks blobs/sha256"):
        await import_(local, "team/copy", layout)
    # Nobody can pull any of it.
    with refused(Problem.MANIFEST_UNKNOWN):
        await local.get_manifest(name("team/copy"), Tag("v1"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("oci-layout", "{}"),
        ("oci-layout", '{"imageLayoutVersion": "2.0.0"}'),
        ("oci-layout", "[]"),
        ("oci-layout", "no JSON"),
        ("index.json", "[]"),
        ("index.json", '{"schemaVersion": 2, "manifests": []}'),
        ("index.json", "[" * 100_000),
        ("index.json", " " * (4 * 1024 * 1024) + "{}"),
    ],
)
async def test_what_is_no_layout(local: LocalRegistry, tmp_path: Path, file: str, content: str) -> None:
    layout = await directory(local, tmp_path)
    (layout / file).write_text(content)
    with pytest.raises(LayoutError):
        await import_(local, "team/copy", layout)


async def test_indexes_within_indexes_end(local: LocalRegistry, tmp_path: Path) -> None:
    layout = await directory(local, tmp_path)
    deep = APP
    for _ in range(10):
        deep = index(deep)
        blob(layout, deep.digest).write_bytes(deep.content)
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [deep.descriptor]}))
    with pytest.raises(LayoutError, match="more than 8 indexes"):
        await import_(local, "team/copy", layout)


async def test_nothing_is_overwritten(local: LocalRegistry, path: Path, tmp_path: Path) -> None:
    await push(local, {"team/app": APP})
    await export(local, "team/app", path, Tag("v1"))
    with pytest.raises(LayoutError):
        write_layout(path)
    lost = await local.metadata.lookup(blobs.location_of, Digest.of(b"first"))
    assert lost is not None
    await local.store.delete([lost])
    with pytest.raises(LayoutError, match="is missing from team/app"):
        await export(local, "team/app", tmp_path / "other.tar", Tag("v1"))
    assert not {
        each.name for each in (tmp_path / "other.tar", tmp_path / "other.tar.partial") if exists(each)
    }
