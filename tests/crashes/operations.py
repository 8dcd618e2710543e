"""What a registry does while it is killed: each operation says what it promises as it goes."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from registry.grace import Grace
from registry.interface import Chunk
from registry.jobs.collect import Collector
from registry.jobs.sweep import Sweep
from registry.local import LocalRegistry
from registry.names import Tag
from storage.digest import Digest
from tests.crashes.promises import GONE, MAYBE, THERE
from tests.registry.content import body, image, name, put
from tests.registry.registries import Stores

Note = Callable[[str, str], None]


@dataclass(slots=True)
class Run:
    """One run; `number` makes its content its own.

    An operation arranges things until it yields. What comes then is to be killed, over stores that were
    opened anew.
    """

    registry: LocalRegistry
    stores: Stores
    number: int
    note: Note

    async def push_blob(self, repository: str, text: str, *, chunks: int = 0) -> None:
        """Push a blob in one request, or in chunks and a last one without bytes."""
        key, content, repo = f"blob|{repository}|{text}", text.encode(), name(repository)
        self.note(key, MAYBE)
        upload = await self.registry.start_upload(repo, "sha256")
        size = -(-len(content) // chunks) if chunks else 0
        for start in range(0, len(content) if chunks else 0, size or 1):
            await self.registry.append_upload(repo, upload.id, Chunk(body(content[start : start + size])))
        rest = body() if chunks else body(content)
        await self.registry.finish_upload(repo, upload.id, Digest.of(content), Chunk(rest))
        self.note(key, THERE)

    async def push_image(self, repository: str, tag: str, *layers: str) -> None:
        """Push a manifest whose blobs are there."""
        key = f"tag|{repository}|{tag}|{','.join(layers)}"
        self.note(key, MAYBE)
        await put(self.registry, repository, image(tags=[tag], layers=[each.encode() for each in layers]))
        self.note(key, THERE)


async def push_at_once(run: Run) -> AsyncIterator[None]:
    yield
    await run.push_blob("team/app", f"at once {run.number}")


async def push_in_chunks(run: Run) -> AsyncIterator[None]:
    yield
    await run.push_blob("team/app", f"in chunks {run.number}", chunks=2)


async def push_again(run: Run) -> AsyncIterator[None]:
    """The bytes come to another location, in place of those that are there."""
    yield
    await run.push_blob("team/app", "again and again")


async def mount(run: Run) -> AsyncIterator[None]:
    """Mount a blob into a repository that this makes."""
    await run.push_blob("team/app", "{}")
    key = f"blob|team/mounted-{run.number}|{{}}"
    yield
    run.note(key, MAYBE)
    assert await run.registry.mount_blob(
        name(f"team/mounted-{run.number}"), Digest.of(b"{}"), name("team/app")
    )
    run.note(key, THERE)


async def push_image(run: Run) -> AsyncIterator[None]:
    layer = f"layer {run.number}"
    for blob in ("{}", layer):
        await run.push_blob("team/app", blob)
    yield
    await run.push_image("team/app", f"v{run.number}", layer)


async def delete(run: Run) -> AsyncIterator[None]:
    """Delete a tag, then a manifest with another tag, then a blob."""
    layers = [f"deleted {part} {run.number}" for part in "abc"]
    for blob in ("{}", *layers):
        await run.push_blob("team/app", blob)
    one, two = (f"{tag}{run.number}" for tag in ("one", "two"))
    await run.push_image("team/app", one, layers[0])
    await run.push_image("team/app", two, layers[1])
    digest = image(layers=[layers[1].encode()]).digest
    steps: Mapping[str, Callable[[], Awaitable[None]]] = {
        f"tag|team/app|{one}|{layers[0]}": lambda: run.registry.delete_tag(name("team/app"), Tag(one)),
        f"tag|team/app|{two}|{layers[1]}": lambda: run.registry.delete_manifest(name("team/app"), digest),
        f"blob|team/app|{layers[2]}": lambda: run.registry.delete_blob(
            name("team/app"), Digest.of(layers[2].encode())
        ),
    }
    yield
    for key, step in steps.items():
        run.note(key, MAYBE)
        await step()
        run.note(key, GONE)


async def sweep(run: Run) -> AsyncIterator[None]:
    """Remove uploads that were begun and left."""
    for _ in range(2):
        upload = await run.registry.start_upload(name("team/app"), "sha256")
        await run.registry.append_upload(name("team/app"), upload.id, Chunk(body(b"left")))
    yield
    sweeping = Sweep(run.stores.metadata, run.stores.store, 0)
    await sweeping.sweep_uploads(datetime.now(UTC) + timedelta(hours=1))


async def collect(run: Run) -> AsyncIterator[None]:
    """Delete a manifest, and collect all that it alone needed, without grace."""
    # First what the run before did not come to: else there would be more each time.
    await _collect_all(run)
    gone, kept = f"collected {run.number}", f"kept {run.number}"
    for blob in ("{}", gone, kept):
        await run.push_blob("team/app", blob)
    await run.push_image("team/app", f"kept{run.number}", kept)
    await run.push_image("team/app", f"gone{run.number}", gone)
    keys = f"tag|team/app|gone{run.number}|{gone}", f"blob|team/app|{gone}"
    for key in keys:
        run.note(key, MAYBE)
    await run.registry.delete_manifest(name("team/app"), image(layers=[gone.encode()]).digest)
    run.note(keys[0], GONE)
    yield
    await _collect_all(run)
    run.note(keys[1], GONE)


async def _collect_all(run: Run) -> None:
    no_time = Grace(timedelta(0), timedelta(0), timedelta(0))
    # A clock that is ahead: what has just lost its manifest is due, and what was replaced an hour ago.
    ahead = datetime.now(UTC) + timedelta(hours=2)
    collector = Collector(run.stores.metadata, run.stores.store, no_time, clock=lambda: ahead)
    await collector.collect_all()


START: Final = "start"
"""The operation of which opening the stores is a part."""


async def start(run: Run) -> AsyncIterator[None]:
    """Nothing but to come up."""
    yield
    await run.push_blob("team/app", "{}")


OPERATIONS: Final[Mapping[str, Callable[[Run], AsyncIterator[None]]]] = {
    each.__name__: each
    for each in (start, push_at_once, push_in_chunks, push_again, mount, push_image, delete, collect, sweep)
}
