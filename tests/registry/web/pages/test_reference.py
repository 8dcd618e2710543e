"""The page and the file that it is made of."""

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from registry.web import description
from tests.registry.web.live import Live

FILE = Path(__file__).parents[4] / "openapi.yaml"


@pytest.fixture(scope="module")
def document() -> Any:
    return yaml.safe_load(FILE.read_bytes())


@pytest.fixture(scope="module")
def read() -> description.Description:
    return description.read(FILE.read_bytes())


async def test_file(live: Live) -> None:
    answer = await live.client.get("/openapi.yaml", Accept_Encoding="identity")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/yaml; charset=utf-8")
    assert answer.body == FILE.read_bytes()
    tag = answer.headers["ETag"]
    unchanged = await live.client.get("/openapi.yaml", If_None_Match=tag)
    assert (unchanged.status, unchanged.body, unchanged.headers["ETag"]) == (304, b"", tag)
    assert (await live.client.get("/openapi.yaml", If_None_Match='"x"')).status == 200
    small = await live.client.get("/openapi.yaml", Accept_Encoding="gzip")
    assert gzip.decompress(small.body) == answer.body


def test_every_operation_is_told_once(document: Any, read: description.Description) -> None:
    methods = {"get", "head", "post", "put", "patch", "delete"}
    written = [
        (name.upper(), path) for path, item in document["paths"].items() for name in item if name in methods
    ]
    told = [(each.method, each.path) for group in read.groups for each in group.operations]
    assert sorted(told) == sorted(written)
    assert all(group.operations for group in read.groups)


def test_operations_have_names_of_their_own(read: description.Description) -> None:
    anchors = [each.anchor for group in read.groups for each in group.operations]
    anchors += [each.name for each in read.schemas] + [group.name for group in read.groups]
    assert len(set(anchors)) == len(anchors)
    assert all(re.fullmatch(r"[\w.{}-]+", each) for each in anchors)


def test_every_reference_leads_somewhere(document: Any) -> None:
    found = re.findall(r'\$ref: "#/([^"]+)"', FILE.read_text())
    assert found
    for path in set(found):
        node = document
        for part in path.split("/"):
            node = node[part]


def test_nothing_is_described_for_nobody(document: Any) -> None:
    used = set(re.findall(r'\$ref: "#/components/([^"]+)"', FILE.read_text()))
    described = {
        f"{kind}/{name}"
        for kind, parts in document["components"].items()
        if kind != "securitySchemes"
        for name in parts
    }
    assert described - used == set()


class _Page(HTMLParser):
    """Collects what a page links to, and where it can be linked to."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if name := values.get("id"):
            self.ids.append(name)
        href = values.get("href") or ""
        if tag == "a" and href.startswith("#"):
            self.links.add(href[1:])


async def test_page(live: Live, read: description.Description) -> None:
    answer = await live.client.get("/docs", Accept_Encoding="gzip")
    assert answer.status == 200
    assert len(answer.body) < 100 * 1024
    page = _Page()
    text = gzip.decompress(answer.body).decode()
    page.feed(text)
    assert len(set(page.ids)) == len(page.ids)
    assert page.links <= set(page.ids)
    assert {each.anchor for group in read.groups for each in group.operations} <= set(page.ids)
    assert (await live.client.get("/docs", Accept_Encoding="gzip")).body == answer.body


def test_types_are_words(read: description.Description) -> None:
    shapes = {each.name: {field.name: field for field in each.fields} for each in read.schemas}
    token = shapes["NewToken"]
    assert token["repositories"].type.words == "list of string, or null"
    assert token["permission"].type.words.startswith('one of "read", ')
    assert (token["name"].required, token["expires_at"].required) == (True, False)
    assert token["name"].bounds == "not empty, at most 100 characters"
    assert shapes["Image"]["configuration"].type == description.Type("null or", "Configuration")
    assert shapes["Image"]["layers"].type == description.Type("list of", "Layer")


def test_examples_of_pages_have_an_entry(read: description.Description) -> None:
    (lists,) = [each for group in read.groups for each in group.operations if each.anchor == "listTags"]
    example = json.loads(lists.answers[0].contents[0].example)
    assert example["items"][0]["name"] == "1.0"
