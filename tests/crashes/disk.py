"""A disk that forgets: replays what a program asked of the system, and says what a loss of power leaves.

It knows for each file what was written and what was synced, and for each name in a directory which file it
was when the directory was synced last. The calls come from strace, with paths for descriptors (`-y`) and
bytes in hexadecimal (`-xx`).
"""

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CALLS: Final = (
    "openat,close,write,pwrite64,lseek,fsync,fdatasync,ftruncate,rename,renameat,renameat2,unlink,unlinkat"
)
"""What strace is to trace."""

_LINE: Final = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<(.*)>)?.*")
_UNFINISHED: Final = re.compile(r"(\d+) +(\w+\(.*) <unfinished \.\.\.>")
_RESUMED: Final = re.compile(r"(\d+) +<\.\.\. \w+ resumed>(.*)")
_DESCRIPTOR: Final = re.compile(r"(\d+)<(.*?)>")
_TEXT: Final = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@dataclass(eq=False, slots=True)
class _File:
    content: bytearray = field(default_factory=bytearray)
    synced: bytes = b""
    unsynced: list[tuple[int, bytes]] = field(default_factory=list)
    """Writes since then."""

    def write(self, offset: int, data: bytes) -> None:
        self.content.extend(bytes(max(0, offset - len(self.content))))
        self.content[offset : offset + len(data)] = data
        self.unsynced.append((offset, data))

    def truncate(self, size: int) -> None:
        self.content.extend(bytes(max(0, size - len(self.content))))
        del self.content[size:]

    def sync(self) -> None:
        self.synced = bytes(self.content)
        self.unsynced.clear()

    def torn(self, chance: random.Random) -> bytes:
        """Return what was synced, and some of what was written since."""
        content = bytearray(self.synced)
        for offset, data in self.unsynced:
            if chance.random() < 0.5:
                content.extend(bytes(max(0, offset - len(content))))
                content[offset : offset + len(data)] = data
        return bytes(content)


Left = Mapping[str, bytes]
"""What is found after the power came back: path → content."""


class Disk:
    """The files below `root`, those that are there now included: they are synced."""

    def __init__(self, root: Path) -> None:
        self._root = str(root)
        self._names: dict[str, _File] = {}
        for path in root.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                self._names[str(path)] = _File(bytearray(content), content)
        self._durable = dict(self._names)
        self._offsets: dict[int, int] = {}
        self._open: dict[int, _File] = {}

    def content(self, path: Path) -> bytes:
        """Return what a program reads in a file now; nothing where there is none."""
        file = self._names.get(str(path))
        return b"" if file is None else bytes(file.content)

    def forgetful(self) -> Left:
        """Return what is there when all is lost that was not synced."""
        return {path: file.synced for path, file in self._durable.items()}

    def half_forgetful(self) -> Left:
        """Return what is there when names are kept and bytes are lost, as some file systems have it."""
        return {path: file.synced for path, file in self._names.items()}

    def torn(self, seed: int) -> Left:
        """Return what is there when names are kept, and some of the writes that were not synced."""
        chance = random.Random(seed)
        return {path: file.torn(chance) for path, file in self._names.items()}

    def does(self, call: str, arguments: str, result: int, opened: str | None) -> bool:
        """Take a call in; tell whether it was about a file below the root."""
        if result < 0:
            return False
        match call:
            case "openat":
                return self._opens(arguments, result, opened or "")
            case "rename" | "renameat" | "renameat2":
                return self._renames(*_texts(arguments)[:2])
            case "unlink" | "unlinkat":
                return self._names.pop(_texts(arguments)[0], None) is not None
        found = _DESCRIPTOR.match(arguments)
        if found is None:
            return False
        return self._touches(call, int(found[1]), _plain(found[2]), arguments, result)

    def _opens(self, arguments: str, descriptor: int, path: str) -> bool:
        path = _plain(path)
        self._open.pop(descriptor, None)
        if not self._is_ours(path) or "O_DIRECTORY" in arguments:
            return False
        file = self._names.setdefault(path, _File()) if "O_CREAT" in arguments else self._names.get(path)
        if file is not None:
            self._open[descriptor], self._offsets[descriptor] = file, 0
            if "O_TRUNC" in arguments:
                file.truncate(0)
        return file is not None

    def _renames(self, old: str, new: str) -> bool:
        if old in self._names:
            self._names[new] = self._names.pop(old)
        return self._is_ours(new)

    def _touches(self, call: str, descriptor: int, path: str, arguments: str, result: int) -> bool:
        if call in ("fsync", "fdatasync") and descriptor not in self._open and self._is_ours(f"{path}/"):
            self._sync_directory(path)
            return True
        if descriptor not in self._open:
            return False
        file = self._open[descriptor]
        match call:
            case "close":
                del self._open[descriptor]
                return False
            case "lseek":
                self._offsets[descriptor] = result
                return False
            case "write":
                file.write(self._offsets[descriptor], _bytes(arguments)[:result])
                self._offsets[descriptor] += result
            case "pwrite64":
                file.write(int(arguments.rpartition(", ")[2]), _bytes(arguments)[:result])
            case "ftruncate":
                file.truncate(int(arguments.rpartition(", ")[2]))
            case "fsync" | "fdatasync":
                file.sync()
        return True

    def _sync_directory(self, path: str) -> None:
        def within(name: str) -> bool:
            return name.rpartition("/")[0] == path

        kept = {name: file for name, file in self._durable.items() if not within(name)}
        self._durable = kept | {name: file for name, file in self._names.items() if within(name)}

    def _is_ours(self, path: str) -> bool:
        return path.startswith(f"{self._root}/")


def calls_in(trace: Path) -> Iterator[tuple[str, str, int, str | None]]:
    """Yield call, arguments, result and what was opened, in the order in which the calls ended."""
    begun: dict[str, str] = {}
    with trace.open() as lines:
        for line in lines:
            text = line.rstrip("\n")
            if found := _UNFINISHED.fullmatch(text):
                begun[found[1]] = found[2]
                continue
            if found := _RESUMED.fullmatch(text):
                text = f"{found[1]} {begun.pop(found[1])}{found[2]}"
            if found := _LINE.fullmatch(text):
                yield found[2], found[3], int(found[4]), found[5]


def _texts(arguments: str) -> list[str]:
    return [bytes.fromhex(each.replace("\\x", "")).decode() for each in _TEXT.findall(arguments)]


def _bytes(arguments: str) -> bytes:
    found = _TEXT.search(arguments)
    return b"" if found is None else bytes.fromhex(found[1].replace("\\x", ""))


def _plain(path: str) -> str:
    """Return a path as it is: strace writes it in hexadecimal as well."""
    return bytes.fromhex(path.replace("\\x", "")).decode() if path.startswith("\\x") else path
