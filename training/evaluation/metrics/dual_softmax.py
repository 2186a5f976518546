"""Dual softmax: scores of retrieval that depend on all queries of a test set (CAMoE, arXiv 2109.04290)."""

from __future__ import annotations

from torch import Tensor

SHARPNESS = 100.0


def dual_softmax(similarities: Tensor) -> Tensor:
    """Return similarities (queries, items), each times the share of its query among all queries of the item.

    The share is a softmax of the similarities times `SHARPNESS`. A query alone gets other results than among others, so
    figures are not comparable with plain ones.
    """
    return similarities * (SHARPNESS * similarities).softmax(0)
