"""`longshore export` and `longshore import`: images as files, in OCI image layouts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

import click

from registry.cli.data import opened
from registry.cli.output import require, show_size
from registry.cli.progress import Bar
from registry.cli.settings import with_settings
from registry.config import Loaded, Settings
from registry.errors import RegistryError
from registry.holds import UploadHolds
from registry.installation import store_of
from registry.layout.exporting import Export
from registry.layout.importing import Import
from registry.layout.reading import LayoutError, open_layout
from registry.layout.writing import write_layout
from registry.local import LocalRegistry, Rules
from registry.names import Reference, RepositoryName, Tag, parse_digest, parse_name, parse_tag

_PAGE: Final = 1000


@click.command()
@click.argument("reference", metavar="REPOSITORY[:TAG|@DIGEST]")
@click.argument("dest", type=click.Path(path_type=Path))
@click.option("--referrers", is_flag=True, help="Also what refers to it: signatures, lists of components.")
@with_settings
def export(loaded: Loaded, reference: str, dest: Path, referrers: bool) -> None:
    """Write an image, or all tags of a repository, as OCI image layout: a directory, or DEST.tar."""
    name, wanted = _parse(reference)
    with _told():
        asyncio.run(_export(loaded.settings, name, wanted, dest, referrers))


@click.command("import")
@click.argument("src", type=click.Path(exists=True, path_type=Path))
@click.argument("reference", metavar="REPOSITORY[:TAG]")
@with_settings
def import_(loaded: Loaded, src: Path, reference: str) -> None:
    """Push what the OCI image layout SRC holds, a directory or a tar archive (also of `docker save`).

    Without a TAG under the names that the layout gives.
    """
    name, tag = _parse(reference)
    require(tag is None or isinstance(tag, Tag), "an import is named by a tag")
    with _told():
        asyncio.run(_import(loaded.settings, src, name, tag if isinstance(tag, Tag) else None))


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except LayoutError as error:
        raise click.ClickException(str(error)) from error


def _parse(text: str) -> tuple[RepositoryName, Reference | None]:
    name, at, digest = text.partition("@")
    if at:
        return parse_name(name), parse_digest(digest)
    name, colon, tag = text.partition(":")
    return parse_name(name), parse_tag(tag) if colon else None


@contextlib.asynccontextmanager
async def _registry(settings: Settings) -> AsyncIterator[LocalRegistry]:
    async with opened(settings) as metadata:
        store = store_of(settings, UploadHolds(metadata))
        await store.prepare()
        rules = Rules(sparse=settings.sparse, public=settings.default_visibility == "public")
        yield LocalRegistry(metadata, store, rules)


async def _export(
    settings: Settings, name: RepositoryName, wanted: Reference | None, dest: Path, referrers: bool
) -> None:
    async with _registry(settings) as registry:
        references = await _tags(registry, name) if wanted is None else [wanted]
        require(bool(references), f"{name} has no tag")
        for reference in references:
            await registry.find_manifest(name, reference)
        writer = write_layout(dest)
        try:
            with Bar() as bar:
                bar.expect("blobs", 0)
                done = await Export(registry, name, writer, bar).run(references, referrers=referrers)
        finally:
            writer.give_up()
    for digest in done.missing:
        click.echo(f"{digest}: an index names it, and it is not here", err=True)
    click.echo(
        f"exported {done.manifests} manifests and {done.blobs} blobs ({show_size(done.size)}) to {dest}"
    )


async def _tags(registry: LocalRegistry, name: RepositoryName) -> Sequence[Reference]:
    found: list[Reference] = []
    more = True
    while more:
        page = await registry.list_tags(name, last=str(found[-1]) if found else "", limit=_PAGE)
        found += [Tag(each) for each in page.items]
        more = page.more
    return found


async def _import(settings: Settings, src: Path, name: RepositoryName, tag: Tag | None) -> None:
    layout = open_layout(src)
    try:
        async with _registry(settings) as registry:
            with Bar() as bar:
                bar.expect("blobs", 0)
                done = await Import(registry, name, layout, settings.manifest_limit, bar).run(tag)
    except RegistryError as error:
        raise LayoutError(f"{name}: {error}") from error
    finally:
        layout.close()
    click.echo(
        f"imported {done.manifests} manifests and {done.blobs} blobs ({show_size(done.size)}) into {name}"
    )
    for each in (*done.tags, *done.untagged):
        click.echo(f"  {name}:{each}" if isinstance(each, Tag) else f"  {name}@{each}")
