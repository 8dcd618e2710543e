"""Places of backups as commands name them, and the keys that those take."""

import contextlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec

import click

from registry.backup.sealing import KEY_SIZE, Plain, Sealed
from registry.backup.vault import Vault
from registry.config import Loaded, Settings, is_s3
from registry.installation import make_data_directory, place_of
from registry.running import make_workspace
from storage.objects import Objects
from storage.objects_files import FileObjects

_FILE: Final[Any] = {"type": click.Path(dir_okay=False, path_type=Path), "metavar": "FILE"}
_KEY: Final = re.compile(rf"\s*([0-9a-fA-F]{{{2 * KEY_SIZE}}})\s*")

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Place:
    """A backup as a command names it."""

    name: str
    key_file: Path | None
    endpoint: str | None
    profile: str | None

    def open(self, settings: Settings) -> Vault:
        """Return the backup in a directory, or in the bucket of an s3:// URL."""
        sealing = Plain() if self.key_file is None else Sealed(_read_key(self.key_file))
        return Vault(self._objects(settings), sealing)

    def _objects(self, settings: Settings) -> Objects:
        if not is_s3(self.name):
            return FileObjects(Path(self.name))
        # Not at the top: see registry.installation.store_of.
        from storage.objects_s3 import S3Objects  # noqa: PLC0415 - as above

        place = place_of(settings, self.name.rstrip("/"))
        if self.profile is not None:
            place = replace(place, profile=self.profile, region=None)
        if self.endpoint is not None:
            place = replace(place, endpoint=self.endpoint)
        return S3Objects(place)


def with_place(
    argument: str,
) -> Callable[[Callable[Concatenate[Loaded, Place, P], None]], Callable[Concatenate[Loaded, P], None]]:
    """Give a command the argument and the options that name a backup."""

    def decorate(
        command: Callable[Concatenate[Loaded, Place, P], None],
    ) -> Callable[Concatenate[Loaded, P], None]:
        @click.argument(argument)
        @click.option("--key-file", **_FILE, help="The key of a sealed backup: 64 hexadecimal digits.")
        @click.option(
            "--endpoint", metavar="URL", help="Where the S3 store of the backup answers, if elsewhere."
        )
        @click.option("--profile", metavar="NAME", help="The AWS profile for the backup, if it is another.")
        @wraps(command)
        def run(loaded: Loaded, /, *args: P.args, **kwargs: P.kwargs) -> None:
            words: Any = [kwargs.pop(name) for name in (argument, "key_file", "endpoint", "profile")]
            command(loaded, Place(*words), *args, **kwargs)

        return run

    return decorate


def _read_key(path: Path) -> bytes:
    found = _KEY.fullmatch(path.read_text(errors="replace"))
    if found is None:
        raise click.ClickException(f"{path}: a key is {2 * KEY_SIZE} hexadecimal digits")
    return bytes.fromhex(found[1])


@contextlib.contextmanager
def workspace(settings: Settings) -> Iterator[Path]:
    """Make a directory for files that hold what the database holds."""
    make_data_directory(settings)
    path = make_workspace(settings)
    try:
        yield path
    finally:
        shutil.rmtree(path)
