"""DESIGN's table of who may import whom, held by reading the import statements."""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parent.parent

PRODUCT: Final = sorted(
    str(path.relative_to(ROOT))
    for package in ("auth", "registry", "storage")
    for path in ROOT.glob(f"{package}/**/*.py")
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Files, and what none of them imports; `aside` names files that may."""

    files: str
    never: tuple[str, ...]
    aside: tuple[str, ...] = ()

    def covers(self, file: str) -> bool:
        """Tell whether the rule is for this file."""
        return fnmatch(file, self.files) and not any(fnmatch(file, each) for each in self.aside)


# The wiring: it knows everything.
WIRING: Final = ("registry/app.py", "registry/cli/*", "registry/server.py", "registry/worker.py")

RULES: Final = [
    Rule("storage/*", ("auth", "registry", "aiohttp")),
    Rule("auth/*", ("storage", "registry", "aiohttp", "sqlalchemy", "boto3")),
    Rule("registry/*", ("registry.web", "registry.jobs"), (*WIRING, "registry/web/*", "registry/jobs/*")),
    Rule("registry/*", ("aiohttp",), (*WIRING, "registry/web/*", "registry/upstream.py")),
    Rule("registry/web/*", ("sqlalchemy", "boto3", "botocore", "registry.jobs")),
    Rule("registry/jobs/*", ("registry.web", "aiohttp")),
    Rule("*", ("tests", "benchmarks")),
    Rule("*", ("passlib",), ("auth/passwords.py",)),
    Rule("*", ("sqlalchemy", "alembic"), (*WIRING, "storage/*")),
    Rule("*", ("boto3", "botocore"), ("storage/*",)),
    Rule("*", ("os.environ", "os.environb", "os.getenv", "os.putenv"), ("registry/cli/*",)),
]

# What the handlers know of storage: its words, not its tables.
WEB_MAY_USE: Final = {"registry/web/*": {"storage.digest", "storage.blobs"}}

# The libraries of a package are those that DESIGN gives a reason for.
LIBRARIES: Final = {
    "auth/*": {"passlib", "jwt", "cryptography"},
    "storage/*": {"sqlalchemy", "alembic", "aiofiles", "boto3", "botocore", "asyncpg"},
}


def names_in(source: str) -> Iterator[str]:
    """Yield every dotted name that is imported, wherever in the file, and every attribute of a name."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (each.name for each in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                assert level == 0, "imports are absolute here"
                yield from (f"{module}.{each.name}" for each in names)
            case ast.Attribute(value=ast.Name(id=module), attr=attribute):
                yield f"{module}.{attribute}"


def imports_in(source: str) -> Iterator[str]:
    """Yield every dotted name that is imported."""
    tree = ast.parse(source)
    statements = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    for statement in statements:
        yield from names_in(ast.unparse(statement))


def is_within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def source_of(file: str) -> str:
    return (ROOT / file).read_text()


def broken_by(rule: Rule, source: str) -> list[str]:
    """Return what the source has that the rule forbids."""
    found = names_in(source) if any(each.startswith("os.") for each in rule.never) else imports_in(source)
    return sorted({name for name in found for never in rule.never if is_within(name, never)})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.files} never {', '.join(rule.never)}")
def test_rule(rule: Rule) -> None:
    covered = [file for file in PRODUCT if rule.covers(file)]
    assert covered
    broken = {file: broken_by(rule, source_of(file)) for file in covered}
    assert {file: names for file, names in broken.items() if names} == {}


@pytest.mark.parametrize("file", [file for file in PRODUCT if file.startswith("registry/web/")])
def test_handlers_know_little_of_storage(file: str) -> None:
    allowed = WEB_MAY_USE.get(file, WEB_MAY_USE["registry/web/*"])
    used = {name for name in imports_in(source_of(file)) if is_within(name, "storage")}
    assert {name for name in used if not any(is_within(name, each) for each in allowed)} == set()


@pytest.mark.parametrize("package", LIBRARIES)
def test_libraries_of_a_package(package: str) -> None:
    roots = {
        name.partition(".")[0]
        for file in PRODUCT
        if fnmatch(file, package)
        for name in imports_in(source_of(file))
    }
    ours = {package.removesuffix("/*")}
    assert roots - ours - set(sys.stdlib_module_names) <= LIBRARIES[package]


@pytest.mark.parametrize("file", PRODUCT)
def test_no_wildcard_imports(file: str) -> None:
    assert not [name for name in imports_in(source_of(file)) if name.endswith(".*")]


@pytest.mark.parametrize(
    "source",
    [
        "import registry",
        "import registry.web.oci",
        "import os, registry.web as web",
        "from registry import web",
        "from registry.web import oci",
        "from registry.web.oci import Distribution as D",
        "def f():\n    from registry.web import oci",
        "if TYPE_CHECKING:\n    import registry.web",
        "try:\n    import registry.web\nexcept ImportError:\n    pass",
    ],
)
def test_every_way_to_import_is_seen(source: str) -> None:
    assert broken_by(Rule("*", ("registry",)), source)
    assert bool(broken_by(Rule("*", ("registry.web",)), source)) is ("web" in source)


@pytest.mark.parametrize(
    ("source", "seen"),
    [
        ("import os\nos.environ['HOME']", True),
        ("import os\nos.getenv('HOME')", True),
        ("from os import environ", True),
        ("from os import getenv as g", True),
        ("import os\nos.fsync(1)", False),
        ("environ = {}", False),
    ],
)
def test_every_way_to_read_the_environment_is_seen(source: str, seen: bool) -> None:
    assert bool(broken_by(Rule("*", ("os.environ", "os.getenv")), source)) is seen


@pytest.mark.parametrize(
    "source", ["import registry_of_others", "from storage import registry", "x = 'import registry'"]
)
def test_other_names_are_not_mistaken(source: str) -> None:
    assert broken_by(Rule("*", ("registry",)), source) == []
