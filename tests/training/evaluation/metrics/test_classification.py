from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.evaluation.metrics.classification import classification_metrics, wilson_interval


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 1000))
def test_accuracies_equal_those_of_a_sorted_list(classes, n, seed):
    random = torch.Generator().manual_seed(seed)
    scores = torch.rand(n, classes, dtype=torch.float64, generator=random)
    expected = torch.randint(classes, (n,), generator=random)
    result = classification_metrics(scores, expected)
    ranks = [sorted(range(classes), key=lambda c: -float(scores[i, c])).index(int(expected[i])) for i in range(n)]
    assert result["correct"] == sum(rank == 0 for rank in ranks)
    assert result["accuracy"] == result["correct"] / n
    top5 = sum(rank < 5 for rank in ranks) / n
    assert result["top5_accuracy"] == (None if classes < 5 else pytest.approx(top5))
    by_class = {
        int(label): [rank == 0 for rank, one in zip(ranks, expected, strict=True) if one == label] for label in expected
    }
    assert result["macro_accuracy"] == pytest.approx(
        sum(sum(hits) / len(hits) for hits in by_class.values()) / len(by_class)
    )
    assert (result["low"], result["high"]) == wilson_interval(result["correct"], n)
    assert (result["n"], result["classes"], result["chance"]) == (n, classes, 1 / classes)


def test_the_wilson_interval_matches_tabulated_values():
    assert wilson_interval(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson_interval(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_contains_the_proportion(case):
    correct, n = case
    low, high = wilson_interval(correct, n)
    assert 0 <= low <= correct / n <= high <= 1
