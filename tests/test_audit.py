"""What the audit of the locked packages says, with services of the test's own."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.audit import KNOWN_BAD, LOCKS, main
from tests.e2e.process import free_port, serving

HOLE = {"id": "OSV-1", "summary": "x", "affected": []}


@contextmanager
def osv(*vulnerable: str) -> Iterator[str]:
    """The URL of a service that speaks like api.osv.dev and knows of holes in these releases."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            asked: dict[str, Any] = json.loads(self.rfile.read(length))
            release = f"{asked['package']['name']}=={asked['version']}"
            holes = [HOLE] if release in vulnerable else []
            body = json.dumps({"vulns": holes}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}/v1/query"


def locked(name: str) -> str:
    """The release of a package in the lock file."""
    (version,) = re.findall(rf"^{name}==([\w.]+)", LOCKS[0].read_text(), re.MULTILINE)
    return f"{name}=={version}"


def test_packages_without_holes_pass(capsys: pytest.CaptureFixture[str]) -> None:
    with osv(KNOWN_BAD.strip()) as url:
        assert main(["--osv-url", url]) == 0
    assert capsys.readouterr().out.endswith("requirements.lock, requirements-dev.lock: 0 findings\n")


def test_a_hole_is_named_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with osv(KNOWN_BAD.strip(), locked("aiohttp")) as url:
        assert main(["--osv-url", url, "--where-possible"]) == 1
    assert "audit: " + locked("aiohttp").replace("==", " ") + ": OSV-1" in capsys.readouterr().out


def test_a_service_that_knows_of_nothing_is_not_believed(capsys: pytest.CaptureFixture[str]) -> None:
    with osv(locked("aiohttp")) as url:
        assert main(["--osv-url", url]) == 2
        assert main(["--osv-url", url, "--where-possible"]) == 0
    assert capsys.readouterr().out.count("NOT AUDITED") == 2


def test_where_nobody_answers_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    nobody = f"http://127.0.0.1:{free_port()}/"
    assert main(["--osv-url", nobody]) == 2
    assert "NOT AUDITED" in capsys.readouterr().out
