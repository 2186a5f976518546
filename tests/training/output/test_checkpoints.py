from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from training.output.checkpoints import old_names, unused_name, write_latest


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.integers(1, 4))
def test_the_newest_checkpoints_of_any_order_of_steps_are_kept(steps, keep):
    present, saved = set(), []
    for step in steps:
        name = unused_name(step, present)
        assert name not in present
        present.add(name)
        saved.append(name)
        old = old_names(present, name, keep)
        assert name not in old
        assert len(set(old)) == len(old)
        left = {other for other in old if int(other.split("-")[1]) > step}
        assert set(old[: len(left)]) == left, "steps after a resume make those of the abandoned part old"
        present -= set(old)
        assert len(present) == min(len(present | set(old)), keep)
    if all(earlier < later for earlier, later in pairwise(steps)):
        assert present == set(saved[-keep:])


def test_a_second_checkpoint_of_a_step_has_a_number():
    first = unused_name(7, ())
    second = unused_name(7, {first})
    assert (first, second, unused_name(7, {first, second})) == ("step-00000007", "step-00000007-2", "step-00000007-3")


def test_the_pointer_names_the_last_checkpoint_it_was_set_to(tmp_path):
    for name in ("step-00000001", "step-00000002"):
        write_latest(tmp_path, name)
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]
    assert (tmp_path / "latest").read_text() == "step-00000002"
