"""Alignment and uniformity of embeddings on the unit sphere (Wang and Isola, arXiv 2005.10242)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROWS_AT_ONCE = 1024


def alignment(images: Tensor, texts: Tensor) -> float:
    """Return the mean squared distance of pairs, whose unit embeddings are in equal rows; 0 is perfect."""
    return float((images.double() - texts.double()).square().sum(1).mean())


def uniformity(embeddings: Tensor) -> float | None:
    """Return the logarithm of the mean of exp(-2 · squared distance) over all pairs of unit embeddings.

    The lower, the more evenly they cover the sphere. None for fewer than two embeddings.
    """
    n = len(embeddings)
    if n < 2:
        return None
    total = torch.zeros((), dtype=torch.float64)
    for rows in torch.split(embeddings.double(), ROWS_AT_ONCE):
        squared = (2 - 2 * rows @ embeddings.double().T).clamp(min=0)
        total += (-2 * squared).exp().sum()
    return math.log((float(total) - n) / (n * (n - 1)))  # without the pairs of an embedding with itself
