import os
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from auth.jwk import KeyRing, SigningKey
from auth.keys import KeyDirectory, KeyFileError, UnsafeKeyFile

NOW = 1_800_000_000


@dataclass(slots=True)
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys"


@pytest.fixture
def keys(path: Path, clock: Clock) -> KeyDirectory:
    return KeyDirectory(path, clock=clock)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def kids(ring: KeyRing) -> list[str]:
    return [key.kid for key in ring.keys]


def names(path: Path) -> list[str]:
    return sorted(entry.name for entry in path.iterdir())


def test_the_first_key(path: Path, keys: KeyDirectory) -> None:
    before = os.umask(0)
    try:
        ring = keys.ensure("EdDSA")
    finally:
        os.umask(before)
    assert names(path) == ["key-000001.pem"]
    assert (mode(path), mode(path / "key-000001.pem")) == (0o700, 0o600)
    assert (ring.signing.algorithm, ring.signing.created) == ("EdDSA", NOW)
    assert ring.keys == (SigningKey.from_pem((path / "key-000001.pem").read_bytes()),)


def test_ensure_keeps_what_is_there(path: Path, keys: KeyDirectory, clock: Clock) -> None:
    first = keys.ensure("ES256")
    clock.now += 100
    assert kids(keys.ensure("EdDSA")) == kids(first)
    assert kids(KeyDirectory(path).ensure("ES256")) == kids(first)
    assert names(path) == ["key-000001.pem"]


def test_threads_that_start_together_agree(path: Path) -> None:
    count = 8
    together = threading.Barrier(count)
    found: list[list[str]] = []

    def start() -> None:
        directory = KeyDirectory(path)
        together.wait(30)
        found.append(kids(directory.ensure("ES256")))

    threads = [threading.Thread(target=start) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == count
    assert len({tuple(each) for each in found}) == 1
    assert names(path) == ["key-000001.pem"]


PROCESS = """
import sys
from pathlib import Path
from auth.keys import KeyDirectory
print("ready", flush=True)
sys.stdin.readline()
print(KeyDirectory(Path(sys.argv[1])).ensure("ES256").signing.kid)
"""


def test_processes_that_start_together_agree(path: Path) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    printed = {process.communicate(timeout=60)[0] for process in started}
    assert [process.returncode for process in started] == [0] * 4
    assert len(printed) == 1
    assert names(path) == ["key-000001.pem"]


def test_rotations_at_once_each_get_a_number(path: Path) -> None:
    count = 6
    KeyDirectory(path).ensure("ES256")
    together = threading.Barrier(count)
    failures: list[BaseException] = []

    def rotate() -> None:
        directory = KeyDirectory(path)
        together.wait(30)
        try:
            directory.rotate("ES256", 3600)
        except (KeyFileError, OSError) as error:
            failures.append(error)

    threads = [threading.Thread(target=rotate) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert names(path) == [f"key-{n:06}.pem" for n in range(1, count + 2)]


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o644, 0o660, 0o602, 0o610, 0o777])
def test_keys_that_others_may_use_are_refused(path: Path, keys: KeyDirectory, bits: int) -> None:
    keys.ensure("ES256")
    file = path / "key-000001.pem"
    file.chmod(bits)
    with pytest.raises(UnsafeKeyFile) as caught:
        keys.load()
    assert f"{bits:04o}" in str(caught.value)
    assert f"chmod 600 {file}" in str(caught.value)
    for use in (keys.ring, lambda: keys.ensure("ES256"), lambda: keys.rotate("ES256", 0)):
        with pytest.raises(UnsafeKeyFile):
            use()
    file.chmod(0o400)
    assert len(keys.load().keys) == 1


@pytest.mark.parametrize("bits", [0o770, 0o707, 0o777, 0o720])
def test_a_directory_that_others_may_write_to_is_refused(path: Path, keys: KeyDirectory, bits: int) -> None:
    keys.ensure("ES256")
    path.chmod(bits)
    with pytest.raises(UnsafeKeyFile, match="chmod 700"):
        keys.load()


def test_damaged_missing_and_foreign_files(path: Path, keys: KeyDirectory) -> None:
    with pytest.raises(FileNotFoundError):
        keys.ring()
    path.mkdir(parents=True, mode=0o700)
    with pytest.raises(KeyFileError, match="no signing key"):
        keys.load()
    (path / "README").write_text("not a key")
    (path / ".new-0123").write_text("left by a crash")
    (path / ".hidden.pem").write_text("nor this")
    keys.ensure("ES256")
    damaged = path / "key-000002.pem"
    damaged.touch(mode=0o600)
    with pytest.raises(KeyFileError, match=r"key-000002\.pem: this is no unencrypted private key"):
        keys.load()


def test_an_operator_may_bring_a_key(path: Path, keys: KeyDirectory) -> None:
    pem = SigningKey.generate("EdDSA", 0).to_pem()
    path.mkdir(parents=True, mode=0o700)
    file = path / "ours.pem"
    file.touch(mode=0o600)
    file.write_bytes(pem[pem.index(b"-----BEGIN") :])
    os.utime(file, (NOW - 50, NOW - 50))
    ring = keys.ensure("ES256")
    assert names(path) == ["ours.pem"]
    assert (ring.signing.algorithm, ring.signing.created) == ("EdDSA", NOW - 50)
    assert keys.rotate("ES256", 3600).signing.algorithm == "ES256"
    assert names(path) == ["key-000001.pem", "ours.pem"]


def test_a_rotation_signs_with_the_new_key_and_keeps_the_old(keys: KeyDirectory, clock: Clock) -> None:
    old = keys.ensure("ES256").signing
    clock.now += 1000
    ring = keys.rotate("EdDSA", keep_seconds=600)
    assert ring.signing.algorithm == "EdDSA"
    assert ring.signing.created == NOW + 1000
    # Created long ago, superseded just now.
    assert kids(ring) == [ring.signing.kid, old.kid]


def test_a_rotation_removes_what_is_long_superseded(path: Path, keys: KeyDirectory, clock: Clock) -> None:
    first = keys.ensure("ES256").signing
    clock.now += 1000
    second = keys.rotate("ES256", 600).signing
    clock.now += 600
    third = keys.rotate("ES256", 600).signing
    assert set(kids(keys.load())) == {first.kid, second.kid, third.kid}
    clock.now += 1
    ring = keys.rotate("ES256", 600)
    assert kids(ring) == [ring.signing.kid, third.kid, second.kid]
    assert names(path) == ["key-000002.pem", "key-000003.pem", "key-000004.pem"]


def test_numbers_are_not_used_again(path: Path, keys: KeyDirectory, clock: Clock) -> None:
    keys.ensure("ES256")
    for _ in range(3):
        clock.now += 1000
        keys.rotate("ES256", 0)
    assert names(path) == ["key-000003.pem", "key-000004.pem"]


def test_the_new_key_signs_even_if_the_clock_was_set_back(keys: KeyDirectory, clock: Clock) -> None:
    old = keys.ensure("ES256").signing
    clock.now -= 5000
    for n in (1, 2):
        ring = keys.rotate("ES256", 600)
        assert ring.signing.created == NOW + n
    assert old.kid in kids(ring)


def test_running_workers_see_a_rotation(path: Path, clock: Clock) -> None:
    worker, operator = KeyDirectory(path, clock=clock), KeyDirectory(path, clock=clock)
    worker.ensure("ES256")
    before = worker.ring()
    assert worker.ring() is before
    rotated = operator.rotate("ES256", 600)
    assert kids(worker.ring()) == kids(rotated)
    assert worker.ring() is worker.ring()


def test_a_change_within_the_granularity_of_time_stamps_is_seen(path: Path, clock: Clock) -> None:
    worker = KeyDirectory(path, clock=clock)
    worker.ensure("ES256")
    changed = path.stat().st_mtime_ns
    clock.now = changed / 1e9 + 1
    assert len(worker.ring().keys) == 1
    # A second change, with the time stamp of the first.
    KeyDirectory(path).rotate("ES256", 600)
    os.utime(path, ns=(changed, changed))
    assert len(worker.ring().keys) == 2
    clock.now += 5
    assert worker.ring() is worker.ring()


def test_keys_that_became_unsafe_are_no_longer_used(path: Path, keys: KeyDirectory) -> None:
    keys.ensure("ES256")
    keys.ring()
    other = path / "copy.pem"
    other.write_bytes((path / "key-000001.pem").read_bytes())
    other.chmod(0o644)
    with pytest.raises(UnsafeKeyFile):
        keys.ring()
    other.unlink()
    assert len(keys.ring().keys) == 1
