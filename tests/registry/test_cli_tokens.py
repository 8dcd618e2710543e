"""The commands for access tokens."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from auth.identity import Identity
from registry.accounts import StoredAccounts
from registry.installation import database_of
from storage.metadata import access_tokens, accounts, repositories
from tests.registry.commands import Stored, done, isolate, refused, rows_of, run

PASSWORD = "wonderland rabbit hole"
NOW = datetime.now(UTC)


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The data: alice with two repositories, bob with one, and the organization crew with a robot."""
    isolate(monkeypatch, tmp_path)
    for name in ("alice", "bob"):
        done("user", "add", name, stdin=PASSWORD)
    done("org", "create", "crew")
    done("robot", "create", "crew+ci")
    with Stored(tmp_path / "data") as db:
        for name in ("alice/app", "alice/lib", "bob/secret", "crew/site"):
            repositories.ensure(db, name, public=False, make_namespace=False, now=NOW)
    return tmp_path / "data"


def stands_for(data: Path, secret: str) -> Identity | None:
    """Ask the server's own code whom a secret stands for."""

    async def find() -> Identity | None:
        metadata = database_of(Stored(data).settings).open()
        try:
            return await StoredAccounts(metadata, 60).find_access_token(secret)
        finally:
            await metadata.close()

    return asyncio.run(find())


@pytest.mark.parametrize("account", ["alice", "crew+ci"])
@pytest.mark.parametrize("permission", [None, "read", "write", "delete"])
def test_create_prints_the_secret_and_nothing_else(data: Path, account: str, permission: str | None) -> None:
    options = () if permission is None else ("--permission", permission)
    result = run("token", "create", account, "laptop", *options)
    assert result.exit_code == 0
    assert result.stderr == "shown this once; kept nowhere\n"
    found = stands_for(data, result.stdout.strip())
    assert found is not None
    assert found.limit is not None
    assert (found.name, found.limit.permission.name.lower()) == (account, permission or "read")
    assert found.limit.repositories is None


def test_create_for_some_repositories_and_days(data: Path) -> None:
    chosen = ("--repository", "alice/lib", "--repository", "alice/app")
    done("token", "create", "alice", "laptop", "--permission", "admin", *chosen, "--days", "9")
    with Stored(data) as db:
        alice = accounts.find(db, "alice")
        assert alice is not None
        [made] = access_tokens.of_account(db, alice.id)
    assert made.repositories == ("alice/app", "alice/lib")
    assert made.expires_at is not None
    assert timedelta(0) <= datetime.now(UTC) + timedelta(days=9) - made.expires_at < timedelta(minutes=5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nobody", "laptop"), "there is no account nobody"),
        (("crew", "laptop"), "there is no account crew"),
        (("crew+none", "laptop"), "there is no account crew+none"),
        (("alice", ""), "name: "),
        (("alice", "laptop", "--repository", "alice/none"), "there is no repository alice/none"),
        (("alice", "laptop", "--repository", "bob/secret"), "there is no repository bob/secret"),
        (("crew+ci", "laptop", "--repository", "alice/app"), "there is no repository alice/app"),
        (("crew+ci", "laptop", "--permission", "admin"), "a robot reads, writes and deletes"),
    ],
)
def test_what_is_not_created(words: tuple[str, ...], said: str) -> None:
    assert said in refused("token", "create", *words)


@pytest.mark.parametrize("words", [("--days", "0"), ("--days", "x"), ("--permission", "all")])
def test_options_that_cannot_be(words: tuple[str, ...]) -> None:
    assert run("token", "create", "alice", "laptop", *words).exit_code == 2


def test_list_and_revoke(data: Path) -> None:
    first = done("token", "create", "alice", "laptop", "--repository", "alice/app").strip()
    second = done("token", "create", "alice", "phone", "--permission", "write", "--days", "1").strip()
    robots = done("token", "create", "crew+ci", "site").strip()
    assert stands_for(data, second) is not None
    tomorrow, today = f"{NOW + timedelta(days=1):%Y-%m-%d}", f"{NOW:%Y-%m-%d}"
    assert rows_of(done("token", "list", "alice")) == [
        ["id", "name", "permission", "repositories", "until", "last used"],
        ["2", "phone", "write", "all", tomorrow, today],
        ["1", "laptop", "read", "alice/app", "no end", "never"],
    ]
    assert rows_of(done("token", "list", "crew+ci"))[1:] == [["3", "site", "read", "all", "no end", "never"]]
    assert refused("token", "revoke", "alice", "3") == "alice has no token 3"
    assert done("token", "revoke", "alice", "1") == "revoked 1\n"
    assert refused("token", "revoke", "alice", "1") == "alice has no token 1"
    assert done("token", "revoke", "crew+ci", "3") == "revoked 3\n"
    assert [stands_for(data, each) is None for each in (first, second, robots)] == [True, False, True]


def test_tokens_of_a_closed_account_can_be_revoked(data: Path) -> None:
    secret = done("token", "create", "alice", "laptop").strip()
    done("user", "disable", "alice")
    assert stands_for(data, secret) is None
    assert done("token", "revoke", "alice", "1") == "revoked 1\n"
    done("user", "enable", "alice")
    assert stands_for(data, secret) is None
