from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.vectors import expected, inputs
from training.engine.optimizer import learning_rate
from training.optimizers.schedules import scheduled_rate


def test_rates_that_start_at_zero_equal_the_vector():
    rule = inputs("clip_italian", "schedule")
    for step, wanted in zip(rule["steps"].int().tolist(), expected("clip_italian", "schedule")["rates"], strict=True):
        rate = scheduled_rate(step, peak=rule["peak"], warmup=rule["warmup"], total=rule["total"], starts_at_zero=True)
        assert rate == pytest.approx(wanted, rel=1e-12, abs=1e-20)


@given(step=st.integers(0, 99), warmup=st.integers(0, 99))
def test_the_default_is_the_schedule_of_the_trainer(step, warmup):
    lengths = {"peak": 0.3, "warmup": warmup, "total": 100}
    assert scheduled_rate(step, **lengths) == learning_rate(step, **lengths)


def test_linear_and_constant_schedules():
    lengths = {"peak": 0.8, "warmup": 2, "total": 10}
    linear = [scheduled_rate(step, **lengths, schedule="linear") for step in (0, 1, 2, 6, 10, 12)]
    assert linear == pytest.approx([0.4, 0.8, 0.8, 0.4, 0.0, 0.0])
    assert [scheduled_rate(step, **lengths, schedule="constant") for step in (0, 2, 9)] == [0.4, 0.8, 0.8]
