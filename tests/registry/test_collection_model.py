"""One thing after the other, with time between: what a model says is here is here, and nothing else is left.

Two promises are kept whatever happens in between. What a tag means can be pulled whole. And whoever was told
that a blob or a manifest is here can name it for half of the grace.
"""

import asyncio
import tempfile
from collections.abc import Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import BigInteger, type_coerce, update

from registry.errors import Problem, RegistryError
from registry.grace import Grace
from registry.jobs.collect import Collector
from registry.local import Rules
from registry.names import Tag
from storage.digest import Digest
from storage.filesystem import FileStore
from storage.metadata import blobs, manifests, repositories, schema
from storage.metadata.engine import Connection
from tests.registry.conftest import IN_MEMORY, _empty
from tests.registry.content import Content, image, index, name, pull, push_blob, put
from tests.registry.registries import Stores
from tests.registry.remains import assert_no_garbage, kept_bytes
from tests.registry.storm import everything, years_later

T = TypeVar("T")

HOUR: Final = 3600
GRACE: Final = Grace(timedelta(seconds=HOUR), timedelta(seconds=HOUR), timedelta(seconds=HOUR))

# What a test takes itself, and what is taken off where something is let go (`storage.metadata.blobs`).
_SLACK: Final = 120

LAYERS: Final = [b"%d" % number for number in range(4)]
IMAGES: Final = [
    image(layers=[LAYERS[first], LAYERS[second]], config=LAYERS[0])
    for first, second in ((0, 1), (1, 2), (2, 3), (3, 3))
]
INDEXES: Final = [index(IMAGES[0], IMAGES[1]), index(IMAGES[1], IMAGES[2])]
CONTENTS: Final = [*IMAGES, *INDEXES]
SMALL: Final = image(layers=[], config=LAYERS[0])
PLACES: Final = ("team/a", "team/b")

place: Final = st.sampled_from(PLACES)
content: Final = st.sampled_from(CONTENTS)
tag: Final = st.sampled_from(("v1", "v2"))
layer: Final = st.sampled_from(LAYERS)

# Moments that rows keep.
_MOMENTS: Final = {
    "blob_links": ("linked_at",),
    "manifests": ("pushed_at", "renewed_at"),
    "blobs": ("unused_since",),
    "removed_content": ("due_at",),
}


class Collection(RuleBasedStateMachine):
    """A registry, and what it said."""

    stores: Stores

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.registry = self.stores.registry(Rules("index", grace=GRACE))
        self.time = 0
        self.tags: dict[tuple[str, str], Content] = {}
        self.promised: dict[tuple[str, Digest], int] = {}

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def promise(self, place: str, *digests: Digest) -> None:
        for digest in digests:
            self.promised[place, digest] = self.time + HOUR // 2 - _SLACK

    def may_name(self, place: str, content: Content) -> bool:
        """Tell whether all that a manifest names is promised."""
        named = [*(Digest.of(blob) for blob in content.blobs), *(child.digest for child in content.children)]
        return all(self.promised.get((place, digest), -1) >= self.time for digest in named)

    @initialize(place=place, content=content)
    def begin(self, place: str, content: Content) -> None:
        self.push(place, content, "v1")

    @rule(place=place, content=content, tag=tag)
    def push(self, place: str, content: Content, tag: str) -> None:
        """Push all of it."""
        for each in [*content.children, content]:
            for blob in each.blobs:
                self.upload(place, blob)
            if each is not content:
                self.run(put(self.registry, place, each))
                self.promise(place, each.digest)
        self.name(place, content, tag)

    @rule(place=place, blob=layer)
    def upload(self, place: str, blob: bytes) -> None:
        """Push a blob alone."""
        self.promise(place, self.run(push_blob(self.registry, place, blob)))

    @rule(place=place, blob=layer, source=place)
    def mount(self, place: str, blob: bytes, source: str) -> None:
        """Mount a blob."""
        digest = Digest.of(blob)
        if self.run(self.registry.mount_blob(name(place), digest, name(source))) is not None:
            self.promise(place, digest)

    @rule(place=place, blob=layer)
    def ask_for_blob(self, place: str, blob: bytes) -> None:
        """Ask for a blob."""
        if self.is_found(self.registry.find_blob(name(place), Digest.of(blob))):
            self.promise(place, Digest.of(blob))

    @rule(place=place, content=content)
    def ask_for_manifest(self, place: str, content: Content) -> None:
        """Ask for a manifest, maybe to name it in an index."""
        if self.is_found(self.registry.find_manifest(name(place), content.digest)):
            self.promise(place, content.digest)

    def is_found(self, question: Coroutine[Any, Any, object]) -> bool:
        try:
            self.run(question)
        except RegistryError as error:
            assert error.problem in (Problem.BLOB_UNKNOWN, Problem.MANIFEST_UNKNOWN, Problem.NAME_UNKNOWN)
            return False
        return True

    @rule(place=place, content=content, tag=tag)
    def name(self, place: str, content: Content, tag: str) -> None:
        """Push a manifest alone. Where all that it names was promised it must be taken, and be whole."""
        whole = self.may_name(place, content)
        tagged = Content(content.content, content.media_type, (tag,))
        try:
            self.run(put(self.registry, place, tagged))
        except RegistryError as error:
            assert error.problem is Problem.MANIFEST_BLOB_UNKNOWN
            assert not whole
            return
        self.promise(place, content.digest)
        self.tags.pop((place, tag), None)
        # An index may name what is not here.
        if whole or not content.children:
            self.tags[place, tag] = content

    @rule(place=place, tag=tag)
    def delete_tag(self, place: str, tag: str) -> None:
        """Delete a tag."""
        self.is_found(self.registry.delete_tag(name(place), Tag(tag)))
        self.tags.pop((place, tag), None)

    @rule(place=place, content=content)
    def delete_manifest(self, place: str, content: Content) -> None:
        """Delete a manifest, which its tags and indexes lack then."""
        self.is_found(self.registry.delete_manifest(name(place), content.digest))
        self.promised.pop((place, content.digest), None)
        for key, told in list(self.tags.items()):
            if key[0] == place and content.digest in everything(told):
                del self.tags[key]

    @rule(place=place)
    def delete_repository(self, place: str) -> None:
        """Delete a repository."""
        self.run(self.stores.metadata.write(repositories.remove, place))
        self.tags = {key: told for key, told in self.tags.items() if key[0] != place}
        self.promised = {key: until for key, until in self.promised.items() if key[0] != place}

    @rule(seconds=st.sampled_from([HOUR // 4, HOUR // 3, HOUR, 3 * HOUR]))
    def wait(self, seconds: int) -> None:
        """Let time pass."""
        self.time += seconds

        def run(db: Connection) -> None:
            for table, columns in _MOMENTS.items():
                c = schema.metadata.tables[table].c
                earlier = {each: type_coerce(c[each], BigInteger) - seconds * 1_000_000 for each in columns}
                db.execute(update(schema.metadata.tables[table]).values(earlier))

        self.run(self.stores.metadata.write(run))

    @rule()
    def collect(self) -> None:
        """Collect."""
        self.run(Collector(self.stores.metadata, self.stores.store, GRACE).collect_all())

    @rule(
        place=place,
        content=content,
        tagged=st.booleans(),
        age=st.sampled_from([HOUR * 3 // 4, 3 * HOUR]),
        deed=st.sampled_from(["delete tag", "move tag", "delete manifest", "nothing"]),
        later=st.sampled_from([0, HOUR // 3]),
    )
    def press(self, place: str, content: Content, tagged: bool, age: int, deed: str, later: int) -> None:
        """Ask for all of something that is old, take away what keeps it, and collect."""
        self.push(place, content, "v1")
        if not tagged:
            self.delete_tag(place, "v1")
        self.wait(age)
        for each in [content, *content.children]:
            self.ask_for_manifest(place, each)
            for blob in each.blobs:
                self.ask_for_blob(place, blob)
        match deed:
            case "delete tag":
                self.delete_tag(place, "v1")
            case "move tag":
                self.push(place, SMALL, "v1")
            case "delete manifest":
                self.delete_manifest(place, content)
        self.wait(later)
        self.collect()

    @rule(place=place, blob=layer, age=st.sampled_from([HOUR * 3 // 4, 3 * HOUR]))
    def press_blob(self, place: str, blob: bytes, age: int) -> None:
        """Ask for a blob that no manifest may name yet, when its push is long ago, and collect."""
        self.upload(place, blob)
        self.wait(age)
        self.ask_for_blob(place, blob)
        self.collect()

    @precondition(lambda self: self.tags)
    @rule()
    def pull_all(self) -> None:
        """Pull what tags mean."""
        for (place, tag), content in self.tags.items():
            assert self.run(pull(self.registry, place, Tag(tag))) == everything(content)

    @invariant()
    def keeps_promises(self) -> None:
        """Look for what was promised, without asking: that would renew it."""
        lookup = self.stores.metadata.lookup
        for (place, digest), until in self.promised.items():
            if until >= self.time:
                found = self.run(lookup(blobs.find, place, digest))
                assert found or self.run(lookup(manifests.find, place, digest)), (place, digest)

    def teardown(self) -> None:
        """Collect all that can be, hold what is left against the tags, and leave nothing."""
        try:
            grace = Grace(*[timedelta()] * 3)
            stores = self.stores
            self.run(Collector(stores.metadata, stores.store, grace, clock=years_later).collect_all())
            self.pull_all()
            self.run(assert_no_garbage(stores))
        finally:
            self.run(self.stores.metadata.write(_empty))
            self.run(self.stores.store.delete(sorted(self.run(kept_bytes(self.stores.store)))))
            self.runner.close()


def test_model(sqlite_stores: Stores) -> None:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        store = FileStore(Path(text))
        asyncio.run(store.prepare())

        class Here(Collection):
            stores = Stores(sqlite_stores.metadata, store)

        run_state_machine_as_test(
            Here,
            settings=settings(
                max_examples=25,
                stateful_step_count=40,
                deadline=None,
                print_blob=True,
                suppress_health_check=list(HealthCheck),
            ),
        )
