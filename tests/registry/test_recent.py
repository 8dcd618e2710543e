"""What is kept is what was used last, and it weighs no more than there is room for."""

from hypothesis import given
from hypothesis import strategies as st

from registry.recent import Recent


def test_the_one_not_used_for_longest_goes() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.keep("a", 1)
    recent.keep("b", 2)
    assert recent.get("a") == 1
    recent.keep("c", 3)
    assert [recent.get(each) for each in "abc"] == [1, None, 3]


def test_a_later_value_takes_the_place_of_an_earlier_one() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.keep("b", 2, 4)
    for value in range(5):
        recent.keep("a", value, 6)
    assert (recent.get("a"), recent.get("b")) == (4, 2)


def test_what_is_too_heavy_is_not_kept() -> None:
    recent: Recent[str, int] = Recent(10)
    recent.keep("b", 2, 10)
    recent.keep("a", 1, 11)
    assert (recent.get("a"), recent.get("b")) == (None, 2)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30))))
def test_weights_never_exceed_the_room(changes: list[tuple[int, int]]) -> None:
    recent: Recent[int, int] = Recent(50)
    for key, weight in changes:
        recent.keep(key, weight, weight)
        kept = [found for each in range(10) if (found := recent.get(each)) is not None]
        assert sum(kept) <= 50
        assert weight > 50 or weight in kept
