"""Every form of the pages takes proof that a page of ours sent it: none was forgotten, and none will be."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from registry.app import make_app
from registry.config import Settings
from registry.installation import keys_of, prepare_database
from tests.attacks.town import MALLORY, Town, founding
from tests.e2e.server import ADMIN
from tests.test_documentation import is_for_programs

# What anybody may send from anywhere, and why.
OPEN: Final = {"/theme": "a matter of taste: whoever sends the form may choose"}

# Nothing is called so: a form with proof comes further, and to nothing.
_NAMES: Final = {"id": "999999"}
_REFUSED: Final = re.compile(rb"The form is not of this (?:session|browser)")


async def _paths(data: Path) -> list[str]:
    settings = Settings.model_validate({"data": data, "auth": "on", "signup": True})
    keys_of(settings).ensure("ES256")
    app = await make_app(settings)
    forms = [each.resource for each in app.router.routes() if each.method == "POST"]
    await app.cleanup()
    return sorted({each.canonical for each in forms if each and not is_for_programs(each.canonical)})


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The paths of all forms, with nothing behind their names."""
    data = tmp_path_factory.mktemp("routes") / "data"
    prepare_database(Settings.model_validate({"data": data}))
    paths = asyncio.run(_paths(data))
    named = [each.replace("/r/{name}", "/r/alice/absent") for each in paths]
    return [re.sub(r"\{(\w+)\}", lambda found: _NAMES.get(found[1], "absent"), each) for each in named]


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """A server for the forms, which change nothing in it."""
    with founding(tmp_path_factory.mktemp("town")) as town:
        yield town


def test_all_forms_were_found(paths: list[str]) -> None:
    assert len(paths) > 40
    assert {"/sign-in", "/sign-out", "/account/password", "/r/alice/absent/-/delete", *OPEN} <= set(paths)


@pytest.mark.parametrize("forgery", ["none", "wrong", "another's", "cross-site", "another origin"])
def test_no_form_is_taken_without_proof(town: Town, paths: list[str], forgery: str) -> None:
    browser = town.sign_in(ADMIN)
    proof = {"none": "", "wrong": "0" * 64, "another's": town.sign_in(MALLORY).csrf}.get(
        forgery, browser.csrf
    )
    headers = {
        "cross-site": {"Sec_Fetch_Site": "cross-site"},
        "another origin": {"Origin": "https://evil.example"},
    }
    taken = []
    for path in paths:
        answer = browser.submit(path, {"csrf": proof}, **headers.get(forgery, {}))
        if answer.status != 403 or not _REFUSED.search(answer.body):
            taken.append(path)
    assert taken == list(OPEN)


def test_with_proof_every_form_comes_further(town: Town, paths: list[str]) -> None:
    """Otherwise the test above would be one of a server that takes no forms at all."""
    refused = []
    browser = town.sign_in(ADMIN)
    for path in [each for each in paths if each != "/sign-out"]:
        answer = browser.submit(path, {"csrf": browser.csrf}, Sec_Fetch_Site="same-origin")
        if answer.status == 403 and _REFUSED.search(answer.body):
            refused.append(path)
    # These are for who is not signed in: they take another proof.
    assert refused in ([], ["/sign-in", "/sign-up"])
