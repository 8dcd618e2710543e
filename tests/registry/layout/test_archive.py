"""Archives that somebody else made: what is read of them, and what is refused."""

import gzip
import io
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.layout.reading import DirectoryLayout, LayoutError, TarLayout, open_layout, read_whole
from tests.storage.properties import PROPERTY

SHA512 = f"blobs/sha512/{'ab' * 64}"


def archive(*members: tarfile.TarInfo, format_: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format_) as file:
        for each in members:
            file.addfile(each, io.BytesIO(b"x" * each.size) if each.isreg() else None)
    return buffer.getvalue()


def member(name: str, size: int = 0, **fields: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "layout.tar"
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("format_", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
async def test_files_of_a_layout_are_found(written: Callable[[bytes], Path], format_: int) -> None:
    members = [
        member("blobs", type=tarfile.DIRTYPE),
        member("./oci-layout", 3),
        member("index.json", 0),
        member(SHA512, 513),  # longer than a plain header can say
        member("manifest.json", 7),
        member("docs/" + "long" * 40, 1),
    ]
    with closing(TarLayout(written(archive(*members, format_=format_)))) as layout:
        assert layout.size("oci-layout") == 3
        assert layout.size(SHA512) == 513
        assert layout.size("manifest.json") is None
        assert layout.size("blobs/sha256/none") is None
        assert await read_whole(layout, SHA512, 513) == b"x" * 513
        assert await read_whole(layout, "index.json", 0) == b""
        with pytest.raises(LayoutError, match="more than 512 bytes"):
            await read_whole(layout, SHA512, 512)


def header(kind: bytes, size: int, name: str = "x") -> bytes:
    entry = member(name, size, type=kind)
    return entry.tobuf(tarfile.GNU_FORMAT)


HOSTILE = {
    "out of it": archive(member("../oci-layout")),
    "out of it amid": archive(member("blobs/../../x")),
    "absolute": archive(member("/oci-layout")),
    "a link": archive(member("oci-layout", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
    "a hard link": archive(member("oci-layout", type=tarfile.LNKTYPE, linkname="index.json")),
    "a device": archive(member("oci-layout", type=tarfile.CHRTYPE)),
    "a pipe": archive(member("x", type=tarfile.FIFOTYPE)),
    "holes": header(tarfile.GNUTYPE_SPARSE, 0),
    "holes in a longer header": archive(member("x", pax_headers={"GNU.sparse.major": "1"})),
    "twice": archive(member("oci-layout"), member("./oci-layout")),
    "compressed": gzip.compress(archive(member("oci-layout"))),
    "nothing": b"",
    "no archive": b"\x7fELF" * 200,
    "cut off": archive(member("oci-layout", 3000))[:1500],
    "longer than the archive": header(tarfile.REGTYPE, 10**12) + bytes(1024),
    "a header without end": header(tarfile.XHDTYPE, 10**12) + bytes(1024),
    "a name without end": header(tarfile.GNUTYPE_LONGNAME, 10**9) + bytes(1024),
    "a header of nonsense": header(tarfile.XHDTYPE, 5) + b"12345" + bytes(507 + 1024),
    "a negative size": archive(member("x", pax_headers={"size": "-5"})),
    "a size of nonsense": archive(member("x", pax_headers={"size": "9" * 40})),
    "a size that leads far away": archive(member("x", pax_headers={"size": "999999999999"})),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_are_refused(written: Callable[[bytes], Path], kind: str) -> None:
    with pytest.raises(LayoutError):
        TarLayout(written(HOSTILE[kind]))


@PROPERTY
@given(change=st.tuples(st.integers(0, 4000), st.binary(min_size=1, max_size=600)))
def test_whatever_is_in_an_archive_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, change: tuple[int, bytes]
) -> None:
    at, data = change
    whole = bytearray(archive(member("oci-layout", 30), member(SHA512, 700), member("index.json", 3)))
    whole[at : at + len(data)] = data
    path = tmp_path_factory.mktemp("tar") / "layout.tar"
    path.write_bytes(whole)
    try:
        TarLayout(path).close()
    except LayoutError:
        return


async def test_links_in_a_directory_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "oci-layout").symlink_to(tmp_path / "secret")
    layout = open_layout(tmp_path / "layout")
    assert isinstance(layout, DirectoryLayout)
    with pytest.raises(LayoutError, match="no plain file"):
        layout.size("oci-layout")
    with pytest.raises(OSError, match="oci-layout"):
        assert [piece async for piece in layout.read("oci-layout")] == []
