"""Adaptive gradient clipping: limit gradients relative to the weights they change (arXiv 2102.06171, section 4)."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


@torch.no_grad()
def clip_adaptively(parameters: Iterable[Tensor], limit: float, eps: float = 1e-3) -> None:
    """Scale down gradients whose norm is at least `limit` times that of their weights.

    The norms are those of each output unit: a row of a matrix, or a whole vector.

    Args:
        parameters: their gradients are changed; those without a gradient are skipped.
        limit: largest ratio of the norms.
        eps: lower bound of the norm of the weights, so that zero weights can change.
    """
    for parameter in parameters:
        if parameter.grad is None:
            continue
        largest = limit * _unit_norms(parameter).clamp(min=eps)
        norms = _unit_norms(parameter.grad)
        factors = torch.where(norms < largest, 1.0, largest / norms.clamp(min=1e-6))
        parameter.grad.mul_(factors)


def _unit_norms(values: Tensor) -> Tensor:
    """Return the norms of all output units, in a shape that multiplies the values."""
    dimensions = tuple(range(1, values.ndim)) or None
    norms: Tensor = torch.linalg.vector_norm(values, dim=dimensions, keepdim=True)
    return norms
