from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import UsageError
from training.config import TrainConfig
from training.methods.base import PartialPhase
from training.methods.phase import plan_phases


@given(st.lists(st.floats(0.5, 4), min_size=1, max_size=5), st.integers(60, 5000))
def test_phases_follow_each_other_without_gaps_and_have_their_shares_of_the_steps(shares, steps):
    planned = plan_phases([PartialPhase(share=share) for share in shares], steps, 0.1)
    ends = [phase.first + phase.steps for phase in planned]
    assert [phase.first for phase in planned] == [0, *ends[:-1]]
    assert ends[-1] == steps
    for phase, share in zip(planned, shares, strict=True):
        assert phase.steps == pytest.approx(steps * share / sum(shares), abs=1)


def test_a_phase_has_its_own_rates_and_a_warm_up_within_it():
    phases = [{"share": 1, "lr": 0.5, "warmup_steps": 2}, {"share": 3, "schedule": "constant"}]
    first, second = TrainConfig(steps=40, lr=0.1, phases=phases).planned_phases
    assert [first.rate(step) for step in (0, 1, 2, 6)] == pytest.approx([0.25, 0.5, 0.5, 0.25])
    assert [second.rate(step) for step in (10, 11, 12, 39)] == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1])


def test_a_single_phase_is_that_of_the_run():
    (phase,) = TrainConfig(steps=40, lr=0.1, warmup_steps=7).planned_phases
    assert (phase.first, phase.steps, phase.lr, phase.warmup) == (0, 40, 0.1, 7)


def test_a_phase_without_a_step_is_named():
    with pytest.raises(UsageError, match=r"phases\.1\.share: 0\.001 is no step of 20: raise it, or train longer"):
        _ = TrainConfig(steps=20, phases=[{}, {"share": 0.001}]).planned_phases
