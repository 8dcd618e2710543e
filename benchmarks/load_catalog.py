"""Fill a data directory with a catalog of many repositories: the same one for the same numbers.

    python -m benchmarks.load_catalog --data DIR [--repositories 100000] [--tags 1000000]

Rows are written as the product writes them, in bulk; the index of words is the product's own work. Popularity
falls off as it does in the world: a few repositories have most of the tags, stars and pulls. Everybody's
password is the one that is printed.
"""

import argparse
import asyncio
import itertools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

from sqlalchemy import Connection, Table, func, insert, select

from benchmarks import words
from benchmarks.rows import (
    NOW,
    OFFICIAL,
    Repository,
    Row,
    Shelf,
    content_rows,
    member_rows,
    pulls_of,
    repository_row,
    team_row,
)
from registry.catalog import CATEGORIES
from registry.cli.data import with_metadata
from registry.config import Settings
from registry.installation import make_first_administrator, passwords_of
from storage.digest import Digest
from storage.filesystem import FileStore
from storage.metadata import documents, schema
from storage.metadata.sqlite import open_sqlite

PASSWORD: Final = "correct horse battery staple"
BATCH: Final = 10_000

DAYS: Final = 90


@dataclass(frozen=True, slots=True)
class Size:
    """How much there will be."""

    repositories: int
    tags: int

    @property
    def people(self) -> int:
        """Accounts."""
        return max(20, self.repositories // 100)

    @property
    def organizations(self) -> int:
        """Organizations."""
        return max(5, self.repositories // 200)

    @property
    def busy(self) -> int:
        """Repositories of which there are statistics by the day."""
        return max(10, self.repositories // 20)


class Loader:
    """Writes the rows of one table after the other, and says how long each took."""

    def __init__(self, db: Connection, size: Size, seed: int) -> None:
        self._db = db
        self._size = size
        self._seed = seed

    def load(self, password_hash: str, blobs: Mapping[str, str]) -> None:
        """Write everything; `blobs` says where the contents of configurations are."""
        people = self._people(password_hash)
        organizations = self._organizations(people)
        found = list(self._repositories(people, organizations))
        self._write(schema.repositories, map(partial(repository_row, self._random("texts")), found))
        self._write(schema.repository_categories, self._categories(found))
        self._write(schema.stars, self._stars(found, people))
        self._write(schema.statistics, self._statistics(found))
        self._content(found, blobs)
        self._timed("search", self._index, found)

    def _random(self, purpose: str) -> Random:
        return Random(f"{self._seed} {purpose}")

    def _people(self, password_hash: str) -> range:
        """Write accounts with their namespaces and return their ids, which the namespaces have as well."""
        random = self._random("people")
        first = 1 + self._last(schema.accounts, schema.namespaces)
        ids = range(first, first + self._size.people)
        names = [f"{random.choice(words.SUBJECTS)}{number}" for number in ids]
        self._write(
            schema.accounts,
            (
                {
                    "id": number,
                    "name": name,
                    "password_hash": password_hash,
                    "is_admin": False,
                    "created_at": NOW,
                    "full_name": name.title(),
                }
                for number, name in zip(ids, names, strict=True)
            ),
        )
        self._write(
            schema.namespaces,
            (
                {"id": number, "name": name, "owner_id": number, "created_at": NOW}
                for number, name in zip(ids, names, strict=True)
            ),
        )
        return ids

    def _organizations(self, people: Sequence[int]) -> range:
        """Write organizations with members and a team each, and return their ids."""
        random = self._random("organizations")
        ids = range(people[-1] + 1, people[-1] + 1 + self._size.organizations)
        self._write(
            schema.namespaces,
            (
                {
                    "id": number,
                    "name": f"{random.choice(words.SUBJECTS)}-{random.choice(words.ROLES)}-{number}",
                    "created_at": NOW,
                    "is_organization": True,
                    "full_name": words.sentence(random, 3),
                    "about": words.sentence(random, 12),
                }
                for number in ids
            ),
        )
        members = [(number, random.sample(people, min(len(people), random.randint(2, 12)))) for number in ids]
        self._write(schema.organization_members, member_rows(members))
        self._write(schema.teams, (team_row(number) for number in ids))
        self._write(
            schema.team_members,
            (
                {"team_id": number, "account_id": person}
                for number, persons in members
                for person in persons[1:]
            ),
        )
        return ids

    def _repositories(self, people: Sequence[int], organizations: Sequence[int]) -> Iterator[Repository]:
        random = self._random("repositories")
        ranks = random.sample(range(self._size.repositories), self._size.repositories)
        counts = _shares(self._size.repositories, self._size.tags)
        known = self._db.execute(select(schema.namespaces.c.id, schema.namespaces.c.name))
        namespaces = {row.id: row.name for row in known}
        library = next(number for number, name in namespaces.items() if name == "library")
        owners = [*organizations, *people]
        weights = list(itertools.accumulate(1 / (place + 1) ** 0.7 for place in range(len(owners))))
        taken: set[str] = set()
        for number, rank in enumerate(ranks, start=1 + self._last(schema.repositories)):
            owner = library if rank < OFFICIAL else random.choices(owners, cum_weights=weights)[0]
            yield Repository(
                id=number,
                namespace_id=owner,
                name=_free_name(random, namespaces[owner], taken),
                rank=rank,
                kind=random.choices(("image", "chart", "artifact"), (85, 10, 5))[0],
                tags=counts[rank],
                stars=min(len(people), int(len(people) / (rank + 1) ** 0.6)),
                created_at=NOW - timedelta(minutes=random.randint(0, 2_000_000)),
            )

    def _categories(self, found: Iterable[Repository]) -> Iterator[Row]:
        random = self._random("categories")
        for each in found:
            for category in random.sample([*CATEGORIES], random.choice((0, 1, 1, 2))):
                yield {"repository_id": each.id, "category": category}

    def _stars(self, found: Iterable[Repository], people: Sequence[int]) -> Iterator[Row]:
        random = self._random("stars")
        for each in found:
            for person in random.sample(people, each.stars):
                yield {"account_id": person, "repository_id": each.id, "starred_at": NOW}

    def _statistics(self, found: Iterable[Repository]) -> Iterator[Row]:
        random = self._random("statistics")
        today = (NOW - datetime(1970, 1, 1, tzinfo=UTC)).days
        for each in found:
            for day in range(today - DAYS, today) if each.rank < self._size.busy else ():
                pulls = int(random.expovariate(1 / (1 + pulls_of(each.rank) // DAYS)))
                yield {
                    "repository_id": each.id,
                    "day": day,
                    "tag": "latest",
                    "pulls": pulls,
                    "checks": 3 * pulls,
                    "pushes": random.choice((0, 0, 1)),
                }

    def _content(self, found: Sequence[Repository], blobs: Mapping[str, str]) -> None:
        """Write blobs, manifests and tags, some repositories at a time."""
        random = self._random("content")
        shelf = Shelf.stocked(self._seed)
        self._write(
            schema.blobs,
            (
                {
                    "digest": blob.digest,
                    "size": blob.size,
                    "location": blobs.get(blob.digest, "none"),
                    "created_at": NOW,
                }
                for blob in shelf.everything
            ),
        )
        tables = (schema.blob_links, schema.manifests, schema.manifest_references, schema.tags)
        started = time.perf_counter()
        for some in _batches(found, 500):
            rows: dict[Table, list[Row]] = {table: [] for table in tables}
            for each in some:
                for table, row in content_rows(random, each, shelf):
                    rows[table].append(row)
            for table in tables:
                self._insert(table, rows[table])
        _say("blob_links, manifests, manifest_references, tags", self._count(schema.tags), started)

    def _index(self, found: Iterable[Repository]) -> int:
        count = 0
        for some in _batches(found, 2000):
            for each in some:
                documents.refresh(self._db, each.id)
            self._db.commit()
            count += len(some)
        return count

    def _write(self, table: Table, rows: Iterable[Row]) -> None:
        self._timed(table.name, lambda: sum(self._insert(table, some) for some in _batches(rows, BATCH)))

    def _timed(self, what: str, work: Callable[..., int], *arguments: Any) -> None:
        started = time.perf_counter()
        _say(what, work(*arguments), started)

    def _insert(self, table: Table, rows: Sequence[Row]) -> int:
        if rows:
            self._db.execute(insert(table), rows)
            self._db.commit()
        return len(rows)

    def _last(self, *tables: Table) -> int:
        return max(self._db.execute(select(func.max(table.c.id))).scalar() or 0 for table in tables)

    def _count(self, table: Table) -> int:
        count: int = self._db.execute(select(func.count()).select_from(table)).scalar_one()
        return count


def _free_name(random: Random, namespace: str, taken: set[str]) -> str:
    name = f"{namespace}/{words.name(random)}"
    while name in taken:
        name = f"{name}-{random.randint(2, 99)}"
    taken.add(name)
    return name


def _shares(count: int, total: int) -> Sequence[int]:
    """Divide `total` by popularity: one for each, and of the rest the more the higher its rank."""
    weights = [1 / (rank + 1) ** 0.7 for rank in range(count)]
    spare, whole = total - count, sum(weights)
    shares = [1 + int(spare * weight / whole) for weight in weights]
    for rank in range(total - sum(shares)):
        shares[rank % count] += 1
    return shares


def _batches(rows: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(rows)
    while some := list(itertools.islice(iterator, size)):
        yield some


def _say(what: str, count: int, started: float) -> None:
    print(f"{time.perf_counter() - started:7.1f} s  {count:>9,}  {what}", flush=True)


async def store_configurations(data: Path, seed: int) -> Mapping[str, str]:
    """Store the contents that pages read and return where each is."""
    store = FileStore(data)
    await store.prepare()
    locations: dict[str, str] = {}
    for number, blob in enumerate(Shelf.stocked(seed).everything):
        if blob.content is not None:
            key = f"benchmark-{number}"
            await store.stage(key)
            async with store.hold(key) as staged:
                await staged.resume(0, None)
                await staged.write(blob.content)
                await staged.sync()
                locations[blob.digest] = await staged.commit(Digest.parse(blob.digest))
    return locations


def load(data: Path, size: Size, seed: int) -> None:
    """Make the data directory and fill it."""
    settings = Settings.model_validate({"data": data, "admin_password": PASSWORD})
    with_metadata(settings, partial(make_first_administrator, settings))
    engine = open_sqlite(data / "longshore.db", begin="BEGIN IMMEDIATE")
    locations = asyncio.run(store_configurations(data, seed))
    with engine.connect() as db:
        # A load that is cut off is begun anew, so nothing has to survive before the end.
        driver = db.connection.driver_connection
        assert driver is not None
        driver.execute("PRAGMA synchronous=OFF")
        driver.execute("PRAGMA foreign_keys=OFF")
        Loader(db, size, seed).load(passwords_of(settings).hash(PASSWORD), locations)
        assert driver.execute("PRAGMA foreign_key_check").fetchone() is None
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def main() -> None:
    """Read the command line and load."""
    parser = argparse.ArgumentParser(description="Fill a data directory with a large catalog.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--repositories", type=int, default=100_000)
    parser.add_argument("--tags", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=5)
    chosen = parser.parse_args()
    if chosen.data.exists():
        parser.error(f"{chosen.data} is there already")
    started = time.perf_counter()
    # Under its own name only when it is whole.
    partial_load = chosen.data.with_name(chosen.data.name + ".part")
    shutil.rmtree(partial_load, ignore_errors=True)
    load(partial_load, Size(chosen.repositories, chosen.tags), chosen.seed)
    partial_load.rename(chosen.data)
    _say(f"everything; the password of everybody is: {PASSWORD}", chosen.repositories, started)


if __name__ == "__main__":
    main()
