"""What this machine gives: room, permissions, files of keys."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from auth.keys import KeyFileError
from registry.cli.checks.findings import Finding, fault, ok, warning, words_of
from registry.cli.output import show_size
from registry.config import Settings, is_s3
from registry.installation import keys_of
from registry.setting_kinds import GIB, MIB

_SPACE: Final = "disk space"
_PERMISSIONS: Final = "permissions"
_KEYS: Final = "signing keys"

# Free bytes that a server of images needs at least, and one that keeps everything elsewhere.
_LEAST: Final = GIB
_LEAST_ASIDE: Final = 16 * MIB

_LITTLE: Final = 0.10

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


def check_machine(settings: Settings) -> Sequence[Finding]:
    """Look at the directories of the settings."""
    directories = list(_directories(settings))
    return [
        *_missing(settings.data),
        *(each for one in _by_file_system(directories) for each in _check_space(one, least_space(settings))),
        *(each for one in directories for each in _check_permissions(one)),
        *check_key_files(settings),
    ]


def _missing(data: Path) -> Iterator[Finding]:
    if not data.is_dir():
        found = f"{data} is {'no directory' if data.exists() else 'missing'}"
        yield warning(_PERMISSIONS, found, "the first start makes it; if there was one, name it with --data")


def least_space(settings: Settings) -> int:
    """Return the free bytes that a server with these settings needs here."""
    is_elsewhere = settings.database is not None and is_s3(settings.storage)
    return _LEAST_ASIDE if is_elsewhere else _LEAST


def _check_space(directory: Path, least: int) -> Iterator[Finding]:
    room = os.statvfs(directory)
    yield judge_space(directory, room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize, least)
    yield from judge_inodes(directory, room.f_favail, room.f_files)


def judge_space(directory: Path, free: int, total: int, least: int) -> Finding:
    """Judge how many bytes are free."""
    found = f"{show_size(free)} of {show_size(total)} are free for {directory}"
    advice = "give it a larger disk, or remove what nobody needs; blobs can also go to S3: longshore move"
    if free < least:
        return fault(_SPACE, found, advice)
    if free < _LITTLE * total:
        return warning(_SPACE, found, advice)
    return ok(_SPACE, found)


def judge_inodes(directory: Path, free: int, total: int) -> Iterator[Finding]:
    """Judge how many files there may be; some file systems have as many as they need, and say 0."""
    if free < _LITTLE * total:
        found = f"{free} of {total} inodes are free on the file system of {directory}"
        yield warning(_SPACE, found, "remove small files there, or make it anew with more inodes")


def _check_permissions(directory: Path) -> Sequence[Finding]:
    status = directory.stat()
    is_usable = os.access(directory, os.R_OK | os.W_OK | os.X_OK)
    mode = stat.S_IMODE(status.st_mode)
    return judge_permissions(directory, mode, status.st_uid, os.geteuid(), is_usable=is_usable)


def judge_permissions(
    directory: Path, mode: int, owner: int, user: int, *, is_usable: bool
) -> Sequence[Finding]:
    """Judge who owns a directory and who may use it."""
    found = []
    if not is_usable:
        words = f"{directory} is uid {owner}'s, and cannot be used by this account (uid {user})"
        advice = f"run this and the server as its owner, or: chown -R {user} {directory}"
        found.append(fault(_PERMISSIONS, words, advice))
    elif owner != user:
        words = f"{directory} is uid {owner}'s, and not this account's (uid {user})"
        advice = "run longshore's commands as the account that the server runs as"
        found.append(warning(_PERMISSIONS, words, advice))
    if mode & _OTHERS:
        kind = fault if mode & _OTHERS_WRITE else warning
        words = f"{directory} is open to other accounts (mode {mode:04o})"
        found.append(kind(_PERMISSIONS, words, f"chmod 700 {directory}"))
    return found or [
        ok(_PERMISSIONS, f"{directory} is this account's and closed to others (mode {mode:04o})")
    ]


def check_key_files(settings: Settings) -> Iterator[Finding]:
    """Look at signing keys in files, where they are in files."""
    if settings.auth == "off" or settings.keys_secret is not None:
        return
    if settings.database is not None:
        found = f"they are files in {settings.data / 'keys'}, and every node needs the same"
        yield warning(
            _KEYS, found, "set keys_secret, the same for all nodes: the keys are then in the database"
        )
    try:
        ring = keys_of(settings).load()
    except FileNotFoundError:
        yield warning(_KEYS, f"there are none in {settings.data / 'keys'}", "the first start makes one")
    except (KeyFileError, OSError) as error:
        # A KeyFileError says what to do by itself.
        yield fault(
            _KEYS, words_of(error), "let the server's account alone read the keys, or restore a backup"
        )
    else:
        yield ok(_KEYS, f"tokens are signed with the key {ring.signing.kid}")


def _directories(settings: Settings) -> Iterator[Path]:
    candidates = [settings.data, settings.data / "keys"]
    if settings.storage is not None and not is_s3(settings.storage):
        candidates.append(Path(settings.storage))
    return (each for each in candidates if each.is_dir())


def _by_file_system(directories: Sequence[Path]) -> Sequence[Path]:
    """Return one directory of each file system."""
    first: dict[int, Path] = {}
    for each in directories:
        first.setdefault(each.stat().st_dev, each)
    return list(first.values())
