"""Places of backups as commands name them, and the keys that those take."""

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from registry.backup.sealing import KEY_SIZE, Plain, Sealed
from registry.backup.vault import Vault
from registry.config import Settings, is_s3
from registry.installation import make_data_directory, place_of
from registry.running import make_workspace
from storage.objects import Objects
from storage.objects_files import FileObjects

_KEY: Final = re.compile(rf"\s*([0-9a-fA-F]{{{2 * KEY_SIZE}}})\s*")

key_option = click.option(
    "--key-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The key of a sealed backup: 64 hexadecimal digits (openssl rand -hex 32).",
)


def vault_of(settings: Settings, place: str, key_file: Path | None) -> Vault:
    """Return the backup in a directory, or in the bucket of an s3:// URL."""
    return Vault(_objects_of(settings, place), Plain() if key_file is None else Sealed(_read_key(key_file)))


def _objects_of(settings: Settings, place: str) -> Objects:
    if not is_s3(place):
        return FileObjects(Path(place))
    # Not at the top: see registry.installation.store_of.
    from storage.objects_s3 import S3Objects  # noqa: PLC0415 - as above

    return S3Objects(place_of(settings, place.rstrip("/")))


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
