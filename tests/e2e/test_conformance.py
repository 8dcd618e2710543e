"""The OCI's own conformance suite, with nothing of it switched off."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from .clients import Account, Client, describe, go_tool
from .process import child_environment
from .server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

# The suite's own defaults leave some of these out, even for `OCI_VERSION=dev`.
APIS = (
    *("PING", "PULL", "PUSH", "REFERRER"),
    *("BLOBS_ATOMIC", "BLOBS_DELETE", "BLOBS_DIGEST_HEADER", "BLOBS_MOUNT_ANONYMOUS", "BLOBS_UPLOAD_CANCEL"),
    *("MANIFESTS_ATOMIC", "MANIFESTS_DELETE", "MANIFESTS_DIGEST_HEADER", "MANIFESTS_TAG_PARAM"),
    *("TAGS_ATOMIC", "TAGS_DELETE", "TAGS_LIST"),
)
DATA = (
    *("IMAGE", "INDEX", "INDEX_LIST", "ARTIFACT", "ARTIFACT_LIST", "SUBJECT", "SUBJECT_LIST"),
    *(
        "SUBJECT_MISSING",
        "DATA_FIELD",
        "NONDISTRIBUTABLE",
        "CUSTOM_FIELDS",
        "NO_LAYERS",
        "EMPTY_BLOB",
        "SHA512",
    ),
)
EVERYTHING = {f"OCI_API_{name}": "true" for name in APIS} | {f"OCI_DATA_{name}": "true" for name in DATA}
# A run that loads half of its configuration must not look like a success.
FEWEST_CHECKS = 900


@pytest.fixture
def user(server: Server) -> Account:
    """Who the suite is: the owner of both of its repositories."""
    return server.add_user("conformance", "strict but fair")


@pytest.mark.parametrize("server", [{"LONGSHORE_SPARSE": "all"}], indirect=True, ids=["sparse-allowed"])
def test_everything_with_sparse_manifests(server: Server, user: Account, tmp_path: Path) -> None:
    toggles = run_suite(server.host, user, tmp_path, OCI_DATA_SPARSE="true")
    assert [name for name, value in toggles.items() if value != "true"] == []


def test_everything_else_on_default_settings(server: Server, user: Account, tmp_path: Path) -> None:
    toggles = run_suite(server.host, user, tmp_path, OCI_DATA_SPARSE="false")
    assert [name for name, value in toggles.items() if value != "true"] == ["sparse"]


def run_suite(host: str, user: Account, folder: Path, **toggles: str) -> dict[str, str]:
    """Run the suite, require that it passes whole, and return its toggles as it understood them.

    The exit code decides nothing: it is 0 where the suite could not load its configuration.
    """
    results = folder / "results"
    environment = child_environment(
        OCI_REGISTRY=host,
        OCI_TLS="disabled",
        OCI_REPO1=f"{user.name}/repo1",
        OCI_REPO2=f"{user.name}/repo2",
        OCI_USERNAME=user.name,
        OCI_PASSWORD=user.password,
        OCI_VERSION="dev",
        OCI_RESULTS_DIR=str(results),
        **{**EVERYTHING, **toggles},
    )
    done = Client(go_tool("conformance"), environment).within(folder).run()
    assert (results / "junit.xml").exists(), describe(done, "wrote no results")
    require_passed(ET.parse(results / "junit.xml").getroot())
    configuration, _, _ = (results / "results.yaml").read_text().partition("\napis:")
    return dict(re.findall(r"^ +(\w+): (true|false)$", configuration, re.MULTILINE))


def require_passed(junit: ET.Element) -> None:
    """Require that no check failed, none was skipped, and that there were as many as there should be."""
    counts = {name: int(junit.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    explained = "\n".join(
        f"{case.get('status')}: {case.get('name')}: {case.findtext('system-out')}"
        for case in junit.iter("testcase")
        if case.get("status") != "passed"
    )
    assert (counts["failures"], counts["errors"], counts["skipped"]) == (0, 0, 0), explained
    assert counts["tests"] > FEWEST_CHECKS
