"""Clients that push, mount, retag, delete and pull at the same time, while what nothing needs is collected.

A tag belongs to the client that sets it; repositories, layers and manifests belong to all. What is told as
done is held against what can be pulled: at every moment, and at the end.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import update

from registry.errors import Problem, RegistryError
from registry.grace import Grace
from registry.interface import Chunk
from registry.jobs.collect import Collector
from registry.local import LocalRegistry, Rules
from registry.names import Tag
from storage.digest import Digest
from storage.metadata import repositories, schema
from storage.metadata.engine import Connection, MetadataUnavailable
from tests.registry.content import Content, body, image, index, name, pull, put, read_blob
from tests.registry.registries import Stores

REPOSITORIES: Final = ("team/a", "team/b", "other/c")

LAYERS: Final = [b"layer %d " % number * (number + 1) for number in range(12)]

# A push that lost against a deletion or a collection begins anew; nothing else may go wrong.
_BEGIN_ANEW: Final = frozenset(
    {Problem.MANIFEST_BLOB_UNKNOWN, Problem.BLOB_UNKNOWN, Problem.MANIFEST_UNKNOWN, Problem.NAME_UNKNOWN}
)
_TRIES: Final = 4

# Seconds for which what nothing needs is kept: mostly as good as none.
_GRACES: Final = (0.0, 0.0, 0.02, 0.2, 1.0)


@dataclass(slots=True)
class Place:
    """A repository: deletions that are under way, and how many have begun or ended."""

    deleting: int = 0
    epoch: int = 0


@dataclass(slots=True)
class Told:
    """What a client was told that a tag means, with the referrers that it was told are here."""

    content: Content
    referrers: list[Content] = field(default_factory=list)


class Storm:
    """One storm. It ends after `operations` requests; the same seed makes the same choices.

    In a hurry also the bytes of blobs that were pushed again go at once, which others read.
    """

    def __init__(self, nodes: Sequence[Stores], seed: int, operations: int, *, hurry: bool = False) -> None:
        self.hurry = hurry
        self.nodes = nodes
        self.seed = seed
        self.left = operations
        self.done: Counter[str] = Counter()
        self._waiting: list[tuple[int, asyncio.Event]] = []
        self.places = {each: Place() for each in REPOSITORIES}
        self.told: dict[tuple[str, str], Told] = {}

    async def blow(self, clients: int) -> None:
        """Let the clients do what they do until all operations are used up."""
        async with asyncio.TaskGroup() as group:
            for number in range(clients):
                group.create_task(_Client(self, number).run())
            for number, _ in enumerate(self.nodes):
                group.create_task(self._collect(number))

    async def _collect(self, number: int) -> None:
        """Collect at a node, again and again."""
        choices = random.Random(f"{self.seed} collector {number}")
        node = self.nodes[number]
        while self.left > 0:
            await self._wait(choices.randint(1, 60))
            grace = timedelta(seconds=choices.choice(_GRACES))
            if self.hurry:
                await node.metadata.write(_make_due)
            collector = Collector(node.metadata, node.store, Grace(grace, timedelta(), grace))
            try:
                collected = await collector.collect_all()
            except MetadataUnavailable:
                self.done["turns lost"] += 1  # others were faster for long: the next turn goes on
                continue
            self.done["turns"] += 1
            self.done["manifests collected"] += collected.manifests
            self.done["blobs deleted"] += collected.deleted

    async def _wait(self, operations: int) -> None:
        """Keep in step with the clients, however fast they are."""
        self._waiting.append((self.left - operations, woken := asyncio.Event()))
        await woken.wait()

    def use(self, what: str) -> None:
        """Count a request."""
        self.left -= 1
        self.done[what] += 1
        for until, woken in self._waiting:
            if self.left <= max(0, until):
                woken.set()
        self._waiting = [each for each in self._waiting if not each[1].is_set()]


class _Client:
    """A client at one of the nodes."""

    def __init__(self, storm: Storm, number: int) -> None:
        self.storm = storm
        self.number = number
        self.choices = random.Random(f"{storm.seed} client {number}")
        grace = Grace(timedelta(seconds=0.2), timedelta(), timedelta(seconds=0.2))
        node = storm.nodes[number % len(storm.nodes)]
        self.node = node
        self.registry: LocalRegistry = node.registry(Rules("none", grace=grace))

    async def run(self) -> None:
        """Do one thing after the other."""
        deeds = {
            self.push: 10,
            self.push_index: 4,
            self.push_referrer: 3,
            self.retag: 3,
            self.pull: 8,
            self.delete_tag: 4,
            self.delete_manifest: 2,
            self.delete_repository: 0.3,
            self.give_up: 1,
        }
        while self.storm.left > 0:
            [deed] = self.choices.choices(list(deeds), list(deeds.values()))
            await deed()

    # -- pushing ---------------------------------------------------------------------------------------

    async def push(self) -> None:
        """Push an image under a tag."""
        await self._push(self._image())

    async def push_index(self) -> None:
        """Push an index of images under a tag."""
        await self._push(index(*(self._image() for _ in range(self.choices.randint(1, 2)))))

    async def _push(self, content: Content, place: str = "") -> None:
        place, tag = place or self._a_place(), self._a_tag()
        for _ in range(_TRIES):
            try:
                await self._push_all(place, content)
                await self._put(place, content, tag)
            except RegistryError as error:
                if error.problem not in _BEGIN_ANEW:
                    raise
                self.storm.done["pushes begun anew"] += 1
            else:
                return

    async def _push_all(self, place: str, content: Content) -> None:
        for child in content.children:
            if not await self._has(place, child):
                await self._push_all(place, child)
                self.storm.use("PUT child")
                await put(self.registry, place, child)
        for blob in content.blobs:
            await self._push_blob(place, blob)

    async def _has(self, place: str, child: Content) -> bool:
        self.storm.use("HEAD manifest")
        try:
            await self.registry.find_manifest(name(place), child.digest)
        except RegistryError:
            return False
        return True

    async def _push_blob(self, place: str, blob: bytes) -> None:
        """Push a blob as Docker does: ask for it, mount it, and else upload it."""
        digest = Digest.of(blob)
        self.storm.use("HEAD blob")
        try:
            await self.registry.find_blob(name(place), digest)
        except RegistryError as error:
            assert error.problem is Problem.BLOB_UNKNOWN
        else:
            return
        if self.choices.random() < 0.5:
            source = self.choices.choice((None, name(self._a_place())))
            self.storm.use("mount")
            if await self.registry.mount_blob(name(place), digest, source) is not None:
                self.storm.done["mounted"] += 1
                return
        self.storm.use("upload")
        upload = await self.registry.start_upload(name(place), "sha256")
        await self.registry.finish_upload(name(place), upload.id, digest, Chunk(_slowly(blob)))

    async def _put(self, place: str, content: Content, tag: str) -> None:
        """Push a manifest, and remember that the tag means it if nothing was deleted meanwhile."""
        at = self.storm.places[place]
        key, epoch = (place, tag), at.epoch
        self.storm.told.pop(key, None)
        self.storm.use("PUT")
        tagged = Content(content.content, content.media_type, (tag,))
        await put(self.registry, place, tagged)
        self.storm.done["pushed"] += 1
        if at.epoch == epoch and not at.deleting:
            self.storm.told[key] = Told(content)

    async def push_referrer(self) -> None:
        """Push something that refers to what a tag means."""
        found = self._something_told()
        if found is None:
            return
        (place, _), told = found
        about = image(layers=[self._a_layer()], config=self._a_layer(), subject=told.content.descriptor)
        try:
            await self._push_all(place, about)
            self.storm.use("PUT referrer")
            await put(self.registry, place, about)
        except RegistryError as error:
            if error.problem not in _BEGIN_ANEW:
                raise
            return
        if self.storm.told.get(found[0]) is told:
            self.storm.done["referred"] += 1
            told.referrers.append(about)

    async def retag(self) -> None:
        """Let a tag of one's own mean what another means, without a look at blobs."""
        found = self._something_told()
        if found is None:
            return
        (place, _), told = found
        try:
            await self._put(place, told.content, self._a_tag())
        except RegistryError as error:
            if error.problem not in _BEGIN_ANEW:
                raise

    async def give_up(self) -> None:
        """Push a blob that no manifest will name, or begin an upload and leave."""
        place = self._a_place()
        if self.choices.random() < 0.5:
            await self._push_blob(place, self.choices.randbytes(20))
            return
        self.storm.use("upload left")
        upload = await self.registry.start_upload(name(place), "sha256")
        await self.registry.append_upload(name(place), upload.id, Chunk(body(b"left")))
        await self.registry.cancel_upload(name(place), upload.id)

    # -- pulling and deleting --------------------------------------------------------------------------

    async def pull(self) -> None:
        """Pull what a tag means, which is whole unless its owner changed it meanwhile."""
        found = self._something_told()
        if found is None:
            return
        key, told = found
        referrers = list(told.referrers)
        try:
            self.storm.use("pull")
            await check(self.registry, key, told.content, referrers)
        except (RegistryError, AssertionError) as error:
            if self.storm.told.get(key) is told:
                raise AssertionError(f"{key} cannot be pulled whole; seed {self.storm.seed}") from error

    async def delete_tag(self) -> None:
        """Delete one of one's own tags, and maybe push the same again while it is collected."""
        mine = [key for key in self.storm.told if key[1].startswith(f"c{self.number}-")]
        if not mine:
            return
        key = self.choices.choice(mine)
        told = self.storm.told.pop(key)
        self.storm.use("DELETE tag")
        await self._gone(self.registry.delete_tag(name(key[0]), Tag(key[1])))
        for _ in range(self.choices.randint(0, 2)):
            await self._push(told.content, key[0])

    async def delete_manifest(self) -> None:
        """Delete a manifest, with the tags of all clients that mean it."""
        found = self._something_told()
        if found is None:
            return
        (place, _), told = found
        children = [*told.content.children, told.content]
        digest = self.choices.choice(children).digest
        self.storm.use("DELETE manifest")
        await self._deleting(place, self.registry.delete_manifest(name(place), digest), digest)

    async def delete_repository(self) -> None:
        """Delete a repository."""
        place = self._a_place()
        self.storm.use("DELETE repository")
        await self._deleting(place, self.node.metadata.write(repositories.remove, place))

    async def _deleting(self, place: str, deletion: Any, digest: Digest | None = None) -> None:
        """Forget what is told of a place while something of it is deleted, all of it or what has a digest."""
        at = self.storm.places[place]
        at.deleting += 1
        at.epoch += 1
        for key, told in list(self.storm.told.items()):
            if key[0] == place and (digest is None or _holds(told, digest)):
                del self.storm.told[key]
        try:
            await self._gone(deletion)
        finally:
            at.deleting -= 1
            at.epoch += 1

    async def _gone(self, deletion: Any) -> None:
        try:
            await deletion
        except RegistryError as error:
            if error.problem not in _BEGIN_ANEW:
                raise

    # -- choices ---------------------------------------------------------------------------------------

    def _image(self) -> Content:
        layers = self.choices.sample(LAYERS, self.choices.randint(0, 2))
        own = b"%d of client %d" % (self.choices.randint(0, 2), self.number)
        return image(layers=[*layers, own], config=self._a_layer())

    def _a_layer(self) -> bytes:
        return self.choices.choice(LAYERS)

    def _a_place(self) -> str:
        return self.choices.choice(REPOSITORIES)

    def _a_tag(self) -> str:
        return f"c{self.number}-{self.choices.randint(0, 3)}"

    def _something_told(self) -> tuple[tuple[str, str], Told] | None:
        return self.choices.choice(list(self.storm.told.items())) if self.storm.told else None


def _holds(told: Told, digest: Digest) -> bool:
    contents = [told.content, *told.content.children, *told.referrers]
    return digest in [each.digest for each in contents]


def _make_due(db: Connection) -> None:
    db.execute(update(schema.removed_content).values(due_at=datetime.now(UTC)))


async def _slowly(content: bytes) -> AsyncIterator[bytes]:
    """Yield a body in two parts, with others between them."""
    yield content[:5]
    await asyncio.sleep(0)
    yield content[5:]


async def check(
    registry: LocalRegistry, key: tuple[str, str], content: Content, referrers: Sequence[Content] = ()
) -> None:
    """Pull what a tag means, and hold it against the content; and what refers to it."""
    place, tag = key
    pulled = await pull(registry, place, Tag(tag))
    assert pulled == everything(content)
    for each in referrers:
        assert await pull(registry, place, each.digest) == everything(each)
        for blob in each.blobs:
            assert await read_blob(registry, place, Digest.of(blob)) == blob


def everything(content: Content) -> Mapping[Digest, bytes]:
    """Return the content with all that it names, by digest."""
    found = {content.digest: content.content}
    found |= {Digest.of(blob): blob for blob in content.blobs}
    for child in content.children:
        found |= everything(child)
    return found


def years_later() -> datetime:
    """Tell a time at which all is due."""
    return datetime.now(UTC) + timedelta(days=1000)
