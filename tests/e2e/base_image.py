"""A base image with a working Python, pip and shell, made from the machine that runs the tests.

Nothing is fetched: the interpreter's own files, a handful of Debian's programs and the shared libraries
that they name keep their paths, so `docker import` of the archive gives an image that runs.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from .clients import debian
from .root_filesystem import RootFilesystem, root_filesystem

PROGRAMS = ("sh", "cat", "cp", "echo", "env", "hostname", "id", "ls", "mkdir", "rm", "sleep", "true", "uname")
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


def search_path() -> str:
    """The PATH under which the image's programs are found."""
    return f"{sys.base_prefix}/bin:/usr/local/bin:/usr/bin:/bin"


def write_base_image(path: Path, *, with_index: bool = False) -> None:
    """Write the root file system to the tar at `path`.

    `with_index` is for builds that install packages: pip asks the index that it asks on this machine, and
    what is compiled finds the libraries that it may count on.
    """
    with root_filesystem(path) as root:
        root.write("etc/passwd", PASSWD)
        root.add_programs(*map(debian, PROGRAMS))
        _add_python(root)
        _add_pip(root)
        if with_index:
            _add_index(root)
        root.write("var/lib/dpkg/status", _packages_of(root.paths))


def _add_python(root: RootFilesystem) -> None:
    """Add the interpreter at its own prefix, with the names that Dockerfiles call it by."""
    interpreter = Path(sys.base_prefix) / "bin" / f"python{sysconfig.get_python_version()}"
    root.add_programs(interpreter)
    for name in ("python", "python3"):
        root.link(str(interpreter.with_name(name)), interpreter.name)
    for file in _standard_library(Path(sysconfig.get_path("stdlib"))):
        if file.suffix == ".so":
            root.add_programs(file)
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
        root.add_programs(Path(f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}") / name)


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
