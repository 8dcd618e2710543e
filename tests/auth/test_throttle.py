import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.throttle import (
    FORGET_SECONDS,
    LONGEST_DELAY,
    delay,
    is_forgotten,
    keys,
    remaining,
    sign_up_keys,
)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(-1, 0), (0, 0), (5, 0), (6, 1), (7, 2), (8, 4), (15, 512), (16, 900), (17, 900), (10**18, 900)],
)
def test_delay_doubles_after_the_free_failures(failures: int, seconds: int) -> None:
    assert delay(failures, 5) == seconds


@given(st.integers(0, 10**6), st.integers(0, 100))
def test_delay_never_shrinks_and_is_bounded(failures: int, free: int) -> None:
    assert 0 <= delay(failures, free) <= delay(failures + 1, free) <= LONGEST_DELAY


def test_remaining_counts_down_from_the_last_failure() -> None:
    assert remaining(8, 5, failed_at=100.0, now=100.0) == 4
    assert remaining(8, 5, failed_at=100.0, now=102.5) == 2
    assert remaining(8, 5, failed_at=100.0, now=104.0) == 0
    assert remaining(8, 5, failed_at=100.0, now=50.0) == 4


def test_failures_are_forgotten_after_an_hour() -> None:
    assert not is_forgotten(0.0, FORGET_SECONDS - 1)
    assert is_forgotten(0.0, FORGET_SECONDS)
    assert remaining(10**6, 5, failed_at=0.0, now=FORGET_SECONDS) == 0


def test_three_counters() -> None:
    pair, account, address = keys("Alice", "192.0.2.1")
    assert (pair.text, pair.free, pair.forgiven) == ("pair:alice 192.0.2.1", 5, True)
    assert (account.text, account.free, account.forgiven) == ("account:alice", 50, False)
    assert (address.text, address.free, address.forgiven) == ("address:192.0.2.1", 20, False)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("alice", "192.0.2.1"), (" ALICE ", "192.0.2.1")),
        (("alice", "192.0.2.1"), ("\uff41lice", "::ffff:192.0.2.1")),
        (("alice", "2001:db8::1"), ("alice", "2001:db8:0:0:ffff::2")),
        (("jos\u00e9", "192.0.2.1"), ("JOSE\u0301", "192.0.2.1")),
    ],
)
def test_the_same_caller_shares_counters(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert keys(*one) == keys(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("alice", "192.0.2.1"), ("bob", "192.0.2.2")),
        (("alice", "2001:db8::1"), ("a lice", "2001:db8:0:1::1")),
        (("a" * 300 + "b", "x"), ("a" * 300 + "c", "y")),
        (("alice", ""), ("", "192.0.2.1")),
    ],
)
def test_different_callers_share_none(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert not {key.text for key in keys(*one)} & {key.text for key in keys(*other)}


@given(st.text(st.characters(), max_size=400), st.text(st.characters(), max_size=100))
def test_hostile_input_makes_short_plain_keys(account: str, address: str) -> None:
    for key in keys(account, address):
        assert key.text.isascii()
        assert key.text.isprintable()
        assert len(key.text) <= 160


@pytest.mark.parametrize(
    ("address", "text"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8::1:2", "2001:db8::/64"), ("::ffff:192.0.2.1", "192.0.2.1")],
)
def test_accounts_that_are_asked_for_are_counted_by_address(address: str, text: str) -> None:
    (counter,) = sign_up_keys(address)
    assert (counter.text, counter.free, counter.forgiven) == (f"sign-up:{text}", 10, False)
