"""The script that writes down what the image is made of, over an environment of the test's own."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.deploy.files import DEPLOY, passed, run

LOCK = f"""
aiohttp==3.14.5 \\
    --hash=sha256:{"a" * 64} \\
    --hash=sha256:{"b" * 64}
    # via longshore
markdown-it-py==4.3.0 ; python_full_version >= '3.11' \\
    --hash=sha256:{"c" * 64}
never-installed==1.0 \\
    --hash=sha256:{"d" * 64}
"""
STATUS = """Package: libc6
Status: install ok installed
Architecture: amd64
Version: 2.36-9+deb12u9
Description: GNU C Library: Shared libraries
 Contains the standard libraries.

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1.0
"""
PACKAGES = {"longshore": "0.1.0", "aiohttp": "3.14.5", "markdown_it_py": "4.3.0"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A lock file, an environment and what dpkg keeps."""
    (tmp_path / "lock").write_text(LOCK)
    (tmp_path / "status").write_text(STATUS)
    for name, version in PACKAGES.items():
        folder = tmp_path / "lib" / "python3.13" / "site-packages" / f"{name}-{version}.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n")
    return tmp_path


def make(place: Path, status: str = "status") -> Any:
    text = passed(sys.executable, DEPLOY / "make-sbom", place / "lock", place, place / status)
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(text)


def test_it_names_what_is_installed(place: Path) -> None:
    document = make(place)
    assert document["metadata"]["component"]["purl"] == "pkg:pypi/longshore@0.1.0"
    purls = {each["purl"]: each for each in document["components"]}
    assert [each for each in purls if not each.startswith("pkg:generic/python@3.")] == [
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u9?arch=amd64",
        "pkg:pypi/aiohttp@3.14.5",
        "pkg:pypi/markdown-it-py@4.3.0",
    ]
    held = [each["value"] for each in purls["pkg:pypi/aiohttp@3.14.5"]["properties"]]
    assert held == ["a" * 64, "b" * 64]


def test_a_base_that_is_not_debian_has_python_packages_alone(place: Path) -> None:
    assert not [each for each in make(place, "nothing")["components"] if each["purl"].startswith("pkg:deb")]


def test_what_the_lock_does_not_name_is_an_error(place: Path) -> None:
    (place / "lock").write_text(LOCK.replace("3.14.5", "3.14.6"))
    done = run(sys.executable, DEPLOY / "make-sbom", place / "lock", place, place / "status")
    assert done.returncode == 1
    assert done.stderr == "make-sbom: aiohttp 3.14.5 is installed and not in the lock file\n"
