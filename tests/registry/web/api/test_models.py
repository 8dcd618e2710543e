"""The documents are those that openapi.yaml describes: member by member, with the same bounds."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from pydantic import BaseModel

from registry.web.api import bodies, contents, models
from tests.registry.web.api.described import document

BOUNDS: Final = (
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minimum",
    "maximum",
    "pattern",
    "enum",
    "format",
)


def _subclasses(module: object, root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for each in vars(module).values():
        if isinstance(each, type) and issubclass(each, root) and each is not root:
            yield each


ANSWERS: Final = sorted(
    {*_subclasses(models, models.Model), *_subclasses(contents, models.Model)}, key=lambda each: each.__name__
)
BODIES: Final = sorted(_subclasses(bodies, bodies.Body), key=lambda each: each.__name__)


def _described(model: type[BaseModel]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = document()["components"]["schemas"][model.__name__]
    return found


def _bounds(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bounds of a value, whether it may be null or not."""
    found = {name: node[name] for name in BOUNDS if name in node}
    if "enum" in found:
        found["enum"] = [each for each in found["enum"] if each is not None]
    for each in node.get("anyOf", ()):
        found |= _bounds(each)
    return found


def _is_nullable(node: Mapping[str, Any]) -> bool:
    kinds = node.get("type", [])
    choices = [*node.get("anyOf", ()), *node.get("oneOf", ())]
    return "null" in ([kinds] if isinstance(kinds, str) else kinds) or {"type": "null"} in choices


@pytest.mark.parametrize("model", [*ANSWERS, *BODIES], ids=lambda model: model.__name__)
def test_members(model: type[BaseModel]) -> None:
    is_answer = issubclass(model, models.Model)
    own = model.model_json_schema(mode="serialization" if is_answer else "validation")
    described = _described(model)
    assert described["additionalProperties"] is False
    assert list(described["properties"]) == list(own["properties"])
    required = list(own["properties"]) if is_answer else own.get("required", [])
    assert described.get("required", []) == required
    for name, node in own["properties"].items():
        other = described["properties"][name]
        assert _bounds(other) == _bounds(node), name
        assert _is_nullable(other) is _is_nullable(node), name


def test_there_are_documents() -> None:
    assert len(ANSWERS) > 30
    assert len(BODIES) > 15
