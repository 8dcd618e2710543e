"""The files that a deployment is made of, and what may stand in them."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from registry.config import Settings, environment_name
from tests.e2e.clients import ROOT

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "longshore"
VARIABLE = re.compile(r"\b(?:LONGSHORE|AWS|POSTGRES|PG|MINIO|VGW|ROOT)_[A-Z0-9_]*[A-Z0-9]\b")

SETTINGS = frozenset(map(environment_name, (*Settings.model_fields, "config")))
# What botocore looks for (boto3's documentation, "Configuration" and "Credentials").
OF_BOTO3 = frozenset(
    {
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_DEFAULT_REGION",
        "AWS_CA_BUNDLE",
    }
)
# The variables of other people's images, from their documentation.
OF_POSTGRESQL = frozenset({"POSTGRES_DB", "POSTGRES_PASSWORD", "POSTGRES_USER"})
OF_MINIO = frozenset({"MINIO_BROWSER", "MINIO_ROOT_PASSWORD", "MINIO_ROOT_USER"})
OF_VERSITYGW = frozenset({"ROOT_ACCESS_KEY", "ROOT_SECRET_KEY", "VGW_PORT"})


def texts() -> Iterator[tuple[str, str]]:
    """Yield every file under deploy/ by its path there."""
    for path in sorted(DEPLOY.rglob("*")):
        if path.is_file() and path.name != ".env":
            yield str(path.relative_to(DEPLOY)), path.read_text(encoding="utf-8")


def run(
    *words: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end, with what it prints as text."""
    argv = list(map(str, words))
    return subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def passed(*words: str | Path, cwd: Path | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Run a program that must be content, and return what it prints."""
    done = run(*words, cwd=cwd, environment=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def parse(text: str) -> Any:
    """Read a document of YAML."""
    return yaml.safe_load(text)
