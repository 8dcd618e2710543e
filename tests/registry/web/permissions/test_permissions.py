"""Every kind of caller against every operation: one table says who may."""

import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.registry.web.conftest import IN_MEMORY
from tests.registry.web.live import Answer
from tests.registry.web.permissions.operations import ANONYMOUS, CALLERS, DEAD, OPERATIONS, PEOPLE, Operation
from tests.registry.web.permissions.world import Open, World, make

# What differs between two refusals that are otherwise the same: when they were made, and what was asked for.
_ECHO: Final = re.compile(rb"absent|app\b|sha256:[0-9a-f]+|[0-9a-f]{16,}")


@pytest.fixture(scope="session")
def world(migrated: bytes) -> Iterator[World]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        data = Path(text) / "world"
        data.mkdir(mode=0o700)
        (data / "longshore.db").touch(mode=0o600)
        (data / "longshore.db").write_bytes(migrated)
        yield make(data)


@pytest.fixture
async def opened(world: World) -> AsyncIterator[Open]:
    """A server over a copy of the world."""
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        async with world.open(Path(text)) as running:
            yield running


def callers_of(operation: Operation) -> list[str]:
    """Return who can try an operation at all: tokens sign in on no page."""
    if operation.surface != "page":
        return list(CALLERS)
    return [each for each in CALLERS if each in PEOPLE | {ANONYMOUS, "gone"}]


async def check_refusal(world: Open, operation: Operation, who: str) -> None:
    answer = await world.send(who, operation, operation.path)
    if who in DEAD and operation.surface != "page":
        assert answer.status == 401, answer.body
        return
    if who in (ANONYMOUS, *DEAD):
        # A page sends to the sign-in; a dead session is none.
        assert answer.status in ((303, 404) if operation.surface == "page" else (401, 404)), answer.body
    elif operation.surface == "oci":
        assert answer.status in (401, 403, 404), answer.body
    elif who in operation.seen_by:
        assert answer.status == 403, answer.body
    else:
        assert answer.status == 404, answer.body
    if operation.absent is not None and who not in operation.seen_by:
        absent = await world.send(who, operation, operation.absent)
        assert looks(answer) == looks(absent)


def looks(answer: Answer) -> tuple[int, bytes, str]:
    """Return what somebody can tell a refusal by."""
    challenge = _ECHO.sub(b"x", answer.headers.get("WWW-Authenticate", "").encode()).decode()
    return answer.status, _ECHO.sub(b"x", answer.body), challenge


@pytest.mark.parametrize("operation", OPERATIONS, ids=[each.name for each in OPERATIONS])
async def test_operation(opened: Open, operation: Operation, subtests: pytest.Subtests) -> None:
    for who in callers_of(operation):
        with subtests.test(who):
            if who in operation.open_to:
                (await opened.send(who, operation, operation.path)).expect(operation.status)
            else:
                await check_refusal(opened, operation, who)
        if operation.changes and who in operation.open_to:
            opened.world.restore(opened.live)
