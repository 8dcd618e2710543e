"""The arithmetic of parts, up to the limits of S3, and the state that a row keeps."""

from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.blobs import StagedMissing
from storage.s3_parts import GIB, LARGEST_PART, MAX_PARTS, MIB, MIN_PART, UPLOAD_MEMORY, PartPlan, UploadState
from tests.storage.properties import PROPERTY

SIZES: Final = st.integers(MIN_PART, LARGEST_PART)
PLANS: Final = st.builds(lambda size, growing: PartPlan.of(size, growing=growing), SIZES, st.booleans())

# What S3 itself takes.
MAX_PART: Final = 5 * GIB
MAX_BLOB: Final = 5 * 1024 * GIB


@PROPERTY
@given(plan=PLANS, count=st.integers(0, 50) | st.integers(950, 1050) | st.integers(9_900, MAX_PARTS))
def test_length_is_the_sum_of_the_sizes(plan: PartPlan, count: int) -> None:
    assert plan.length(count) == sum(plan.size(number) for number in range(1, count + 1))


@PROPERTY
@given(plan=PLANS, number=st.integers(1, MAX_PARTS))
def test_every_part_is_one_that_s3_takes_and_memory_has_room_for(plan: PartPlan, number: int) -> None:
    assert MIN_PART <= plan.size(number) <= MAX_PART
    # One is in flight while the next is collected.
    assert 2 * plan.size(number) <= UPLOAD_MEMORY
    assert plan.size(number) <= plan.size(min(number + 1, MAX_PARTS))


@PROPERTY
@given(size=SIZES)
def test_equal_parts_are_equal(size: int) -> None:
    plan = PartPlan.of(size, growing=False)
    assert {plan.size(number) for number in (1, 2, 1000, 1001, MAX_PARTS)} == {size}
    assert plan.limit == MAX_PARTS * size


@PROPERTY
@given(plan=PLANS)
def test_no_plan_goes_beyond_s3(plan: PartPlan) -> None:
    assert plan.limit <= MAX_BLOB
    assert plan.limit >= MAX_PARTS * plan.first


def test_default_parts_go_far_past_five_gigabytes() -> None:
    plan = PartPlan.of(8 * MIB, growing=False)
    assert plan.limit == 80_000 * MIB
    # A blob of 6 GiB: whole parts and nothing behind them.
    assert plan.length(768) == 6 * GIB
    assert plan.length(640) == MAX_PART


def test_parts_grow_after_each_thousand() -> None:
    plan = PartPlan.of(8 * MIB, growing=True)
    sizes = [plan.size(number) // MIB for number in (1, 1000, 1001, 2000, 2001, MAX_PARTS)]
    assert sizes == [8, 8, 16, 16, 32, 32]
    assert plan.limit == (1000 * 8 + 1000 * 16 + 8000 * 32) * MIB


@PROPERTY
@given(
    state=st.builds(
        UploadState,
        size=st.integers(0, MAX_BLOB),
        first_part=SIZES,
        largest_part=SIZES,
        key=st.text(),
        multipart=st.text(),
        etags=st.lists(st.text()).map(tuple),
        tail=st.text(),
        superseded=st.lists(st.text()).map(tuple),
    )
)
def test_state_comes_back(state: UploadState) -> None:
    assert UploadState.parse(state.to_text()) == state


def test_no_state_is_an_upload_without_a_byte() -> None:
    assert UploadState.parse(None) == UploadState()
    assert UploadState().size == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"unknown": 1}', '{"etags": 1}'])
def test_state_of_another_store_is_missing(text: str) -> None:
    with pytest.raises(StagedMissing):
        UploadState.parse(text)
