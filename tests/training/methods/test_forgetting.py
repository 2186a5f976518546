from __future__ import annotations

import pytest

from support.vectors import expected, inputs
from training.methods.forgetting import sequence_metrics


def test_metrics_equal_the_vector():
    found = sequence_metrics(inputs("cll", "metrics")["scores"])
    assert found == pytest.approx(expected("cll", "metrics"), rel=1e-9)


def test_one_language_forgets_nothing():
    assert sequence_metrics([[0.4]]) == {"AA": 0.4, "F": 0.0, "F_en": 0.0}


def test_a_language_that_improves_has_negative_forgetting():
    assert sequence_metrics([[0.4], [0.6, 0.5]])["F"] == pytest.approx(-0.2)
