"""What people do on the pages, from the first click to what their clients make of it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from . import clients
from .api import Api
from .browser import Look, Visitor, Visitors
from .clients import Account
from .engine import Engine
from .images import small_image, tar
from .process import running
from .seed import Hub
from .server import Server
from .wire import Wire

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

javascript = pytest.mark.parametrize("javascript", [True, False], ids=["scripts", "no-scripts"])


@pytest.fixture(scope="module")
def engine(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine for the tests of this file."""
    with running(Engine(tmp_path_factory.mktemp("engine"), mirror=server.url)) as engine:
        yield engine


def field(page: Page, form: str, name: str) -> Locator:
    """A control of the form that posts to a path which ends so."""
    return page.locator(f"main form[method=post][action$='{form}'] [name={name}]")


def press(page: Page, name: str) -> None:
    """Press the button of that name in the page, the masthead aside."""
    page.get_by_role("main").get_by_role("button", name=name, exact=True).click()


def follow(page: Page, name: str) -> None:
    """Follow the link of that name in the page."""
    page.get_by_role("main").get_by_role("link", name=name, exact=True).click()


def from_menu(visitor: Visitor, name: str) -> None:
    """Choose from the menu of one's account."""
    masthead = visitor.page.get_by_role("banner")
    masthead.locator("summary").click()
    masthead.get_by_role("link", name=name).click()


# -- finding -------------------------------------------------------------------------------------------


def test_found_read_and_copied(hub: Hub, visitors: Visitors) -> None:
    visitor = visitors.visit()
    visitor.context.grant_permissions(["clipboard-read", "clipboard-write"])
    visitor.open("/")
    page = visitor.page
    page.keyboard.press("/")
    page.keyboard.type("pyth")
    suggestions = page.get_by_role("listbox", name="Suggestions")
    expect(suggestions.get_by_role("option").first).to_contain_text("python")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/r/library/python")
    expect(page.locator(".prose")).to_be_visible()
    page.get_by_role("link", name="Tags", exact=False).first.click()
    follow(page, "3.12")
    expect(page.get_by_role("navigation", name="Platforms")).to_contain_text("amd64")
    command = page.locator("main .command").first
    command.get_by_role("button").click()
    expect(page.get_by_role("status").get_by_text("Copied")).to_be_attached()
    words = page.evaluate("navigator.clipboard.readText()")
    assert words == command.locator("code").inner_text()
    assert words == f"docker pull {hub.server.host}/python:3.12"


def test_found_without_scripts(hub: Hub, visitors: Visitors) -> None:
    visitor = visitors.visit(Look(scripts=False))
    visitor.open("/")
    page = visitor.page
    page.get_by_role("searchbox", name="Search repositories").fill("python")
    page.keyboard.press("Enter")
    page.get_by_role("main").locator("a[href='/r/library/python']").first.click()
    expect(page.locator("main .command code").first).to_contain_text(f"{hub.server.host}/python")


# -- pushing -------------------------------------------------------------------------------------------


def test_push_seen_as_it_lands(hub: Hub, visitors: Visitors, engine: Engine, tmp_path: Path) -> None:
    visitor = visitors.visit()
    visitor.sign_in(hub.alice)
    from_menu(visitor, "New repository")
    page = visitor.page
    field(page, "/repositories/new", "name").fill("fresh")
    with page.expect_response("**/-/events"):
        press(page, "Make the repository")
    expect(page.get_by_role("heading", name="Nothing pushed yet")).to_be_visible()
    page.evaluate("window.stayed = true")

    docker = engine.client("alice")
    docker.login(hub.server.host, hub.alice)
    image = f"{hub.server.host}/alice/fresh:1.0"
    archive = tmp_path / "files.tar"
    archive.write_bytes(tar({"hello": b"hello"}))
    docker("import", archive, image)
    docker("push", image)

    pushes = page.get_by_role("region", name="Pushes")
    expect(pushes.get_by_text("Pushed just now")).to_be_visible()
    tag = pushes.get_by_role("link", name="1.0")
    expect(tag.locator("..")).to_contain_text("by alice")
    assert page.evaluate("window.stayed"), "the page was loaded again"
    tag.click()
    page.wait_for_url("**/r/alice/fresh/-/tags/1.0")
    expect(page.locator("main .command code").first).to_have_text(f"docker pull {image}")


# -- sharing -------------------------------------------------------------------------------------------


@javascript
def test_shared_with_a_team(hub: Hub, visitors: Visitors, tmp_path: Path, javascript: bool) -> None:
    organization = f"band{javascript:d}"
    repository = f"{organization}/songs"
    visitor = visitors.visit(Look(scripts=javascript))
    visitor.sign_in(hub.alice)
    found_organization(visitor, organization)
    make_private_repository(visitor, organization, "songs")
    with Wire(hub.server.host, repository, hub.alice) as wire:
        wire.push("v1", small_image(repository))
    bob = pulls_as(hub, hub.bob, tmp_path)
    bob.denied("manifest", f"{hub.server.host}/{repository}:v1")

    share_with_team(visitor, organization, repository, hub.bob)

    assert "layers" in bob("manifest", f"{hub.server.host}/{repository}:v1")
    bob("pull", f"{hub.server.host}/{repository}:v1", tmp_path / "songs.tar")
    pulls_as(hub, hub.carol, tmp_path).denied("manifest", f"{hub.server.host}/{repository}:v1")
    stranger = visitors.visit(Look(scripts=javascript), hub.carol)
    assert stranger.open(f"/r/{repository}") == 404


def found_organization(visitor: Visitor, name: str) -> None:
    from_menu(visitor, "Organizations")
    field(visitor.page, "/organizations", "name").fill(name)
    press(visitor.page, "Make the organization")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text(name)


def make_private_repository(visitor: Visitor, namespace: str, name: str) -> None:
    from_menu(visitor, "New repository")
    page = visitor.page
    field(page, "/repositories/new", "namespace").select_option(namespace)
    field(page, "/repositories/new", "name").fill(name)
    page.get_by_role("main").get_by_label("Private", exact=True).check()
    press(page, "Make the repository")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"{namespace}/{name}")


def share_with_team(visitor: Visitor, organization: str, repository: str, person: Account) -> None:
    """Make the person a member and one of a new team, which may then read the repository."""
    page = visitor.page
    from_menu(visitor, "Organizations")
    follow(page, organization)
    field(page, "/members", "person").last.fill(person.name)
    press(page, "Add")
    expect(page.get_by_role("row", name=person.name)).to_contain_text("member")
    page.get_by_role("main").get_by_role("link", name=re.compile("^Teams")).click()
    field(page, "/teams", "team").fill("singers")
    press(page, "Make the team")
    expect(page.get_by_role("heading", name="singers", exact=True)).to_be_visible()
    field(page, "/teams/singers/members", "person").fill(person.name)
    press(page, "Add to the team")
    expect(page.get_by_role("table", name="Members of the team singers")).to_contain_text(person.name)
    field(page, "/teams/singers/roles", "repository").last.fill(repository)
    field(page, "/teams/singers/roles", "role").last.select_option("read")
    press(page, "Give the role")
    expect(page.get_by_role("table", name="Roles of the team singers")).to_contain_text("read")


def pulls_as(hub: Hub, account: Account, folder: Path) -> clients.Client:
    """The client of somebody who has logged in."""
    client = clients.crane(folder / account.name)
    client.login(hub.server.host, account)
    return client


# -- access tokens -------------------------------------------------------------------------------------


@javascript
def test_token_for_docker(hub: Hub, visitors: Visitors, engine: Engine, javascript: bool) -> None:
    name = f"workshop {javascript:d}"
    visitor = visitors.visit(Look(scripts=javascript))
    visitor.sign_in(hub.bob)
    from_menu(visitor, "Access tokens")
    page = visitor.page
    field(page, "/account/tokens", "name").fill(name)
    page.get_by_role("main").get_by_label("Read and write", exact=True).check()
    press(page, "Make the token")
    made = page.get_by_role("status", name=name)
    secret = made.locator("code").first.inner_text()
    expect(made.locator("code").last).to_have_text(f"docker login -u bob {hub.server.host}")

    docker = engine.client(f"bob-{javascript:d}")
    token = Account("bob", secret)
    assert "Login Succeeded" in docker.login(hub.server.host, token)
    docker.logout(hub.server.host)
    visitor.open("/account/tokens")
    assert secret not in page.content()

    page.get_by_role("row", name=name).get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("row", name=name)).to_have_count(0)
    assert clients.DENIED.search(docker.login_refused(hub.server.host, token))


# -- deprecation ---------------------------------------------------------------------------------------


@javascript
def test_deprecated_tag_warns(hub: Hub, visitors: Visitors, tmp_path: Path, javascript: bool) -> None:
    repository, words = f"alice/aged{javascript:d}", "Use 2.0, which is kept"
    with Wire(hub.server.host, repository, hub.alice) as wire:
        wire.push("1.0", small_image(repository))
    with Api(hub.server.host, hub.alice) as api:
        api.patch(f"/repositories/{repository}", {"public": True})
    visitor = visitors.visit(Look(scripts=javascript))
    visitor.sign_in(hub.alice)
    visitor.open(f"/r/{repository}/-/tags/1.0")
    page = visitor.page
    assert words not in inspected(hub, repository, tmp_path)

    follow(page, "Manage")
    field(page, "/-/settings", "deprecation").fill(words)
    press(page, "Save")
    expect(page.get_by_role("main")).to_contain_text("This tag is deprecated")

    assert words in inspected(hub, repository, tmp_path)


def inspected(hub: Hub, repository: str, folder: Path) -> str:
    """All that a client prints which fetches the tag's manifest."""
    name = f"{hub.server.host}/{repository}:1.0"
    done = clients.oras(folder / "oras").run("manifest", "fetch", "--plain-http", name)
    assert done.returncode == 0, done.stderr
    return (done.stdout + done.stderr).decode()


# -- administration ------------------------------------------------------------------------------------


@javascript
def test_closed_account(hub: Hub, visitors: Visitors, javascript: bool) -> None:
    account = hub.server.add_user(f"dave{javascript:d}", "dangerous with a keyboard")
    dave = visitors.visit(Look(scripts=javascript))
    dave.sign_in(account)
    assert dave.open("/account") == 200
    admin = visitors.visit(Look(scripts=javascript))
    admin.sign_in(hub.admin)
    from_menu(admin, "Administration")
    page = admin.page
    follow(page, "People")
    page.get_by_role("row", name=account.name).get_by_role("button", name="Close", exact=True).click()
    expect(page.get_by_role("row", name=account.name)).to_contain_text("Closed")

    dave.open("/account")
    assert "/sign-in" in dave.page.url
    dave.page.fill("main [name=name]", account.name)
    dave.page.fill("main [name=password]", account.password)
    dave.page.click("main form:has([name=password]) button")
    expect(dave.page.get_by_role("alert")).to_be_visible()
    expect(dave.page.get_by_role("banner").locator("summary")).to_have_count(0)


def test_settings_keep_secrets(hub: Hub, visitors: Visitors) -> None:
    visitor = visitors.visit(account=hub.admin)
    visitor.open("/administration")
    follow(visitor.page, "Settings")
    password = visitor.page.get_by_role("row", name=re.compile("admin_password"))
    expect(password.locator("td").first).to_have_text(re.compile(r"^\*+$"))
    assert hub.admin.password not in visitor.page.content()
