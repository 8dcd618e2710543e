"""Where damaged blobs may be had again, as `longshore check --from` names it."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp
import click

from registry.backup.vault import MARK, BackupError
from registry.cli.output import require
from registry.cli.places import Place
from registry.config import Settings, is_s3
from registry.healing import Directory, NamedSource
from registry.upstream import Upstream
from storage.digest import Digest
from storage.metadata import damage
from storage.metadata.engine import Metadata

_URLS: Final = ("http://", "https://")


@dataclass(frozen=True, slots=True)
class Sources:
    """What a command says of them: names, whom to log in as at registries, and the key of sealed backups."""

    names: Sequence[str]
    user: str | None
    password_file: Path | None
    key_file: Path | None

    def check(self) -> None:
        """Return if they make sense.

        Raises:
            ClickException: they do not.
        """
        both = (self.user is None) == (self.password_file is None)
        require(both, "--from-user and --from-password-file go together")
        for name in self.names:
            known = name.startswith(_URLS) or is_s3(name) or Path(name).is_dir()
            require(known, f"{name} is neither a directory nor an http(s):// or s3:// URL")

    @contextlib.asynccontextmanager
    async def opened(self, settings: Settings, metadata: Metadata) -> AsyncIterator[Sequence[NamedSource]]:
        """Open them, in their order."""

        async def repositories(digest: Digest) -> Sequence[str]:
            return await metadata.lookup(damage.linked_by, digest)

        login = None
        if self.user is not None and self.password_file is not None:
            login = aiohttp.BasicAuth(self.user, self.password_file.read_text().strip())
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            found = []
            for name in self.names:
                if name.startswith(_URLS):
                    found.append(NamedSource(name, Upstream(session, name, repositories, login)))
                else:
                    found.append(await self._open_place(settings, name))
            yield found

    async def _open_place(self, settings: Settings, name: str) -> NamedSource:
        if not is_s3(name) and not (Path(name) / MARK).exists():
            return NamedSource(name, Directory(Path(name)))
        vault = Place(name, self.key_file, None, None).open(settings)
        try:
            await vault.check()
        except BackupError as error:
            raise click.ClickException(str(error)) from error
        return NamedSource(name, vault)
