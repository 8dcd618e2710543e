"""A root file system made of files of the machine that runs the tests, in an archive for `docker import`."""

import io
import re
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

MERGED_FOLDERS = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")


class RootFilesystem:
    """A root file system in a tar: each file once, symbolic links followed."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._added: set[str] = set()

    @property
    def paths(self) -> frozenset[str]:
        """What was added, as absolute paths."""
        return frozenset(f"/{name}" for name in self._added)

    def add(self, path: Path) -> None:
        """Add a file under the path that it has here, its folder's links resolved."""
        with path.open("rb") as file:
            member = self._archive.gettarinfo(arcname=str(path.parent.resolve() / path.name), fileobj=file)
            self._put(member, file)

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Add a file of our own."""
        member = tarfile.TarInfo(path)
        member.size, member.mode = len(text.encode()), mode
        self._put(member, io.BytesIO(text.encode()))

    def copy(self, file: Path, path: str, mode: int = 0o644) -> None:
        """Add `file` under another path."""
        with file.open("rb") as opened:
            member = self._archive.gettarinfo(arcname=path, fileobj=opened)
            member.mode = mode
            self._put(member, opened)

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Add a folder."""
        member = tarfile.TarInfo(path)
        member.type, member.mode = tarfile.DIRTYPE, mode
        self._put(member)

    def link(self, path: str, target: str) -> None:
        """Add a symbolic link."""
        member = tarfile.TarInfo(path)
        member.type, member.linkname = tarfile.SYMTYPE, target
        self._put(member)

    def link_merged_folders(self) -> None:
        """Programs and the dynamic loader are named by /bin and /lib64, which Debian keeps under /usr."""
        for folder in MERGED_FOLDERS:
            if Path(folder).is_symlink():
                self.link(folder, str(Path(folder).readlink()))
                self.folder(str(Path(folder).resolve()))

    def add_programs(self, *programs: Path) -> None:
        """Add programs with the libraries that they need."""
        for program in programs:
            self.add(program)
            for library in shared_libraries(program):
                self.add(library)

    def _put(self, member: tarfile.TarInfo, file: io.BufferedIOBase | None = None) -> None:
        member.name = member.name.lstrip("/")
        member.uid = member.gid = 0
        if member.name not in self._added:
            self._added.add(member.name)
            self._archive.addfile(member, file)


@contextmanager
def root_filesystem(path: Path) -> Iterator[RootFilesystem]:
    """A root file system to add to, in a new archive, which has what any image has."""
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as archive:
        root = RootFilesystem(archive)
        for folder in ("dev", "etc", "proc", "root", "run", "sys", "usr/local/bin", "var"):
            root.folder(folder)
        root.folder("tmp", mode=0o1777)
        root.link_merged_folders()
        yield root


@cache
def shared_libraries(program: Path) -> tuple[Path, ...]:
    """The libraries that a program needs, its loader among them, as ldd finds them."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return tuple(Path(path) for path in re.findall(r"(/\S+) \(0x", listing))
