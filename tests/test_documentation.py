"""What is written down is true: settings, routes, commands, make targets, metrics and the version."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from aiohttp import web

from registry.app import make_app
from registry.cli import main
from registry.config import Settings, environment_name, markdown_table
from registry.installation import keys_of, prepare_database

ROOT = Path(__file__).parents[1]
METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options", "trace"})

Route = tuple[str, str]


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def code_in(text: str) -> Iterator[str]:
    """Yield what a document says to type: each line after a prompt, and each span of code."""
    fenced = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
    for block in fenced.findall(text):
        yield from re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    for span in re.findall(r"`([^`]+)`", fenced.sub("", text)):
        yield " ".join(span.split())


# -- settings --------------------------------------------------------------------------------------------


def test_readme_has_the_table_of_settings() -> None:
    """To renew it: `python -c "from registry.config import markdown_table; print(markdown_table())"`."""
    (table,) = re.findall(r"<!-- settings -->\n(.*?)<!-- /settings -->", read("README.md"), re.DOTALL)
    assert table.strip() == markdown_table().strip()


def test_readme_names_no_setting_that_is_none() -> None:
    known = {*map(environment_name, Settings.model_fields), environment_name("config")}
    assert set(re.findall(r"\bLONGSHORE_[A-Z_]+[A-Z]", read("README.md"))) <= known


# -- routes ----------------------------------------------------------------------------------------------


def documented_routes() -> set[Route]:
    """Read paths and methods of openapi.yaml, which is written with two blanks for each level."""
    routes: set[Route] = set()
    section = path = ""
    for line in read("openapi.yaml").splitlines():
        key = re.fullmatch(r"( *)(['\"]?)([^\s'\"#][^'\"#]*?)\2:(?: .*)?", line)
        if key is None:
            continue
        indent, name = len(key[1]), key[3]
        if indent == 0:
            section = name
        elif section == "paths" and indent == 2:
            path = name
        elif section == "paths" and indent == 4 and name in METHODS:
            routes.add((name.upper(), plain(path)))
    return routes


def is_for_programs(path: str) -> bool:
    """Tell whether openapi.yaml describes a path; the others are pages, for people."""
    return path.startswith(("/api/", "/v1/", "/v2", "/.well-known/")) or path in (
        "/token",
        "/healthz",
        "/readyz",
        "/metrics",
        "/openapi.yaml",
    )


def plain(path: str) -> str:
    """Write a route's path without patterns and without a slash at its end."""
    return re.sub(r"\{(\w+):[^{}]*\}", r"{\1}", path).rstrip("/")


@pytest.fixture
async def routes(tmp_path: Path) -> tuple[set[Route], set[Route]]:
    """The routes of the product, and those of them that answer HEAD as a GET without its body."""
    settings = Settings.model_validate({"data": tmp_path / "data", "auth": "on"})
    prepare_database(settings)
    keys_of(settings).ensure("ES256")
    app = await make_app(settings)
    app.freeze()
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        return _routes_of(app)
    finally:
        await runner.cleanup()


def _routes_of(app: web.Application) -> tuple[set[Route], set[Route]]:
    handlers: dict[Route, object] = {}
    for route in app.router.routes():
        assert route.resource is not None
        if is_for_programs(route.resource.canonical):
            handlers[route.method, plain(route.resource.canonical)] = route.handler
    implied = {
        (method, path)
        for (method, path), handler in handlers.items()
        if method == "HEAD" and handlers.get(("GET", path)) == handler
    }
    return set(handlers), implied


async def test_openapi_has_exactly_the_routes(routes: tuple[set[Route], set[Route]]) -> None:
    every, implied = routes
    documented = documented_routes()
    assert every - implied - documented == set(), "not documented"
    assert documented - every == set(), "documented and not there"


async def test_openapi_is_read_right(routes: tuple[set[Route], set[Route]]) -> None:
    every, implied = routes
    assert {
        ("GET", "/v2"),
        ("PUT", "/v2/{name}/manifests/{reference}"),
        ("POST", "/v2/{name}/blobs/uploads"),
        ("HEAD", "/v2/{name}/blobs/{digest}"),
        ("POST", "/token"),
        ("GET", "/metrics"),
    } <= every - implied


def test_openapi_is_of_this_version() -> None:
    (written,) = re.findall(r"^  version: ['\"]?([^\s'\"]+)", read("openapi.yaml"), re.MULTILINE)
    assert written == version()


# -- commands --------------------------------------------------------------------------------------------


def commands(command: click.Command, *path: str) -> Iterator[tuple[str, ...]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            assert each is not None
            yield from commands(each, *path, name)
    else:
        yield path


def commands_named_in(text: str) -> Iterator[tuple[str, ...]]:
    """Yield the commands of `longshore …`, and of the names that follow one in a row of a table."""
    for code in code_in(text):
        found = re.match(r"(?:\S*/)?longshore ((?:[a-z-]+ ?)+)", code)
        if found is not None:
            yield tuple(found[1].split())
    for row in re.findall(r"^\| *`longshore (\w+) [\w -]+`((?:, `[\w -]+`)+)", text, re.MULTILINE):
        for name in re.findall(r"`([\w -]+)`", row[1]):
            yield (row[0], *name.split())


def is_command(words: tuple[str, ...]) -> bool:
    """Tell whether the words begin with a whole command; what follows are its arguments."""
    command: click.Command = main
    for word in words:
        if not isinstance(command, click.Group):
            return True
        found = command.get_command(click.Context(command), word)
        if found is None:
            return False
        command = found
    return True


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (("serve",), True),
        (("user", "add", "alice"), True),
        (("user",), True),
        (("grant", "write", "team", "bob"), True),
        (("user", "remove"), False),
        (("push",), False),
    ],
)
def test_commands_are_told_apart(words: tuple[str, ...], known: bool) -> None:
    assert is_command(words) is known


def test_readme_names_every_command_and_no_other() -> None:
    named = set(commands_named_in(read("README.md")))
    assert [words for words in named if not is_command(words)] == []
    every = set(commands(main))
    assert {each for each in every if not any(words[: len(each)] == each for words in named)} == set()


# -- make ------------------------------------------------------------------------------------------------


def test_readme_names_no_make_target_that_is_none() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", read("Makefile"), re.MULTILINE))
    named = {
        found[1]
        for code in code_in(read("README.md"))
        if (found := re.match(r"make ([a-z][a-z-]*)", code)) is not None
    }
    assert {"serve", "test"} <= named
    assert named <= targets


def test_every_make_target_is_phony() -> None:
    makefile = read("Makefile")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert set(phony.split()) == set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


# -- files and versions ----------------------------------------------------------------------------------


def version() -> str:
    found: str = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    return found


def test_changelog_is_of_this_version() -> None:
    sections = re.findall(r"^## \[([^\]]+)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert {"Unreleased", version()} & set(sections[:1])


@pytest.mark.parametrize("name", ["README.md", "CHANGELOG.md"])
def test_files_that_are_named_are_there(name: str) -> None:
    text = read(name)
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    paths = [
        code
        for code in code_in(text)
        if re.fullmatch(r"(?:deploy|registry|storage|auth|tests)/[\w./-]+", code)
    ]
    assert [path for path in (*links, *paths) if not (ROOT / path).exists()] == []
