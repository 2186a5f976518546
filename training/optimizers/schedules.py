"""Learning rates over the steps of a phase."""

from __future__ import annotations

import math
from typing import Literal

Schedule = Literal["cosine", "linear", "constant"]


def scheduled_rate(
    step: int, *, peak: float, warmup: int, total: int, schedule: Schedule = "cosine", starts_at_zero: bool = False
) -> float:
    """Return the learning rate of a step, counted from 0: linear warm-up, then the schedule.

    Args:
        step: number of the step.
        peak: largest rate, that of the first step after the warm-up.
        warmup: number of warm-up steps.
        total: number of steps, after which `cosine` and `linear` are 0.
        schedule: how the rate changes after the warm-up.
        starts_at_zero: the first step of the warm-up has rate 0, as in optax; otherwise peak / warmup.
    """
    if step < warmup:
        return peak * (step if starts_at_zero else step + 1) / warmup
    done, left = step - warmup, max(1, total - warmup)
    if schedule == "cosine":
        return peak * (1 + math.cos(math.pi * done / left)) / 2
    return peak * max(0.0, 1 - done / left) if schedule == "linear" else peak
