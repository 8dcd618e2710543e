import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import pytest

from auth.identity import (
    ANONYMOUS,
    SYSTEM,
    Authenticator,
    Identity,
    Limit,
    Permission,
    TooManyAttempts,
    WrongCredentials,
)
from auth.passwords import Passwords, Verdict
from auth.throttle import Key, is_forgotten, remaining

CHEAP = Passwords(time_cost=1, memory_cost=8, parallelism=1)
SECRET = "correct horse"
HERE = "192.0.2.1"
ACCESS_TOKEN = "lsp_of-alice"
BOUNDED = Identity(1, "alice", limit=Limit(9, Permission.READ))


@dataclass(frozen=True, slots=True)
class Account:
    id: int
    name: str
    password_hash: str | None
    is_admin: bool = False
    disabled: bool = False


class MemoryAccounts:
    def __init__(self, *accounts: Account) -> None:
        self.by_name = {account.name: account for account in accounts}
        self.asked: list[str] = []
        self.by_secret: dict[str, Identity] = {}

    async def find_access_token(self, secret: str) -> Identity | None:
        return self.by_secret.get(secret)

    async def find_credentials(self, name: str) -> Account | None:
        self.asked.append(name)
        return self.by_name.get(name)

    async def replace_password_hash(self, account_id: int, old: str, new: str) -> None:
        for name, account in self.by_name.items():
            if account.id == account_id and account.password_hash == old:
                self.by_name[name] = replace(account, password_hash=new)


@dataclass(slots=True)
class MemoryThrottle:
    now: float = 0.0
    counters: dict[str, tuple[int, float]] = field(default_factory=dict)

    async def retry_after(self, keys: Sequence[Key]) -> int:
        await asyncio.sleep(0)
        return max(self._remaining(key) for key in keys)

    def _remaining(self, key: Key) -> int:
        failures, failed_at = self.counters.get(key.text, (0, 0.0))
        return remaining(failures, key.free, failed_at, self.now)

    async def record_failure(self, keys: Sequence[Key]) -> None:
        for key in keys:
            failures, failed_at = self.counters.get(key.text, (0, self.now))
            counted = 1 if is_forgotten(failed_at, self.now) else failures + 1
            self.counters[key.text] = (counted, self.now)

    async def record_success(self, keys: Sequence[Key]) -> None:
        for key in keys:
            self.counters.pop(key.text, None)


class GatedPasswords(Passwords):
    """Notes the threads that verify, and holds them until told."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.gate = threading.Event()
        self._lock = threading.Lock()
        self.threads: set[int] = set()
        self.running = 0
        self.most = 0

    def verify(self, secret: str, hashed: str | None) -> Verdict:
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
            self.threads.add(threading.get_ident())
        self.gate.wait(30)
        with self._lock:
            self.running -= 1
        return super().verify(secret, hashed)


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


@pytest.fixture
def accounts() -> MemoryAccounts:
    return MemoryAccounts(
        Account(1, "alice", CHEAP.hash(SECRET)),
        Account(2, "root", CHEAP.hash(SECRET), is_admin=True),
        Account(3, "gone", CHEAP.hash(SECRET), disabled=True),
        Account(4, "robot", None),
    )


@pytest.fixture
def throttle() -> MemoryThrottle:
    return MemoryThrottle()


@pytest.fixture
def authenticator(
    accounts: MemoryAccounts, throttle: MemoryThrottle, executor: ThreadPoolExecutor
) -> Authenticator:
    return Authenticator(accounts, CHEAP, throttle, executor)


async def fail(authenticator: Authenticator, name: str, address: str = HERE, password: str = "wrong") -> str:
    with pytest.raises(WrongCredentials) as caught:
        await authenticator.authenticate(name, password, address)
    return str(caught.value)


def test_the_two_identities_without_an_account() -> None:
    assert ANONYMOUS.is_anonymous
    assert not ANONYMOUS.is_admin
    assert SYSTEM.is_admin
    assert not SYSTEM.is_anonymous
    assert SYSTEM.account_id is None


async def test_the_right_password_is_an_identity(authenticator: Authenticator) -> None:
    assert await authenticator.authenticate("alice", SECRET, HERE) == Identity(1, "alice")
    assert await authenticator.authenticate("root", SECRET, HERE) == Identity(2, "root", is_admin=True)


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("alice", "wrong"),
        ("alice", ""),
        ("alice", "x" * 5000),
        ("alice", "\ud800"),
        ("gone", SECRET),
        ("gone", "wrong"),
        ("robot", ""),
        ("robot", SECRET),
        ("nobody", SECRET),
        ("", ""),
        ("", SECRET),
        ("al\0ice", SECRET),
        ("alice\n", SECRET),
        ("\ud800", SECRET),
        ("a" * 5000, SECRET),
    ],
)
async def test_everything_else_fails_alike(
    authenticator: Authenticator, throttle: MemoryThrottle, name: str, password: str
) -> None:
    assert await fail(authenticator, name, password=password) == "wrong name or password"
    assert [count for count, _ in throttle.counters.values()] == [1, 1, 1]


async def test_impossible_names_are_not_looked_up(
    authenticator: Authenticator, accounts: MemoryAccounts
) -> None:
    for name in ("", "al\0ice", "a" * 257, "\ud800", "a\nb"):
        await fail(authenticator, name)
    assert accounts.asked == []


async def test_an_outdated_hash_is_replaced(
    accounts: MemoryAccounts, throttle: MemoryThrottle, executor: ThreadPoolExecutor
) -> None:
    before = accounts.by_name["alice"].password_hash
    dearer = Authenticator(accounts, Passwords(time_cost=2, memory_cost=8, parallelism=1), throttle, executor)
    await fail(dearer, "alice")
    assert accounts.by_name["alice"].password_hash == before
    await dearer.authenticate("alice", SECRET, HERE)
    after = accounts.by_name["alice"].password_hash
    assert after is not None
    assert ",t=2," in after
    await dearer.authenticate("alice", SECRET, HERE)
    assert accounts.by_name["alice"].password_hash == after


async def test_the_pair_is_delayed_after_five_failures(
    authenticator: Authenticator, throttle: MemoryThrottle
) -> None:
    for _ in range(6):
        await fail(authenticator, "alice")
    with pytest.raises(TooManyAttempts) as caught:
        await authenticator.authenticate("alice", SECRET, HERE)
    assert caught.value.retry_after == 1
    # Another address and another account are not held up.
    await authenticator.authenticate("alice", SECRET, "192.0.2.2")
    await authenticator.authenticate("root", SECRET, HERE)
    throttle.now += 1
    await authenticator.authenticate("alice", SECRET, HERE)
    # The success has set the pair back.
    await fail(authenticator, "alice")
    await authenticator.authenticate("alice", SECRET, HERE)


async def test_an_attempt_during_a_delay_is_not_looked_at(
    authenticator: Authenticator, accounts: MemoryAccounts, throttle: MemoryThrottle
) -> None:
    for _ in range(6):
        await fail(authenticator, "alice")
    counted, looked_up = dict(throttle.counters), len(accounts.asked)
    with pytest.raises(TooManyAttempts):
        await authenticator.authenticate("alice", "wrong", HERE)
    assert (throttle.counters, len(accounts.asked)) == (counted, looked_up)


async def test_an_address_is_delayed_over_all_accounts(authenticator: Authenticator) -> None:
    for n in range(21):
        await fail(authenticator, f"user{n}")
    with pytest.raises(TooManyAttempts):
        await authenticator.authenticate("alice", SECRET, HERE)
    await authenticator.authenticate("alice", SECRET, "192.0.2.2")


async def test_an_account_of_ones_own_does_not_wash_the_address(authenticator: Authenticator) -> None:
    for n in range(21):
        await fail(authenticator, f"user{n}")
        if n < 20:
            await authenticator.authenticate("alice", SECRET, HERE)
    with pytest.raises(TooManyAttempts):
        await authenticator.authenticate("alice", SECRET, HERE)


async def test_an_account_is_delayed_over_all_addresses(authenticator: Authenticator) -> None:
    for n in range(51):
        await fail(authenticator, "alice", f"198.51.100.{n}")
    with pytest.raises(TooManyAttempts):
        await authenticator.authenticate("alice", SECRET, HERE)


async def test_guesses_sent_at_once_are_not_all_admitted(authenticator: Authenticator) -> None:
    attempts = [authenticator.authenticate("alice", f"guess {n}", HERE) for n in range(60)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    heard = sum(isinstance(result, WrongCredentials) for result in results)
    assert 6 <= heard <= 6 + 4
    assert sum(isinstance(result, TooManyAttempts) for result in results) == 60 - heard


async def until(condition: Callable[[], bool]) -> None:
    # What is waited for happens in threads, which set no asyncio.Event.
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def test_hashing_is_bounded_and_off_the_event_loop(
    accounts: MemoryAccounts, throttle: MemoryThrottle, executor: ThreadPoolExecutor
) -> None:
    passwords = GatedPasswords()
    authenticator = Authenticator(accounts, passwords, throttle, executor, concurrency=2, waiting=3)
    attempts = [
        asyncio.ensure_future(authenticator.authenticate("alice", SECRET, f"192.0.2.{n}")) for n in range(6)
    ]
    # The loop goes on while two hash; three wait, and the sixth is turned away.
    await until(lambda: passwords.running == 2 and attempts[5].done())
    with pytest.raises(TooManyAttempts) as caught:
        await attempts[5]
    assert caught.value.retry_after == 1
    passwords.gate.set()
    assert await asyncio.gather(*attempts[:5]) == [Identity(1, "alice")] * 5
    assert passwords.most == 2
    assert threading.get_ident() not in passwords.threads
    assert await authenticator.authenticate("alice", SECRET, HERE) == Identity(1, "alice")


async def test_a_cancelled_attempt_gives_its_place_back(
    accounts: MemoryAccounts, throttle: MemoryThrottle, executor: ThreadPoolExecutor
) -> None:
    passwords = GatedPasswords()
    authenticator = Authenticator(accounts, passwords, throttle, executor, concurrency=1, waiting=0)
    attempt = asyncio.ensure_future(authenticator.authenticate("alice", SECRET, HERE))
    await until(lambda: passwords.running == 1)
    attempt.cancel()
    with pytest.raises(asyncio.CancelledError):
        await attempt
    passwords.gate.set()
    assert await authenticator.authenticate("alice", SECRET, HERE) == Identity(1, "alice")


# Access tokens


async def test_an_access_token_is_an_identity_that_it_bounds(
    accounts: MemoryAccounts, throttle: MemoryThrottle, executor: ThreadPoolExecutor
) -> None:
    accounts.by_secret[ACCESS_TOKEN] = BOUNDED
    # A gate that nobody opens: no password is hashed.
    passwords = GatedPasswords()
    authenticator = Authenticator(accounts, passwords, throttle, executor, concurrency=1, waiting=0)
    assert await authenticator.authenticate("alice", ACCESS_TOKEN, HERE) == BOUNDED
    assert (passwords.threads, accounts.asked, throttle.counters) == (set(), [], {})


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("alice", "lsp_unknown"),
        ("alice", "lsp_"),
        ("root", ACCESS_TOKEN),
        ("Alice", ACCESS_TOKEN),
        ("alice ", ACCESS_TOKEN),
        ("", ACCESS_TOKEN),
        ("\ud800", ACCESS_TOKEN),
        ("alice", ACCESS_TOKEN + "\n"),
        ("alice", ACCESS_TOKEN.upper()),
    ],
)
async def test_an_access_token_belongs_to_the_account_that_is_named(
    authenticator: Authenticator, accounts: MemoryAccounts, throttle: MemoryThrottle, name: str, secret: str
) -> None:
    accounts.by_secret[ACCESS_TOKEN] = BOUNDED
    assert await fail(authenticator, name, password=secret) == "wrong name or password"
    assert [count for count, _ in throttle.counters.values()] == [1, 1, 1]


async def test_wrong_access_tokens_delay_like_wrong_passwords(
    authenticator: Authenticator, accounts: MemoryAccounts, throttle: MemoryThrottle
) -> None:
    accounts.by_secret[ACCESS_TOKEN] = BOUNDED
    for n in range(6):
        await fail(authenticator, "alice", password=f"lsp_{n}")
    for secret in (ACCESS_TOKEN, SECRET):
        with pytest.raises(TooManyAttempts):
            await authenticator.authenticate("alice", secret, HERE)
    throttle.now += 1
    assert await authenticator.authenticate("alice", ACCESS_TOKEN, HERE) == BOUNDED
    await fail(authenticator, "alice")
    await authenticator.authenticate("alice", SECRET, HERE)
