"""A base image with a working Python, pip and shell, made from the machine that runs the tests.

Nothing is fetched: the interpreter's own files, a handful of Debian's programs and the shared libraries
that they name keep their paths, so `docker import` of the archive gives an image that runs.
"""

import importlib.metadata
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PROGRAMS = ("sh", "cat", "cp", "echo", "env", "hostname", "id", "ls", "mkdir", "rm", "sleep", "true", "uname")
MERGED_FOLDERS = ("/bin", "/lib", "/lib32", "/lib64", "/sbin")
# Large, and no part of running programs: tests, caches, static libraries, other people's packages.
LEFT_OUT = {"__pycache__", "test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3"}
PACKAGES = {"site-packages", "dist-packages"}
PIP_FOLDER = "/opt/pip"
PIP_SCRIPT = f'#!/bin/sh\nPYTHONPATH={PIP_FOLDER} exec python -m pip "$@"\n'
# What says where an index is and how it is reached; certificates are those that Debian keeps.
PIP_OPTIONS = ("cert", "extra-index-url", "index-url", "proxy", "timeout", "trusted-host")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
# Libraries that wheels do not bring along (PEP 600).
WHEELS_COUNT_ON = (
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libpthread.so.0",
    "librt.so.1",
    "libstdc++.so.6",
)
PASSWD = "root:x:0:0:root:/root:/bin/sh\n"


class RootFilesystem:
    """A root file system in a tar: each file once, symbolic links followed."""

    def __init__(self, path: Path) -> None:
        self._archive = tarfile.open(path, "w", format=tarfile.GNU_FORMAT)  # noqa: SIM115 closed by close()
        self._added: set[str] = set()

    @property
    def paths(self) -> frozenset[str]:
        """What was added, as absolute paths."""
        return frozenset(f"/{name}" for name in self._added)

    def close(self) -> None:
        """Finish the archive."""
        self._archive.close()

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

    def copy(self, file: Path, path: str) -> None:
        """Add `file` under another path."""
        self.write(path, file.read_text())

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

    def _put(self, member: tarfile.TarInfo, file: io.BufferedIOBase | None = None) -> None:
        member.name = member.name.lstrip("/")
        member.uid = member.gid = 0
        if member.name not in self._added:
            self._added.add(member.name)
            self._archive.addfile(member, file)


def search_path() -> str:
    """The PATH under which the image's programs are found."""
    return f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"


def write_base_image(path: Path, *, with_index: bool = False) -> None:
    """Write the root file system to the tar at `path`.

    `with_index` is for builds that install packages: pip asks the index that it asks on this machine, and
    what is compiled finds the libraries that it may count on.
    """
    root = RootFilesystem(path)
    try:
        for folder in ("dev", "etc", "proc", "root", "sys", "usr/local/bin", "var"):
            root.folder(folder)
        root.folder("tmp", mode=0o1777)
        root.write("etc/passwd", PASSWD)
        _link_merged_folders(root)
        _add_programs(root, [Path(_which(name)) for name in PROGRAMS])
        _add_python(root)
        _add_pip(root)
        if with_index:
            _add_index(root)
        root.write("var/lib/dpkg/status", _packages_of(root.paths))
    finally:
        root.close()


def _link_merged_folders(root: RootFilesystem) -> None:
    """Programs and the dynamic loader are named by /bin and /lib64, which Debian keeps under /usr."""
    for folder in MERGED_FOLDERS:
        if Path(folder).is_symlink():
            root.link(folder, str(Path(folder).readlink()))
            root.folder(str(Path(folder).resolve()))


def _add_programs(root: RootFilesystem, programs: Iterable[Path]) -> None:
    for program in programs:
        root.add(program)
        for library in shared_libraries(program):
            root.add(library)


def _add_python(root: RootFilesystem) -> None:
    """Add the interpreter at its own prefix, with the names that Dockerfiles call it by."""
    interpreter = Path(sys.base_prefix) / "bin" / f"python{sysconfig.get_python_version()}"
    _add_programs(root, [interpreter])
    for name in ("python", "python3"):
        root.link(str(interpreter.with_name(name)), interpreter.name)
    for file in _standard_library(Path(sysconfig.get_path("stdlib"))):
        if file.suffix == ".so":
            _add_programs(root, [file])
        else:
            root.add(file)


def _standard_library(folder: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(folder):
        left_out = LEFT_OUT | PACKAGES | {name for name in folders if name.startswith("config-")}
        folders[:] = sorted(set(folders) - left_out)
        # Debian marks its Python as managed by apt; in a container pip may install.
        yield from (Path(parent) / name for name in sorted(names) if name != "EXTERNALLY-MANAGED")


def _add_pip(root: RootFilesystem) -> None:
    """Add this environment's pip, out of the way of what it will install."""
    for file in importlib.metadata.files("pip") or []:
        if file.suffix in {".py", ".pem", ".txt"} and file.parts[0] == "pip":
            root.copy(Path(str(file.locate())), f"{PIP_FOLDER}/{file}")
    root.write("usr/local/bin/pip", PIP_SCRIPT, mode=0o755)


def _add_index(root: RootFilesystem) -> None:
    root.add(CERTIFICATES)
    root.write("etc/pip.conf", _pip_configuration())
    for name in WHEELS_COUNT_ON:
        _add_programs(root, [Path(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}") / name])


def _packages_of(paths: Iterable[str]) -> str:
    """What dpkg says of the packages that programs and libraries are of, as it keeps that itself."""
    # Where /usr is merged a package may call its files by either path.
    asked = {
        each
        for path in paths
        if ".so" in path or "/bin/" in path
        for each in (path, path.removeprefix("/usr"))
    }
    found = subprocess.run(
        ["dpkg-query", "--search", *asked], capture_output=True, text=True, check=False
    ).stdout
    names = {line.partition(": ")[0] for line in found.splitlines() if not line.startswith("diversion ")}
    packages = sorted({each for name in names for each in name.split(", ")})
    said = subprocess.run(["dpkg-query", "--status", *packages], capture_output=True, text=True, check=True)
    return said.stdout


def _pip_configuration() -> str:
    """Where pip gets packages from here, whether files or variables of the environment say so."""
    argv = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    said = dict(re.findall(r"^(?:global|:env:)\.([\w-]+)='(.*)'$", listing, re.MULTILINE))
    if "cert" in said:
        said["cert"] = str(CERTIFICATES)
    return "\n".join(["[global]", *(f"{name} = {said[name]}" for name in PIP_OPTIONS if name in said), ""])


@cache
def shared_libraries(program: Path) -> tuple[Path, ...]:
    """The libraries that a program needs, its loader among them, as ldd finds them."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return tuple(Path(path) for path in re.findall(r"(/\S+) \(0x", listing))


def _which(name: str) -> str:
    path = shutil.which(name, path="/usr/bin:/bin")
    if path is None:
        raise FileNotFoundError(f"{name}: not among Debian's programs")
    return path
