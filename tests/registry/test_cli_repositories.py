"""Commands that change repositories and look into them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.digest import Digest
from storage.metadata import manifests, repositories, tags
from storage.metadata.manifests import References, StoredManifest
from tests.registry.commands import Stored, done, isolate, refused, rows_of, run

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
APP = "library/app"
DIGEST = Digest.of(b"content")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    isolate(monkeypatch, tmp_path)


@pytest.fixture(autouse=True)
def data(tmp_path: Path, clean_environment: None) -> Path:
    """Data with an image of two tags."""
    with Stored(tmp_path / "data") as db:
        app = repositories.ensure(db, APP, public=True, make_namespace=False, now=NOW)
        manifest = StoredManifest(DIGEST, "application/vnd.oci.image.manifest.v1+json", 7)
        manifests.put(db, app, manifest, b"content", References(), by=None, now=NOW)
        for tag, by in (("v1", "alice"), ("latest", None)):
            tags.put(db, app, tag, DIGEST, by=by, now=NOW)
    return tmp_path / "data"


def shown(name: str = APP) -> dict[str, str]:
    """What `repo show` says, by the names of its fields."""
    lines = done("repo", "show", name).splitlines()
    width = len(lines[0]) - len(lines[0].split()[1])
    return {line[:width].strip(): line[width:].strip() for line in lines}


def test_edit_and_show(tmp_path: Path) -> None:
    overview = tmp_path / "README.md"
    overview.write_text("# The app\n\u00e4\n", encoding="utf-8")
    said = ("--summary", "what it is", "--deprecate", "use another", "--overview-file", str(overview))
    chosen = ("--category", "databases", "--category", "web-servers")
    assert done("repo", "edit", "app", *said, *chosen, "--archive") == f"edited {APP}\n"
    assert shown() == {
        "name": APP,
        "visibility": "public",
        "state": "archived",
        "kind": "image",
        "summary": "what it is",
        "categories": "databases, web-servers",
        "deprecation": "use another",
        "stars": "0",
        "pulls": "0",
        "tags": "2",
        "manifests": "1",
        "size": "0 B",
    }
    assert (
        refused("repo", "edit", "app", "--deprecate", "")
        == "the repository is archived: nothing changes in it"
    )
    done("repo", "edit", "app", "--unarchive", "--deprecate", "", "--category", "none")
    left = shown()
    assert left["summary"] == "what it is"
    assert not left.keys() & {"state", "deprecation", "categories"}


def test_overview_comes_from_standard_input(data: Path) -> None:
    done("repo", "edit", "app", "--overview-file", "-", stdin="# Piped\n")
    with Stored(data) as db:
        assert db.exec_driver_sql("SELECT overview FROM repositories").scalar() == "# Piped\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "say what to change: see --help"),
        (("--summary", "x" * 201), "summary: at most 200 characters"),
        (("--summary", "a\nb"), "summary: one line of printable characters"),
        (("--overview-file", "nowhere.md"), "nowhere.md: No such file or directory"),
        (("--overview-file", "binary"), "binary: it is not text in UTF-8"),
        (
            tuple(
                word for each in ("databases", "games", "media", "security") for word in ("--category", each)
            ),
            "categories: at most 3",
        ),
    ],
)
def test_edits_that_cannot_be(tmp_path: Path, words: tuple[str, ...], message: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert refused("repo", "edit", "app", *words) == message


def test_unknown_category_is_wrong_usage() -> None:
    result = run("repo", "edit", "app", "--category", "cats")
    assert result.exit_code == 2
    assert "cats" in result.output


def test_rename() -> None:
    assert done("repo", "rename", "app", "library/new") == f"{APP} is called library/new now\n"
    assert (shown("app")["name"], shown("app")["former names"]) == ("library/new", APP)
    assert refused("repo", "delete", "app", "--yes") == f"{APP} is called library/new now"
    assert refused("repo", "rename", "new", "No Name").startswith("a repository name is made of")
    done("repo", "rename", "new", "fresh/app")
    assert shown("fresh/app")["former names"] == f"{APP}, library/new"


def test_rename_to_a_name_that_is_taken(data: Path) -> None:
    with Stored(data) as db:
        repositories.ensure(db, "library/other", public=True, make_namespace=False, now=NOW)
    assert refused("repo", "rename", "app", "other") == "the name is taken"


def test_tags() -> None:
    header, *rows = rows_of(done("repo", "tags", "app"))
    assert header[:4] == ["name", "digest", "pushed", "by"]
    assert [row[0] for row in rows] == ["v1", "latest"]
    assert rows[0][:4] == ["v1", DIGEST, "2026-01-02 03:04", "alice"]
    assert [row[0] for row in rows_of(done("repo", "tags", "app", "--filter", "LAT"))[1:]] == ["latest"]


def test_delete_tag() -> None:
    result = run("repo", "delete-tag", "app", "v1", stdin="n\n")
    assert "Other tags of the same: latest." in result.output
    assert f"Delete {APP}:v1?" in result.output
    assert result.exit_code == 1
    assert done("repo", "delete-tag", "app", "v1", "--yes") == f"deleted {APP}:v1\n"
    result = run("repo", "delete-tag", "app", "latest", stdin="y\n")
    assert "No other tag means the same." in result.output
    assert rows_of(done("repo", "tags", "app"))[1:] == []


@pytest.mark.parametrize("flags", [(), ("--yes",)])
@pytest.mark.parametrize(("name", "tag"), [("app", "v9"), ("nothing", "v1")])
def test_delete_of_an_unknown_tag(name: str, tag: str, flags: tuple[str, ...]) -> None:
    message = f"there is no tag {tag} in a repository {name}"
    assert refused("repo", "delete-tag", name, tag, *flags) == message


@pytest.mark.parametrize("words", [("edit", "--summary", "x"), ("rename", "new"), ("tags",)])
def test_unknown_repository(words: tuple[str, ...]) -> None:
    assert refused("repo", words[0], "nothing", *words[1:]) == "there is no repository nothing"
