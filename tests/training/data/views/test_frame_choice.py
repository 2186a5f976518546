from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from support.vectors import expected, inputs
from training.data.views.frame_choice import frame_indices, middle_frame


def test_frames_at_equal_distances_are_those_of_the_vector():
    rule, wanted = inputs("clip_vip", "frame_indices"), expected("clip_vip", "frame_indices")
    totals, counts = (rule[key].int().tolist() for key in ("totals", "n"))
    assert [frame_indices(total, count) for total, count in zip(totals, counts, strict=True)] == wanted["indices"]
    assert [middle_frame(total) for total in totals] == wanted["middle"]


@given(total=st.integers(1, 200), count=st.integers(1, 40), seed=st.none() | st.integers(0, 2**64 - 1))
def test_frames_exist_in_order_and_depend_only_on_the_seed(total, count, seed):
    frames = frame_indices(total, count, seed)
    assert len(frames) == count
    assert frames == sorted(frames)
    assert frames[0] >= 0
    assert frames[-1] < total
    assert frames == frame_indices(total, count, seed)


@given(total=st.integers(20, 200), count=st.integers(2, 10))
def test_seeds_move_both_ends_by_at_most_one_distance(total, count):
    step = total // (count - 1)
    ends = [(frames[0], frames[-1]) for frames in (frame_indices(total, count, seed) for seed in range(200))]
    if count > 2:
        assert all(first <= step and last >= total - 1 - step for first, last in ends)
    assert len(set(ends)) > 1
