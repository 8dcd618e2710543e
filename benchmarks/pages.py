"""How long search, lists and pages take over a large catalog, and what they weigh.

    python -m benchmarks.load_catalog --data DIR
    python -m benchmarks.pages --data DIR [--requests 200]

Starts a server with one worker over the data and sends it one request after the other over one connection, so
a time is the server's own and that of the loopback. Each request asks for something else: repositories that
many know as well as any others. Ends with 1 if a p95 or a first view is over its bound.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Select, select

from benchmarks import words
from benchmarks.load_catalog import PASSWORD
from benchmarks.visit import Caller, Visit, next_path
from registry.catalog import CATEGORIES
from storage.metadata.schema import manifests, namespaces, organization_members, repositories
from storage.metadata.sqlite import open_sqlite
from tests.e2e.clients import ROOT
from tests.e2e.process import Daemon, child_environment, free_port

BOUND_MS: Final = 50
BOUND_BYTES: Final = 100 * 1024
WARM_UP: Final = 20
ADMINISTRATOR: Final = "admin"


@dataclass(frozen=True, slots=True)
class Case:
    """Paths to ask for, with places to fill in, and who asks; `pages` follows the list so many times."""

    name: str
    path: str
    signed_in: bool = False
    pages: int = 0


CASES: Final[Sequence[Case]] = (
    Case("search: a word", "/api/v1/search?q={word}"),
    Case("search: two words", "/api/v1/search?q={words}"),
    Case("search: filters, by stars", "/api/v1/search?q={word}&official=true&sort=stars"),
    Case("search: private ones too", "/api/v1/search?q={word}", signed_in=True),
    Case("suggestions", "/api/v1/suggestions?q={prefix}"),
    Case("catalog: by name", "/api/v1/repositories"),
    Case("catalog: by name, on and on", "/api/v1/repositories?limit=100", pages=50),
    Case("catalog: by stars", "/api/v1/repositories?sort=stars", pages=20),
    Case("catalog: by pulls", "/api/v1/repositories?sort=pulls", pages=20),
    Case("catalog: by push, everything", "/api/v1/repositories?sort=pushed", signed_in=True, pages=20),
    Case("catalog: of a namespace", "/api/v1/repositories?namespace={namespace}"),
    Case("catalog: of a category", "/api/v1/repositories?category={category}&sort=stars"),
    Case("repository", "/api/v1/repositories/{repository}"),
    Case("tags: newest", "/api/v1/repositories/{repository}/-/tags"),
    Case("tags: by name, on and on", "/api/v1/repositories/{large}/-/tags?sort=name&limit=100", pages=50),
    Case("tags: filtered", "/api/v1/repositories/{large}/-/tags?q=7-slim"),
    Case("tag", "/api/v1/repositories/{repository}/-/tags/latest"),
    Case("statistics", "/api/v1/repositories/{repository}/-/statistics"),
    Case("person", "/api/v1/users/{person}", signed_in=True),
    Case("organizations", "/api/v1/organizations", signed_in=True, pages=10),
    Case("members", "/api/v1/organizations/{organization}/members", signed_in=True),
    Case("image", "/api/v1/repositories/{manifest}"),
    Case("referrers", "/api/v1/repositories/{referrers}"),
    Case("stars", "/api/v1/me/stars", signed_in=True),
    Case("people", "/api/v1/users", signed_in=True, pages=10),
    Case("namespaces", "/api/v1/admin/namespaces", signed_in=True, pages=10),
    Case("OCI: tags", "/v2/{large}/tags/list?n=100", pages=20),
    Case("OCI: manifest", "/v2/{repository}/manifests/latest"),
    Case("page: home", "/", signed_in=True),
    Case("page: explore", "/explore"),
    Case("page: explore, a category", "/explore?category={category}"),
    Case("page: search", "/search?q={word}"),
    Case("page: search, two words", "/search?q={words}"),
    Case("page: search, signed in", "/search?q={word}", signed_in=True),
    Case("page: repository", "/r/{repository}"),
    Case("page: repository, signed in", "/r/{repository}", signed_in=True),
    Case("page: tags", "/r/{large}/-/tags"),
    Case("page: tags, by name", "/r/{large}/-/tags?sort=name&q=7-slim"),
    Case("page: statistics", "/r/{large}/-/statistics"),
    Case("page: image by tag", "/r/{repository}/-/tags/latest"),
    Case("page: image by digest", "/r/{digest}"),
    Case("page: person or organization", "/u/{owner}"),
    Case("page: new repository", "/repositories/new", signed_in=True),
    Case("page: settings of a repository", "/r/{repository}/-/settings", signed_in=True),
    Case("page: deletion of a repository", "/r/{large}/-/delete", signed_in=True),
    Case("page: settings of a tag", "/r/{large}/-/tags/latest/-/settings", signed_in=True),
    Case("page: organizations", "/organizations", signed_in=True),
    Case("page: organization", "/organizations/{organization}", signed_in=True),
    Case("page: teams", "/organizations/{organization}/teams", signed_in=True),
    Case("page: team", "/organizations/{organization}/teams/developers", signed_in=True),
    Case("page: account", "/account", signed_in=True),
    Case("page: access tokens", "/account/tokens", signed_in=True),
    Case("page: sessions", "/account/sessions", signed_in=True),
    Case("page: administration", "/administration", signed_in=True),
    Case("page: people", "/administration/people", signed_in=True),
    Case("page: namespaces", "/administration/namespaces", signed_in=True),
    Case("page: jobs", "/administration/jobs", signed_in=True),
    Case("page: settings in force", "/administration/settings", signed_in=True),
    Case("page: reference of the API", "/docs"),
    Case("page: sign in", "/sign-in"),
)


class Samples:
    """What there is to ask for: half of it much asked for, half of it anything."""

    def __init__(self, db: Connection, seed: int) -> None:
        self._random = Random(seed)
        c = repositories.c
        public = select(c.id, c.name, namespaces.c.name).join(namespaces).where(c.is_public)
        known = [*db.execute(public.order_by(c.pull_count.desc()).limit(200))]
        every = [*db.execute(public.order_by(c.last_pushed_at).limit(20_000))]
        self._chosen = [*known, *self._random.sample(every, min(len(every), 200))]
        self._large = [name for _, name, _ in known[:30]]
        self._owners = [owner for _, _, owner in self._chosen if owner != "library"]
        self._people = _column(db, select(namespaces.c.name).where(namespaces.c.owner_id.is_not(None)))
        self._organizations = _column(
            db,
            select(namespaces.c.name).where(namespaces.c.id.in_(select(organization_members.c.namespace_id))),
        )
        self._manifests = [
            (name, digest)
            for number, name, _ in self._random.sample(self._chosen, min(len(self._chosen), 100))
            for digest in _column(
                db, select(manifests.c.digest).where(manifests.c.repository_id == number).limit(2)
            )
        ]

    def fill(self, path: str) -> str:
        """Return the path with something in its places."""
        random = self._random
        _, repository, namespace = random.choice(self._chosen)
        word = random.choice(random.choice((words.SUBJECTS, words.ROLES, words.FILLERS)))
        return path.format(
            repository=repository,
            namespace=namespace,
            owner=random.choice(self._owners),
            large=random.choice(self._large),
            person=random.choice(self._people),
            organization=random.choice(self._organizations),
            digest="{}/-/digests/{}".format(*random.choice(self._manifests)),
            manifest="{}/-/manifests/{}".format(*random.choice(self._manifests)),
            referrers="{}/-/referrers/{}".format(*random.choice(self._manifests)),
            word=word,
            words=quote(f"{word} {random.choice(words.ROLES)}"),
            prefix=random.choice(words.SUBJECTS)[: random.randint(1, 4)],
            category=random.choice([*CATEGORIES]),
        )


def _column(db: Connection, statement: Select[tuple[str]]) -> list[str]:
    return [*db.execute(statement).scalars()]


@dataclass(frozen=True, slots=True)
class Result:
    """What one case took."""

    case: Case
    milliseconds: Sequence[float]
    answer: int
    first_view: int

    def percentile(self, percent: int) -> float:
        """The time that so many percent of the requests stayed under."""
        return quantiles(self.milliseconds, n=100, method="inclusive")[percent - 1]

    @property
    def good(self) -> bool:
        """Whether it keeps the bounds."""
        return self.percentile(95) < BOUND_MS and self.first_view < BOUND_BYTES

    def row(self) -> str:
        """A row of the table."""
        p50, p95, slowest = self.percentile(50), self.percentile(95), max(self.milliseconds)
        weight = f"{self.answer / 1024:.1f} | {self.first_view / 1024:.1f}"
        return f"| {self.case.name} | {p50:.1f} | {p95:.1f} | {slowest:.1f} | {weight} |"


def measure(case: Case, caller: Caller, samples: Samples, requests: int) -> Result:
    """Send the requests of a case; every one of them has to be answered with 200."""
    visits = [
        _expect_found(visit, path) for path, visit in _visits(case, caller, samples, requests + WARM_UP)
    ]
    largest = max(visits, key=lambda visit: visit.wire)
    is_page = largest.headers.get_content_type() == "text/html"
    return Result(
        case,
        [visit.seconds * 1000 for visit in visits[WARM_UP:]],
        largest.wire,
        caller.first_view(largest) if is_page else largest.wire,
    )


def _visits(case: Case, caller: Caller, samples: Samples, count: int) -> Iterator[tuple[str, Visit]]:
    path: str | None = None
    for number in range(count):
        if path is None or not case.pages or number % case.pages == 0:
            path = samples.fill(case.path)
        visit = caller.get(path)
        yield path, visit
        path = next_path(visit)


def _expect_found(visit: Visit, path: str) -> Visit:
    if visit.status != 200:
        raise SystemExit(f"{path} answered {visit.status}: {visit.body[:500]!r}")
    return visit


@contextmanager
def served(data: Path) -> Iterator[str]:
    """Yield host and port of a server with one worker over the data, while it runs."""
    port = free_port()
    words = (sys.executable, "-m", "registry.cli", "serve", "--port", str(port), "--data", data.resolve())
    with tempfile.TemporaryDirectory() as folder:
        environment = child_environment(LONGSHORE_WORKERS="1", LONGSHORE_LOG_LEVEL="warning")
        daemon = Daemon(words, Path(folder) / "log", environment, cwd=ROOT)
        daemon.start()
        try:
            daemon.wait_ready(lambda: _answers(port))
            yield f"127.0.0.1:{port}"
        finally:
            daemon.stop()


def _answers(port: int) -> bool:
    try:
        with Caller(f"127.0.0.1:{port}") as caller:
            return caller.get("/healthz").status == 200
    except OSError:
        return False


def run(host: str, samples: Samples, requests: int, only: str) -> bool:
    """Print the table and tell whether every bound is kept."""
    print("| what | p50 ms | p95 ms | max ms | KiB | first view KiB |")
    print("|---|---|---|---|---|---|")
    with Caller(host) as anonymous, Caller(host) as administrator:
        administrator.sign_in(ADMINISTRATOR, PASSWORD)
        results = []
        for case in CASES:
            if only in case.name:
                caller = administrator if case.signed_in else anonymous
                results.append(measure(case, caller, samples, requests))
                print(results[-1].row(), flush=True)
    for result in results:
        if not result.good:
            print(f"over its bound: {result.case.name}", file=sys.stderr)
    return all(result.good for result in results)


def main() -> None:
    """Read the command line and measure."""
    parser = argparse.ArgumentParser(description="Measure search, lists and pages over a large catalog.")
    parser.add_argument("--data", type=Path, required=True, help="what benchmarks.load_catalog has filled")
    parser.add_argument("--requests", type=int, default=200, help="for each row of the table")
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--seed", type=int, default=5)
    chosen = parser.parse_args()
    with open_sqlite(chosen.data / "longshore.db", begin=None).connect() as db:
        samples = Samples(db, chosen.seed)
    with served(chosen.data) as host:
        good = run(host, samples, chosen.requests, chosen.only)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
