"""What the files under deploy/ call things is what they are called."""

import re
import tomllib
from collections.abc import Iterator

import pytest

from tests.deploy.files import (
    CHART,
    DEPLOY,
    OF_BOTO3,
    OF_MINIO,
    OF_POSTGRESQL,
    OF_VERSITYGW,
    SETTINGS,
    VARIABLE,
    parse,
    texts,
)
from tests.e2e.clients import ROOT
from tests.test_documentation import code_in, commands_named_in, is_command

KNOWN = SETTINGS | OF_BOTO3 | OF_POSTGRESQL | OF_MINIO | OF_VERSITYGW
RUNBOOK = DEPLOY / "RUNBOOK.md"


def test_every_variable_is_a_setting() -> None:
    unknown = {name: set(VARIABLE.findall(text)) - KNOWN for name, text in texts()}
    assert {name: found for name, found in unknown.items() if found} == {}


def test_variables_are_found() -> None:
    assert VARIABLE.findall("LONGSHORE_HOST=1 ${AWS_ACCESS_KEY_ID} MY_LONGSHORE_X LONGSHORE_*") == [
        "LONGSHORE_HOST",
        "AWS_ACCESS_KEY_ID",
    ]


def versions() -> Iterator[tuple[str, str]]:
    chart = parse((CHART / "Chart.yaml").read_text())
    yield "Chart.yaml, version", chart["version"]
    yield "Chart.yaml, appVersion", chart["appVersion"]
    (argument,) = re.findall(r"^ARG VERSION=(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    yield "Dockerfile", argument
    for tag in re.findall(r"longshore:([\d.]+)", (DEPLOY / "compose.yaml").read_text()):
        yield "compose.yaml", tag


def test_every_version_is_this_one() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    found = list(versions())
    assert len(found) >= 4
    assert {name: each for name, each in found if each != version} == {}


def test_a_build_gets_what_it_copies_and_nothing_else() -> None:
    copied: set[str] = set()
    for words in re.findall(r"^COPY (?!--from)(.*)$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE):
        copied.update(words.split()[:-1])
    allowed = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE)
    assert copied == set(allowed)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_the_runbook_names_commands_that_are_there() -> None:
    named = set(commands_named_in(RUNBOOK.read_text()))
    assert named
    assert [words for words in named if not is_command(words)] == []


def test_the_runbook_names_files_that_are_there() -> None:
    text = RUNBOOK.read_text()
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    paths = {path for code in code_in(text) for path in re.findall(r"\b(?:deploy|tests)/[\w./-]+", code)}
    assert paths
    assert [link for link in links if not (DEPLOY / link).exists()] == []
    assert [path for path in paths if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", ["make-secrets", "make-bucket", "make-sbom"])
def test_scripts_can_be_run(name: str) -> None:
    assert (DEPLOY / name).stat().st_mode & 0o111 == 0o111
