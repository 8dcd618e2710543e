"""Every parser, whatever it is fed: a value, or an error that it documents; and no parser forgotten."""

import ast
import re
from collections.abc import Iterator
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.e2e.clients import ROOT
from tests.fuzz.parsers import PARSERS, Parser
from tests.storage.properties import PROPERTY

# What a function is called that reads what somebody wrote.
_READS: Final = re.compile(r"_?(?:parse|decode|read|from)(?:_[a-z0-9_]+)?")

# Those that are fed through another one of the table.
WITHIN: Final = {
    "auth.scope._parse_item": "auth.scope.Scope.parse",
    "auth.scope._read_claim": "auth.scope.Scope.from_claims",
    "auth.jwk._read_jwk": "auth.jwk.read_jwks",
    "auth.tokens.TokenVerifier._decode": "auth.tokens.TokenVerifier.verify",
    "auth.tokens._read_header": "auth.tokens.TokenVerifier.verify",
    "auth.tokens._read_claims": "auth.tokens.TokenVerifier.verify",
    "auth.tokens._read_token": "auth.tokens.TokenVerifier.verify",
    "registry.images._read_configuration": "registry.image.outline",
    "registry.web.origin.parse_address": "registry.web.origin.Origins.client_address",
}

# Those that are fed elsewhere, or read nothing of a stranger's.
ELSEWHERE: Final = {
    "auth.keys.KeyDirectory._read_all": "files of the operator's: tests/auth/test_keys.py",
    "auth.keys._read_key": "a file of the operator's: tests/auth/test_keys.py",
    "registry.check.Check._read": "bytes that are hashed: tests/registry/test_check.py",
    "registry.consistency._read": "our own rows: tests/registry/test_check.py",
    **{
        f"registry.doubts.{name}": "bytes as they are: tests/registry/test_local.py"
        for name in ("Doubts._read", "Doubts.read_again", "WatchedReader.read")
    },
    "registry.healing._read_file": "bytes that are hashed: tests/registry/test_check.py",
    "registry.images.Images._read": "bytes for registry.image: tests/registry/test_images.py",
    **{
        f"registry.layout.reading.{name}": "archives: tests/registry/layout/test_archive.py"
        for name in ("Layout.read", "DirectoryLayout.read", "TarLayout.read", "read_whole")
    },
    "registry.local._BytesReader.read": "bytes as they are: tests/registry/test_interface_blobs.py",
    "registry.setting_layers._read_toml": "a file of the operator's: tests/registry/test_config.py",
    "registry.web.access.Gate._read_token": "for verify: tests/registry/web/test_requests.py",
    "registry.web.blob.BlobResponse._read_out": "bytes as they are: tests/registry/web/test_oci_blobs.py",
    "registry.web.body.read_body": "bytes as they are: tests/registry/web/test_body.py",
    "registry.web.connection.Connection._parse": "for aiohttp's parser: tests/attacks/framing.py",
    "registry.web.description.read": "our own openapi.yaml",
    "registry.web.outside.OutsideKeys._read": "for read_jwks: tests/registry/web/test_outside.py",
    "registry.web.outside._read_whole": "for read_jwks: tests/registry/web/test_outside.py",
    "registry.web.pages.assets._read": "our own files",
    "registry.web.pages.shell.Shell.read_fields": "for parse_form: tests/registry/web/pages/test_shell.py",
    "registry.web.pages.shell.Shell.read_form": "for parse_form: tests/registry/web/pages/test_shell.py",
    "registry.web.pages.shell.Shell.read_open_form": "for parse_form: tests/registry/web/pages/test_shell.py",
    "registry.web.pages.shell._parse_form": "for parse_form: tests/registry/web/pages/test_shell.py",
    "registry.web.tokens._read_form": "for parse_form: tests/registry/web/test_requests.py",
}

# Where nothing of a stranger's is read: settings and commands are the operator's, rows are our own, and what
# is read of blobs is passed on as it is.
_NOT_STRANGERS: Final = (
    "registry/backup/",
    "registry/cli/",
    "registry/config.py",
    "registry/jobs/",
    "registry/move.py",
    "registry/setting_kinds.py",
    "storage/blobs.py",
    "storage/filesystem.py",
    "storage/metadata/",
    "storage/objects",
    "storage/s3_client.py",
    "storage/s3_probe.py",
    "storage/s3_reader.py",
    "storage/s3_upload.py",
)


def parsers_in(source: str, module: str) -> Iterator[str]:
    """Yield the functions and methods of a module that read, by their names."""
    for node in ast.parse(source).body:
        inner = (
            [(f"{module}.{node.name}", each) for each in node.body] if isinstance(node, ast.ClassDef) else []
        )
        for prefix, each in [(module, node), *inner]:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef) and _READS.fullmatch(each.name):
                yield f"{prefix}.{each.name}"


def all_parsers() -> Iterator[str]:
    for package in ("auth", "registry", "storage"):
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT).as_posix()
            if relative.startswith(_NOT_STRANGERS):
                continue
            yield from parsers_in(path.read_text(), relative.removesuffix(".py").replace("/", "."))


def test_no_parser_is_forgotten() -> None:
    assert set(all_parsers()) - set(PARSERS) - set(WITHIN) - set(ELSEWHERE) == set()


def test_no_parser_is_named_that_is_none() -> None:
    every = set(all_parsers())
    named = {name for name in (*PARSERS, *WITHIN, *ELSEWHERE) if _READS.fullmatch(name.rpartition(".")[2])}
    assert named - every == set()
    assert set(WITHIN.values()) <= set(PARSERS)
    for why in ELSEWHERE.values():
        assert all((ROOT / path).exists() for path in re.findall(r"tests/\S+\.py", why))


def inputs(parser: Parser) -> st.SearchStrategy[bytes]:
    """Right inputs with pieces changed, text of what right ones are made of, and bytes of all kinds."""
    text = st.text(alphabet=parser.alphabet or "ab0", max_size=60).map(str.encode)
    anything = st.binary(max_size=200) | st.text(max_size=60).map(_encoded)
    changed = st.builds(
        _changed, st.sampled_from(parser.seeds), st.integers(0, 500), text | anything, st.integers(0, 6)
    )
    return changed | text | anything


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _changed(seed: bytes, position: int, piece: bytes, dropped: int) -> bytes:
    """A right input with a piece put in the place of some of its bytes."""
    at = position % (len(seed) + 1)
    return seed[:at] + piece + seed[at + dropped :]


@pytest.mark.parametrize("name", PARSERS)
def test_it_raises_what_it_documents(name: str) -> None:
    parser = PARSERS[name]

    @PROPERTY
    @given(data=inputs(parser))
    @example(data=b"")
    @example(data=b"\xff\x00" * 40)
    @example(data="\u0661\u212a\u202e\ufeff".encode())
    def check(data: bytes) -> None:
        parser.try_on(data)

    check()


@pytest.mark.parametrize("name", [name for name, each in PARSERS.items() if each.documented])
def test_it_takes_what_is_right_and_refuses_something(name: str) -> None:
    """Otherwise the properties would hold of a parser that is never reached."""
    parser = PARSERS[name]
    assert any(map(parser.try_on, parser.seeds)) or name == "auth.tokens.TokenVerifier.verify"
    assert not all(map(parser.try_on, (b"\xff", b"[[[", b"bytes=9999-", b"\x01" * 300)))
