"""Compare arms: paired differences with bootstrap intervals over concepts and seeds, and the verdict on each claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

from proof.settings import Bootstrap, Claim, Measure

Verdict = Literal["reproduced", "not reproduced", "inconclusive"]
Floats = npt.NDArray[np.float64]
ENGLISH = "en"


class Interval(NamedTuple):
    """A mean with its interval."""

    mean: float
    low: float
    high: float


def concept_accuracies(path: Path, measure: Measure, concepts: Sequence[str]) -> Floats:
    """Return the accuracy of each concept: in English, or the mean over the languages that have a name for it.

    A concept that no language names is NaN.
    """
    table = pq.read_table(path)
    index = {concept: number for number, concept in enumerate(concepts)}
    sums, counts = np.zeros(len(concepts)), np.zeros(len(concepts))
    for row in table.to_pylist():
        if measure == "macro" or row["lang"] == ENGLISH:
            sums[index[row["concept"]]] += row["correct"] / row["pictures"]
            counts[index[row["concept"]]] += 1
    with np.errstate(invalid="ignore"):
        return sums / counts


def bootstrap(values: Floats, settings: Bootstrap) -> Interval:
    """Return the mean of values of seeds and concepts, and its percentile interval.

    Seeds and concepts are resampled with replacement, independently of each other (Owen, Annals of Applied Statistics
    1, 2007). Concepts that are NaN are left out.

    Args:
        values: (seeds, concepts), such as differences of two arms.
        settings: number of resamples, level and seed.
    """
    measured = values[:, ~np.isnan(values).any(axis=0)]
    seeds, concepts = measured.shape
    rng = np.random.default_rng(settings.seed)
    means = np.empty(settings.resamples)
    for number in range(settings.resamples):
        of_seeds = rng.integers(seeds, size=seeds)
        of_concepts = rng.integers(concepts, size=concepts)
        means[number] = measured[of_seeds][:, of_concepts].mean()
    tail = (1 - settings.level) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Interval(float(measured.mean()), float(low), float(high))


def judge(difference: Interval, claim: Claim, seeds: int, settings: Bootstrap) -> Verdict:
    """Return the verdict on a claim, by the rule in world.yaml."""
    if seeds < settings.min_seeds:
        return "inconclusive"
    if difference.low > claim.margin:
        return "reproduced"
    return "not reproduced" if difference.high < claim.margin else "inconclusive"


def thirds(counts: Mapping[str, int], concepts: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the concepts in the head, middle and tail third by a count; ties by concept."""
    order = sorted(range(len(concepts)), key=lambda number: (-counts.get(concepts[number], 0), concepts[number]))
    cut = [round(len(order) * part / 3) for part in range(4)]
    return {name: order[cut[part] : cut[part + 1]] for part, name in enumerate(("head", "middle", "tail"))}
