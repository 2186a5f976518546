"""The siamese loss between two views of the same images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from training.losses.rows import at_least_float32


def siamese_loss(predicted: tuple[Tensor, Tensor], projected: tuple[Tensor, Tensor]) -> Tensor:
    """Return -(cos(p1, z2) + cos(p2, z1)) / 2, averaged over rows (SimSiam, arXiv 2011.10566, algorithm 1), a scalar.

    The mean over ranks is the loss of their rows. It is computed in float32, also under autocast, and in float64 for
    such rows.

    Args:
        predicted: for both views, the predictor's output p (b, d).
        projected: for both views, the projector's output z (b, d), which gets no gradient.
    """
    with torch.autocast(predicted[0].device.type, enabled=False):
        cosines = [_cosine(p, z.detach()) for p, z in zip(predicted, reversed(projected), strict=True)]
        return -(cosines[0].mean() + cosines[1].mean()) / 2


def _cosine(first: Tensor, second: Tensor) -> Tensor:
    return (normalize(at_least_float32(first), dim=-1) * normalize(at_least_float32(second), dim=-1)).sum(-1)
