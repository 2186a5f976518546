"""The parts of a run of the proof, and how long they may take."""

from __future__ import annotations

from typing import NamedTuple

from proof.settings import Scale

# Guesses for two cores and two processes; no run on an idle machine has measured them.
WORLD_SECONDS, SECONDS_PER_PICTURE = 240.0, 0.012  # of the world and its curation
PAIRS_PER_SECOND = {"tiny": 700.0, "vit_s_16": 30.0}
MEASURE_SECONDS = 120.0
UNKNOWN_PAIRS_PER_SECOND = 20.0  # of a model without a guess


class Part(NamedTuple):
    """A run of an arm with a model and a seed."""

    arm: str
    model: str
    seed: int


def plan(scale: Scale, seeds: int) -> list[Part]:
    """Return all runs of a scale, seed by seed, so that a run that is stopped leaves complete seeds."""
    return [Part(arm, model, seed) for model in scale.models for seed in range(seeds) for arm in scale.arms]


def estimate(part: Part | None, scale: Scale) -> float:
    """Return about how many seconds a run takes, or, for None, the world of a seed and its curation."""
    if part is None:
        return WORLD_SECONDS + SECONDS_PER_PICTURE * scale.pictures
    return MEASURE_SECONDS + scale.models[part.model] / PAIRS_PER_SECOND.get(part.model, UNKNOWN_PAIRS_PER_SECOND)
