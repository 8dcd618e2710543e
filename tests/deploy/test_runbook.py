"""What the runbook says to type does what it says."""

import os
import re
import secrets
import shutil
import sys
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, passed
from tests.e2e.clients import debian
from tests.e2e.images import small_image
from tests.e2e.process import child_environment, running
from tests.e2e.server import ADMIN, Server
from tests.e2e.wire import Wire


def commands_after(mark: str) -> str:
    text = (DEPLOY / "RUNBOOK.md").read_text()
    (block,) = re.findall(rf"<!-- {mark} -->\n```sh\n(.*?)```", text, re.DOTALL)
    assert isinstance(block, str)
    return block


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path, {"LONGSHORE_WORKERS": "1"})


def test_a_node_comes_back_from_a_backup_that_was_taken_while_it_ran(server: Server, tmp_path: Path) -> None:
    key = tmp_path / "backup.key"
    key.write_text(secrets.token_hex(32))
    environment = child_environment(
        DATA=str(server.data),
        BACKUP=str(tmp_path / "backup"),
        KEY=str(key),
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    )
    first, second, lost = (small_image(name) for name in ("first", "second", "lost"))

    def back_up() -> None:
        passed(debian("sh"), "-eu", "-c", commands_after("backup"), environment=environment)

    with running(server):
        with Wire(server.host, "library/app", ADMIN) as wire:
            wire.push("first", first)
            back_up()
            wire.push("second", second)
            back_up()
            wire.push("lost", lost)
        verified = passed(debian("sh"), "-eu", "-c", commands_after("verify"), environment=environment)
        assert "2 snapshots and 4 blobs" in verified
        server.stop()
        shutil.rmtree(server.data)
        passed(debian("sh"), "-eu", "-c", commands_after("restore"), environment=environment)
        server.start()
        with Wire(server.host, "library/app", ADMIN) as wire:
            for image, tag in ((first, "first"), (second, "second")):
                assert wire.manifest(tag) == image.manifest.data
                for blob in image.blobs:
                    assert wire.blob(blob.digest) == blob.data
            assert not wire.has_manifest("lost")
