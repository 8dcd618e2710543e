"""The pages of people and of who keeps something: what each form does, and what it says where it does not."""

import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from html import escape
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from auth.keys import KeyDirectory
from registry.config import Settings
from tests.registry.web.conftest import IN_MEMORY
from tests.registry.web.live import CHEAP_PASSWORDS, Live, password_of, serve
from tests.registry.web.pages.browsing import SESSION, Browser

pytestmark = pytest.mark.asyncio(loop_scope="module")

Form = Mapping[str, str]

# Who administers, who keeps the organization "crew", one of its members, and others.
PEOPLE: Final = ("root", "ann", "bob", "cat", "dan", "eve", "fay")
NEW_PASSWORD: Final = "a longer way to say it"

MADE: Final[list[tuple[str, Form]]] = [
    ("/organizations", {"name": "crew"}),
    ("/organizations/crew/members", {"person": "bob"}),
    ("/organizations/crew/teams", {"team": "deck"}),
    ("/organizations/crew/teams/deck/members", {"person": "bob"}),
    ("/organizations/crew/robots", {"robot": "tug", "about": "Builds"}),
    *(
        ("/repositories/new", {"namespace": namespace, "name": name})
        for namespace, name in [("ann", "app"), ("ann", "chest"), ("ann", "sail"), ("crew", "boat")]
    ),
]

PAGES: Final = [
    ("ann", "/account"),
    ("ann", "/account/tokens"),
    ("ann", "/account/sessions"),
    ("ann", "/organizations"),
    ("dan", "/organizations"),
    ("ann", "/organizations/crew"),
    ("bob", "/organizations/crew"),
    ("ann", "/organizations/crew/teams"),
    ("bob", "/organizations/crew/teams"),
    ("ann", "/organizations/crew/teams/deck"),
    ("bob", "/organizations/crew/teams/deck"),
    ("ann", "/organizations/crew/invitations"),
    ("ann", "/organizations/crew/robots"),
    ("ann", "/organizations/crew/robots/tug"),
    ("ann", "/organizations/crew/teams/deck/delete"),
    ("ann", "/organizations/crew/robots/tug/delete"),
    ("ann", "/organizations/crew/settings"),
    ("ann", "/organizations/crew/delete"),
    ("ann", "/repositories/new"),
    ("ann", "/r/ann/app/-/settings"),
    ("ann", "/r/ann/app/-/delete"),
    ("root", "/administration"),
    ("root", "/administration/people?q=an"),
    ("root", "/administration/namespaces"),
    ("root", "/administration/jobs"),
    ("root", "/administration/settings"),
]

DONE: Final[list[tuple[str, str, Form, str]]] = [
    ("ann", "/account", {"full_name": "Ann", "website": "https://ann.example"}, "/account?notice=saved"),
    ("ann", "/organizations", {"name": "fleet"}, "/organizations/fleet?notice=created"),
    ("ann", "/organizations/crew/members", {"person": "cat"}, "/organizations/crew?notice=saved"),
    (
        "ann",
        "/organizations/crew/teams",
        {"team": "galley"},
        "/organizations/crew/teams/galley?notice=created",
    ),
    (
        "ann",
        "/organizations/crew/teams/deck",
        {"about": "Above", "role": "write"},
        "/organizations/crew/teams/deck?notice=saved",
    ),
    (
        "ann",
        "/organizations/crew/teams/deck/members",
        {"person": "ann"},
        "/organizations/crew/teams/deck?notice=saved",
    ),
    (
        "ann",
        "/organizations/crew/teams/deck/roles",
        {"repository": "crew/boat", "role": "admin"},
        "/organizations/crew/teams/deck?notice=saved",
    ),
    (
        "ann",
        "/organizations/crew/robots",
        {"robot": "crane"},
        "/organizations/crew/robots/crane?notice=created",
    ),
    (
        "ann",
        "/organizations/crew/settings",
        {"about": "All hands"},
        "/organizations/crew/settings?notice=saved",
    ),
    ("ann", "/repositories/new", {"namespace": "crew", "name": "oar"}, "/r/crew/oar?notice=created"),
    (
        "ann",
        "/r/ann/app/-/settings",
        {"summary": "Says hello", "category": "databases", "deprecation": "Use sail"},
        "/r/ann/app/-/settings?notice=saved",
    ),
    ("ann", "/r/ann/app/-/visibility", {"visibility": "public"}, "/r/ann/app/-/settings?notice=saved"),
    ("ann", "/r/ann/chest/-/archive", {"archived": "yes"}, "/r/ann/chest/-/settings?notice=saved"),
    ("ann", "/r/ann/app/-/roles", {"person": "bob", "role": "read"}, "/r/ann/app/-/settings?notice=saved"),
    ("ann", "/r/ann/sail/-/rename", {"new_name": "ann/jib"}, "/r/ann/jib/-/settings?notice=renamed"),
    (
        "root",
        "/administration/people",
        {"name": "newcomer", "password": NEW_PASSWORD},
        "/administration/people?notice=created",
    ),
    ("root", "/administration/people/dan", {"disabled": "no"}, "/administration/people?notice=saved"),
    ("root", "/administration/people/dan", {"admin": "no"}, "/administration/people?notice=saved"),
]

# Who sends what, the field that the words stand beside ("" for the whole form), and some of them.
REFUSED: Final[list[tuple[str, str, Form, str, str]]] = [
    ("ann", "/account", {"full_name": "Ann", "website": "javascript:x"}, "website", "begins with http"),
    ("ann", "/account", {"about": "Typed", "version": "9999"}, "", "changed meanwhile"),
    (
        "ann",
        "/account/password",
        {"current": "Wr0ng-one", "password": "p" * 12, "again": "p" * 12},
        "current",
        "not",
    ),
    (
        "ann",
        "/account/password",
        {"current": "x", "password": "Th1s-one", "again": "Th2t-one"},
        "again",
        "not the same",
    ),
    (
        "ann",
        "/account/password",
        {"current": password_of("ann"), "password": "s", "again": "s"},
        "password",
        "at least",
    ),
    ("ann", "/account/tokens", {"name": "", "permission": "read", "days": "30"}, "name", "what the token"),
    ("ann", "/account/tokens", {"name": "ci", "permission": "read", "days": "1e9"}, "days", "choose"),
    (
        "ann",
        "/account/tokens",
        {"name": "ci", "permission": "write", "days": "", "repositories": "ann/none"},
        "repositories",
        "ann/none",
    ),
    ("ann", "/organizations", {"name": "Crew!", "full_name": "Typed"}, "name", "kept back"),
    ("ann", "/organizations", {"name": "bob", "about": "Typed"}, "name", "taken"),
    ("ann", "/organizations/crew/members", {"person": "nobody"}, "person", "no account"),
    ("ann", "/organizations/crew/teams", {"team": "deck", "about": "Typed"}, "team", "taken"),
    ("ann", "/organizations/crew/teams", {"team": "No!", "about": "Typed"}, "team", "letters"),
    ("ann", "/organizations/crew/teams/deck", {"about": "Typed", "version": "9999"}, "", "changed meanwhile"),
    ("ann", "/organizations/crew/teams/deck/members", {"person": "dan"}, "", "no member"),
    ("ann", "/organizations/crew/teams/deck/members", {"person": "nobody"}, "person", "no account"),
    (
        "ann",
        "/organizations/crew/teams/deck/roles",
        {"repository": "crew/none", "role": "read"},
        "repository",
        "no repository",
    ),
    ("ann", "/organizations/crew/invitations", {"note": "n" * 300}, "note", "at most"),
    ("ann", "/organizations/crew/robots", {"robot": "tug", "about": "Typed"}, "robot", "taken"),
    ("ann", "/organizations/crew/robots/tug", {"name": "", "permission": "read"}, "name", "what the token"),
    (
        "ann",
        "/organizations/crew/settings",
        {"website": "x", "about": "Typed"},
        "website",
        "begins with http",
    ),
    ("ann", "/organizations/crew/settings", {"about": "Typed", "version": "9999"}, "", "changed meanwhile"),
    ("ann", "/organizations/crew/delete", {"confirm": "crews"}, "confirm", "not its name"),
    ("ann", "/organizations/crew/delete", {"confirm": "crew"}, "", "still has repositories"),
    ("ann", "/repositories/new", {"namespace": "ann", "name": "app", "summary": "Typed"}, "name", "taken"),
    (
        "ann",
        "/repositories/new",
        {"namespace": "ann", "name": "No!", "summary": "Typed"},
        "name",
        "lower-case",
    ),
    (
        "ann",
        "/r/ann/app/-/settings",
        {"summary": "Typed", "category": "no"},
        "categories",
        "no such category",
    ),
    ("ann", "/r/ann/app/-/settings", {"summary": "Typed", "version": "9999"}, "", "changed meanwhile"),
    ("ann", "/r/ann/app/-/roles", {"person": "nobody", "role": "read"}, "person", "no account"),
    ("ann", "/r/ann/app/-/rename", {"new_name": "ann/chest"}, "new_name", "taken"),
    ("ann", "/r/ann/app/-/delete", {"confirm": "app"}, "confirm", "not its name"),
    ("root", "/administration/people", {"name": "bob", "password": NEW_PASSWORD}, "name", "taken"),
    ("root", "/administration/people", {"name": "someone", "password": "s"}, "password", "at least"),
    ("root", "/administration/people/root", {"admin": "no"}, "", "one administrator"),
    ("root", "/administration/people/root", {"disabled": "yes"}, "", "one administrator"),
]

# Of what is typed into these, nothing comes back.
SECRET: Final = frozenset({"current", "password", "again"})
# Nothing of these is text in a field.
CHOSEN: Final = frozenset({"version", "permission", "days", "role", "namespace", "confirm", "category"})


class Crew:
    """The server that the tests of this module share, and whoever is signed in to it."""

    def __init__(self, live: Live) -> None:
        self.live = live
        self._browsers: dict[str, Browser] = {}

    async def browser(self, name: str) -> Browser:
        """The browser of somebody, the same for all tests."""
        if name not in self._browsers:
            self._browsers[name] = await self.enter(name)
        return self._browsers[name]

    async def enter(self, name: str) -> Browser:
        """Another browser of somebody."""
        browser = Browser(self.live)
        (await browser.sign_in(name, password_of(name))).expect(303)
        return browser

    async def do(self, who: str, path: str, **form: str) -> str:
        """Send a form that does something; return where it leads."""
        answer = await (await self.browser(who)).send_ours(path, form)
        return answer.expect(303).headers["Location"]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def crew(migrated: bytes) -> AsyncIterator[Crew]:
    with tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as text:
        data = Path(text)
        (data / "longshore.db").write_bytes(migrated)
        (data / "longshore.db").chmod(0o600)
        KeyDirectory(data / "keys").ensure("ES256")
        settings = {"data": data, "shutdown_timeout": 0, "sweep_interval": 86400, **CHEAP_PASSWORDS}
        async with serve(Settings.model_validate(settings)) as live:
            crew = Crew(live)
            for name in PEOPLE:
                live.add_account(name, is_admin=name == "root")
            for path, form in MADE:
                await crew.do("ann", path, **form)
            yield crew


@pytest.mark.parametrize(("who", "path"), PAGES)
async def test_pages_are_sound(crew: Crew, who: str, path: str) -> None:
    page = await (await crew.browser(who)).see(path)
    assert (page.status, page.faults) == (200, [])
    assert page.headings.count("h1") == 1
    assert all(after - before <= 1 for before, after in page.levels), page.headings
    assert len(page.ids) == len(set(page.ids))
    assert {each for each in page.fields if each not in page.labelled} == set()


@pytest.mark.parametrize(("who", "path", "form", "to"), DONE)
async def test_done(crew: Crew, who: str, path: str, form: Form, to: str) -> None:
    assert await crew.do(who, path, **form) == to
    page = await (await crew.browser(who)).see(to)
    assert (page.status, page.faults) == (200, [])
    assert "notice-good" in page.text


@pytest.mark.parametrize(("who", "path", "form", "field", "words"), REFUSED)
async def test_refused(crew: Crew, who: str, path: str, form: Form, field: str, words: str) -> None:
    answer = await (await crew.browser(who)).send_ours(path, form)
    text = answer.expect(422).body.decode()
    assert 'role="alert"' in text or field == "confirm"
    beside = rf'id="{field}-error">([^<]*)' if field else r'role="alert">([^<]*)'
    found = re.search(beside, text)
    assert found, "nothing is said"
    assert words.lower() in found[1].lower()
    for name, typed in form.items():
        if name in SECRET:
            assert typed in ("s", "x") or escape(typed) not in text, name
        elif name not in CHOSEN:
            assert f'value="{escape(typed)}"' in text or f">\n{escape(typed)}</textarea>" in text, name


@pytest.mark.parametrize("csrf", ["", "guessed"])
async def test_forms_take_the_proof_of_a_page(crew: Crew, csrf: str) -> None:
    for who, path, form in {(who, path): (who, path, form) for who, path, form, _ in DONE}.values():
        answer = await (await crew.browser(who)).send(path, {**form, "csrf": csrf})
        assert answer.status == 403, path


@pytest.mark.parametrize("path", ["/administration", "/administration/people", "/administration/settings"])
async def test_administration_is_for_administrators(crew: Crew, path: str) -> None:
    assert (await (await crew.browser("ann")).see(path)).status == 403


async def test_another_password(crew: Crew) -> None:
    here, there = await crew.enter("eve"), await crew.enter("eve")
    form = {"current": password_of("eve"), "password": NEW_PASSWORD, "again": NEW_PASSWORD}
    answer = await here.send_ours("/account/password", form)
    assert answer.expect(303).headers["Location"] == "/account?notice=password"
    assert (await here.see("/account")).status == 200
    assert (await there.see("/account")).status == 303
    assert (await Browser(crew.live).sign_in("eve", password_of("eve"))).status == 401
    assert (await Browser(crew.live).sign_in("eve", NEW_PASSWORD)).status == 303


async def test_sessions_end(crew: Crew) -> None:
    here, there, elsewhere = [await crew.enter("fay") for _ in range(3)]
    paths = re.findall(r'action="(/account/sessions/\d+/revoke)"', await here.open("/account/sessions"))
    assert len(paths) == 2
    (await here.send_ours(paths[0], {})).expect(303)
    assert sorted([(await each.see("/account")).status for each in (there, elsewhere)]) == [200, 303]
    (await here.send_ours("/account/sessions/revoke-others", {})).expect(303)
    assert [(await each.see("/account")).status for each in (here, there, elsewhere)] == [200, 303, 303]


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/account/tokens", "/account/tokens"),
        ("/organizations/crew/robots/tug", "/organizations/crew/robots/tug"),
    ],
)
async def test_a_token_is_shown_once(crew: Crew, path: str, base: str) -> None:
    ann = await crew.browser("ann")
    form = {"name": "for the build", "permission": "write", "days": "30", "repositories": ""}
    text = (await ann.send_ours(path, form)).expect(200).body.decode()
    assert re.search(r"lsp_[\w-]{43}", text)
    text = await ann.open(path)
    assert "for the build" in text
    assert "lsp_" not in text
    revoke = re.search(rf'action="({base}/\d+/revoke)"', text)
    assert revoke
    assert (await crew.do("ann", revoke[1])).endswith("?notice=revoked")
    assert "for the build" not in await ann.open(path)


async def _invitation(crew: Crew, who: str, path: str, **form: str) -> str:
    """Make an invitation with a form and return the path of its link, which is shown this once."""
    browser = await crew.browser(who)
    text = (await browser.send_ours(path, form)).expect(200).body.decode()
    found = re.search(rf"http://{crew.live.host}(/invitations/[\w-]+)", text)
    assert found
    shown = "/administration/people" if path.startswith("/administration") else path
    assert found[1] not in await browser.open(shown)
    return found[1]


async def test_an_invitation_makes_an_account(crew: Crew) -> None:
    path = await _invitation(crew, "ann", "/organizations/crew/invitations", team="deck", note="For Gil")
    gil = Browser(crew.live)
    form = {"csrf": await gil.csrf(path), "invitation": path.rpartition("/")[2], "name": "bob"}
    form |= {"password": NEW_PASSWORD, "again": NEW_PASSWORD}
    text = (await gil.send("/sign-up", form)).expect(422).body.decode()
    assert 'id="name-error">The name is taken' in text
    assert NEW_PASSWORD not in text
    text = (await gil.send("/sign-up", {**form, "name": "gil", "again": "?"})).expect(422).body.decode()
    assert 'id="again-error"' in text
    assert 'value="gil"' in text
    (await gil.send("/sign-up", {**form, "name": "gil"})).expect(303)
    assert SESSION in gil.cookies
    assert "gil" in (await gil.see("/organizations/crew/teams/deck")).words
    assert (await gil.see(path)).status == 404


async def test_an_invitation_is_accepted(crew: Crew) -> None:
    path = await _invitation(crew, "ann", "/organizations/crew/invitations", owner="yes")
    assert "as an owner" in (await (await crew.browser("dan")).see(path)).words
    assert await crew.do("dan", path) == "/organizations/crew?notice=joined"
    assert (await (await crew.browser("dan")).see("/organizations/crew/settings")).status == 200
    assert await crew.do("dan", "/organizations/crew/members/dan/remove") == "/organizations?notice=left"


async def test_an_invitation_of_the_registry(crew: Crew) -> None:
    path = await _invitation(crew, "root", "/administration/invitations", note="For Hal")
    assert (await Browser(crew.live).see(path)).status == 200
    # It is for who has no account.
    assert (await (await crew.browser("bob")).send_ours(path, {})).status == 409


async def test_an_invitation_is_withdrawn(crew: Crew) -> None:
    path = await _invitation(crew, "ann", "/organizations/crew/invitations", note="For nobody")
    text = await (await crew.browser("ann")).open("/organizations/crew/invitations")
    [last, *_] = re.findall(r'action="(/organizations/crew/invitations/\d+/withdraw)"', text)
    await crew.do("ann", last)
    assert (await Browser(crew.live).see(path)).status == 404


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("/organizations/lonely/members", {"person": "bob", "owner": "no"}),
        ("/organizations/lonely/members/bob/remove", {}),
    ],
)
async def test_the_last_owner_stays(crew: Crew, path: str, form: Form) -> None:
    bob = await crew.browser("bob")
    await bob.send_ours("/organizations", {"name": "lonely"})
    text = (await bob.send_ours(path, form)).expect(422).body.decode()
    assert "one owner" in text
    assert (await bob.see("/organizations/lonely/settings")).status == 200


@pytest.mark.parametrize(
    ("make", "form", "path", "name", "gone"),
    [
        (
            "/organizations",
            {"name": "wreck"},
            "/organizations/wreck/delete",
            "wreck",
            "/organizations/wreck",
        ),
        (
            "/repositories/new",
            {"namespace": "ann", "name": "wreck"},
            "/r/ann/wreck/-/delete",
            "ann/wreck",
            "/r/ann/wreck",
        ),
    ],
)
async def test_deletion_asks_for_the_name(
    crew: Crew, make: str, form: Form, path: str, name: str, gone: str
) -> None:
    ann = await crew.browser("ann")
    await crew.do("ann", make, **form)
    assert f"type {name}" in (await ann.see(path)).words
    for typed in ("", name.upper()):
        assert (await ann.send_ours(path, {"confirm": typed})).status == 422
    assert (await ann.see(gone)).status == 200
    await crew.do("ann", path, confirm=name)
    assert (await ann.see(gone)).status == 404


@pytest.mark.parametrize(
    ("make", "field", "where"),
    [("/organizations/crew/teams", "team", "teams"), ("/organizations/crew/robots", "robot", "robots")],
)
async def test_small_things_are_deleted(crew: Crew, make: str, field: str, where: str) -> None:
    ann, here = await crew.browser("ann"), f"/organizations/crew/{where}/flotsam"
    await crew.do("ann", make, **{field: "flotsam"})
    assert f'href="{here}/delete"' in await ann.open(here)
    asked = await ann.see(f"{here}/delete")
    assert "Keep it" in asked.words
    assert f'action="{here}/delete"' in asked.text
    assert (await (await crew.browser("bob")).see(f"{here}/delete")).status == 403
    to = await crew.do("ann", f"{here}/delete")
    assert to == f"/organizations/crew/{where}?notice=deleted"
    assert "flotsam" not in await (await crew.browser("ann")).open(to)


EDITED: Final[list[tuple[str, Form, Form]]] = [
    ("/account", {"about": "Hers"}, {"about": "Mine"}),
    ("/organizations/crew/teams/deck", {"about": "Hers", "role": "read"}, {"about": "Mine", "role": ""}),
    ("/organizations/crew/settings", {"about": "Hers"}, {"about": "Mine"}),
    (
        "/r/ann/app/-/settings",
        {"overview": "Hers", "category": "games"},
        {"overview": "Mine", "category": "media"},
    ),
]


@pytest.mark.parametrize(("path", "theirs", "mine"), EDITED, ids=[path for path, _, _ in EDITED])
async def test_another_edit_is_shown_and_overwritten_by_choice(
    crew: Crew, path: str, theirs: Form, mine: Form
) -> None:
    ann = await crew.browser("ann")
    version = version_in(await ann.open(path))
    await crew.do("ann", path, version=version, **theirs)
    for _ in range(2):
        text = (await ann.send_ours(path, {"version": version, **mine})).expect(422).body.decode()
        assert "Hers</pre>" in text
        assert ">\nMine</textarea>" in text
        assert version_in(text) == version, "sent again it would overwrite"
    seen = re.search(r'name="overwrite" value="(\d+)">', text)
    assert seen is not None, "checked from the start"
    await crew.do("ann", path, version=version, overwrite=seen[1], **mine)
    assert "Mine</textarea>" in await ann.open(path)
    again = await ann.send_ours(path, {"version": version, "overwrite": seen[1], **theirs})
    assert again.status == 422, "it replaces what was seen and nothing newer"


def version_in(text: str) -> str:
    """The version that a form says it was made from."""
    found = re.search(r'name="version" value="(\d+)"', text)
    assert found is not None
    return found[1]


async def test_guesses_of_a_password_are_slowed_down(crew: Crew) -> None:
    crew.live.add_account("gus")
    gus = await crew.enter("gus")
    guess = {"current": "Wr0ng-one", "password": NEW_PASSWORD, "again": NEW_PASSWORD}
    # Some are free; each of the others would wait twice as long as the one before.
    answers = [await gus.send_ours("/account/password", guess) for _ in range(15)]
    texts = [each.expect(422).body.decode() for each in answers]
    assert "not your password" in texts[0]
    assert any("too many" in each.lower() for each in texts)
