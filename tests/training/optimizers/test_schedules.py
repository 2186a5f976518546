from __future__ import annotations

import pytest

from support.vectors import expected, inputs
from training.optimizers.schedules import scheduled_rate


def test_rates_that_start_at_zero_equal_the_vector():
    rule = inputs("clip_italian", "schedule")
    for step, wanted in zip(rule["steps"].int().tolist(), expected("clip_italian", "schedule")["rates"], strict=True):
        rate = scheduled_rate(step, peak=rule["peak"], warmup=rule["warmup"], total=rule["total"], starts_at_zero=True)
        assert rate == pytest.approx(wanted, rel=1e-12, abs=1e-20)


def test_by_default_the_rate_rises_to_its_peak_and_falls_to_zero_as_a_cosine():
    rates = [scheduled_rate(step, peak=2.0, warmup=10, total=110) for step in range(111)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == max(rates) == 2.0
    assert rates[60] == pytest.approx(1.0)
    assert rates[110] == pytest.approx(0.0)
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_linear_and_constant_schedules():
    lengths = {"peak": 0.8, "warmup": 2, "total": 10}
    linear = [scheduled_rate(step, **lengths, schedule="linear") for step in (0, 1, 2, 6, 10, 12)]
    assert linear == pytest.approx([0.4, 0.8, 0.8, 0.4, 0.0, 0.0])
    assert [scheduled_rate(step, **lengths, schedule="constant") for step in (0, 2, 9)] == [0.4, 0.8, 0.8]
