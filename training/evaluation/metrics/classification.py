"""Accuracy of a classification: top-1, top-5, and the mean over classes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

TOP = 5


def classification_metrics(scores: Tensor, expected: Tensor) -> dict[str, Any]:
    """Return the accuracy of a classification.

    `n` (images), `classes`, `correct`, `accuracy`, `top5_accuracy` (None for fewer than five classes),
    `macro_accuracy` (mean over the classes that have images), `chance` (1 / classes), and `low` and `high`, the 95%
    Wilson interval of the accuracy.

    Args:
        scores: (n, classes).
        expected: index of the class of each image (n,).
    """
    n, classes = scores.shape
    best = scores.topk(min(TOP, classes)).indices == expected[:, None]
    correct = int(best[:, 0].sum())
    totals = torch.bincount(expected, minlength=classes)
    recalls = torch.bincount(expected[best[:, 0]], minlength=classes)[totals > 0].double() / totals[totals > 0]
    low, high = wilson_interval(correct, n)
    return {
        "n": n,
        "classes": classes,
        "correct": correct,
        "accuracy": correct / n,
        "top5_accuracy": float(best.any(1).double().mean()) if classes >= TOP else None,
        "macro_accuracy": float(recalls.mean()),
        "chance": 1 / classes,
        "low": low,
        "high": high,
    }


def wilson_interval(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion (JASA 22, 1927), at 95% by default."""
    share, squared = correct / n, z * z / n
    center = (share + squared / 2) / (1 + squared)
    spread = z / (1 + squared) * math.sqrt(share * (1 - share) / n + squared / (4 * n))
    return max(0.0, min(share, center - spread)), min(1.0, max(share, center + spread))  # guards against rounding
