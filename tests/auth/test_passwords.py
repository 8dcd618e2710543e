import time
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.passwords import Passwords, UnusablePassword, Verdict, WeakPassword, check_strength

CHEAP = Passwords(time_cost=1, memory_cost=8, parallelism=1)
CHEAP_BCRYPT = Passwords("bcrypt", rounds=4)

HTPASSWD = "$2y$04$d56PendTGAwBRDMs0cw26.NSvja3yI3JHckulXD6yN/1DRbTsJuX."
HTPASSWD_SECRET = "x" * 72

UNUSABLE = [
    "",
    "!",
    "*",
    "plain text",
    "$argon2id$",
    "$argon2id$v=19$m=8,t=1,p=1$FKK01roXIkSIMWZsLQUAAA",
    "$argon2id$v=19$m=1,t=1,p=1$FKK01roXIkSIMWZsLQUAAA$fhhqmu/A6t3fAAAMfMy137M/1GGuDev24UAo312wJqA",
    "$argon2id$v=19$m=8,t=1,p=1$FKK01roXIkSIMWZsLQUAAA$\u00e9",
    "$2b$04$short",
    "$2b$99$d56PendTGAwBRDMs0cw26.NSvja3yI3JHckulXD6yN/1DRbTsJuX.",
    "$bcrypt-sha256$v=2,t=2b,r=4$x",
    "\0",
]

BOTH = pytest.mark.parametrize("passwords", [CHEAP, CHEAP_BCRYPT], ids=["argon2", "bcrypt"])


@BOTH
@pytest.mark.parametrize(
    "secret",
    ["correct horse", "", "a\0b", "\0", "x" * 73, "x" * 1024, "pässwörd ✓", "\U0001d160" * 1024],
    ids=["words", "empty", "nul inside", "nul", "73", "1024", "unicode", "grows when normalised"],
)
def test_round_trip(passwords: Passwords, secret: str) -> None:
    hashed = passwords.hash(secret)
    assert passwords.verify(secret, hashed) == Verdict(ok=True)
    assert not passwords.verify(secret + "x", hashed)
    assert passwords.hash(secret) != hashed


@BOTH
def test_nothing_is_cut_off_silently(passwords: Passwords) -> None:
    assert not passwords.verify("x" * 72 + "b", passwords.hash("x" * 72 + "a"))
    assert not passwords.verify("a\0c", passwords.hash("a\0b"))
    assert not passwords.verify("a", passwords.hash("a\0b"))


@BOTH
def test_composed_and_decomposed_text_is_the_same_password(passwords: Passwords) -> None:
    hashed = passwords.hash("cafe\u0301 cre\u0300me")
    assert passwords.verify("caf\u00e9 cr\u00e8me", hashed)
    # Compatibility characters stay distinct: NFC, not NFKC.
    assert not passwords.verify("\uff21 password", passwords.hash("A password"))


def test_schemes_write_what_they_say() -> None:
    assert CHEAP.hash("x").startswith("$argon2id$v=19$m=8,t=1,p=1$")
    assert CHEAP_BCRYPT.hash("x").startswith("$bcrypt-sha256$v=2,t=2b,r=4$")


@BOTH
@pytest.mark.parametrize("hashed", UNUSABLE)
def test_an_unusable_hash_is_false(passwords: Passwords, hashed: str) -> None:
    assert passwords.verify("correct horse", hashed) == Verdict(ok=False)


@BOTH
def test_no_hash_is_false_for_every_password(passwords: Passwords) -> None:
    for secret in ("", "correct horse", "None"):
        assert passwords.verify(secret, None) == Verdict(ok=False)


@pytest.mark.parametrize(
    ("passwords", "hashed", "rehash"),
    [
        (Passwords(time_cost=1, memory_cost=16, parallelism=1), CHEAP.hash("secret"), True),
        (Passwords(time_cost=2, memory_cost=8, parallelism=1), CHEAP.hash("secret"), True),
        (Passwords(time_cost=1, memory_cost=16, parallelism=2), CHEAP.hash("secret"), True),
        (CHEAP, Passwords(time_cost=2, memory_cost=16, parallelism=1).hash("secret"), False),
        (CHEAP, CHEAP_BCRYPT.hash("secret"), True),
        (CHEAP_BCRYPT, CHEAP.hash("secret"), True),
        (Passwords("bcrypt", rounds=5), CHEAP_BCRYPT.hash("secret"), True),
        (CHEAP_BCRYPT, Passwords("bcrypt", rounds=5).hash("secret"), False),
    ],
    # Hashes are salted, and the names of tests are the same each time.
    ids=["memory", "time", "lanes", "fell", "from bcrypt", "from argon2", "rounds", "rounds fell"],
)
def test_a_rehash_is_asked_for_when_costs_rose_or_the_scheme_changed(
    passwords: Passwords, hashed: str, rehash: bool
) -> None:
    assert passwords.verify("secret", hashed) == Verdict(ok=True, rehash=rehash)
    assert passwords.verify("Secret", hashed) == Verdict(ok=False)
    if rehash:
        assert passwords.verify("secret", passwords.hash("secret")) == Verdict(ok=True)


@BOTH
@pytest.mark.parametrize("variant", ["$2a$", "$2b$", "$2y$"])
def test_hashes_of_htpasswd_are_verified_and_replaced(passwords: Passwords, variant: str) -> None:
    hashed = variant + HTPASSWD[4:]
    assert passwords.verify(HTPASSWD_SECRET, hashed) == Verdict(ok=True, rehash=True)
    assert not passwords.verify("x" * 71, hashed)
    # Past what bcrypt reads: another password, even though old tools would have let it in.
    assert not passwords.verify("x" * 73, hashed)
    assert not passwords.verify(HTPASSWD_SECRET[:-1] + "\0", hashed)


@BOTH
@pytest.mark.parametrize(
    "secret", ["x" * 1025, "x" * 10_000_000, "half a pair: \ud800"], ids=["1025", "ten million", "surrogate"]
)
def test_what_cannot_be_a_password_is_refused(passwords: Passwords, secret: str) -> None:
    with pytest.raises(UnusablePassword) as caught:
        passwords.hash(secret)
    assert str(caught.value).startswith("The password ")
    assert passwords.verify(secret, passwords.hash("x")) == Verdict(ok=False)
    assert passwords.verify(secret, None) == Verdict(ok=False)


def least_cpu(passwords: Passwords, hashed: str | None, secret: str = "a wrong password") -> float:
    durations: list[float] = []
    for _ in range(5):
        start = time.thread_time()
        assert not passwords.verify(secret, hashed)
        durations.append(time.thread_time() - start)
    return min(durations)


@pytest.mark.parametrize(("scheme", "rounds"), [("argon2", 4), ("bcrypt", 7)], ids=["argon2", "bcrypt"])
def test_an_unknown_account_costs_the_time_of_a_real_one(
    scheme: Literal["argon2", "bcrypt"], rounds: int
) -> None:
    passwords = Passwords(scheme, time_cost=2, memory_cost=4096, rounds=rounds)
    real = least_cpu(passwords, passwords.hash("the right password"))
    assert least_cpu(passwords, None) > real / 3
    assert least_cpu(passwords, "!") > real / 3
    assert least_cpu(passwords, UNUSABLE[5]) > real / 3
    assert least_cpu(passwords, HTPASSWD, secret="x" * 73) > real / 3
    assert least_cpu(passwords, None, secret="x" * 1025) < real / 3


def test_a_verdict_is_true_only_when_ok() -> None:
    assert Verdict(ok=True)
    assert not Verdict(ok=False)
    assert not Verdict(ok=False, rehash=True)


@pytest.mark.parametrize(
    ("secret", "name"),
    [("", ""), ("1234567", ""), ("e\u0301" * 7, ""), ("aaaaaaaaaaaa", ""), ("Alice-Smith", "alice-smith")],
)
def test_weak_passwords_are_refused_in_words(secret: str, name: str) -> None:
    with pytest.raises(WeakPassword) as caught:
        check_strength(secret, name)
    assert str(caught.value).startswith("The password ")
    assert str(caught.value).endswith(".")


def test_good_passwords_are_accepted() -> None:
    check_strength("12345678")
    check_strength("correct horse", "alice")
    check_strength("\u00e9" * 4 + "abcd")
    check_strength("LSP_ is short for something")
    for secret in ("ab" * 513, "lsp_correct horse"):
        with pytest.raises(UnusablePassword):
            check_strength(secret)


@settings(max_examples=50)
@given(st.text(st.characters(), max_size=40), st.text(st.characters(), max_size=40) | st.none())
def test_any_text_gets_an_answer(secret: str, hashed: str | None) -> None:
    assert not CHEAP.verify(secret, hashed)
