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
    least = _LEAST if _keeps_here(settings) else _LEAST_ASIDE
    return [
        *_missing(settings.data),
        *(finding for each in _by_file_system(directories) for finding in check_space(each, least)),
        *(finding for each in directories for finding in check_permissions(each)),
        *check_key_files(settings),
    ]


def _missing(data: Path) -> Iterator[Finding]:
    if not data.is_dir():
        found = f"{data} is {'no directory' if data.exists() else 'missing'}"
        yield warning(_PERMISSIONS, found, "the first start makes it; if there was one, name it with --data")


def check_space(directory: Path, least: int) -> Iterator[Finding]:
    """Look at free bytes and inodes."""
    room = os.statvfs(directory)
    free, total = room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize
    yield judge_space(directory, free, total, least)
    # Some file systems have as many as they need, and say 0.
    if room.f_files and room.f_favail < _LITTLE * room.f_files:
        found = f"{room.f_favail} of {room.f_files} inodes are free on the file system of {directory}"
        yield warning(_SPACE, found, "remove small files there, or make it anew with more inodes")


def judge_space(directory: Path, free: int, total: int, least: int) -> Finding:
    """Judge how many bytes are free."""
    found = f"{show_size(free)} of {show_size(total)} are free for {directory}"
    advice = "give it a larger disk, or remove what nobody needs; blobs can also go to S3: longshore move"
    if free < least:
        return fault(_SPACE, found, advice)
    if free < _LITTLE * total:
        return warning(_SPACE, found, advice)
    return ok(_SPACE, found)


def check_permissions(directory: Path) -> Sequence[Finding]:
    """Look at who owns a directory and who may use it."""
    status = directory.stat()
    found = list(_broken_permissions(directory, status))
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    return found or [ok(_PERMISSIONS, f"{directory} is this account's and closed to others ({mode})")]


def _broken_permissions(directory: Path, status: os.stat_result) -> Iterator[Finding]:
    user = os.geteuid()
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        found = f"{directory} cannot be written by this account (uid {user}), it is uid {status.st_uid}'s"
        yield fault(
            _PERMISSIONS, found, f"run this and the server as its owner, or: chown -R {user} {directory}"
        )
    elif status.st_uid != user:
        found = f"{directory} is not this account's (uid {user}) but uid {status.st_uid}'s"
        yield warning(_PERMISSIONS, found, "run longshore's commands as the account that the server runs as")
    if status.st_mode & _OTHERS:
        kind = fault if status.st_mode & _OTHERS_WRITE else warning
        found = f"{directory} is open to other accounts (mode {stat.S_IMODE(status.st_mode):04o})"
        yield kind(_PERMISSIONS, found, f"chmod 700 {directory}")


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


def _keeps_here(settings: Settings) -> bool:
    return settings.database is None or not is_s3(settings.storage)
