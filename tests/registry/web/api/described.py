"""Answers are held against openapi.yaml: no status and no member that is not described."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from jsonschema_rs import Draft202012Validator

from tests.registry.web.live import Answer

FILE: Final = Path(__file__).parents[4] / "openapi.yaml"

Node = Mapping[str, Any]


@cache
def document() -> Node:
    found: Node = yaml.load(FILE.read_bytes(), yaml.CSafeLoader)
    return found


@cache
def _templates() -> list[tuple[re.Pattern[str], str]]:
    """The paths, those with more of their own text first."""
    paths = sorted(document()["paths"], key=lambda path: (path.count("/-"), path.count("/")), reverse=True)
    return [(re.compile(_pattern(path)), path) for path in paths]


def _pattern(path: str) -> str:
    pieces = re.split(r"(\{\w+\})", path)
    kinds = {"{name}": r"(?:[^/]+/)*[^/]+"}
    return "".join(kinds.get(each, "[^/]+") if each.startswith("{") else re.escape(each) for each in pieces)


def _template_of(path: str) -> str | None:
    for pattern, template in _templates():
        if ("/-/" in path) is ("/-/" in template) and pattern.fullmatch(path):
            return template
    return None


def check(method: str, path: str, answer: Answer) -> None:
    """Fail if the answer is not one that openapi.yaml describes for the request."""
    found = _template_of(path.partition("?")[0])
    if found is None or method.lower() not in document()["paths"][found]:
        assert answer.status in (404, 405)
        return
    statuses = document()["paths"][found][method.lower()]["responses"]
    assert str(answer.status) in statuses, f"{answer.status} is not described for {method} {found}"
    content = _resolve(statuses[str(answer.status)]).get("content")
    if content is None:
        assert answer.body == b""
        return
    media_type = answer.headers["Content-Type"].partition(";")[0]
    assert media_type in content
    if media_type.endswith("json"):
        _validator(found, method.lower(), str(answer.status), media_type).validate(answer.json())


@cache
def _validator(path: str, method: str, status: str, media_type: str) -> Draft202012Validator:
    response = _resolve(document()["paths"][path][method]["responses"][status])
    schema = response["content"][media_type]["schema"]
    return Draft202012Validator({**schema, "components": document()["components"]})


def _resolve(node: Node) -> Node:
    while "$ref" in node:
        found: Any = document()
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node
