"""The commands: what they do, and what they say where they cannot."""

import contextlib
import os
import sqlite3
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from auth.keys import KeyDirectory
from auth.policy import Role
from registry.cli import main
from registry.config import MASK, Settings, is_secret
from registry.installation import passwords_of
from registry.names import RepositoryName
from storage.digest import Digest
from storage.metadata import accounts, blobs, repositories
from tests.e2e.clients import ROOT
from tests.registry.commands import Stored, done, isolate, refused, rows_of, run
from tests.registry.served import PROGRAM, environment, longshore

PASSWORD = "wonderland rabbit hole"
NOW = datetime.now(UTC)

# Each command with arguments that would do where nothing else is wrong.
COMMANDS: dict[str, tuple[str, ...]] = {
    "serve": ("--port", "0"),
    "user add": ("bob",),
    "user list": (),
    "user passwd": ("alice",),
    "user disable": ("alice",),
    "user enable": ("alice",),
    "user invite": ("--days", "3"),
    "org create": ("crew",),
    "org list": (),
    "org show": ("crew",),
    "org delete": ("crew", "--yes"),
    "org member add": ("crew", "alice"),
    "org member remove": ("crew", "alice"),
    "team create": ("crew", "readers"),
    "team list": ("crew",),
    "team delete": ("crew", "readers"),
    "team member add": ("crew", "readers", "alice"),
    "team member remove": ("crew", "readers", "alice"),
    "team grant": ("read", "crew", "readers"),
    "robot create": ("crew+ci",),
    "robot list": ("crew",),
    "robot disable": ("crew+ci",),
    "robot enable": ("crew+ci",),
    "robot delete": ("crew+ci",),
    "token create": ("alice", "laptop"),
    "token list": ("alice",),
    "token revoke": ("alice", "1"),
    "grant": ("read", "alice/app", "alice"),
    "repo list": (),
    "repo show": ("alice/app",),
    "repo edit": ("alice/app", "--summary", "what it is"),
    "repo rename": ("alice/app", "alice/renamed"),
    "repo tags": ("alice/app",),
    "repo delete-tag": ("alice/app", "v1", "--yes"),
    "repo delete": ("alice/app", "--yes"),
    "repo visibility": ("alice/app", "public"),
    "key rotate": (),
    "gc": ("--dry-run",),
    "backup": ("copies",),
    "restore": ("copies",),
    "export": ("alice/app", "image.tar"),
    "import": (".", "alice/app"),
    "move": ("--to-storage", "elsewhere"),
    "check": ("--quick",),
    "doctor": (),
    "config": (),
}
ENDING = [name for name in COMMANDS if name != "serve"]
# A backup makes a place of its own as well, and a restore looks at it before anything else.
USING_DATA = [name for name in ENDING if name not in ("config", "doctor", "backup", "restore")]
USING_DATABASE = [*(name for name in USING_DATA if name != "key rotate"), "backup"]


def words_of(name: str) -> list[str]:
    return [*name.split(), *COMMANDS[name]]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data directory: where commands look without being told."""
    return tmp_path / "data"


def knows(data: Path, name: str, password: str) -> bool:
    stored = Stored(data)
    with stored as db:
        account = accounts.find(db, name)
        assert account is not None
        return bool(passwords_of(stored.settings).verify(password, account.password_hash))


@pytest.fixture
def alice(data: Path) -> str:
    """An account with the repository alice/app, of two blobs."""
    done("user", "add", "alice", stdin=PASSWORD)
    with Stored(data) as db:
        repository = repositories.ensure(db, "alice/app", public=False, make_namespace=False, now=NOW)
        for content, size in ((b"one", 1000), (b"two", 2072)):
            digest = Digest.of(content)
            blobs.add(db, blobs.StoredBlob(digest, size, "somewhere"), now=NOW)
            blobs.link(db, repository, digest, now=NOW)
    return "alice"


# -- help ------------------------------------------------------------------------------------------------


def leaves(command: click.Command, *path: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            each = command.get_command(context, name)
            assert each is not None
            yield from leaves(each, *path, name)
    else:
        yield " ".join(path), command


def test_the_table_of_commands_is_complete() -> None:
    assert {name for name, _ in leaves(main)} == set(COMMANDS)


@pytest.mark.parametrize(
    "words", [(), ("user",), ("repo",), ("key",), *[tuple(name.split()) for name in COMMANDS]]
)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_everywhere(words: tuple[str, ...], flag: str, tmp_path: Path) -> None:
    output = done(*words, flag, port="not a port")
    assert output.startswith("Usage: ")
    assert "-h, --help" in output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "command"), list(leaves(main)), ids=[name for name, _ in leaves(main)])
def test_every_command_says_what_it_does_and_takes_data_and_config(name: str, command: click.Command) -> None:
    assert command.help
    flags = {flag for option in command.params for flag in option.opts}
    assert {"--data", "--config"} <= flags
    assert all(option.help for option in command.params if isinstance(option, click.Option)), name


def test_version_is_the_package_s() -> None:
    assert done("--version").strip().endswith(version("longshore"))


@pytest.mark.parametrize(
    "words",
    [
        ("nothing",),
        ("user", "nothing"),
        ("user", "add"),
        ("grant", "owner", "a", "b"),
        ("serve", "--nothing"),
    ],
)
def test_what_is_no_command_is_told_with_usage(words: tuple[str, ...], tmp_path: Path) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr
    assert not list(tmp_path.iterdir())


# -- where settings come from ----------------------------------------------------------------------------


def source_of_data(tmp_path: Path, source: str) -> tuple[list[str], dict[str, str]]:
    """Return flags and settings that say where the data are, each in another way."""
    where, file = str(tmp_path / "elsewhere"), tmp_path / "longshore.toml"
    file.write_text(f"data = '{where}'\n")
    match source:
        case "--data":
            return ["--data", where], {"data": "overruled"}
        case "--config":
            return ["--config", str(file)], {"config": "overruled.toml"}
        case "LONGSHORE_CONFIG":
            return [], {"config": str(file)}
        case _:
            return [], {"data": where}


@pytest.mark.parametrize("source", ["--data", "--config", "LONGSHORE_CONFIG", "LONGSHORE_DATA"])
@pytest.mark.parametrize("name", USING_DATA)
def test_every_command_uses_the_data_that_it_is_told(tmp_path: Path, name: str, source: str) -> None:
    flags, settings = source_of_data(tmp_path, source)
    run(*words_of(name), *flags, stdin=PASSWORD, **settings)
    assert {path.name for path in tmp_path.iterdir()} - {"longshore.toml"} == {"elsewhere"}
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o700


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_refuses_wrong_settings(tmp_path: Path, name: str) -> None:
    file = tmp_path / "longshore.toml"
    file.write_text("workers = 0\nsecure = true\n")
    message = refused(
        *words_of(name), "--config", file, stdin=PASSWORD, page_limit="0", admin_password="short", hots="a"
    )
    assert (
        "page_limit = '0' (LONGSHORE_PAGE_LIMIT in the environment) must be a whole number from 1 to 10000"
        in message
    )
    assert f"workers = 0 (workers in {file}) must be a whole number from 1 to 256" in message
    assert f"secure in {file} is not a setting" in message
    assert "LONGSHORE_HOTS in the environment is not a setting; did you mean LONGSHORE_HOST?" in message
    assert f"admin_password = {MASK} (LONGSHORE_ADMIN_PASSWORD in the environment) must be" in message
    assert "short" not in message
    assert [path.name for path in tmp_path.iterdir()] == ["longshore.toml"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--port", "70000"), "port = '70000' (--port) must be a whole number from 0 to 65535"),
        (("--host", "a:b"), "host = 'a:b' (--host) must be an IP address or a host name, without a port"),
        (("--workers", "none"), "workers = 'none' (--workers) must be a whole number from 1 to 256"),
        (("--data", ""), "data = '' (--data) must be a path, with ~ written out"),
        (("--config", "missing.toml"), "missing.toml cannot be read: no such file or directory"),
        (("--config", "."), ". cannot be read: is a directory"),
    ],
)
def test_serve_refuses_wrong_flags(tmp_path: Path, flags: tuple[str, ...], message: str) -> None:
    assert message in refused("serve", "--port", "0", *flags)
    assert not list(tmp_path.iterdir())


def test_serve_refuses_to_be_open_to_everybody(tmp_path: Path) -> None:
    message = refused("serve", "--port", "0", "--host", "0.0.0.0", auth="off")
    assert "auth = 'off' (LONGSHORE_AUTH in the environment)" in message
    assert "host = '0.0.0.0' (--host)" in message
    assert "listen on a loopback address such as 127.0.0.1, turn auth on" in message
    assert not list(tmp_path.iterdir())


# -- config ----------------------------------------------------------------------------------------------


def test_config_shows_every_setting_with_its_source(tmp_path: Path) -> None:
    file = tmp_path / "longshore.toml"
    file.write_text("port = 6000\nservice = 'hub'\n")
    output = done("config", "--config", file, "--data", "elsewhere", port="7000", token_lifetime="600")
    header, *rows = rows_of(output)
    assert header == ["setting", "value", "source"]
    assert [row[0] for row in rows] == list(Settings.model_fields)
    shown = {name: (value, source) for name, value, source in rows}
    assert shown["port"] == ("7000", "LONGSHORE_PORT in the environment")
    assert shown["service"] == ("hub", f"service in {file}")
    assert shown["data"] == ("elsewhere", "--data")
    assert shown["token_lifetime"] == ("10m", "LONGSHORE_TOKEN_LIFETIME in the environment")
    assert shown["host"] == ("127.0.0.1", "default")
    assert shown["tls_key"] == ("not set", "default")
    assert [path.name for path in tmp_path.iterdir()] == ["longshore.toml"]


def test_config_masks_secrets() -> None:
    secrets = {
        name: f"hidden-{number}-value" for number, name in enumerate(Settings.model_fields) if is_secret(name)
    }
    assert set(secrets) == {"admin_password", "database", "keys_secret", "metrics_token"}
    secrets |= {"database": "postgresql://hub:hidden@host/hub", "keys_secret": "hidden" * 6}
    output = done("config", **secrets)
    shown = {row[0]: row[1] for row in rows_of(output)}
    assert {shown[name] for name in secrets} == {MASK}
    assert "hidden" not in output


def test_config_cuts_nothing_off_in_a_pipe(tmp_path: Path) -> None:
    long = str(tmp_path / "/".join(["directory"] * 60))
    assert long in done("config", "--data", long)


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "data\u00e9", "a  b"])
def test_config_shows_odd_values_as_they_are(name: str) -> None:
    assert name in done("config", "--data", name)


# -- accounts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stdin", "flags"),
    [
        (PASSWORD, ()),
        (PASSWORD, ("--password-stdin",)),
        (f"{PASSWORD}\n", ("--password-stdin",)),
        (f"{PASSWORD}\r\n", ("--password-stdin",)),
        (f"{PASSWORD}\nanother line\n", ("--password-stdin",)),
    ],
)
def test_user_add(data: Path, stdin: str, flags: tuple[str, ...]) -> None:
    assert done("user", "add", "alice", *flags, stdin=stdin) == "added alice\n"
    assert knows(data, "alice", PASSWORD)
    with Stored(data) as db:
        account = accounts.find(db, "alice")
        assert account is not None
        assert not account.is_admin
        assert repositories.rights(db, "alice/app", account.id).role == repositories.OWNER_ROLE


def test_user_add_keeps_blanks_of_a_password(data: Path) -> None:
    done("user", "add", "alice", stdin=f"  {PASSWORD} \n")
    assert knows(data, "alice", f"  {PASSWORD} ")
    assert not knows(data, "alice", PASSWORD)


def test_user_list(data: Path) -> None:
    done("user", "add", "zoe", stdin=PASSWORD)
    done("user", "add", "alice", "--admin", stdin=PASSWORD)
    done("user", "disable", "zoe")
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    header, *rows = rows_of(done("user", "list"))
    assert header == ["name", "administrator", "state", "since"]
    assert [row[:3] for row in rows] == [["alice", "yes", "active"], ["zoe", "no", "disabled"]]
    assert all(row[3] <= today for row in rows)


def test_lists_of_nothing() -> None:
    assert rows_of(done("user", "list")) == [["name", "administrator", "state", "since"]]
    assert rows_of(done("repo", "list")) == [["name", "visibility", "tags", "manifests", "size"]]


@pytest.mark.parametrize("password", ["", "\n", "short", "aaaaaaaaaaaa", "carolcarol", "x" * 1025])
@pytest.mark.parametrize("command", ["add", "passwd"])
def test_weak_passwords_are_refused(data: Path, command: str, password: str) -> None:
    if command == "passwd":
        done("user", "add", "carolcarol", stdin=PASSWORD)
    message = refused("user", command, "carolcarol", "--password-stdin", stdin=password)
    assert message.startswith("The password ")
    assert message.endswith(".")
    with Stored(data) as db:
        assert (accounts.find(db, "carolcarol") is None) == (command == "add")
    assert command == "add" or knows(data, "carolcarol", PASSWORD)


@pytest.mark.parametrize(
    "name", ["a", "A1", "a b", "-ab", "ab-", "a..b", "a/b", "ä1", "a" * 65, "", "a\n", "_ab", "a___b", "a:b"]
)
def test_user_add_refuses_names_that_are_none(name: str, tmp_path: Path) -> None:
    message = refused("user", "add", "--", name, stdin=PASSWORD)
    assert message.startswith("a name has 2 to 64 lower-case letters and digits")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["ab", "a1", "0a", "a.b", "a_b", "a__b", "a--b", "a" * 64])
def test_user_add_takes_names(name: str) -> None:
    assert done("user", "add", name, stdin=PASSWORD) == f"added {name}\n"


@pytest.mark.parametrize("name", ["alice", "library"])
def test_user_add_refuses_a_name_that_is_taken(data: Path, alice: str, name: str) -> None:
    message = refused("user", "add", name, "--admin", stdin="some other password")
    assert message == f"an account or namespace {name} is there already"
    assert knows(data, alice, PASSWORD)
    assert [row[1] for row in rows_of(done("user", "list"))[1:]] == ["no"]


def test_user_passwd(data: Path, alice: str) -> None:
    with Stored(data) as db:
        account = accounts.find(db, alice)
        assert account is not None
        later = NOW.replace(year=NOW.year + 1)
        accounts.add_refresh_token(db, account.id, "hash", "docker", now=NOW, expires_at=later)
    assert done("user", "passwd", alice, "--password-stdin", stdin="another password") == (
        "changed the password of alice\n"
    )
    assert knows(data, alice, "another password")
    assert not knows(data, alice, PASSWORD)
    with Stored(data) as db:
        assert accounts.find_by_refresh_token(db, "hash", now=NOW) is None


def test_user_disable_and_enable(data: Path, alice: str) -> None:
    for command, disabled in (("disable", True), ("disable", True), ("enable", False), ("enable", False)):
        assert done("user", command, alice) == f"{command}d alice\n"
        with Stored(data) as db:
            account = accounts.find(db, alice)
            assert account is not None
            assert account.disabled is disabled
    assert knows(data, alice, PASSWORD)


@pytest.mark.parametrize("command", ["passwd", "disable", "enable"])
@pytest.mark.parametrize("name", ["nobody", "Alice", "", "alice/app"])
def test_unknown_account(alice: str, command: str, name: str) -> None:
    assert refused("user", command, "--", name, stdin=PASSWORD) == f"there is no account {name}".strip()


# -- roles -----------------------------------------------------------------------------------------------


def role_of(data: Path, name: str, repository: str) -> int | None:
    with Stored(data) as db:
        account = accounts.find(db, name)
        assert account is not None
        return repositories.rights(db, repository, account.id).role


@pytest.mark.parametrize("target", ["alice", "alice/app"])
def test_grant(data: Path, alice: str, target: str) -> None:
    done("user", "add", "bob", stdin=PASSWORD)
    for role in ("read", "write", "admin", "read"):
        assert done("grant", role, target, "bob") == f"bob has the role {role} on {target}\n"
        assert role_of(data, "bob", "alice/app") == Role[role.upper()]
    assert role_of(data, "bob", "alice/other") == (Role.READ if target == alice else None)
    for _ in range(2):
        assert done("grant", "none", target, "bob") == f"bob has no role on {target}\n"
        assert role_of(data, "bob", "alice/app") is None


def test_grant_takes_the_roles_that_there_are(alice: str) -> None:
    assert [role.name.lower() for role in Role] == ["read", "write", "admin"]
    result = run("grant", "owner", "alice/app", alice)
    assert result.exit_code == 2
    assert "read" in result.stderr


@pytest.mark.parametrize(
    ("target", "name", "message"),
    [
        ("alice/app", "nobody", "there is no account nobody"),
        ("nothing", "nobody", "there is no account nobody"),
        ("nothing", "alice", "there is no namespace nothing"),
        ("app", "alice", "there is no namespace app"),
        ("alice/nothing", "alice", "there is no repository alice/nothing"),
        ("nothing/app", "alice", "there is no repository nothing/app"),
        ("Alice/App", "alice", "there is no repository Alice/App"),
        ("", "alice", "there is no namespace"),
    ],
)
@pytest.mark.parametrize("role", ["read", "none"])
def test_grant_says_what_is_missing(alice: str, role: str, target: str, name: str, message: str) -> None:
    assert refused("grant", role, "--", target, name) == message


# -- repositories ----------------------------------------------------------------------------------------


def test_repo_list_and_show(data: Path, alice: str) -> None:
    with Stored(data) as db:
        repositories.ensure(db, "library/app", public=True, make_namespace=False, now=NOW)
    assert rows_of(done("repo", "list"))[1:] == [
        ["alice/app", "private", "0", "0", "3.0 KiB"],
        ["library/app", "public", "0", "0", "0 B"],
    ]
    shown = [
        ["name", "library/app"],
        ["visibility", "public"],
        ["kind", "image"],
        ["stars", "0"],
        ["pulls", "0"],
        ["tags", "0"],
        ["manifests", "0"],
        ["size", "0 B"],
    ]
    for name in ("app", "library/app"):
        assert [line.split(None, 1) for line in done("repo", "show", name).splitlines()] == shown


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (5 << 20, "5.0 MiB"),
        (3 << 30, "3.0 GiB"),
        (5 << 40, "5.0 TiB"),
        (5000 << 40, "5000.0 TiB"),
    ],
)
def test_repo_show_writes_sizes_for_people(data: Path, size: int, shown: str) -> None:
    with Stored(data) as db:
        repository = repositories.ensure(db, "library/app", public=True, make_namespace=False, now=NOW)
        digest = Digest.of(b"content")
        blobs.add(db, blobs.StoredBlob(digest, size, "somewhere"), now=NOW)
        blobs.link(db, repository, digest, now=NOW)
    assert done("repo", "show", "app").splitlines()[-1].split(None, 1) == ["size", shown]


def test_repo_visibility(data: Path, alice: str) -> None:
    for visibility in ("public", "public", "private", "private"):
        assert done("repo", "visibility", "alice/app", visibility) == f"alice/app is {visibility}\n"
        with Stored(data) as db:
            found = repositories.find(db, "alice/app")
            assert found is not None
            assert found.is_public == (visibility == "public")


def has_repository(data: Path, name: str) -> bool:
    with Stored(data) as db:
        return repositories.exists(db, name)


def test_repo_delete(data: Path, alice: str) -> None:
    assert done("repo", "delete", "alice/app", "--yes") == "deleted alice/app\n"
    assert not has_repository(data, "alice/app")
    assert refused("repo", "show", "alice/app") == "there is no repository alice/app"


@pytest.mark.parametrize(("answer", "gone"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_repo_delete_asks(data: Path, alice: str, answer: str, gone: bool) -> None:
    result = run("repo", "delete", "alice/app", stdin=answer)
    assert "Delete alice/app with 0 tags and 0 manifests?" in result.output
    assert result.exit_code == (0 if gone else 1)
    assert has_repository(data, "alice/app") != gone


@pytest.mark.parametrize("command", [("show",), ("delete",), ("delete", "--yes"), ("visibility", "public")])
@pytest.mark.parametrize("name", ["alice/nothing", "nothing"])
def test_unknown_repository(alice: str, command: tuple[str, ...], name: str) -> None:
    words = (command[0], name, *command[1:])
    assert refused("repo", *words) == f"there is no repository {name}"


@pytest.mark.parametrize("name", ["Alice/App", "a//b", "/a", "a/", "", "a b", "a" * 300])
@pytest.mark.parametrize(("command", "rest"), [("show", ()), ("delete", ()), ("visibility", ("public",))])
def test_names_of_no_repository(command: str, name: str, rest: tuple[str, ...]) -> None:
    assert refused("repo", command, "--", name, *rest).startswith("a repository name ")


def test_alias_is_the_same_repository(data: Path) -> None:
    with Stored(data) as db:
        repositories.ensure(db, RepositoryName("library/app"), public=False, make_namespace=False, now=NOW)
    assert done("repo", "visibility", "app", "public") == "library/app is public\n"
    assert done("repo", "delete", "app", "--yes") == "deleted library/app\n"


# -- keys ------------------------------------------------------------------------------------------------


def test_key_rotate(data: Path) -> None:
    kids = [done("key", "rotate").removeprefix("tokens are signed with the key ").strip() for _ in range(3)]
    assert len(set(kids)) == 3
    keys = sorted((data / "keys").iterdir())
    # The first rotation of all makes the key that it replaces.
    assert [path.name for path in keys] == [f"key-{number:06}.pem" for number in range(1, 5)]
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys} == {0o600}
    assert stat.S_IMODE((data / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_key_rotate_changes_the_algorithm(data: Path, algorithm: str) -> None:
    done("key", "rotate")
    done("key", "rotate", token_algorithm=algorithm)
    assert KeyDirectory(data / "keys").load().signing.algorithm == algorithm


def spoil(data: Path, what: str) -> None:
    key = data / "keys" / "key-000001.pem"
    match what:
        case "readable by others":
            key.chmod(0o644)
        case "no key":
            key.write_text("no key")
        case "writable directory":
            (data / "keys").chmod(0o777)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("readable by others", "other users may use this signing key (mode 0644). Run: chmod 600 "),
        ("no key", "key-000001.pem: "),
        ("writable directory", "other users may add keys here. Run: chmod 700 "),
    ],
)
def test_unusable_keys(data: Path, what: str, message: str) -> None:
    done("key", "rotate")
    spoil(data, what)
    assert message in refused("key", "rotate")


def test_serve_does_not_start_with_unusable_keys(data: Path) -> None:
    done("key", "rotate")
    spoil(data, "readable by others")
    found = longshore(*words_of("serve"), "--data", data)
    assert (found.returncode, found.stdout) == (1, "")
    assert found.stderr.startswith(f"Error: {data / 'keys' / 'key-000001.pem'}: other users may use")


# -- data that cannot be used ----------------------------------------------------------------------------


def break_data(data: Path, how: str) -> None:
    """Make the data directory one that cannot be used."""
    match how:
        case "newer":
            with Stored(data) as db:
                db.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        case "no database":
            data.mkdir()
            (data / "longshore.db").write_bytes(b"This is no database. " * 1000)
        case "cut":
            with Stored(data):
                pass
            database = data / "longshore.db"
            database.write_bytes(database.read_bytes()[: 3 * 4096])
        case "database is a directory":
            (data / "longshore.db").mkdir(parents=True)
        case "a file":
            data.touch()


BROKEN = {
    "newer": "the database is at revision 9999, which this longshore does not know",
    "no database": "longshore.db: file is not a database",
    "cut": "longshore.db: database disk image is malformed",
    "database is a directory": "longshore.db: ",
    "a file": "data: Not a directory",
}


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", USING_DATABASE)
def test_unusable_data_are_told_in_words(data: Path, name: str, how: str) -> None:
    break_data(data, how)
    assert BROKEN[how] in refused(*words_of(name), stdin=PASSWORD)


@pytest.mark.parametrize("how", ["newer", "no database"])
def test_serve_does_not_start_on_unusable_data(data: Path, how: str) -> None:
    break_data(data, how)
    found = longshore(*words_of("serve"), "--data", data)
    assert (found.returncode, found.stdout) == (1, "")
    assert BROKEN[how] in found.stderr
    assert "Traceback" not in found.stderr


def test_newer_database_says_what_to_do(data: Path) -> None:
    break_data(data, "newer")
    message = refused("user", "list")
    assert message.endswith("Start that version, or restore a backup from before it.")


@pytest.fixture
def anybody() -> Iterator[Path]:
    """A directory that every account may enter, to become nobody in."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def unprivileged() -> Iterator[None]:
    """Be an account that file permissions hold for: root is stopped by none."""
    account = os.geteuid()
    if account == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(account)


def lock_data(data: Path, how: str) -> Path:
    """Take the rights on the data directory away; return what the message must name."""
    if how == "cannot be made":
        data.parent.chmod(0o555)
        return data
    data.mkdir()
    database = data / "longshore.db"
    if how == "database not writable":
        with Stored(data):
            pass
        database.chmod(0o444)
    data.chmod(0o555 if how != "cannot be entered" else 0)
    return database


LOCKED = ["cannot be made", "cannot be entered", "directory not writable", "database not writable"]


@pytest.mark.parametrize("how", LOCKED)
# What is moved is looked at for a server that runs before anything else, what is imported for a layout.
@pytest.mark.parametrize(
    "name", [name for name in USING_DATABASE if name not in ("move", "import", "backup")]
)
def test_data_of_another_account_are_told_in_words(anybody: Path, name: str, how: str) -> None:
    run(*words_of(name), stdin=PASSWORD)  # imports whatever the command needs
    named = lock_data(anybody / "data", how)
    with unprivileged():
        message = refused(*words_of(name), "--data", anybody / "data", stdin=PASSWORD)
    assert message.startswith(f"{named}: ")
    assert "errno" not in message.lower()


# -- the terminal ----------------------------------------------------------------------------------------


def test_closed_standard_input_is_an_empty_password(data: Path) -> None:
    command = " ".join([*PROGRAM, "user", "add", "bob", "--data", str(data), "<&-"])
    found = subprocess.run(
        ["sh", "-c", command], capture_output=True, env=environment(), cwd=ROOT, timeout=30, check=False
    )
    assert found.returncode == 1
    assert found.stderr == b"Error: The password needs at least 8 characters.\n"


def test_bytes_that_are_no_text_are_no_password(data: Path) -> None:
    found = longshore("user", "add", "bob", "--data", data, stdin=b"\xff" * 12)
    assert found.returncode == 1
    assert found.stderr.startswith("Error: The password ")
    assert "Traceback" not in found.stderr


def test_a_reader_that_has_seen_enough_is_no_error(data: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as output:
        found = subprocess.run(
            [*PROGRAM, "config", "--data", str(data)],
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment(),
            cwd=ROOT,
            timeout=30,
            check=False,
        )
    assert b"Traceback" not in found.stderr
    assert b"Errno" not in found.stderr


def test_database_is_not_left_open_by_a_command(data: Path) -> None:
    done("user", "add", "alice", stdin=PASSWORD)
    with sqlite3.connect(data / "longshore.db") as db:
        assert db.execute("SELECT name FROM accounts").fetchall() == [("alice",)]
    db.close()
