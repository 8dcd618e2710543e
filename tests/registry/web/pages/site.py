"""The public pages over real stores, and what a test wants to know of a page."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any, Final

from aiohttp import web
from aiohttp.test_utils import TestClient

from auth.identity import ANONYMOUS, SYSTEM, Identity
from auth.passwords import Passwords
from registry.accounts import StoredThrottle
from registry.catalog import Catalog, RepositoryEdit
from registry.images import Images
from registry.local import Rules
from registry.people import PasswordHashing, People
from registry.search import Search
from registry.statistics import Statistics
from registry.watch import Watch
from registry.web.errors import error_middleware
from registry.web.origin import Origins
from registry.web.pages.assets import Assets
from registry.web.pages.public import PublicPages
from registry.web.pages.shell import Shell
from tests.registry.accounts import add_account
from tests.registry.content import Content, image, index, push
from tests.registry.registries import Stores

CSRF: Final = "proof"

# Nobody's password changes here.
_HASHING: Final = PasswordHashing(Passwords(time_cost=1, memory_cost=8, parallelism=1), ThreadPoolExecutor(1))

# What never has an end tag.
_VOID: Final = frozenset({"br", "hr", "img", "input", "link", "meta", "wbr"})

HOSTILE: Final = "<script>alert(1)</script>\u202e\"'{{7*7}}"


@dataclass(frozen=True)
class Known:
    """Whoever the cookie `who` names."""

    identity: Identity = ANONYMOUS
    csrf: str = ""


@dataclass
class ByCookie:
    """Callers for tests: the cookie is the name."""

    people: Mapping[str, Identity]

    async def identify(self, request: web.Request) -> Known:
        identity = self.people.get(request.cookies.get("who", ""))
        return Known() if identity is None else Known(identity, CSRF)


@dataclass
class Page(HTMLParser):
    """A page, read: what it links to, and what it should not have."""

    status: int
    text: str
    ids: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)
    labelled: set[str] = field(default_factory=set)
    fields: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    words: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self.feed(self.text)
        if self._open:
            self.faults.append(f"never closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag says."""
        said = dict(attrs)
        if tag not in _VOID:
            self._open.append(tag)
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append(tag)
        self.faults += [
            f"<{tag} {name}>" for name in said if name == "style" or name.startswith("on") or name == "srcdoc"
        ]
        if tag == "style" or (tag == "script" and not said.get("src")):
            self.faults.append(f"<{tag}>")
        if tag == "label":
            self.labelled.add(said.get("for") or "")
        if tag in ("input", "select", "textarea") and said.get("type") != "hidden":
            self.fields.append(said.get("id") or "")
        self.ids += [each for each in [said.get("id")] if each]
        self.links += [each for each in [said.get("href"), said.get("src"), said.get("action")] if each]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what the tag says; it closes itself."""
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Close a tag."""
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")

    def handle_data(self, data: str) -> None:
        """Collect what people read."""
        self.words += data

    @property
    def levels(self) -> Iterator[tuple[int, int]]:
        """Each heading's level with the one before it."""
        numbers = [int(each[1]) for each in self.headings]
        return pairwise(numbers)


@dataclass
class Site:
    """A client of the pages."""

    client: TestClient[web.Request, web.Application]
    catalog: Catalog
    stores: Stores
    pages: PublicPages
    people: dict[str, Identity]

    async def get(self, path: str, who: str = "", **headers: str) -> Page:
        """Open a page as somebody; redirects are followed."""
        answer = await self.client.get(path, cookies={"who": who}, headers=headers)
        assert answer.content_type == "text/html"
        return Page(answer.status, await answer.text())

    async def location(self, path: str, who: str = "") -> str | None:
        """Return where a page sends its visitor; None for one that does not."""
        answer = await self.client.get(path, cookies={"who": who}, allow_redirects=False)
        return answer.headers.get("Location")

    async def post(self, path: str, who: str = "", **form: str) -> tuple[int, str]:
        """Send a form of a page; return the status and where it leads."""
        answer = await self.client.post(
            path, data={"csrf": CSRF if who else "", **form}, cookies={"who": who}, allow_redirects=False
        )
        return answer.status, answer.headers.get("Location", "")


async def make_site(stores: Stores) -> tuple[web.Application, Catalog, PublicPages, dict[str, Identity]]:
    """Return the application, empty but for the accounts alice and bob."""
    people = {name: await add_account(stores, name) for name in ("alice", "bob")}
    catalog = Catalog(stores.metadata, public=True)
    origins, assets = Origins(None, ()), Assets()
    shell = Shell(ByCookie(people), origins, assets)
    pages = PublicPages(
        shell,
        assets,
        origins,
        catalog=catalog,
        search=Search(stores.metadata),
        images=Images(stores.metadata, stores.store),
        statistics=Statistics(stores.metadata),
        people=People(stores.metadata, _HASHING, StoredThrottle(stores.metadata)),
        watch=Watch(stores.metadata, interval=0.02),
    )
    app = web.Application(middlewares=[error_middleware(origins, "hub", {"": shell.render_refusal})])
    pages.add_to(app)
    return app, catalog, pages, people


def configured(**config: Any) -> bytes:
    """Return the configuration of an image."""
    layers = [{"created_by": f"RUN step {number}"} for number in range(2)]
    return json.dumps(
        {"os": "linux", "architecture": "amd64", "config": config, "history": layers, "rootfs": {}}
    ).encode()


APP: Final = image(
    tags=["1.0", "latest"],
    layers=[b"base" * 100, b"application"],
    config=configured(
        Env=["LANG=C.UTF-8", f"HOSTILE={HOSTILE}"],
        Entrypoint=["/app", HOSTILE],
        Labels={HOSTILE: HOSTILE},
        ExposedPorts={"8080/tcp": {}},
    ),
)


def of_platform(architecture: str) -> Content:
    """Return an image for an index."""
    return image(layers=[architecture.encode()], config=configured(Env=[f"ARCH={architecture}"]))


def _listed() -> Content:
    images = [of_platform(each) for each in ("amd64", "arm64")]
    described = [
        {**each.descriptor, "platform": {"os": "linux", "architecture": architecture}}
        for each, architecture in zip(images, ("amd64", "arm64"), strict=True)
    ]
    return index(*images, tags=["multi"], manifests=described)


def _signature(subject: Content) -> Content:
    return image(
        artifactType="application/vnd.dev.sigstore.bundle.v0.3+json",
        subject=subject.descriptor,
        annotations={"note": HOSTILE},
        layers=[b"signature"],
    )


MULTI: Final = _listed()
SIGNATURE: Final = _signature(APP)


async def fill(site: Site) -> None:
    """Push and describe what the tests look at."""
    registry = site.stores.registry(Rules(public=True))
    await push(
        registry,
        {
            "alice/app": [APP, MULTI, SIGNATURE],
            "alice/secret": image(tags=["v1"], layers=[b"secret"]),
            "library/tool": image(tags=[f"v{number}" for number in range(35)], layers=[b"tool"]),
        },
    )
    await site.catalog.edit(
        SYSTEM,
        "alice/app",
        RepositoryEdit(summary="Says hello", overview=f"# Hello\n\n{HOSTILE}", categories=["databases"]),
    )
    await site.catalog.edit(SYSTEM, "alice/secret", RepositoryEdit(public=False))
    await site.catalog.deprecate_tag(SYSTEM, "alice/app", "1.0", "Use latest")
