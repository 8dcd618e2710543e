"""What `openapi.yaml` says, as values for a page: operations by tag, schemas, examples.

Reads as much of OpenAPI 3.1 as that file uses. References are followed where something small is shown, and
kept as links where a schema has a name.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

_HERE: Final = Path(__file__).parent
_METHODS: Final = ("get", "head", "post", "put", "patch", "delete")
_SCHEMA: Final = "#/components/schemas/"

# What is told of a value besides its type, in this order.
_BOUNDS: Final = {
    "format": "{}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "minItems": "at least {} entries",
    "maxItems": "at most {} entries",
    "default": "{} unless said otherwise",
}

_SHORTER: Final = {"at least 1 characters": "not empty", "at least 1 entries": "not empty"}

_Node = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Type:
    """What a value is, in words; `schema` is the name of the schema that its last word stands for."""

    words: str
    schema: str = ""


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, a header or a member of an object. `where`: path, query or header, for a parameter."""

    name: str
    type: Type
    text: str = ""
    required: bool = False
    where: str = ""
    bounds: str = ""
    example: str = ""


@dataclass(frozen=True, slots=True)
class Content:
    """What a body may be: a schema with a name, or fields that are told here."""

    media_type: str
    type: Type
    fields: Sequence[Field] = ()
    example: str = ""


@dataclass(frozen=True, slots=True)
class Response:
    """What may come back."""

    status: str
    text: str
    headers: Sequence[Field] = ()
    contents: Sequence[Content] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of a path. `logins`: the ways to say who asks; `open_to_all`: nobody in particular may."""

    anchor: str
    method: str
    path: str
    summary: str
    text: str
    logins: Sequence[str]
    open_to_all: bool
    parameters: Sequence[Field]
    body: Sequence[Content]
    answers: Sequence[Response]
    """What comes of it when it is done."""
    refusals: Sequence[Response]


@dataclass(frozen=True, slots=True)
class Group:
    """The operations of a tag."""

    name: str
    text: str
    operations: Sequence[Operation]


@dataclass(frozen=True, slots=True)
class Schema:
    """An object that has a name."""

    name: str
    text: str
    fields: Sequence[Field]
    example: str


@dataclass(frozen=True, slots=True)
class Login:
    """A way to say who asks."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Description:
    """The whole file."""

    title: str
    version: str
    text: str
    logins: Sequence[Login]
    groups: Sequence[Group]
    schemas: Sequence[Schema]


def source() -> bytes:
    """Return the file: beside this one where it was installed, at the root of a checkout."""
    in_checkout = _HERE.parent.parent / "openapi.yaml"
    return (in_checkout if in_checkout.is_file() else _HERE / "openapi.yaml").read_bytes()


def read(content: bytes) -> Description:
    """Read the file."""
    root = yaml.load(content, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    return _Reader(root).description()


class _Reader:
    """Reads one document."""

    def __init__(self, root: _Node) -> None:
        self._root = root

    def description(self) -> Description:
        info, parts = self._root["info"], self._root["components"]
        logins = [Login(name, each["description"]) for name, each in parts["securitySchemes"].items()]
        operations = list(self._operations())
        groups = [
            Group(tag["name"], tag["description"], [each for name, each in operations if name == tag["name"]])
            for tag in self._root["tags"]
        ]
        shown = [self._schema(name, each) for name, each in sorted(parts["schemas"].items())]
        return Description(info["title"], info["version"], info["description"], logins, groups, shown)

    def _operations(self) -> Iterator[tuple[str, Operation]]:
        for path, item in self._root["paths"].items():
            for method in _METHODS:
                if method in item:
                    yield item[method]["tags"][0], self._operation(path, method, item)

    def _operation(self, path: str, method: str, item: _Node) -> Operation:
        node = item[method]
        security = node.get("security", self._root["security"])
        parameters = [*item.get("parameters", ()), *node.get("parameters", ())]
        responses = [self._response(status, each) for status, each in node["responses"].items()]
        return Operation(
            anchor=node.get("operationId", f"{method}{path}").replace("/", "-").strip("-"),
            method=method.upper(),
            path=path,
            summary=node["summary"],
            text=node.get("description", ""),
            logins=[name for each in security for name in each],
            open_to_all={} in security,
            parameters=[self._parameter(self._resolve(each)) for each in parameters],
            body=self._contents(self._resolve(node.get("requestBody", {}))),
            answers=[each for each in responses if each.status < "4"],
            refusals=[each for each in responses if each.status >= "4"],
        )

    def _parameter(self, node: _Node) -> Field:
        schema = node.get("schema", {})
        return Field(
            node["name"],
            self._type(schema),
            node.get("description", ""),
            node.get("required", False),
            node["in"],
            _bounds(schema),
            _plain(node["example"]) if "example" in node else "",
        )

    def _response(self, status: str, node: _Node) -> Response:
        found = self._resolve(node)
        headers = [
            self._field(name, self._resolve(each), {}) for name, each in found.get("headers", {}).items()
        ]
        return Response(status, found["description"], headers, self._contents(found))

    def _contents(self, node: _Node) -> Sequence[Content]:
        return [
            Content(
                media_type,
                self._type(each.get("schema", {})),
                [] if "$ref" in each.get("schema", {}) else self._fields(each.get("schema", {})),
                self._example(each),
            )
            for media_type, each in node.get("content", {}).items()
        ]

    def _schema(self, name: str, node: _Node) -> Schema:
        example = node.get("examples", [node["example"]] if "example" in node else [])
        return Schema(
            name, node.get("description", ""), self._fields(node), _json(example[0]) if example else ""
        )

    def _fields(self, node: _Node) -> Sequence[Field]:
        required = node.get("required", ())
        return [
            self._field(name, each, {"required": name in required})
            for name, each in node.get("properties", {}).items()
        ]

    def _field(self, name: str, node: _Node, more: Mapping[str, Any]) -> Field:
        schema = node.get("schema", node)
        text = node.get("description", "")
        example = _plain(node["example"]) if "example" in node else ""
        return Field(name, self._type(schema), text, bounds=_bounds(schema), example=example, **more)

    def _type(self, node: _Node) -> Type:
        """Say what a value is."""
        if "$ref" in node:
            return Type("", node["$ref"].removeprefix(_SCHEMA))
        if "oneOf" in node:
            types = [self._type(each) for each in node["oneOf"]]
            words = " or ".join(each.words for each in types if each.words)
            return Type(f"{words} or" if words else "", next((each.schema for each in types), ""))
        if "enum" in node:
            return Type("one of " + ", ".join(json.dumps(each) for each in node["enum"]))
        names = node.get("type", "anything")
        listed = [names] if isinstance(names, str) else list(names)
        if "items" in node:
            inner = self._type(node["items"])
            null = ", or null" if "null" in listed else ""
            return Type(f"list of {inner.words}{null}".rstrip(), inner.schema)
        return Type(" or ".join(listed))

    def _example(self, node: _Node) -> str:
        if "example" in node:
            return node["example"] if isinstance(node["example"], str) else _json(node["example"])
        schema = self._resolve(node.get("schema", {}))
        examples = schema.get("examples", [schema["example"]] if "example" in schema else [])
        if not examples and "items" in schema.get("properties", {}):
            # A page of a list: one entry tells what they are like.
            entry = self._example({"schema": schema["properties"]["items"]["items"]})
            examples = [{"items": [json.loads(entry)], "next": None}] if entry else []
        return _json(examples[0]) if examples else ""

    def _resolve(self, node: _Node) -> _Node:
        while "$ref" in node:
            found: Any = self._root
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]
            node = found
        return node


def _bounds(node: _Node) -> str:
    found = [text.format(_plain(node[name])) for name, text in _BOUNDS.items() if name in node]
    return ", ".join(_SHORTER.get(each, each) for each in found)


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
